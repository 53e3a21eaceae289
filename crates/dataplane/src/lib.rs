//! accept -> detect -> identify -> admit -> route -> filter -> verdict -> pick -> forward -> record.
//!
//! A [`Proxy`] runs a configuration ([`ir::Config`]) on a few workers, each a thread with its own
//! connections, pools and counters. Each step of a connection or request is the file of its name and
//! takes what the step before gives (`Accepted`, `Detected`, `Identified`, `Admitted`, `Routed`,
//! `Filtered`, `Destined`, `Picked`), so nothing can be skipped. What is decided is decided in `policy`; here
//! bytes are moved.

mod accept;
pub mod admin;
mod admit;
mod alarm;
mod buffer;
mod chain;
mod course;
mod detect;
mod early;
mod env;
mod exchange;
mod facts;
mod filter;
mod forward;
mod gate;
mod guard;
mod h1;
mod h2;
mod http;
mod identify;
mod intake;
mod io;
mod istio;
mod peel;
mod pick;
mod pool;
mod proxy;
mod recent;
mod recode;
mod record;
mod replay;
mod reply;
mod resolve;
mod route;
mod runtime;
mod security;
mod stream;
mod tcp;
mod tunnel;
mod verdict;
mod view;
mod worker;

pub use balance::Usage;
pub use istio::Node;
pub use proxy::{Options, Proxy};
pub use recent::Recent;
pub use resolve::Resolver;
pub use runtime::Runtime;
pub use worker::{Drain, Limits};
