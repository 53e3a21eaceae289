//! What the data plane counts and logs, kept so cheaply that it can always be on: counters with one
//! writer that are merged when somebody looks, and access-log lines that are written in batches.
//!
//! A [`Registry`] hands out cells for sets of metrics ([`ClusterStats`], [`HttpStats`], Istio's
//! request metrics, …); each worker adds to them in its own [`Shard`]; `prometheus` and `text` print
//! the sums.

mod cells;
mod envoy;
mod istio;
mod log;
mod prometheus;
mod registry;
mod text;

pub use cells::{Counter, Gauge, Histogram, Shard};
pub use envoy::{
    AuthzStats, ClusterStats, CodeStats, HttpStats, LimitStats, ListenerStats, NetworkAuthzStats,
    RbacStats, Server, TcpStats,
};
pub use istio::{
    MessageCells, Peer, Reporter, RequestCells, RequestLabels, Security, SetCache, TcpCells,
    TcpLabels,
};
pub use log::{LogBuffer, LogError, LogFile, LogFiles};
pub use prometheus::prometheus;
pub use registry::{Registry, Value};
pub use text::{json, text};
