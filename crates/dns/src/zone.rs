//! What the cluster knows of names, as plain data that can be written to a file and read back.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::IpAddr;

/// All names of one cluster. A name of `domain` that is not here does not exist; any other name is
/// somebody else's to answer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Zone {
    /// As in `cluster.local`, lower case, without a dot at the end.
    pub domain: String,
    /// Full names, lower case, without a dot at the end.
    pub names: BTreeMap<String, Record>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Record {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<IpAddr>,
    /// Another name that stands for this one (a Service of type ExternalName).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alias: Option<String>,
    /// `_port._protocol` names: port and target.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub services: Vec<(u16, String)>,
}

impl Record {
    pub fn addresses(addresses: impl IntoIterator<Item = IpAddr>) -> Self {
        Self { addresses: addresses.into_iter().collect(), ..Self::default() }
    }

    pub fn alias(name: impl Into<String>) -> Self {
        Self { alias: Some(name.into()), ..Self::default() }
    }
}

impl Zone {
    pub fn new(domain: impl Into<String>) -> Self {
        Self { domain: domain.into(), names: BTreeMap::new() }
    }

    /// Whether this zone alone decides about the name.
    pub fn owns(&self, name: &str) -> bool {
        name == self.domain
            || name.strip_suffix(&self.domain).is_some_and(|rest| rest.ends_with('.'))
    }

    pub fn get(&self, name: &str) -> Option<&Record> {
        self.names.get(name)
    }

    /// A name above another one exists, though it has no records of its own (RFC 8020).
    pub fn has_children(&self, name: &str) -> bool {
        let suffix = format!(".{name}");
        self.names.keys().any(|n| n.ends_with(&suffix))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zone_owns_what_ends_in_its_domain() {
        let zone = Zone::new("cluster.local");
        assert!(zone.owns("cluster.local"));
        assert!(zone.owns("reviews.default.svc.cluster.local"));
        assert!(!zone.owns("mycluster.local"));
        assert!(!zone.owns("example.com"));
    }

    #[test]
    fn a_zone_reads_back_as_it_was_written() {
        let mut zone = Zone::new("cluster.local");
        zone.names.insert("a.b".into(), Record::addresses(["10.0.0.1".parse().unwrap()]));
        zone.names.insert("c.b".into(), Record::alias("example.com"));
        let text = serde_json::to_string(&zone).unwrap();
        assert_eq!(serde_json::from_str::<Zone>(&text).unwrap(), zone);
    }
}
