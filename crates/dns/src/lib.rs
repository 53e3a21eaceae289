//! Names to addresses: a table of what the cluster knows, an answer computed from it without I/O, and
//! a small server over UDP and TCP that forwards what the table does not know.

mod answer;
mod server;
mod zone;

pub use answer::{Reply, answer};
pub use server::{Server, Upstreams};
pub use zone::{Record, Zone};
