//! Values of D-Bus, and the text form in which annotations give them (GVariant's, which runc has taken for this). Only the
//! types that properties of systemd units have: no fractions, no dictionaries, no nothing.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How deep containers may be nested: no property comes near it, and the reader recurses.
const MAX_DEPTH: u32 = 8;

/// A value, its type included.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Value {
    Bool(bool),
    Byte(u8),
    Int16(i16),
    Uint16(u16),
    Int32(i32),
    Uint32(u32),
    Int64(i64),
    Uint64(u64),
    Text(String),
    /// The items' signature, which an empty array needs, and the items.
    Array(String, Vec<Value>),
    Struct(Vec<Value>),
    /// A value that says its own type.
    Variant(Box<Value>),
}

/// An array of bytes.
pub fn bytes(bytes: &[u8]) -> Value {
    Value::Array("y".into(), bytes.iter().copied().map(Value::Byte).collect())
}

impl Value {
    /// The type in D-Bus's letters.
    pub fn signature(&self) -> String {
        match self {
            Self::Bool(_) => "b".into(),
            Self::Byte(_) => "y".into(),
            Self::Int16(_) => "n".into(),
            Self::Uint16(_) => "q".into(),
            Self::Int32(_) => "i".into(),
            Self::Uint32(_) => "u".into(),
            Self::Int64(_) => "x".into(),
            Self::Uint64(_) => "t".into(),
            Self::Text(_) => "s".into(),
            Self::Array(of, _) => format!("a{of}"),
            Self::Variant(_) => "v".into(),
            Self::Struct(fields) => format!("({})", fields.iter().map(Self::signature).collect::<String>()),
        }
    }

    fn number(&self) -> Option<i128> {
        Some(match self {
            Self::Byte(n) => (*n).into(),
            Self::Int16(n) => (*n).into(),
            Self::Uint16(n) => (*n).into(),
            Self::Int32(n) => (*n).into(),
            Self::Uint32(n) => (*n).into(),
            Self::Int64(n) => (*n).into(),
            Self::Uint64(n) => (*n).into(),
            _ => return None,
        })
    }
}

impl fmt::Display for Value {
    /// As [`parse`] reads it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |f: &mut fmt::Formatter<'_>, items: &[Self]| {
            items.iter().enumerate().try_for_each(|(i, item)| write!(f, "{}{item}", if i > 0 { ", " } else { "" }))
        };
        match self {
            Self::Bool(b) => write!(f, "{b}"),
            Self::Byte(n) => write!(f, "byte {n}"),
            Self::Int16(n) => write!(f, "int16 {n}"),
            Self::Uint16(n) => write!(f, "uint16 {n}"),
            Self::Int32(n) => write!(f, "{n}"),
            Self::Uint32(n) => write!(f, "uint32 {n}"),
            Self::Int64(n) => write!(f, "int64 {n}"),
            Self::Uint64(n) => write!(f, "uint64 {n}"),
            Self::Text(s) => write!(f, "'{}'", s.replace('\\', "\\\\").replace('\'', "\\'")),
            Self::Array(of, items) if items.is_empty() => write!(f, "@a{of} []"),
            Self::Array(_, items) => {
                f.write_str("[")?;
                list(f, items)?;
                f.write_str("]")
            }
            Self::Variant(value) => write!(f, "<{value}>"),
            Self::Struct(fields) => {
                f.write_str("(")?;
                list(f, fields)?;
                f.write_str(if fields.len() == 1 { ",)" } else { ")" })
            }
        }
    }
}

/// Reads one value.
///
/// # Errors
/// What is wrong with the text, in a few words.
pub fn parse(text: &str) -> Result<Value, String> {
    let mut reader = Reader { rest: text };
    let value = reader.value(0)?;
    reader.space();
    if reader.rest.is_empty() { Ok(value) } else { Err(format!("{:?} follows the value", reader.rest)) }
}

/// Reads a number of seconds, of any type, as what systemd wants: microseconds in 64 bits.
///
/// # Errors
/// As [`parse`]; and for what is no number, or is negative or too large.
pub fn parse_seconds(text: &str) -> Result<Value, String> {
    const MICROS: i128 = 1_000_000;
    let word = text.trim();
    let micros = match word.strip_prefix("double ").unwrap_or(word).trim().parse::<f64>() {
        Ok(seconds) if word.contains('.') => Some((seconds * MICROS as f64) as i128),
        _ => parse(text)?.number().map(|seconds| seconds * MICROS),
    };
    let micros = micros.ok_or("a number of seconds is wanted")?;
    u64::try_from(micros).map(Value::Uint64).map_err(|_| "the number of seconds is out of range".into())
}

