//! Connections that are bytes to us: the TCP proxy, and what upgraded HTTP connections become.

use crate::admit::Admitted;
use crate::alarm::Alarm;
use crate::buffer::{Buffer, LARGE, Stock};
use crate::course::Leave;
use crate::identify::Identified;
use crate::io::Io;
use crate::istio;
use crate::pick::{self, Offer, Picked, Purpose};
use crate::pool::Connection;
use crate::reply::Loss;
use crate::runtime::TcpRt;
use crate::tunnel;
use crate::view::{ClusterState, View};
use crate::worker::Worker;
use balance::Want;
use base::Env;
use policy::{Flag, Info, Stream};
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::Instant;

/// A connection on which nothing moves is closed after this, where the configuration does not say.
const IDLE: Duration = Duration::from_secs(3600);

pub async fn serve(mut admitted: Admitted, proxy: Arc<TcpRt>) {
    let denied = admitted.denied();
    let (mut connection, _slot) = admitted.into_parts();
    let worker = connection.worker.clone();
    worker.shard.inc(proxy.stats.cx_total);
    let early = connection.early.take().filter(|early| Arc::ptr_eq(&early.proxy, &proxy));
    let (mut stream, ready) = match early {
        Some(early) => (early.stream, Some(early.upstream)),
        None => (Stream::default(), None),
    };
    stream.began = connection.began;
    stream.start = worker.env.wall();
    stream.downstream = Some(connection.client.ends.clone());
    stream.remote = Some(connection.client.remote.clone());
    stream.peer = connection.client.peer.clone();
    if let Some(refusal) = denied {
        if let Some(flag) = refusal.flag {
            stream.flags.set(flag);
            stream.details = refusal.why.clone().into();
        }
        stream.termination = refusal.why.into();
        connection.io.reset_on_close();
        return record(&connection, &proxy, &mut stream);
    }
    let original = connection.origin.original;
    let upstream = match ready {
        Some(upstream) => Some(upstream),
        None => dial(&worker, &connection.view, &proxy, original, &mut stream).await,
    };
    match upstream {
        Some(upstream) => run(&mut connection, &proxy, upstream, &mut stream).await,
        None => {
            if let Some(cells) = istio::connection(&worker, &proxy, None, &stream) {
                worker.shard.inc(cells.opened);
                worker.shard.inc(cells.closed);
            }
            connection.io.reset_on_close();
        }
    }
    record(&connection, &proxy, &mut stream);
}

async fn run(connection: &mut Identified, proxy: &TcpRt, upstream: Upstream, stream: &mut Stream) {
    let worker = connection.worker.clone();
    let idle = proxy.config.idle_timeout.unwrap_or(IDLE);
    let idle = (!idle.is_zero()).then_some(idle);
    let prefix = std::mem::take(&mut connection.prefix);
    let longest = proxy.config.max_connection_duration.map(|d| Instant::now() + d);
    let limits = Bounds { idle, until: longest };
    let (client, server) = (&connection.io, &upstream.connection.io);
    let cluster = &upstream.picked.cluster;
    let reached = Some((&**cluster, upstream.picked.workload.clone()));
    let cells = istio::connection(&worker, proxy, reached, stream);
    if let Some(cells) = cells {
        worker.shard.inc(cells.opened);
    }
    let mut leave = Leave::new(connection);
    let over = |cx: &mut Context<'_>| leave.is_over(cx, connection);
    let ends = [(client, prefix), (server, upstream.prefix)];
    let moved = copy_both(&worker.stock, ends, limits, over).await;
    if moved.cut {
        stream.details = "filter_chain_changed".into();
    }
    stream.bytes_received = moved.forth;
    stream.bytes_sent = moved.back;
    let (shard, stats) = (&worker.shard, &upstream.picked.cluster.stats);
    shard.add(proxy.stats.cx_rx_bytes, moved.forth);
    shard.add(proxy.stats.cx_tx_bytes, moved.back);
    shard.add(stats.cx_tx_bytes, moved.forth);
    shard.add(stats.cx_rx_bytes, moved.back);
    if let Some(cells) = cells {
        shard.add(cells.received_bytes, moved.forth);
        shard.add(cells.sent_bytes, moved.back);
        shard.inc(cells.closed);
    }
    if moved.idle {
        shard.inc(proxy.stats.idle_timeout);
    }
}

