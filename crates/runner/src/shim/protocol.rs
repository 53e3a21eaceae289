//! What runner and shim say to each other: one JSON document on a line, files beside it.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// A request longer than this is refused.
pub const MOST_BYTES: usize = 1 << 20;

/// What the pod as a whole is; written before the shim starts.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Sandbox {
    pub namespace: String,
    pub pod: String,
    pub uid: String,
    pub hostname: String,
    /// The pod's addresses, IPv4 first.
    pub ips: Vec<IpAddr>,
    /// The node's end of the pod's link.
    pub link: String,
    /// Kernel parameters of the pod's network, e.g. `ipv4/ip_unprivileged_port_start`.
    pub parameters: BTreeMap<String, String>,
}

/// One attempt at running a container.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Start {
    pub name: String,
    /// Counts from zero; the restart count.
    pub attempt: u32,
    pub argv: Vec<String>,
    pub env: Vec<(String, String)>,
    pub directory: Option<String>,
    pub uid: u32,
    pub gid: u32,
    pub groups: Vec<u32>,
    pub capabilities: Vec<String>,
    pub mounts: Vec<Mount>,
    /// Names in the container's search path, and what they stand for.
    pub commands: BTreeMap<String, PathBuf>,
    /// Files written into the root: `etc/hosts`, `etc/resolv.conf` and so on.
    pub files: BTreeMap<String, String>,
    pub read_only_root: bool,
    /// Programs that would make it more than it is have no such effect.
    #[serde(default)]
    pub no_new_privileges: bool,
    pub log: PathBuf,
}

/// A host directory or file that appears in a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    pub source: PathBuf,
    pub target: PathBuf,
    pub read_only: bool,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    Start(Box<Start>),
    /// To the main process of a container.
    Signal {
        container: String,
        signal: i32,
    },
    /// A command in a running container, on the three files that come along (or one terminal).
    Exec {
        container: String,
        argv: Vec<String>,
        terminal: bool,
    },
    /// A socket that belongs to the pod's network, not connected.
    Socket {
        ipv6: bool,
    },
    /// Answers now and after every change.
    Watch,
    /// Ends everything and the shim.
    Destroy,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    Done,
    Failed(String),
    /// The end of an exec.
    Exited(i32),
    Containers(Vec<Container>),
}

/// What the shim knows of one attempt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Container {
    pub name: String,
    pub attempt: u32,
    /// Milliseconds since 1970.
    pub started: i64,
    pub ended: Option<End>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    pub code: i32,
    pub signal: Option<i32>,
    pub at: i64,
}
