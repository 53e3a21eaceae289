//! For whom a token may be.

use std::collections::BTreeSet;

/// The audiences of which a token must name one; without any, all tokens are for us. A scheme and a
/// slash at the end make no difference, as in Envoy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Audiences(BTreeSet<String>);

impl Audiences {
    pub fn new<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        Self(names.into_iter().map(|name| bare(name).to_owned()).collect())
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn allow<'a>(&self, named: impl IntoIterator<Item = &'a str>) -> bool {
        self.0.is_empty() || named.into_iter().any(|name| self.0.contains(bare(name)))
    }
}

fn bare(name: &str) -> &str {
    let rest = name.strip_prefix("http://").or_else(|| name.strip_prefix("https://"));
    let rest = rest.unwrap_or(name);
    rest.strip_suffix('/').unwrap_or(rest)
}
