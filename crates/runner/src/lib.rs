//! Pods as processes in network namespaces: the node of the embedded cluster.

pub mod env;
pub mod images;
pub mod pod;
pub mod shim;
pub mod volumes;
