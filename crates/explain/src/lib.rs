//! Where a request goes, and which field of which object sends it there. Pure: the world is compiled for
//! the client's proxy, and the very code that the proxy runs (`policy`) decides over the result while a
//! trace listens. Nothing about routing is written a second time here.
//!
//! Flow: [`Asked`] (what the client does) -> `destination` (the address that DNS gives it) -> `outbound`
//! (listener, chain, route, clusters) -> [`Explanation`], which prints itself as text or JSON.

mod asked;
mod destination;
mod outbound;
mod show;

pub use asked::{Asked, InvalidRequest};
pub use outbound::{Client, explain};

use base::Origin;

/// What happens to a request, step by step.
#[derive(Clone, Debug, PartialEq)]
pub struct Explanation {
    pub request: String,
    /// The address that the client connects to, and the service it belongs to.
    pub destination: Node,
    pub listener: Node,
    pub virtual_host: Option<Node>,
    /// Routes that were looked at before the one that was taken, in order.
    pub skipped: Vec<Skipped>,
    pub route: Option<Node>,
    pub verdict: Verdict,
}

/// One piece of configuration, and who wrote it (nobody: it is a default).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    pub name: String,
    pub origin: Option<Origin>,
}

/// A route that did not match, and the condition that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skipped {
    pub route: Node,
    pub because: &'static str,
}

/// What becomes of it in the end.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// Answered by the proxy itself.
    Answered {
        status: u16,
        why: String,
    },
    Redirected {
        status: u16,
        location: String,
    },
    /// Sent on, to one of these.
    Forwarded {
        picks: Vec<Pick>,
        details: Vec<(&'static str, String)>,
    },
    /// Forwarded as bytes, without being looked at.
    Bytes {
        picks: Vec<Pick>,
    },
}

/// One cluster that the request may go to.
#[derive(Clone, Debug, PartialEq)]
pub struct Pick {
    pub cluster: Node,
    /// Of a hundred.
    pub percent: f64,
    /// Nothing defines the cluster: the proxy answers 503.
    pub missing: bool,
    pub endpoints: Vec<Endpoint>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    pub address: String,
    pub weight: u32,
    pub priority: u32,
    pub healthy: bool,
}

impl Explanation {
    /// Of the routes that did not match the one that came nearest: its path was right, and something
    /// else was not.
    pub fn nearest_miss(&self) -> Option<&Skipped> {
        self.skipped.iter().find(|s| s.because != "path")
    }
}
