//! Step: pick. Which endpoint of the cluster, and a connection to it: a spare one, or a new one.

use crate::io::Io;
use crate::pool::{Connection, Key};
use crate::reply::Loss;
use crate::view::ClusterState;
use crate::worker::Worker;
use balance::{EndpointId, Limit, LocalFailure, Outcome, Want};
use ir::{Address, Str};
use policy::format::Shown;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;
use tokio::net::{TcpSocket, UnixStream};

pub use policy::format::Ends;

/// A chosen endpoint, counted as busy until this is dropped.
#[derive(Debug)]
pub struct Picked {
    pub cluster: Rc<ClusterState>,
    pub key: Key,
    pub address: Address,
    pub hostname: Str,
    /// The workload it belongs to, as its metadata says.
    pub workload: Option<Str>,
    /// Connections to it must be encrypted.
    encrypted: bool,
}

impl Picked {
    /// Tells outlier detection how it went.
    pub fn report(&self, worker: &Worker, outcome: Outcome) {
        let Key::Endpoint(id) = self.key else { return };
        let change = self.cluster.picker.borrow_mut().report(id, outcome, &worker.env);
        if change == balance::Change::Ejected {
            worker.shard.inc(self.cluster.stats.ejections);
        }
    }

    /// What is known of a connection to it that did not come about.
    pub fn unconnected(&self) -> Ends {
        let remote = match &self.address {
            Address::Ip(address) => Shown::new(*address),
            Address::Pipe(path) => Shown::pipe(path),
            Address::Name(name, port) => Shown::pipe(&format!("{name}:{port}")),
        };
        Ends { local: Shown::pipe(""), remote }
    }

    pub fn id(&self) -> Option<EndpointId> {
        match self.key {
            Key::Endpoint(id) => Some(id),
            Key::Address(_) => None,
        }
    }
}

impl Drop for Picked {
    fn drop(&mut self) {
        if let Key::Endpoint(id) = self.key {
            self.cluster.picker.borrow_mut().finished(id);
        }
    }
}

/// Chooses an endpoint; `original` is where the client's connection was meant for.
pub fn pick(
    worker: &Worker,
    cluster: &Rc<ClusterState>,
    want: &Want<'_>,
    original: Option<SocketAddr>,
) -> Option<Picked> {
    if matches!(cluster.config.discovery, ir::Discovery::OriginalDst) {
        let address = original?;
        return Some(Picked {
            cluster: cluster.clone(),
            key: Key::Address(address),
            address: Address::Ip(address),
            hostname: "".into(),
            workload: None,
            encrypted: is_encrypted(&cluster.config, None),
        });
    }
    let mut picker = cluster.picker.borrow_mut();
    let id = picker.pick(want, &worker.env)?;
    let endpoint = picker.endpoint(id)?;
    let (address, hostname) = (endpoint.address.clone(), endpoint.hostname.clone());
    let workload = crate::istio::workload_of(endpoint);
    let encrypted = is_encrypted(&cluster.config, Some(endpoint));
    picker.started(id);
    drop(picker);
    Some(Picked {
        cluster: cluster.clone(),
        key: Key::Endpoint(id),
        address,
        hostname,
        workload,
        encrypted,
    })
}

/// Whether the cluster's connections to this endpoint are TLS: the first match of the endpoint's
/// metadata decides, then the cluster.
fn is_encrypted(cluster: &ir::Cluster, endpoint: Option<&ir::Endpoint>) -> bool {
    if cluster.tls_matches.is_empty() {
        return cluster.tls.is_some();
    }
    let said = endpoint.and_then(|e| e.metadata.get("envoy.transport_socket_match"));
    let matched = cluster.tls_matches.iter().find(|m| {
        m.criteria.iter().all(|(key, wanted)| said.and_then(|s| s.get(key)) == Some(wanted))
    });
    matched.map_or(cluster.tls.is_some(), |m| m.tls.is_some())
}

/// A connection to the endpoint. `spare` allows one that was used before.
pub async fn connection(worker: &Worker, picked: &Picked, spare: bool) -> Result<Connection, Loss> {
    if spare && let Some(connection) = picked.cluster.pool.take(picked.key) {
        return Ok(connection);
    }
    connect(worker, picked).await
}

