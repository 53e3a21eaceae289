//! Deciding, over plain values: which filter chain, which route, what becomes of the headers and the
//! path, whether to retry, what a log line says. What the proxy runs, `explain` runs too; time and
//! random numbers come from [`base::Env`], and a [`Trace`] can listen to every decision.
//!
//! Flow of one connection: [`chain`]. Of one request: [`receive`] makes the head canonical
//! ([`normal`]) and adds what a proxy adds ([`edge`]),
//! [`RouteTable::decide`] finds the route, `rewrite` and [`headers`] change the head, [`retry`]
//! judges each answer, [`log`] writes the line.

pub mod authz;
mod bucket;
pub mod chain;
pub mod coding;
pub mod cors;
mod decide;
pub mod directory;
pub mod dns;
pub mod edge;
pub mod fault;
mod filter_rule;
mod flags;
pub mod format;
pub mod hash;
pub mod headers;
pub mod jwt;
pub mod local;
pub mod local_reply;
pub mod log;
pub mod matching;
pub mod metadata;
pub mod normal;
pub mod peer;
pub mod rate_limit;
pub mod rbac;
pub mod receive;
pub mod retry;
mod rewrite;
mod scope;
mod table;
pub mod timeout;
pub mod to_metadata;

pub use bucket::Left;
pub use decide::{Decision, Forwarding, Miss, NoTrace, Redirection, Target, Trace};
pub use filter_rule::FilterRule;
pub use flags::{Flag, Flags};
pub use format::{Info, Stream, Template};
pub use rewrite::HostFrom;
pub use scope::Scope;
pub use table::{ForwardRule, MirrorRule, Part, Route, RouteTable, VirtualHost};
