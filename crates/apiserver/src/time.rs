//! The clock, as timestamps of objects.

use jiff::Timestamp;

/// Now, to the second, as RFC 3339.
pub fn now() -> String {
    Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

pub fn unix_seconds() -> i64 {
    Timestamp::now().as_second()
}

/// A moment of seconds after the epoch as RFC 3339.
pub fn rfc3339(seconds: i64) -> String {
    Timestamp::from_second(seconds)
        .map(|t| t.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
        .unwrap_or_default()
}
