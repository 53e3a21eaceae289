//! Protobuf messages: Envoy resources re-exported, discovery service, Istio CA, NDS and debug services.

pub mod ca;
pub mod discovery;
pub mod names;

pub use envoy_types::pb as envoy;