/// A new connection, within the cluster's limits and connect timeout.
pub async fn connect(worker: &Worker, picked: &Picked) -> Result<Connection, Loss> {
    let (cluster, shard) = (&picked.cluster, &worker.shard);
    if picked.encrypted {
        // What must be encrypted is never sent in the clear.
        return Err(Loss::Connect("TLS to this cluster is not available".to_owned()));
    }
    let Some(pending) = cluster.breakers.enter(Limit::Pending) else {
        shard.inc(cluster.stats.rq_pending_overflow);
        return Err(Loss::Overflow);
    };
    let Some(permit) = cluster.breakers.enter(Limit::Connections) else {
        shard.inc(cluster.stats.cx_overflow);
        return Err(Loss::Overflow);
    };
    shard.inc(cluster.stats.rq_pending_total);
    let timeout = cluster.connect_timeout();
    let connecting = open(worker, cluster, &picked.address);
    let opened = tokio::time::timeout(timeout, connecting).await;
    drop(pending);
    let (io, ends) = match opened {
        Ok(Ok(opened)) => opened,
        Ok(Err(e)) => {
            shard.inc(cluster.stats.cx_connect_fail);
            picked.report(worker, Outcome::Local(LocalFailure::Connect));
            return Err(Loss::Connect(format!("delayed connect error: {}", plain(&e))));
        }
        Err(_) => {
            shard.inc(cluster.stats.cx_connect_fail);
            shard.inc(cluster.stats.cx_connect_timeout);
            picked.report(worker, Outcome::Local(LocalFailure::Timeout));
            return Err(Loss::ConnectTimeout);
        }
    };
    shard.inc(cluster.stats.cx_total);
    Ok(Connection { io, ends: Rc::new(ends), served: 0, counted: Some(permit) })
}

/// The system's words without its number.
fn plain(e: &std::io::Error) -> String {
    let text = e.to_string();
    text.split(" (os error").next().unwrap_or(&text).to_owned()
}

async fn open(
    worker: &Worker,
    cluster: &ClusterState,
    address: &Address,
) -> std::io::Result<(Io, Ends)> {
    match address {
        Address::Ip(address) => open_tcp(worker, cluster, *address).await,
        Address::Pipe(path) => {
            let path = match path.strip_prefix('@') {
                Some(name) => format!("\0{name}"),
                None => path.to_string(),
            };
            let stream = UnixStream::connect(&path).await?;
            Ok((Io::Unix(stream), Ends { local: Shown::pipe(""), remote: Shown::pipe(&path) }))
        }
        Address::Name(name, port) => {
            let mut last = std::io::ErrorKind::NotFound.into();
            for address in tokio::net::lookup_host((&**name, *port)).await? {
                match open_tcp(worker, cluster, address).await {
                    Err(e) => last = e,
                    opened => return opened,
                }
            }
            Err(last)
        }
    }
}

async fn open_tcp(
    worker: &Worker,
    cluster: &ClusterState,
    address: SocketAddr,
) -> std::io::Result<(Io, Ends)> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    if let Some(mark) = worker.shared.mark {
        net::set_mark(&socket, mark)?;
    }
    if let Some(source) = cluster.config.bind_source.filter(|s| s.is_ipv4() == address.is_ipv4()) {
        socket.bind(SocketAddr::new(source, 0))?;
    }
    socket.set_nodelay(true)?;
    keepalive(&socket, &cluster.config)?;
    let stream = socket.connect(address).await?;
    let local = stream.local_addr()?;
    Ok((Io::Tcp(stream), Ends { local: Shown::new(local), remote: Shown::new(address) }))
}

fn keepalive(socket: &TcpSocket, config: &ir::Cluster) -> std::io::Result<()> {
    let Some(wanted) = config.tcp_keepalive else { return Ok(()) };
    let mut options = socket2::TcpKeepalive::new();
    let seconds = |n: u32| Duration::from_secs(u64::from(n));
    if let Some(n) = wanted.time {
        options = options.with_time(seconds(n));
    }
    if let Some(n) = wanted.interval {
        options = options.with_interval(seconds(n));
    }
    if let Some(n) = wanted.probes {
        options = options.with_retries(n);
    }
    socket2::SockRef::from(socket).set_tcp_keepalive(&options)
}
