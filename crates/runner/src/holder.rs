//! The holder: the process of `lateen up` that stays. It makes the node's namespaces, listens on
//! the host and relays inwards, answers the cluster's DNS, carries what pods open to the outside,
//! and starts the cluster process again when it ends. It knows nothing of objects: the cluster
//! process tells it names and wishes, and it remembers them in files, so each can die alone.

mod control;
mod dns;
mod node;
mod outbound;
mod outside;
mod relays;
mod supervise;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use net::process::ProcessId;
use serde::{Deserialize, Serialize};

pub use control::client::HolderClient;
pub use control::{Reply, Request, State, stopped};
pub use node::{Address, DNS_V4, NODE_V4, NODE_V6, SERVICE_NET, SERVICE_NET_V6};
pub use relays::Bound;

/// Files in the state directory.
pub const PID_FILE: &str = "holder.pid";
pub const CLUSTER_PID_FILE: &str = "cluster.pid";
pub const STATE_FILE: &str = "state.json";
pub const SOCKET: &str = "holder.sock";
const PORT_FILE: &str = "api.port";
/// The API server's port, in the node and, if it is free, on the host.
pub const API_PORT: u16 = 6443;
/// Where what pods open to the outside is taken over.
pub const OUTBOUND_PORT: u16 = 15099;

#[derive(Debug, thiserror::Error)]
pub enum HolderError {
    #[error("{doing}: {source}")]
    Io { doing: String, source: std::io::Error },
    #[error(transparent)]
    Link(#[from] net::netlink::NetlinkError),
    #[error("another holder (process {0}) serves this state directory")]
    Running(u32),
}

pub(crate) trait While<T> {
    fn or_while(self, doing: impl Into<String>) -> Result<T, HolderError>;
}

impl<T, E: Into<std::io::Error>> While<T> for Result<T, E> {
    fn or_while(self, doing: impl Into<String>) -> Result<T, HolderError> {
        self.map_err(|e| HolderError::Io { doing: doing.into(), source: e.into() })
    }
}

/// What a holder is started with.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Config {
    pub state: PathBuf,
    /// Runs the cluster process; the address of the API on the host is added as last argument.
    pub cluster_command: Vec<PathBuf>,
}

/// Runs a holder until it is told to stop. The process must have one thread.
pub fn main(config: Config) -> Result<(), HolderError> {
    // A daemon of its own session; if it leads a group already, that will do.
    let _ = rustix::process::setsid();
    let _lock = lock(&config.state)?;
    let living = node::resident(&config.state);
    node::join_or_become_root(living.as_ref())?;
    // This thread stays on the host's network; all others are on the node's.
    let outside = outside::start();
    let api = api_listener(&config.state, &outside)?;
    node::enter(living.as_ref())?;
    drop(living);
    node::configure()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.or_while("starting")?;
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, serve(config, outside, api))
}

async fn serve(
    config: Config,
    outside: outside::Outside,
    api: std::net::TcpListener,
) -> Result<(), HolderError> {
    let me = ProcessId::of(std::process::id());
    let me = me
        .ok_or(std::io::ErrorKind::NotFound)
        .map_err(std::io::Error::from)
        .or_while("finding myself")?;
    write_atomically(&config.state.join(PID_FILE), me.to_string().as_bytes())?;
    let address = api.local_addr().or_while("reading the API's address")?;
    let relays = relays::Relays::new(outside.clone());
    relays.serve_api(api, SocketAddr::new(IpAddr::V4(NODE_V4), API_PORT))?;
    let names = dns::Names::default();
    dns::serve(names.clone(), outside.clone()).await?;
    outbound::serve(outside).await?;
    let cluster = supervise::Cluster::new(&config, format!("https://{address}"));
    let control =
        Rc::new(control::Control::new(config.state.clone(), address, relays, names, cluster));
    control.restore().await;
    control.serve().await
}

/// One holder for each state directory. The lock goes when the process does.
fn lock(state: &Path) -> Result<std::fs::File, HolderError> {
    let path = state.join("holder.lock");
    let file = std::fs::File::create(&path).or_while(format!("opening {}", path.display()))?;
    match rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(_) => Err(HolderError::Running(running(state).map_or(0, |p| p.pid))),
    }
}

/// The holder of a state directory, if it runs.
pub fn running(state: &Path) -> Option<ProcessId> {
    process_in(&state.join(PID_FILE))
}

/// The process that a file names, if it runs.
pub fn process_in(file: &Path) -> Option<ProcessId> {
    let id: ProcessId = std::fs::read_to_string(file).ok()?.parse().ok()?;
    id.alive().then_some(id)
}

/// The port of the last time, else the usual one, else any.
fn api_listener(
    state: &Path,
    outside: &outside::Outside,
) -> Result<std::net::TcpListener, HolderError> {
    let file = state.join(PORT_FILE);
    let last = std::fs::read_to_string(&file).ok().and_then(|p| p.trim().parse().ok());
    let mut refused = None;
    for port in [last.unwrap_or(API_PORT), API_PORT, 0] {
        match outside.listen_now(SocketAddr::from((Ipv4Addr::LOCALHOST, port))) {
            Ok(listener) => {
                let port = listener.local_addr().or_while("reading the API's port")?.port();
                write_atomically(&file, port.to_string().as_bytes())?;
                return Ok(listener);
            }
            Err(e) => refused = Some(e),
        }
    }
    let e = refused.unwrap_or_else(|| std::io::ErrorKind::AddrInUse.into());
    Err(HolderError::Io { doing: "listening for the API on 127.0.0.1".to_owned(), source: e })
}

/// Readers see the old content or the new.
pub(crate) fn write_atomically(path: &Path, bytes: &[u8]) -> Result<(), HolderError> {
    let new = path.with_extension("new");
    std::fs::write(&new, bytes).or_while(format!("writing {}", new.display()))?;
    std::fs::rename(&new, path).or_while(format!("writing {}", path.display()))
}
