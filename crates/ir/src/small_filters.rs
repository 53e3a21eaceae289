//! Filters with little to say.

use crate::{RegexRewrite, Str};

/// `envoy.extensions.filters.http.header_to_metadata.v3.Config`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct HeaderToMetadata {
    pub rules: Vec<MetadataRule>,
}

/// What a field of the request, or its absence, says.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct MetadataRule {
    pub from: MetadataSource,
    pub present: Option<MetadataEntry>,
    pub missing: Option<MetadataEntry>,
    pub remove: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum MetadataSource {
    Header(Str),
    Cookie(Str),
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct MetadataEntry {
    /// Empty is the name of the filter in Envoy.
    pub namespace: Str,
    pub key: Str,
    /// In place of the field's value; empty is that value.
    pub value: Str,
    pub rewrite: Option<RegexRewrite>,
    pub number: bool,
    pub base64: bool,
}