fn record(connection: &Identified, proxy: &TcpRt, stream: &mut Stream) {
    let worker = &connection.worker;
    stream.duration = Some(worker.env.now().since(stream.began));
    let info = Info { request: None, response: None, stream };
    for (rule, sink) in &proxy.logs {
        if let Some(Some(buffer)) = connection.view.logs.get(*sink as usize) {
            buffer.append(|out| rule.write(&info, &worker.env, out));
        }
    }
}

/// An upstream connection of a TCP proxy.
#[derive(Debug)]
pub struct Upstream {
    pub connection: Connection,
    pub picked: Picked,
    /// What it has said already.
    pub prefix: Buffer,
}

/// A connection to an endpoint, tried as often as configured. What is learnt on the way is noted in
/// `stream`.
pub async fn dial(
    worker: &Worker,
    view: &View,
    proxy: &TcpRt,
    original: Option<SocketAddr>,
    stream: &mut Stream,
) -> Option<Upstream> {
    let Some(cluster) = cluster(worker, view, proxy, stream) else {
        worker.shard.inc(proxy.stats.cx_no_route);
        stream.flags.set(Flag::NoRouteFound);
        return None;
    };
    // Whom the PROXY protocol names, where the listener speaks it.
    let source = stream.remote.as_ref().and_then(|r| r.address);
    let client = source.zip(stream.downstream.as_ref().and_then(|e| e.local.address));
    let purpose = Purpose { original, client, ..Purpose::default() };
    let source = client.filter(|_| proxy.config.hash_source_ip);
    let hash = source.map(|(from, _)| balance::xxh64(from.ip().to_string().as_bytes()));
    let want = Want { hash, ..Want::default() };
    for _ in 0..proxy.config.max_connect_attempts.unwrap_or(1).max(1) {
        let Some(picked) = pick::pick(worker, &cluster, &want, purpose) else {
            stream.flags.set(Flag::NoHealthyUpstream);
            return None;
        };
        stream.attempts += 1;
        match pick::connect(worker, &picked, Offer::Fallback(&[])).await {
            Ok(connection) => {
                picked.report(worker, balance::Outcome::Established);
                worker.shard.inc(cluster.stats.rq_total);
                stream.upstream = Some(connection.ends.clone());
                match within_tunnel(&cluster, proxy, &connection).await {
                    Ok(prefix) => {
                        stream.flags = Default::default();
                        return Some(Upstream { connection, picked, prefix });
                    }
                    Err(why) => {
                        stream.flags.set(Flag::UpstreamConnectionFailure);
                        stream.transport_failure = why.into();
                    }
                }
            }
            Err(Loss::Overflow) => {
                stream.flags.set(Flag::UpstreamOverflow);
                return None;
            }
            Err(loss) => {
                picked.report_loss(worker, &loss);
                stream.flags.set(Flag::UpstreamConnectionFailure);
                stream.upstream = Some(Rc::new(picked.unconnected()));
                if let Loss::Connect(why) = loss {
                    stream.transport_failure = why.into();
                }
            }
        }
    }
    stream.flags.set(Flag::UpstreamRetryLimitExceeded);
    None
}

/// What the far end of the tunnel has said already, if there is to be one.
async fn within_tunnel(
    cluster: &ClusterState,
    proxy: &TcpRt,
    connection: &Connection,
) -> Result<Buffer, String> {
    let Some(to) = &proxy.config.tunnel else { return Ok(Buffer::default()) };
    if cluster.config.protocol == ir::UpstreamProtocol::Http2 {
        return Err("a tunnel over HTTP/2 is not possible".to_owned());
    }
    let opened = tunnel::open(&connection.io, to);
    let opened = tokio::time::timeout(cluster.connect_timeout(), opened).await;
    opened.unwrap_or_else(|_| Err("the proxy did not answer in time".to_owned()))
}