/// Type words before a number, and their letters.
const NUMBERS: &[(&str, &str)] = &[
    ("byte", "y"),
    ("int16", "n"),
    ("uint16", "q"),
    ("int32", "i"),
    ("uint32", "u"),
    ("int64", "x"),
    ("uint64", "t"),
    ("boolean", "b"),
    ("string", "s"),
];

struct Reader<'a> {
    rest: &'a str,
}

impl<'a> Reader<'a> {
    fn space(&mut self) {
        self.rest = self.rest.trim_start();
    }

    fn eat(&mut self, c: char) -> bool {
        self.space();
        let rest = self.rest.strip_prefix(c);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    /// Letters, digits and signs up to whatever ends a word.
    fn word(&mut self) -> &'a str {
        self.space();
        let end = self.rest.find(|c: char| !c.is_ascii_alphanumeric() && !"+-.".contains(c));
        let (word, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
        self.rest = rest;
        word
    }

    fn value(&mut self, depth: u32) -> Result<Value, String> {
        if depth > MAX_DEPTH {
            return Err("it is nested too deeply".into());
        }
        self.space();
        match self.rest.chars().next() {
            None => Err("a value is missing".into()),
            Some('\'' | '"') => self.text().map(Value::Text),
            Some('[') => self.array(None, depth),
            Some('(') => self.tuple(depth),
            Some('@') => self.annotated(depth),
            Some(_) => self.scalar(),
        }
    }

    fn scalar(&mut self) -> Result<Value, String> {
        let word = self.word();
        match word {
            "true" => return Ok(Value::Bool(true)),
            "false" => return Ok(Value::Bool(false)),
            _ => {}
        }
        let Some((_, letter)) = NUMBERS.iter().find(|(name, _)| *name == word) else {
            // Without a type a number is an int32.
            return number("i", word);
        };
        self.space();
        match *letter {
            "s" => self.text().map(Value::Text),
            "b" => match self.word() {
                "true" => Ok(Value::Bool(true)),
                "false" => Ok(Value::Bool(false)),
                other => Err(format!("{other:?} is neither true nor false")),
            },
            letter => number(letter, self.word()),
        }
    }

    /// `'…'` or `"…"`, with C's escapes.
    fn text(&mut self) -> Result<String, String> {
        let mut chars = self.rest.chars();
        let quote = chars.next().filter(|c| matches!(c, '\'' | '"')).ok_or("a text begins with a quote")?;
        let mut text = String::new();
        loop {
            let c = match chars.next() {
                None => return Err("a text has no end".into()),
                Some(c) if c == quote => break,
                Some('\\') => match chars.next() {
                    Some('n') => '\n',
                    Some('t') => '\t',
                    Some(c @ ('\\' | '\'' | '"')) => c,
                    other => return Err(format!("\\{} is no escape", other.map_or(String::new(), String::from))),
                },
                Some('\0') => return Err("a text has a NUL byte".into()),
                Some(c) => c,
            };
            text.push(c);
        }
        self.rest = chars.as_str();
        Ok(text)
    }

    /// `of`: the items' signature, where it was said beforehand.
    fn array(&mut self, of: Option<&str>, depth: u32) -> Result<Value, String> {
        self.eat('[');
        let mut items: Vec<Value> = Vec::new();
        if !self.eat(']') {
            loop {
                let item = match (of, self.rest.trim_start().chars().next()) {
                    // A number takes the type that was said.
                    (Some(of), Some('0'..='9' | '-' | '+')) => number(of, self.word())?,
                    _ => self.value(depth + 1)?,
                };
                items.push(item);
                if self.eat(']') {
                    break;
                }
                if !self.eat(',') {
                    return Err("a comma or ] is missing in an array".into());
                }
            }
        }
        let of = match (of, items.first()) {
            (Some(of), _) => of.to_owned(),
            (None, Some(first)) => first.signature(),
            (None, None) => return Err("an empty array needs its type, as in @as []".into()),
        };
        match items.iter().find(|item| item.signature() != of) {
            None => Ok(Value::Array(of, items)),
            Some(other) => Err(format!("the array's items are not all of type {of:?}: {other}")),
        }
    }

    fn tuple(&mut self, depth: u32) -> Result<Value, String> {
        self.eat('(');
        let mut fields = Vec::new();
        while !self.eat(')') {
            fields.push(self.value(depth + 1)?);
            if !self.eat(',') {
                if !self.eat(')') {
                    return Err("a comma or ) is missing in a tuple".into());
                }
                break;
            }
        }
        if fields.is_empty() { Err("a tuple is empty".into()) } else { Ok(Value::Struct(fields)) }
    }

    /// `@as ['a']`: the type first.
    fn annotated(&mut self, depth: u32) -> Result<Value, String> {
        self.eat('@');
        let end = self.rest.find(char::is_whitespace).ok_or("a type is followed by a value")?;
        let (signature, rest) = self.rest.split_at(end);
        self.rest = rest;
        self.space();
        let value = match (signature.strip_prefix('a'), self.rest.chars().next()) {
            (Some(of), Some('[')) => self.array(Some(of), depth)?,
            (None, Some('0'..='9' | '-' | '+')) => number(signature, self.word())?,
            _ => self.value(depth + 1)?,
        };
        let known = |c: char| "bynqiuxtsa()".contains(c);
        if value.signature() != signature || !signature.chars().all(known) {
            return Err(format!("{value} is not of type {signature:?}"));
        }
        Ok(value)
    }
}

fn number(letter: &str, word: &str) -> Result<Value, String> {
    let digits = word.strip_prefix('+').unwrap_or(word);
    let (negative, digits) = match digits.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, digits),
    };
    let parsed = match digits.strip_prefix("0x") {
        Some(hex) => i128::from_str_radix(hex, 16),
        None => digits.parse(),
    };
    let magnitude = parsed.ok().filter(|n| *n >= 0 && digits.starts_with(|c: char| c.is_ascii_digit()));
    let n = magnitude.map(|n| if negative { -n } else { n }).ok_or_else(|| format!("{word:?} is no value"))?;
    let value = match letter {
        "y" => u8::try_from(n).map(Value::Byte).ok(),
        "n" => i16::try_from(n).map(Value::Int16).ok(),
        "q" => u16::try_from(n).map(Value::Uint16).ok(),
        "i" => i32::try_from(n).map(Value::Int32).ok(),
        "u" => u32::try_from(n).map(Value::Uint32).ok(),
        "x" => i64::try_from(n).map(Value::Int64).ok(),
        "t" => u64::try_from(n).map(Value::Uint64).ok(),
        other => return Err(format!("{word} is not of type {other:?}")),
    };
    value.ok_or_else(|| format!("{word} is out of the range of its type (write, say, uint64 {word})"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_and_written_alike() {
        let text = |s: &str| Value::Text(s.into());
        for (given, value, written) in [
            ("true", Value::Bool(true), "true"),
            (" -5 ", Value::Int32(-5), "-5"),
            ("0x10", Value::Int32(16), "16"),
            ("uint64 18446744073709551615", Value::Uint64(u64::MAX), "uint64 18446744073709551615"),
            ("int64 -1", Value::Int64(-1), "int64 -1"),
            ("byte 255", Value::Byte(255), "byte 255"),
            ("'inactive-or-failed'", text("inactive-or-failed"), "'inactive-or-failed'"),
            (r#""it's""#, text("it's"), r"'it\'s'"),
            (r"'a\\b'", text(r"a\b"), r"'a\\b'"),
            ("['a', \"b\"]", Value::Array("s".into(), vec![text("a"), text("b")]), "['a', 'b']"),
            ("@as []", Value::Array("s".into(), vec![]), "@as []"),
            ("@ay [1,0x2]", bytes(&[1, 2]), "[byte 1, byte 2]"),
            ("@t 5", Value::Uint64(5), "uint64 5"),
            (
                "[('/dev/null', 'rw')]",
                Value::Array("(ss)".into(), vec![Value::Struct(vec![text("/dev/null"), text("rw")])]),
                "[('/dev/null', 'rw')]",
            ),
        ] {
            assert_eq!(parse(given).as_ref(), Ok(&value), "{given}");
            assert_eq!(value.to_string(), written);
            assert_eq!(parse(written).as_ref(), Ok(&value), "{written}");
        }
    }

    #[test]
    fn what_is_no_value_is_refused() {
        let deep = "[".repeat(100_000);
        for bad in [
            "",
            "tru",
            "1.5",
            "5 6",
            "'a",
            "'\\q'",
            "['a', 1]",
            "[]",
            "['a'",
            "['a' 'b']",
            "()",
            "(1",
            "@as",
            "@as ['a', 1]",
            "@zz 5",
            "uint64",
            "uint64 -1",
            "byte 256",
            "2147483648",
            "--5",
            "{'a': 1}",
            "<5>",
            "nothing",
            &deep,
        ] {
            assert!(parse(bad).is_err(), "{bad:.20}: {:?}", parse(bad));
        }
    }

    #[test]
    fn seconds_become_microseconds() {
        for (given, micros) in [("5", 5_000_000), ("uint64 2", 2_000_000), ("1.5", 1_500_000), ("0", 0)] {
            assert_eq!(parse_seconds(given), Ok(Value::Uint64(micros)), "{given}");
        }
        for bad in ["-1", "'5'", "true", "uint64 18446744073709551615", "-1.5", "x"] {
            assert!(parse_seconds(bad).is_err(), "{bad}");
        }
    }
}
