//! Bodies that are compressed on their way.

use crate::Str;

/// `envoy.extensions.filters.http.compressor.v3.Compressor`, with gzip.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Compressor {
    /// From 1 to 9; `None` is 6.
    pub level: Option<u32>,
    pub responses: Compressed,
    /// `None`: requests are left alone.
    pub requests: Option<Compressed>,
    pub disable_on_etag: bool,
    pub weaken_etag: bool,
    pub remove_accept_encoding: bool,
    pub uncompressible_codes: Vec<u16>,
}

/// Which bodies.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Compressed {
    pub disabled: bool,
    /// `None` is 30 bytes.
    pub min_length: Option<u32>,
    /// None: what is known to be text.
    pub content_types: Vec<Str>,
}
