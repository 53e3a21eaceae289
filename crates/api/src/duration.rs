//! Durations as configuration writes them: proto3's `1.5s` and Go's `1h30m`, `100ms`.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::str::FromStr;
use std::time::Duration as Std;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Duration(pub Std);

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not a duration: write a number and a unit, as in \"1.5s\", \"100ms\" or \"1h30m\""
)]
pub struct InvalidDuration(pub String);

impl FromStr for Duration {
    type Err = InvalidDuration;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        let invalid = || InvalidDuration(s.to_owned());
        let mut rest = s.strip_prefix('+').unwrap_or(s);
        if rest.is_empty() {
            return Err(invalid());
        }
        if rest == "0" {
            return Ok(Self::default());
        }
        let mut nanos: u64 = 0;
        while !rest.is_empty() {
            let (part, tail) = take_part(rest).ok_or_else(invalid)?;
            nanos = nanos.checked_add(part).ok_or_else(invalid)?;
            rest = tail;
        }
        Ok(Duration(Std::from_nanos(nanos)))
    }
}

/// One number with its unit, in nanoseconds, and what follows it.
fn take_part(s: &str) -> Option<(u64, &str)> {
    let digits = s.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    let (number, rest) = s.split_at(digits);
    let unit_len = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
    let (unit, tail) = rest.split_at(unit_len);
    let scale: u64 = match unit {
        "ns" => 1,
        "us" | "µs" | "μs" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        _ => return None,
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let mut nanos = whole.checked_mul(scale)?;
    let mut place = scale;
    for digit in fraction.bytes() {
        place /= 10;
        nanos = nanos.checked_add(u64::from(digit.checked_sub(b'0')?) * place)?;
    }
    Some((nanos, tail))
}

impl<'de> Deserialize<'de> for Duration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(D::Error::custom)
    }
}

impl Serialize for Duration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{}s", self.0.as_secs_f64()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_go_and_protobuf_write_them() {
        let table = [
            ("0s", 0),
            ("0", 0),
            ("1.5s", 1_500_000_000),
            ("100ms", 100_000_000),
            ("1h30m", 5_400_000_000_000),
            (".5s", 500_000_000),
            ("2us", 2_000),
            ("0.000000001s", 1),
        ];
        for (text, nanos) in table {
            assert_eq!(text.parse(), Ok(Duration(Std::from_nanos(nanos))), "{text}");
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for text in ["", "5", "s", "-1s", "1 s", "1d", ".s", "1..5s", "99999999999999h", "1.2.3s"] {
            assert!(text.parse::<Duration>().is_err(), "{text}");
        }
    }
}
