//! Step: pick. Which endpoint of the cluster, and a connection to it: a spare one, or a new one.

mod open;

use crate::io::{self, Io, Session, Socket};
use crate::pool::{Connection, Counted, Key, Security, To};
use crate::reply::Loss;
use crate::security::Place;
use crate::view::ClusterState;
use crate::worker::Worker;
use balance::{EndpointId, Limit, LocalFailure, Outcome, Want};
use ir::{Address, Str};
use policy::format::{Identities, Shown};
use std::net::SocketAddr;
use std::rc::Rc;
use wire::proxy_protocol::{write_v1, write_v2};

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
}

impl Picked {
    /// Tells outlier detection of a loss; it is not the endpoint's fault that a limit was reached.
    pub fn report_loss(&self, worker: &Worker, loss: &Loss) {
        let failure = match loss {
            Loss::Overflow => return,
            Loss::Connect(_) | Loss::ConnectTimeout => LocalFailure::Connect,
            Loss::PerTryTimeout => LocalFailure::Timeout,
            Loss::Closed | Loss::Reset | Loss::Refused | Loss::Protocol => LocalFailure::Reset,
        };
        self.report(worker, Outcome::Local(failure));
    }

    /// Tells outlier detection how it went.
    pub fn report(&self, worker: &Worker, outcome: Outcome) {
        let To::Endpoint(id) = self.key.to else { return };
        if self.cluster.config.outliers.is_none() {
            return;
        }
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
        Ends::new(Shown::pipe(""), remote)
    }

    /// Whether the server is told by ALPN what the request speaks.
    pub fn tells_protocol(&self) -> bool {
        self.key.security.as_ref().is_some_and(|s| s.tells_protocol)
    }

    pub fn id(&self) -> Option<EndpointId> {
        match self.key.to {
            To::Endpoint(id) => Some(id),
            To::Address(_) | To::Host(..) => None,
        }
    }
}

impl Drop for Picked {
    fn drop(&mut self) {
        if let To::Endpoint(id) = self.key.to {
            self.cluster.picker.borrow_mut().finished(id);
        }
    }
}

/// What is to be sent, as far as the way depends on it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Purpose<'a> {
    /// Where the client's connection was meant for.
    pub original: Option<SocketAddr>,
    /// Whom the request is for.
    pub authority: &'a [u8],
    /// Source and destination of the client's connection.
    pub client: Option<(SocketAddr, SocketAddr)>,
    /// The server is told by ALPN what the request speaks (the filter `istio.alpn`), unless the cluster
    /// wants none of it.
    pub tells_protocol: bool,
}

/// Protocols to offer by ALPN.
#[derive(Clone, Copy, Debug)]
pub enum Offer<'a> {
    /// Where the configuration names none.
    Fallback(&'a [&'a [u8]]),
    /// Whatever the configuration names.
    Only(&'a [&'a [u8]]),
}

/// Chooses an endpoint.
pub fn pick(
    worker: &Worker,
    cluster: &Rc<ClusterState>,
    want: &Want<'_>,
    purpose: Purpose<'_>,
) -> Option<Picked> {
    let client = purpose.client.filter(|_| cluster.config.proxy_protocol.is_some());
    if matches!(cluster.config.discovery, ir::Discovery::OriginalDst) {
        let address = purpose.original?;
        return Some(Picked {
            cluster: cluster.clone(),
            key: Key {
                to: To::Address(address),
                security: security(cluster, None, purpose),
                client,
            },
            address: Address::Ip(address),
            hostname: "".into(),
            workload: None,
        });
    }
    if matches!(cluster.config.discovery, ir::Discovery::ByHost(_)) {
        return by_host(cluster, purpose);
    }
    let mut picker = cluster.picker.borrow_mut();
    let id = picker.pick(want, &worker.env)?;
    let endpoint = picker.endpoint(id)?;
    let (address, hostname) = (endpoint.address.clone(), endpoint.hostname.clone());
    let workload = crate::istio::workload_of(endpoint);
    let security = security(cluster, Some(endpoint), purpose);
    picker.started(id);
    drop(picker);
    let key = Key { to: To::Endpoint(id), security, client };
    Some(Picked { cluster: cluster.clone(), key, address, hostname, workload })
}

