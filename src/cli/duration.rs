//! Durations as Go's programs write them: `5s`, `1m30s`, `1.5h`, `100ms`.

use std::time::Duration;

use crate::error::InputError;

/// In nanoseconds.
const UNITS: &[(&str, f64)] =
    &[("ns", 1.0), ("us", 1e3), ("µs", 1e3), ("μs", 1e3), ("ms", 1e6), ("s", 1e9), ("m", 60e9), ("h", 3600e9)];

/// A duration given by `flag`.
///
/// # Errors
/// It is none, or not longer than nothing (in runc's words).
pub fn parse(flag: &str, text: &str) -> Result<Duration, InputError> {
    let refuse = |what: String| InputError::new(flag, what).hint("a number with a unit, such as 500ms, 5s or 1m30s");
    let (negative, unsigned) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let nanoseconds = nanoseconds(unsigned).ok_or_else(|| refuse(format!("invalid duration {text:?}")))?;
    if negative || nanoseconds < 1.0 {
        return Err(refuse("duration interval must be greater than 0".to_owned()));
    }
    // Go counts nanoseconds in an i64.
    if nanoseconds > i64::MAX as f64 {
        return Err(refuse(format!("invalid duration {text:?}: too long")));
    }
    Ok(Duration::from_nanos(nanoseconds as u64))
}

fn nanoseconds(text: &str) -> Option<f64> {
    if text == "0" {
        return Some(0.0);
    }
    let mut rest = text;
    let mut total = 0.0;
    while !rest.is_empty() {
        let (number, after) = rest.split_at(rest.find(|c: char| c != '.' && !c.is_ascii_digit())?);
        let unit = after.find(|c: char| c == '.' || c.is_ascii_digit()).unwrap_or(after.len());
        let (unit, after) = after.split_at(unit);
        let (_, size) = UNITS.iter().find(|(name, _)| *name == unit)?;
        total += number.parse::<f64>().ok()? * size;
        rest = after;
    }
    (!text.is_empty()).then_some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_gos() {
        for (text, nanoseconds) in [
            ("5s", 5_000_000_000),
            ("+5s", 5_000_000_000),
            ("100ms", 100_000_000),
            ("1m30s", 90_000_000_000),
            ("1.5h", 5_400_000_000_000),
            (".5s", 500_000_000),
            ("1h1m1s1ms1us1ns", 3_661_001_001_001),
            ("2µs", 2_000),
        ] {
            assert_eq!(parse("--x", text), Ok(Duration::from_nanos(nanoseconds)), "{text}");
        }
    }

    #[test]
    fn what_is_none_is_refused() {
        for text in ["", "5", "s", "5x", "5 s", "1s5", "--5s", ".s", "1.2.3s", "300000000h"] {
            let error = parse("--interval", text).unwrap_err().to_string();
            assert!(error.starts_with("--interval: invalid duration"), "{text}: {error}");
        }
        for text in ["0", "0s", "-5s"] {
            let error = parse("--interval", text).unwrap_err().to_string();
            assert!(error.contains("duration interval must be greater than 0"), "{text}: {error}");
        }
    }
}
