//! The Kubernetes API as the control plane sees it: watches as one stream of changes, a few reads
//! and writes of whole objects, reviews of tokens. The only user of the crate `kube`, so that it can
//! be replaced; objects cross this border as JSON values.

mod client;
mod resource;
mod watch;

pub use client::{Client, Error};
pub use resource::Resource;
pub use watch::{Change, watch};

pub mod connection;

pub use kube::api::LogParams;
