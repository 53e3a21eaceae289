//! Rates and distributions: many requests through Envoy and through ours, each with upstreams of its own
//! that fail on demand, and what is counted compared with what the configuration says.
//!
//! `backend` answers as it is told, `scene` makes a bootstrap of scenes (a listener each, with a log of
//! what became of every request), `side` is one proxy with its backends and sends many requests,
//! `bounds` says what still is chance.

pub mod backend;
pub mod bounds;
pub mod scene;
pub mod side;

pub use backend::{Backend, Ground};
pub use scene::Scene;
pub use side::{Answer, Both, Load, Side};
