//! A set of processors or memory nodes, written as the kernel writes one (cpuset(7), "List format"): `0-3,7`. As config.md
//! has it, blanks may stand beside numbers, and elements may be empty. Not for the lists of a cpuset: those are the
//! kernel's to read.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::Result;
use crate::error::InputError;

/// One more than the greatest number that is taken. No kernel can be built for as many (NR_CPUS, MAX_NUMNODES), and a
/// list costs a bit for each.
const LIMIT: usize = 1 << 16;

const BITS: usize = u64::BITS as usize;

/// Numbers, as the bits of a mask: never empty.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Mask(Vec<u64>);

impl Mask {
    /// `None` for a list without numbers.
    ///
    /// # Errors
    /// What is no list, by the JSON path `at`.
    pub fn parse(at: &str, list: &str) -> Result<Option<Self>> {
        let mut words = Vec::new();
        for element in list.split(',').map(blank_trimmed).filter(|element| !element.is_empty()) {
            let (first, last) = element.split_once('-').unwrap_or((element, element));
            let (first, last) = (number(at, first)?, number(at, last)?);
            if first > last {
                return Err(InputError::new(at, format!("{element:?} begins after its end")));
            }
            words.resize(words.len().max(last / BITS + 1), 0);
            for bit in first..=last {
                words[bit / BITS] |= 1 << (bit % BITS);
            }
        }
        Ok((!words.is_empty()).then_some(Self(words)))
    }

    /// Number N at bit N % 64 of word N / 64: the form of the system calls.
    pub fn words(&self) -> &[u64] {
        &self.0
    }

    fn has(&self, bit: usize) -> bool {
        self.0.get(bit / BITS).is_some_and(|word| word & 1 << (bit % BITS) != 0)
    }
}

fn blank_trimmed(text: &str) -> &str {
    text.trim_matches(' ')
}

fn number(at: &str, text: &str) -> Result<usize> {
    let text = blank_trimmed(text);
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits {
        return Err(InputError::new(at, format!("{text:?} is no number")).hint("a list is like 0-3,7"));
    }
    text.parse().ok().filter(|number| *number < LIMIT).ok_or_else(|| {
        InputError::new(at, format!("{text} is more than any kernel counts to"))
            .hint(format!("the most is {}", LIMIT - 1))
    })
}

/// The shortest list.
impl fmt::Display for Mask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        let mut bit = 0;
        while bit < self.0.len() * BITS {
            if !self.has(bit) {
                bit += 1;
                continue;
            }
            let first = bit;
            while self.has(bit + 1) {
                bit += 1;
            }
            write!(f, "{separator}{first}")?;
            if bit > first {
                write!(f, "-{bit}")?;
            }
            separator = ",";
            bit += 1;
        }
        Ok(())
    }
}

impl From<Mask> for String {
    fn from(mask: Mask) -> Self {
        mask.to_string()
    }
}

impl TryFrom<String> for Mask {
    type Error = InputError;

    fn try_from(list: String) -> Result<Self> {
        Self::parse("list", &list)?.ok_or_else(|| InputError::new("list", "is empty"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(list: &str) -> Result<Option<Mask>> {
        Mask::parse("at", list)
    }

    #[test]
    fn every_form_that_the_specification_allows_is_read() {
        for (list, shortest) in [
            ("0", "0"),
            ("0-3,7", "0-3,7"),
            ("7,0-3", "0-3,7"),
            (" 0 - 1 , 3 ", "0-1,3"),
            ("0,1,2", "0-2"),
            ("1,1-2,2", "1-2"),
            (",2,,3,", "2-3"),
            ("5-5", "5"),
            ("007", "7"),
            ("63-64,1024,8191", "63-64,1024,8191"),
            ("65535", "65535"),
        ] {
            let mask = parse(list).unwrap().unwrap();
            assert_eq!(mask.to_string(), shortest, "{list:?}");
            let json = serde_json::to_string(&mask).unwrap();
            assert_eq!(serde_json::from_str::<Mask>(&json).unwrap(), mask);
        }
        assert_eq!(parse("64").unwrap().unwrap().words(), [0, 1]);
        for list in ["", " ", ",", " , "] {
            assert_eq!(parse(list), Ok(None), "{list:?}");
        }
    }

    #[test]
    fn what_is_no_list_is_refused_with_its_place() {
        for (list, words) in [
            ("1 2", r#""1 2" is no number"#),
            ("3-1", r#""3-1" begins after its end"#),
            ("1-", r#""" is no number"#),
            ("-", r#""" is no number"#),
            ("1-2-3", r#""2-3" is no number"#),
            ("a", r#""a" is no number"#),
            ("+1", r#""+1" is no number"#),
            ("0x1", r#""0x1" is no number"#),
            ("1\t", "is no number"),
            ("65536", "65536 is more than any kernel counts to"),
            ("99999999999999999999", "is more than any kernel counts to"),
        ] {
            let error = parse(list).unwrap_err().to_string();
            assert!(error.starts_with("at: ") && error.contains(words), "{list:?}: {error}");
        }
    }
}
