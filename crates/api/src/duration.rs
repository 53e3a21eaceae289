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
        base::duration(s).map(Duration).ok_or_else(invalid)
    }
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
