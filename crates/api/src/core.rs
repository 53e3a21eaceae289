//! The Kubernetes objects that we read, with only the fields that we use.

pub mod config_map;
pub mod endpoint_slice;
pub mod ingress;
pub mod namespace;
pub mod node;
pub mod pod;
pub mod secret;
pub mod service;