/// Whom the request names; the port is that of its scheme where it names none.
fn by_host(cluster: &Rc<ClusterState>, purpose: Purpose<'_>) -> Option<Picked> {
    let (host, port) = policy::normal::split_port(purpose.authority);
    let host = std::str::from_utf8(host).ok()?.trim_start_matches('[').trim_end_matches(']');
    if host.is_empty() {
        return None;
    }
    let security = security(cluster, None, purpose);
    let port = port.unwrap_or(if security.is_some() { 443 } else { 80 });
    let name = Str::from(host.to_ascii_lowercase());
    let address = match name.parse() {
        Ok(ip) => Address::Ip(SocketAddr::new(ip, port)),
        Err(_) => Address::Name(name.clone(), port),
    };
    let client = purpose.client.filter(|_| cluster.config.proxy_protocol.is_some());
    let key = Key { to: To::Host(name.clone(), port), security, client };
    Some(Picked { cluster: cluster.clone(), key, address, hostname: name, workload: None })
}

/// How connections to this endpoint are encrypted: the first match of the endpoint's metadata
/// decides, then the cluster.
fn security(
    cluster: &ClusterState,
    endpoint: Option<&ir::Endpoint>,
    purpose: Purpose<'_>,
) -> Option<Security> {
    let config = &cluster.config;
    if config.tls.is_none() && config.tls_matches.is_empty() {
        return None;
    }
    let said = endpoint.and_then(|e| e.metadata.get("envoy.transport_socket_match"));
    let matched = config.tls_matches.iter().position(|m| {
        m.criteria.iter().all(|(key, wanted)| said.and_then(|s| s.get(key)) == Some(wanted))
    });
    let (socket, tls) = match matched {
        Some(i) => (Place::Match(i), config.tls_matches[i].tls.as_ref()?),
        None => (Place::Whole, config.tls.as_ref()?),
    };
    let name = match tls.auto_sni {
        true if !purpose.authority.is_empty() => {
            let (host, _) = policy::normal::split_port(purpose.authority);
            std::str::from_utf8(host).ok().map(Str::from)
        }
        _ => Some(tls.sni.clone()).filter(|name| !name.is_empty()),
    };
    let tells_protocol = purpose.tells_protocol && cluster.takes_alpn;
    Some(Security { socket, name, tells_protocol, secrets: cluster.secrets.get() })
}

/// A connection to the endpoint. `spare` allows one that was used before.
pub async fn connection(
    worker: &Worker,
    picked: &Picked,
    spare: bool,
    offer: Offer<'_>,
) -> Result<Connection, Loss> {
    if spare && let Some(connection) = picked.cluster.pool.take(&picked.key) {
        return Ok(connection);
    }
    // What opens a connection is large, and few requests need it: it is no part of every request's state.
    Box::pin(another(worker, picked, spare, offer)).await
}

/// A new connection, or one that others were done with first.
async fn another(
    worker: &Worker,
    picked: &Picked,
    spare: bool,
    offer: Offer<'_>,
) -> Result<Connection, Loss> {
    let (cluster, shard) = (&picked.cluster, &worker.shard);
    let _pending = pending(worker, cluster)?;
    let mut found = place(picked, !cluster.pool.leads_to(&picked.key));
    if found.is_none() {
        shard.inc(cluster.stats.cx_overflow);
    }
    // All connections that there may be are busy: whichever is free first takes the request.
    let counted = loop {
        if let Some(counted) = found {
            break counted;
        }
        cluster.pool.change().await;
        if spare && let Some(connection) = cluster.pool.take(&picked.key) {
            return Ok(connection);
        }
        found = place(picked, !cluster.pool.leads_to(&picked.key));
    };
    made(worker, picked, offer, counted).await
}

/// A new connection that is not waited for, within the cluster's limits and connect timeout.
pub async fn connect(
    worker: &Worker,
    picked: &Picked,
    offer: Offer<'_>,
) -> Result<Connection, Loss> {
    let cluster = &picked.cluster;
    let _pending = pending(worker, cluster)?;
    let Some(permit) = cluster.breakers.enter(Limit::Connections) else {
        worker.shard.inc(cluster.stats.cx_overflow);
        return Err(Loss::Overflow);
    };
    made(worker, picked, offer, cluster.pool.counted(None, permit)).await
}

/// A place among the requests that wait for a connection.
pub fn pending(worker: &Worker, cluster: &ClusterState) -> Result<balance::Permit, Loss> {
    let Some(pending) = cluster.breakers.enter(Limit::Pending) else {
        worker.shard.inc(cluster.stats.rq_pending_overflow);
        return Err(Loss::Overflow);
    };
    worker.shard.inc(cluster.stats.rq_pending_total);
    Ok(pending)
}

