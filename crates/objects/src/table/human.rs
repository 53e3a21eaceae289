//! Durations as Kubernetes' tools write them.

const MINUTE: i64 = 60;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;
const YEAR: i64 = 365 * DAY;

/// Two units where the second still matters, else one.
pub fn duration(seconds: i64) -> String {
    let two = |big: i64, b: &str, small: i64, s: &str| match (seconds % big) / small {
        0 => format!("{}{b}", seconds / big),
        rest => format!("{}{b}{rest}{s}", seconds / big),
    };
    match seconds {
        s if s < -1 => "<invalid>".to_owned(),
        s if s < 0 => "0s".to_owned(),
        s if s < 2 * MINUTE => format!("{s}s"),
        s if s < 10 * MINUTE => two(MINUTE, "m", 1, "s"),
        s if s < 3 * HOUR => format!("{}m", s / MINUTE),
        s if s < 8 * HOUR => two(HOUR, "h", MINUTE, "m"),
        s if s < 2 * DAY => format!("{}h", s / HOUR),
        s if s < 8 * DAY => two(DAY, "d", HOUR, "h"),
        s if s < 2 * YEAR => format!("{}d", s / DAY),
        s if s < 8 * YEAR => two(YEAR, "y", DAY, "d"),
        s => format!("{}y", s / YEAR),
    }
}

/// Time since an RFC 3339 timestamp.
pub fn ago(timestamp: Option<&str>, now: i64) -> String {
    match timestamp.and_then(|t| t.parse::<jiff::Timestamp>().ok()) {
        Some(then) => duration(now - then.as_second()),
        None => "<unknown>".to_owned(),
    }
}
