//! What becomes of a request, and which field of which object sees to it. Pure: the world is compiled for
//! the proxy that the request passes, and the very code that the proxy runs (`policy`) decides over the
//! result while a trace listens. Nothing about routing is written a second time here.
//!
//! Flow: [`Asked`] (what the client does) -> `destination` (the address that DNS gives it) -> `place`
//! (which proxy, and where the connection comes in) -> `connection` (listener and filter chain) ->
//! `request` (virtual host, route, filters) -> `forward` (clusters, what is sent) -> `hints` (what is
//! missing, and what came nearest) -> [`Explanation`], which prints itself as text or JSON.

mod access;
mod asked;
mod because;
mod connection;
mod destination;
mod dns;
mod facts;
mod forward;
mod hints;
mod json;
mod place;
mod request;
mod show;
pub mod suite;

pub use access::{Outcome, Permission, Wish, access};
pub use asked::{Asked, InvalidRequest, Scheme};
pub use destination::service;
pub use dns::{NameAnswer, Named};
pub use place::{Explainer, Side, Workload};

use base::Origin;

/// Which of several possible outcomes are told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Draws {
    /// All, each with its share.
    #[default]
    All,
    /// The one that a proxy comes to whose random numbers stand here.
    From(u64),
}

/// What happens to a request, step by step.
#[derive(Clone, Debug, PartialEq)]
pub struct Explanation {
    pub request: String,
    /// The proxy that is asked.
    pub proxy: String,
    /// The address that the client connects to, and the service it belongs to.
    pub destination: Node,
    pub listener: Node,
    /// Filter chains that did not take the connection.
    pub chains: Vec<Skipped>,
    pub chain: Option<Node>,
    /// The name of the route configuration.
    pub routes: Option<String>,
    pub virtual_host: Option<Node>,
    /// Routes that were looked at before the one that was taken, in order.
    pub skipped: Vec<Skipped>,
    pub route: Option<Node>,
    /// Its place among the routes of the virtual host.
    pub place: Option<u32>,
    pub verdict: Verdict,
    /// The client speaks gRPC and is answered by the proxy: HTTP status 200, and this one of its own kind.
    pub grpc_status: Option<u32>,
    /// Timeout, retries, rewriting and the like.
    pub facts: Vec<Fact>,
    /// What may be missing, and what came nearest.
    pub hints: Vec<Fact>,
    /// The head as the upstream gets it.
    pub sent: Option<Sent>,
    /// Header fields that configuration adds to the answer.
    pub answered_with: Vec<(String, String)>,
}

/// One piece of configuration, and who wrote it (nobody: it is a default).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    pub name: String,
    pub origin: Option<Origin>,
}

/// What was tried and did not match, and the condition that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skipped {
    pub node: Node,
    pub because: String,
    /// Nothing but this condition stood in the way of a request with this path.
    pub near: bool,
}

/// Something that holds for the request, and the field that says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fact {
    pub name: &'static str,
    pub value: String,
    pub origin: Option<Origin>,
}

/// A request as it leaves the proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    pub method: String,
    pub authority: String,
    pub path: String,
    pub fields: Vec<(String, String)>,
}

/// What becomes of it in the end.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// The connection is closed before anything is read from it.
    Closed {
        why: String,
    },
    /// Answered by the proxy itself.
    Answered {
        status: u16,
        by: Answer,
        why: String,
    },
    Redirected {
        status: u16,
        location: String,
    },
    /// Sent on, to one of these.
    Forwarded {
        picks: Vec<Pick>,
    },
    /// Forwarded as bytes, without being looked at.
    Bytes {
        picks: Vec<Pick>,
    },
}

/// Which step of the proxy answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The head is refused before a route is looked for.
    Head,
    NoRoute,
    /// The route says what to answer.
    Route,
    /// The route leads to a cluster that does not exist.
    NoCluster,
    Upgrade,
    Fault,
    Cors,
}

impl Answer {
    pub fn as_str(self) -> &'static str {
        match self {
            Answer::Head => "head",
            Answer::NoRoute => "no-route",
            Answer::Route => "route",
            Answer::NoCluster => "no-cluster",
            Answer::Upgrade => "upgrade",
            Answer::Fault => "fault",
            Answer::Cors => "cors",
        }
    }
}

/// One cluster that the request may go to.
#[derive(Clone, Debug, PartialEq)]
pub struct Pick {
    /// By the field that names it as a destination, where there is one.
    pub cluster: Node,
    /// What defines the cluster: a subset, a traffic policy, a service.
    pub defined: Option<Origin>,
    /// Of a hundred.
    pub percent: f64,
    /// Nothing defines the cluster: the proxy answers 503.
    pub missing: bool,
    /// The proxy proves to endpoints that take it who its workload is.
    pub mutual: bool,
    /// How an endpoint is chosen, and how connections to it are secured.
    pub policy: Vec<Fact>,
    pub endpoints: Vec<Endpoint>,
    /// The endpoint that is drawn, where draws are repeated and nothing but a draw or a hash decides.
    pub chosen: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    pub address: String,
    pub weight: u32,
    pub priority: u32,
    pub healthy: bool,
    /// The pod that has the address.
    pub workload: Option<String>,
}

impl Verdict {
    /// The clusters that the request may go to.
    pub fn picks(&self) -> &[Pick] {
        match self {
            Verdict::Forwarded { picks } | Verdict::Bytes { picks } => picks,
            _ => &[],
        }
    }
}

impl Explanation {
    /// Of the routes that did not match the one that came nearest: its path was right, and something
    /// else was not.
    pub fn nearest_miss(&self) -> Option<&Skipped> {
        self.skipped.iter().find(|s| s.near)
    }
}
