//! Limits by domain and descriptor, and how often each was reached in its window.

use std::collections::HashMap;

use anyhow::Context;
use serde::Deserialize;

#[derive(Debug, Default)]
pub struct Limits {
    domains: HashMap<String, Vec<Rule>>,
    /// By domain and entries.
    counts: HashMap<String, Count>,
}

#[derive(Debug, Default)]
struct Count {
    /// The second in which its window is over.
    end: u64,
    hits: u64,
}

/// Counts that are kept. Those whose windows are over make room; where none is, what is new is over its limit:
/// otherwise whoever sends enough values would be counted anew.
const MAX_COUNTS: usize = 100_000;

#[derive(Debug, Deserialize)]
struct Domain {
    domain: String,
    #[serde(default)]
    descriptors: Vec<Rule>,
}

/// An entry of a descriptor; without a value it is for each value by itself.
#[derive(Debug, Deserialize)]
struct Rule {
    key: String,
    #[serde(default)]
    value: String,
    rate_limit: Option<Rate>,
    #[serde(default)]
    descriptors: Vec<Rule>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
struct Rate {
    unit: Unit,
    #[serde(default)]
    requests_per_unit: u64,
    #[serde(default)]
    unlimited: bool,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Unit {
    Second,
    Minute,
    Hour,
    Day,
}

impl Limits {
    pub fn add(&mut self, yaml: &str) -> anyhow::Result<()> {
        let domain: Domain =
            serde_yaml_ng::from_str(yaml).context("not a configuration of limits")?;
        self.domains.entry(domain.domain).or_default().extend(domain.descriptors);
        Ok(())
    }

    /// Whether the descriptor is within its limit, which this request counts for.
    pub fn take(&mut self, domain: &str, entries: &[(&str, &str)], hits: u32, now: u64) -> bool {
        let rules = self.domains.get(domain).map(Vec::as_slice).unwrap_or_default();
        let Some(rate) = rate_of(rules, entries).filter(|r| !r.unlimited) else { return true };
        let seconds = match rate.unit {
            Unit::Second => 1,
            Unit::Minute => 60,
            Unit::Hour => 3600,
            Unit::Day => 86_400,
        };
        let key = format!("{domain} {entries:?}");
        if self.counts.len() >= MAX_COUNTS && !self.counts.contains_key(&key) {
            self.counts.retain(|_, count| count.end > now);
            if self.counts.len() >= MAX_COUNTS {
                return false;
            }
        }
        let count = self.counts.entry(key).or_default();
        if count.end <= now {
            *count = Count { end: (now / seconds + 1) * seconds, hits: 0 };
        }
        count.hits += u64::from(hits);
        count.hits <= rate.requests_per_unit
    }
}

/// Entry by entry, a rule of the value before one of any; the limit stands at the last entry.
fn rate_of(rules: &[Rule], entries: &[(&str, &str)]) -> Option<Rate> {
    let ((key, value), rest) = entries.split_first()?;
    let exactly = rules.iter().find(|r| r.key == *key && r.value == *value);
    let rule = exactly.or_else(|| rules.iter().find(|r| r.key == *key && r.value.is_empty()))?;
    if rest.is_empty() { rule.rate_limit } else { rate_of(&rule.descriptors, rest) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_value_has_its_limit_in_each_window() {
        let mut limits = Limits::default();
        let yaml = "
domain: shop
descriptors:
  - key: PATH
    value: /productpage
    rate_limit: { unit: minute, requests_per_unit: 1 }
  - key: PATH
    rate_limit: { unit: minute, requests_per_unit: 2 }
  - key: user
    descriptors:
      - key: PATH
        rate_limit: { unit: second, requests_per_unit: 1 }
";
        limits.add(yaml).unwrap();
        let mut take = |entries: &[(&str, &str)], now| limits.take("shop", entries, 1, now);
        assert!(take(&[("PATH", "/productpage")], 60));
        assert!(!take(&[("PATH", "/productpage")], 119));
        assert!(take(&[("PATH", "/productpage")], 120));
        assert!(take(&[("PATH", "/a")], 60) && take(&[("PATH", "/a")], 60));
        assert!(!take(&[("PATH", "/a")], 60) && take(&[("PATH", "/b")], 60));
        let nested = [("user", "jason"), ("PATH", "/a")];
        assert!(take(&nested, 1) && !take(&nested, 1) && take(&nested, 2));
        assert!(take(&[("unknown", "x")], 1) && take(&[("user", "jason")], 1));
    }

    #[test]
    fn making_room_forgets_no_window_that_is_running() {
        let mut limits = Limits::default();
        let yaml = "
domain: shop
descriptors:
  - key: hour
    rate_limit: { unit: hour, requests_per_unit: 1 }
  - key: second
    rate_limit: { unit: second, requests_per_unit: 1 }
";
        limits.add(yaml).unwrap();
        assert!(limits.take("shop", &[("hour", "mine")], 1, 1));
        for value in 1..MAX_COUNTS {
            assert!(limits.take("shop", &[("second", &value.to_string())], 1, 1));
        }
        let mut take = |key, value, now| limits.take("shop", &[(key, value)], 1, now);
        assert!(!take("second", "new", 1), "there is room for no more");
        assert!(take("second", "new", 2), "what is over made room");
        assert!(!take("hour", "mine", 3599) && take("hour", "mine", 3600));
    }

    #[test]
    fn what_is_no_configuration_is_said() {
        assert!(Limits::default().add("domain: a\ndescriptors: 3").is_err());
    }
}
