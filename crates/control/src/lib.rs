//! The control plane: objects in, configuration out. `world` turns watch events into snapshots, `ads`
//! tells each proxy what follows from them, `discovery` and `http` are the doors, `roots` the trust
//! behind them, `webhook` what the cluster's API asks, `status` what users read on their objects.

mod addresses;
mod ads;
mod authority;
mod credentials;
mod debounce;
mod debug;
mod discovery;
mod env;
mod exchange;
mod grpc;
mod http;
mod keys;
mod listen;
mod metrics;
mod node;
mod options;
mod roots;
mod settle;
mod shares;
mod start;
mod status;
mod tokens;
mod validate;
mod webhook;
mod world;

pub use options::Options;
pub use start::{StartError, run};

#[cfg(test)]
mod tests;
