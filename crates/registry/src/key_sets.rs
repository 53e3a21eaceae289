//! The keys of issuers by where they were fetched from. Who fetches them puts them here; a place that is
//! not here is one that nobody has answered for yet, and its tokens are refused.

use std::collections::BTreeMap;
use std::sync::Arc;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeySets {
    pub version: u64,
    by_source: BTreeMap<KeySource, Arc<str>>,
}

/// Where keys are said to be.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum KeySource {
    /// A URI of the key set.
    Uri(String),
    /// An issuer, whose discovery document names the URI.
    Issuer(String),
}

impl KeySource {
    /// `None`: the rule has its keys with it.
    pub fn of(rule: &api::JwtRule) -> Option<KeySource> {
        match (&*rule.jwks, &*rule.jwks_uri) {
            ("", "") => Some(KeySource::Issuer(rule.issuer.clone())),
            ("", uri) => Some(KeySource::Uri(uri.to_owned())),
            _ => None,
        }
    }
}

impl KeySets {
    pub fn get(&self, source: &KeySource) -> Option<&Arc<str>> {
        self.by_source.get(source)
    }

    /// Says whether that is news.
    pub(crate) fn put(&mut self, version: u64, source: KeySource, keys: Option<&str>) -> bool {
        let same = self.by_source.get(&source).map(|k| &**k) == keys;
        if same {
            return false;
        }
        self.version = version;
        match keys {
            Some(keys) => drop(self.by_source.insert(source, keys.into())),
            None => drop(self.by_source.remove(&source)),
        }
        true
    }
}
