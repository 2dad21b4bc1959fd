//! The time of creation as clients parse it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Now, in RFC 3339 with nanoseconds, UTC: `2024-01-31T23:59:59.123456789Z`.
pub fn now() -> String {
    format(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
}

/// A time since the epoch. Trailing zeros of the fraction are dropped, as Go's RFC3339Nano does.
pub fn format(since_epoch: Duration) -> String {
    let seconds = since_epoch.as_secs();
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = date(days);
    let fraction = format!("{:09}", since_epoch.subsec_nanos());
    let fraction = fraction.trim_end_matches('0');
    let dot = if fraction.is_empty() { "" } else { "." };
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{dot}{fraction}Z")
}

/// Year, month and day (from 1) of a day since 1970-01-01, in the Gregorian calendar.
fn date(mut days: u64) -> (u64, u64, u64) {
    let leap = |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let mut year = 1970;
    loop {
        let length = if leap(year) { 366 } else { 365 };
        if days < length {
            break;
        }
        days -= length;
        year += 1;
    }
    let february = if leap(year) { 29 } else { 28 };
    let mut month = 1;
    for length in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    (year, month, days + 1)
}

#[cfg(test)]
mod tests {
    use super::format;
    use std::time::Duration;

    #[test]
    fn times_are_rfc3339_with_nanoseconds() {
        assert_eq!(format(Duration::ZERO), "1970-01-01T00:00:00Z");
        assert_eq!(format(Duration::new(951_782_400, 5)), "2000-02-29T00:00:00.000000005Z");
        assert_eq!(format(Duration::new(1_709_251_199, 120_000_000)), "2024-02-29T23:59:59.12Z");
        assert_eq!(format(Duration::new(4_107_542_400, 0)), "2100-03-01T00:00:00Z");
    }
}
