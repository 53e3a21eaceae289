//! Deciding per request over plain values: route match, header rewriting, access-log formats.
