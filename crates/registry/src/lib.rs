//! Objects in, one immutable [`Snapshot`] out: services, endpoints, workloads and configuration,
//! indexed by what the compiler asks for. There is one writer, the [`Store`]; a snapshot is cheap,
//! because everything that did not change is shared with the one before. Every part carries the
//! revision at which it last changed, so that what was computed from it can be kept.

mod authorization;
mod automatic;
mod endpoints;
mod entry;
mod ingress;
mod item;
mod key_sets;
mod peers;
mod rules;
mod service;
mod sidecars;
mod snapshot;
mod store;
mod visibility;
mod workload;

pub use authorization::{AuthorizationPolicies, RequestAuthentications};
pub use automatic::Allocation;
pub use endpoints::{EndpointIndex, Identities, Instance, InstanceAddress, ServiceEndpoints};
pub use item::{Collection, Item};
pub use key_sets::{KeySets, KeySource};
pub use peers::{Admission, Admits, Decided, PeerAuthentications};
pub use rules::{DestinationRules, Rule};
pub use service::{Closeness, Resolution, Service, ServiceKey, ServicePort, Services, TargetPort};
pub use sidecars::Sidecars;
pub use snapshot::{Mesh, Snapshot};
pub use store::{Applied, Change, Store};
pub use visibility::ExportTo;
pub use workload::{CLUSTER, Locality, TAKES_MTLS, Workload, Workloads};
