//! One small process for each pod. It owns the pod's namespaces, is the first process in them (so
//! that whatever kills it ends the whole pod), is the parent of the containers, writes their logs
//! and answers on a socket in its directory. It decides nothing and restarts nothing; the runner
//! does, and a new runner finds it again by its directory.

pub mod client;
mod container;
mod log;
pub mod protocol;
mod root;
mod sandbox;
mod serve;

use std::io::{Read, Write};
use std::path::Path;

use protocol::Sandbox;
pub use root::{COMMANDS, PROGRAMS};

/// Files in a shim's directory.
pub const SANDBOX_FILE: &str = "sandbox.json";
pub const PID_FILE: &str = "shim.pid";
/// Below `/proc/PID`, the node's network that the shim holds open.
pub const NODE_FILE: &str = "node";
pub const SOCKET: &str = "shim.sock";

/// Why a pod's namespaces could not be made or a container not be started.
#[derive(Debug, thiserror::Error)]
pub enum ShimError {
    #[error("{doing}: {source}")]
    Io { doing: String, source: std::io::Error },
    #[error(transparent)]
    Link(#[from] net::netlink::NetlinkError),
    #[error("{0} is not what this shim reads: {1}")]
    Format(String, serde_json::Error),
}

/// Says what was being done when the kernel refused.
trait While<T> {
    fn or_while(self, doing: impl Into<String>) -> Result<T, ShimError>;
}

impl<T, E: Into<std::io::Error>> While<T> for Result<T, E> {
    fn or_while(self, doing: impl Into<String>) -> Result<T, ShimError> {
        self.map_err(|e| ShimError::Io { doing: doing.into(), source: e.into() })
    }
}

/// Runs a shim: returns at once, with the pod's namespaces ready and the shim in the background.
/// The process must have one thread.
pub fn main(directory: &Path) -> Result<(), ShimError> {
    let file = directory.join(SANDBOX_FILE);
    let text = std::fs::read(&file).or_while(format!("reading {}", file.display()))?;
    let sandbox: Sandbox = serde_json::from_slice(&text)
        .map_err(|e| ShimError::Format(file.display().to_string(), e))?;
    let ready = sandbox::enter(directory, &sandbox)?;
    let (recorded, record) = std::io::pipe().or_while("starting the pod's first process")?;
    match net::process::fork().or_while("starting the pod's first process")? {
        net::process::Forked::Parent(pid) => {
            drop(recorded);
            sandbox::record(directory, &ready, pid)?;
            (&record).write_all(&[1]).or_while("starting the pod's first process")
        }
        net::process::Forked::Child => {
            drop(record);
            // Until it is written down who we are nobody could find us, or end us.
            match (&recorded).read_exact(&mut [0]) {
                Ok(()) => serve::forever(ready),
                Err(_) => std::process::exit(1),
            }
        }
    }
}
