//! The DNS proxy of a pod. Queries of the application are redirected to 15053; names that the control
//! plane told are answered here, all others are passed on to the name servers of the pod.
//!
//! Flow: `server` (sockets) -> [`policy::dns`] (pure) -> `upstream` (other names). `own` is the resolver of the
//! proxy itself, whose queries must not come back here.

mod counters;
mod own;
mod resolv;
mod server;
mod upstream;

pub(crate) use own::Own;
pub(crate) use resolv::ResolvConf;
pub use server::Names;
pub(crate) use server::start;
pub(crate) use upstream::Upstream;
