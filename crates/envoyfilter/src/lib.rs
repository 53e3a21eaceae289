//! EnvoyFilter: what the objects of this kind change in the xDS that a proxy is served. It stands between
//! the encoder and the proxy's session: resources go in as bytes, patched resources come out, so that real
//! Envoy gets exactly what Istio would send it, and our proxy reads the same and refuses by name what it
//! cannot carry out.
//!
//! [`Patch`] is one patch, read and checked once ([`read`]); [`admission`] says what is wrong; [`Patcher`] keeps them for all objects and
//! applies those that select a proxy ([`select`]), in Istio's order.

mod admission;
mod cluster;
mod descriptors;
mod insert;
mod listener;
mod merge;
mod message;
mod patcher;
mod read;
mod route;
mod select;

pub use admission::admission;
pub use patcher::{Identity, Patched, Patcher, Resources, Selected};
pub use read::Patch;
pub use select::Target;
