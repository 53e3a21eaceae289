//! The command line, the control plane and the embedded cluster as one binary. `main.rs` only calls
//! [`cli::main`]; each command lies in a file of its own.

pub mod cli;
pub mod cluster;
pub mod cluster_cli;
pub mod control_plane;
pub mod demo;
pub mod holder;
pub mod injection;
pub mod installation;
pub mod small;
pub mod state;
pub mod up;
