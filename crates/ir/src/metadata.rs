//! What filters say of a request to those that come after them, and how it is matched.

use crate::{Str, StringMatch};

/// `envoy.type.matcher.v3.MetadataMatcher`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct MetadataMatch {
    /// The filter that has said it.
    pub filter: Str,
    pub path: Vec<Str>,
    pub value: ValueMatch,
    pub invert: bool,
}

/// `envoy.type.matcher.v3.ValueMatcher`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ValueMatch {
    Null,
    Bool(bool),
    Text(StringMatch),
    Present(bool),
    /// One of a list's values matches.
    OneOf(Box<ValueMatch>),
    Any(Vec<ValueMatch>),
}
