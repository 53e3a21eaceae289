//! Pods as processes in network namespaces: the node of the embedded cluster.

pub mod shim;