/// A place among the cluster's connections. An endpoint to which none leads that could take requests
/// (`alone`) gets one in any case, since its requests could wait for nothing else.
pub fn place(picked: &Picked, alone: bool) -> Option<Counted> {
    let cluster = &picked.cluster;
    let permit = cluster.breakers.enter(Limit::Connections);
    let anyway = || cluster.breakers.enter_anyway(Limit::Connections);
    let permit = permit.or_else(|| alone.then(anyway))?;
    Some(cluster.pool.counted(Some(&picked.key), permit))
}

/// The connection for a place, within the cluster's connect timeout.
pub async fn made(
    worker: &Worker,
    picked: &Picked,
    offer: Offer<'_>,
    counted: Counted,
) -> Result<Connection, Loss> {
    let (cluster, shard) = (&picked.cluster, &worker.shard);
    let connecting = async {
        let (socket, ends) = open::open(worker, cluster, &picked.address)
            .await
            .map_err(|e| format!("delayed connect error: {}", plain(&e)))?;
        announce(picked, &socket, &ends).await.map_err(|e| plain(&e))?;
        let Some(security) = &picked.key.security else {
            return Ok::<_, String>((Io::Plain(socket), ends));
        };
        let (io, identities) = secure(worker, cluster, security, socket, offer).await?;
        Ok((io, Ends { identities: identities.map(Rc::new), ..ends }))
    };
    let opened = tokio::time::timeout(cluster.connect_timeout(), connecting).await;
    let (io, ends) = match opened {
        Ok(Ok(opened)) => opened,
        Ok(Err(why)) => {
            shard.inc(cluster.stats.cx_connect_fail);
            return Err(Loss::Connect(why));
        }
        Err(_) => {
            shard.inc(cluster.stats.cx_connect_fail);
            shard.inc(cluster.stats.cx_connect_timeout);
            return Err(Loss::ConnectTimeout);
        }
    };
    shard.inc(cluster.stats.cx_total);
    Ok(Connection { io, ends: Rc::new(ends), served: 0, counted: Some(counted) })
}

/// Says by the PROXY protocol, where the cluster speaks it, who the client of this connection is; of a
/// copy, for which there is none, that it is this proxy.
async fn announce(picked: &Picked, socket: &Socket, ends: &Ends) -> std::io::Result<()> {
    let Some(version) = picked.cluster.config.proxy_protocol else { return Ok(()) };
    let own = ends.local.address.zip(ends.remote.address);
    let unknown = || (SocketAddr::from(([0; 4], 0)), SocketAddr::from(([0; 16], 0)));
    let (source, destination) = picked.key.client.or(own).unwrap_or_else(unknown);
    let mut preamble = Vec::new();
    match version {
        ir::ProxyProtocolVersion::V1 => write_v1(source, destination, &mut preamble),
        ir::ProxyProtocolVersion::V2 => write_v2(source, destination, &mut preamble),
    }
    let mut sent = 0;
    while sent < preamble.len() {
        sent += std::future::poll_fn(|cx| socket.poll_write(cx, &preamble[sent..])).await?;
    }
    Ok(())
}

/// The handshake. What must be encrypted is never sent in the clear.
async fn secure(
    worker: &Worker,
    cluster: &ClusterState,
    security: &Security,
    socket: Socket,
    offer: Offer<'_>,
) -> Result<(Io, Option<Identities>), String> {
    let made = cluster.tls.borrow().at(security.socket).cloned();
    let made = made.ok_or("the configuration has no TLS for this endpoint")?;
    let context = made.context.as_ref().map_err(Clone::clone)?;
    let (shard, stats) = (&worker.shard, &cluster.stats);
    match io::connect(socket, context, security.name.as_deref(), offer).await {
        Ok(session) => {
            shard.inc(stats.ssl_handshake);
            let identities = identities(context, &session);
            Ok((Io::Secure(Box::new(session)), identities))
        }
        Err(e) => {
            shard.inc(stats.ssl_connection_error);
            tracing::info!("TLS to cluster {}: {e}", cluster.config.name);
            Err(e.to_string())
        }
    }
}

/// Where both have one.
fn identities(context: &tls::ClientContext, session: &Session) -> Option<Identities> {
    let local = context.identity()?;
    let remote = session.with(|tls| {
        let leaf = tls.peer_certificates()?.first()?;
        tls::Names::of(leaf)?.uris.into_iter().next()
    });
    Some(Identities { local: local.into(), remote: remote?.into() })
}

/// The system's words without its number.
fn plain(e: &std::io::Error) -> String {
    let text = e.to_string();
    text.split(" (os error").next().unwrap_or(&text).to_owned()
}
