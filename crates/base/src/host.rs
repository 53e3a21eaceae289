//! Host names as routing sees them: lower case, perhaps with a wildcard as the leftmost label, and
//! the rules for short names and for which of two names is the more specific.

use serde::{Deserialize, Serialize};
use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

/// A lower-case DNS name, `*.suffix`, or `*`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Host(Arc<str>);

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("host {0:?} is neither a DNS name, nor \"*\", nor a name whose first label is \"*\"")]
pub struct InvalidHost(pub String);

impl Host {
    /// Takes any host in configuration or on the wire, without a port.
    pub fn parse(s: &str) -> Result<Host, InvalidHost> {
        let rest = s.strip_prefix("*.").unwrap_or(if s == "*" { "any" } else { s });
        let rest = rest.strip_suffix('.').unwrap_or(rest);
        let label_ok = |l: &str| {
            (1..=63).contains(&l.len())
                && l.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
                && !l.starts_with('-')
                && !l.ends_with('-')
        };
        if rest.len() > 253 || !rest.split('.').all(label_ok) {
            return Err(InvalidHost(s.to_owned()));
        }
        Ok(Host(s.strip_suffix('.').unwrap_or(s).to_ascii_lowercase().into()))
    }

    /// Resolves a name written in an object of `namespace`: one label alone is a Kubernetes service
    /// there; anything with a dot or a wildcard, and any IP address, stands as it is
    /// (networking.istio.io, `Destination.host`).
    pub fn resolve(name: &str, namespace: &str, domain: &str) -> Result<Host, InvalidHost> {
        if name.contains(['.', '*', ':']) {
            return Host::parse_or_ip(name);
        }
        Host::parse(&format!("{name}.{namespace}.svc.{domain}"))
    }

    fn parse_or_ip(name: &str) -> Result<Host, InvalidHost> {
        match name.parse::<std::net::IpAddr>() {
            Ok(ip) => Ok(Host(ip.to_string().into())),
            Err(_) => Host::parse(name),
        }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub fn is_wildcard(&self) -> bool {
        self.0.starts_with('*')
    }

    /// Whether every name that `other` stands for is one that `self` stands for.
    pub fn covers(&self, other: &Host) -> bool {
        match self.0.strip_prefix('*') {
            Some(suffix) => {
                other.0.trim_start_matches('*').ends_with(suffix) && {
                    // `*.a` covers neither `a` nor `.a`: something must stand for the star.
                    other.is_wildcard() || other.0.len() > suffix.len()
                }
            }
            None => self == other,
        }
    }

    /// Whether some name is meant by both.
    pub fn overlaps(&self, other: &Host) -> bool {
        self.covers(other) || other.covers(self)
    }

    /// Most specific first: exact names before wildcards, longer wildcards before shorter ones.
    pub fn by_specificity(&self, other: &Host) -> Ordering {
        (self.is_wildcard(), std::cmp::Reverse(self.0.len()), &self.0).cmp(&(
            other.is_wildcard(),
            std::cmp::Reverse(other.0.len()),
            &other.0,
        ))
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(s: &str) -> Host {
        Host::parse(s).unwrap()
    }

    #[test]
    fn names_are_checked_and_lowered() {
        assert_eq!(
            host("Reviews.Default.svc.cluster.local.").as_str(),
            "reviews.default.svc.cluster.local"
        );
        for bad in ["", "a..b", "a.*", "*a.com", "-a.com", "a b", "a/b", "a:80", "**"] {
            assert!(Host::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn short_names_belong_to_the_namespace_of_the_object() {
        let resolve = |n| Host::resolve(n, "prod", "cluster.local").unwrap().to_string();
        assert_eq!(resolve("reviews"), "reviews.prod.svc.cluster.local");
        assert_eq!(resolve("reviews.qa"), "reviews.qa");
        assert_eq!(resolve("*.example.com"), "*.example.com");
        assert_eq!(resolve("10.0.0.1"), "10.0.0.1");
        assert_eq!(resolve("2001:DB8::1"), "2001:db8::1");
    }

    #[test]
    fn covering() {
        let table = [
            ("*", "a.b", true),
            ("*", "*", true),
            ("*.b", "a.b", true),
            ("*.b", "x.a.b", true),
            ("*.b", "*.a.b", true),
            ("*.b", "*.b", true),
            ("*.b", "b", false),
            ("*.a.b", "*.b", false),
            ("a.b", "a.b", true),
            ("a.b", "*.b", false),
        ];
        for (a, b, expected) in table {
            assert_eq!(host(a).covers(&host(b)), expected, "{a} covers {b}");
        }
    }

    #[test]
    fn the_most_specific_comes_first() {
        let mut hosts = ["*", "*.com", "b.com", "*.a.com", "a.com"].map(host);
        hosts.sort_by(Host::by_specificity);
        assert_eq!(hosts.map(|h| h.to_string()), ["a.com", "b.com", "*.a.com", "*.com", "*"]);
    }
}