fn cluster(
    worker: &Worker,
    view: &View,
    proxy: &TcpRt,
    stream: &mut Stream,
) -> Option<Rc<ClusterState>> {
    let total: u64 = proxy.clusters.iter().map(|(_, weight, _)| u64::from(*weight)).sum();
    let mut rest = worker.env.below(total);
    for (name, weight, place) in &proxy.clusters {
        match rest.checked_sub(u64::from(*weight)) {
            Some(left) => rest = left,
            None => {
                stream.cluster = Some(name.clone());
                return Some(view.clusters[(*place)? as usize].clone());
            }
        }
    }
    None
}

/// How many bytes went each way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moved {
    pub forth: u64,
    pub back: u64,
    /// It ended because nothing moved for too long.
    pub idle: bool,
    /// It was ended.
    pub cut: bool,
}

/// How long bytes are copied.
#[derive(Clone, Copy, Debug, Default)]
pub struct Bounds {
    /// Without any byte.
    pub idle: Option<Duration>,
    pub until: Option<Instant>,
}

/// Copies bytes both ways until both ends have finished or one has failed. The end of one direction
/// is passed on; the other goes on. `ends` are the client's and the upstream's, each with what it has said
/// already. Once it is `over`, no byte is passed on.
pub async fn copy_both(
    stock: &Stock,
    ends: [(&Io, Buffer); 2],
    bounds: Bounds,
    mut over: impl FnMut(&mut Context<'_>) -> bool,
) -> Moved {
    let [(client, from_client), (upstream, from_upstream)] = ends;
    let mut forth = Half::new(from_client);
    let mut back = Half::new(from_upstream);
    let mut alarm = Alarm::default();
    let mut moved = 0;
    let mut since = Instant::now();
    let result = poll_fn(|cx| {
        if over(cx) {
            return Poll::Ready(End::Cut);
        }
        let a = forth.poll(cx, client, upstream, stock);
        let b = back.poll(cx, upstream, client, stock);
        match (a, b) {
            (Poll::Ready(Err(_)), _) | (_, Poll::Ready(Err(_))) => return Poll::Ready(End::Failed),
            (Poll::Ready(Ok(())), Poll::Ready(Ok(()))) => return Poll::Ready(End::Finished),
            _ => {}
        }
        if alarm.poll(cx, bounds.until).is_ready() {
            return Poll::Ready(End::Finished);
        }
        while let Some(idle) = bounds.idle
            && alarm.poll(cx, Some(since + idle)).is_ready()
        {
            if forth.bytes + back.bytes == moved {
                return Poll::Ready(End::Idle);
            }
            moved = forth.bytes + back.bytes;
            since = Instant::now();
        }
        Poll::Pending
    })
    .await;
    if matches!(result, End::Failed | End::Cut) {
        client.reset_on_close();
        upstream.reset_on_close();
    }
    stock.take_back(forth.buffer);
    stock.take_back(back.buffer);
    let (idle, cut) = (result == End::Idle, result == End::Cut);
    Moved { forth: forth.bytes, back: back.bytes, idle, cut }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Finished,
    Failed,
    Idle,
    Cut,
}

/// One direction.
struct Half {
    buffer: Buffer,
    bytes: u64,
    ended: bool,
    done: bool,
}

impl Half {
    fn new(buffer: Buffer) -> Self {
        Self { buffer, bytes: 0, ended: false, done: false }
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        from: &Io,
        to: &Io,
        stock: &Stock,
    ) -> Poll<io::Result<()>> {
        loop {
            if self.done {
                return Poll::Ready(Ok(()));
            }
            if !self.buffer.is_empty() {
                let n = ready!(to.poll_write(cx, self.buffer.unread()))?;
                self.buffer.consume(n);
                self.bytes += n as u64;
            } else if self.ended {
                to.shutdown_write();
                ready!(to.poll_flush(cx))?;
                self.done = true;
            } else {
                if from.poll_readable(cx)?.is_pending() {
                    // What was encrypted may still wait.
                    let _ = to.poll_flush(cx)?;
                    // Nothing held while nothing moves.
                    stock.take_back(std::mem::take(&mut self.buffer));
                    return Poll::Pending;
                }
                if self.buffer.is_unused() {
                    self.buffer = stock.buffer();
                }
                self.ended = ready!(self.buffer.poll_fill(from, cx, LARGE))? == 0;
            }
        }
    }
}
