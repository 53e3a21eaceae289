//! The command line, the control plane and the embedded cluster as one binary. `main.rs` only calls
//! [`cli::main`]; each command lies in a file of its own.

pub mod cli;
pub mod cluster;
pub mod cluster_cli;
pub mod demo;
pub mod injection;
pub mod state;
