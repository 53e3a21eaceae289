//! Pods as processes in network namespaces: the node of the embedded cluster.

pub mod cluster;
pub mod dns;
pub mod env;
pub mod holder;
pub mod images;
pub mod kubelet;
pub mod lifecycle;
pub mod pod;
pub mod probe;
pub mod services;
pub mod shim;
pub mod status;
pub mod up;
pub mod volumes;
