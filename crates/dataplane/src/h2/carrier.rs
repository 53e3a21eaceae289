//! Upstream connections that carry many requests: per worker, cluster and endpoint, opened one at a
//! time and shared by all requests of the worker.

use super::settings;
use super::transport::Transport;
use crate::pick::{self, Ends, Offer, Picked};
use crate::pool::{Connection, Counted, Key};
use crate::reply::Loss;
use crate::worker::Worker;
use ::h2::client::SendRequest;
use bytes::Bytes;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::future::poll_fn;
use std::rc::Rc;
use tokio::sync::Notify;
use tokio::time::Instant;

/// One connection.
#[derive(Debug)]
pub struct Carrier {
    send: SendRequest<Bytes>,
    pub ends: Rc<Ends>,
    /// No further requests: closed, or told to go away.
    over: Rc<Cell<bool>>,
    streams: Cell<usize>,
    served: Cell<u32>,
    most_streams: usize,
    /// Requests after which a new connection is made; zero is without limit.
    most_requests: u32,
    idle_since: Cell<Instant>,
    freed: Rc<Notify>,
}

/// A place for one request on a connection.
#[derive(Debug)]
pub struct Lease {
    carrier: Rc<Carrier>,
    pub send: SendRequest<Bytes>,
}

/// The connections of one worker to one cluster.
#[derive(Debug, Default)]
pub struct Carriers {
    by_key: RefCell<HashMap<Key, Rc<Slot>>>,
}

/// The connections to one endpoint.
#[derive(Debug, Default)]
struct Slot {
    /// The server chose another protocol when it was last asked.
    declined: Cell<bool>,
    list: RefCell<Vec<Rc<Carrier>>>,
    /// Held by whoever opens a connection; the others wait, since it will do for them too.
    opening: tokio::sync::Mutex<()>,
    /// Told when a request has left one of them.
    freed: Rc<Notify>,
    /// The last attempt that failed, for those who waited for it.
    failed: RefCell<Option<(Instant, Loss)>>,
}

/// What the server has chosen.
#[derive(Debug)]
pub enum Either {
    First(Connection),
    Second(Lease),
}

/// Connections to one endpoint that one worker opens at most.
const MOST: usize = 64;

impl Carriers {
    /// A place on a connection to the picked endpoint, which is opened if need be.
    pub async fn lease(&self, worker: &Rc<Worker>, picked: &Picked) -> Result<Lease, Loss> {
        let slot = self.slot(&picked.key);
        if let Some(ready) = slot.ready().await {
            return Ok(ready);
        }
        let waiting = Waiting::begin(worker, picked)?;
        let asked = Instant::now();
        loop {
            if let Some(ready) = slot.ready().await {
                return Ok(ready);
            }
            let turn = slot.opening.lock().await;
            if slot.has_room() {
                continue;
            }
            if let Some((_, loss)) = slot.failed.borrow().as_ref().filter(|(at, _)| *at >= asked) {
                return Err(loss.clone());
            }
            let Some(counted) = pick::place(picked, slot.is_empty()) else {
                drop(turn);
                waiting.room(&slot).await;
                continue;
            };
            match Box::pin(open(worker, picked, counted, &slot)).await {
                Ok(carrier) => slot.add(carrier),
                Err(loss) => {
                    *slot.failed.borrow_mut() = Some((Instant::now(), loss.clone()));
                    return Err(loss);
                }
            }
        }
    }

    /// A place on a connection, where the server decides by ALPN whether it speaks HTTP/2.
    pub async fn lease_or(
        &self,
        worker: &Rc<Worker>,
        picked: &Picked,
        spare: bool,
    ) -> Result<Either, Loss> {
        let slot = self.slot(&picked.key);
        let mut waiting = None;
        loop {
            if let Some(ready) = slot.ready().await {
                return Ok(Either::Second(ready));
            }
            if spare && let Some(connection) = picked.cluster.pool.take(&picked.key) {
                return Ok(Either::First(connection));
            }
            let waiting = match &waiting {
                Some(waiting) => waiting,
                None => waiting.insert(Waiting::begin(worker, picked)?),
            };
            // While nothing is known, one connection finds out for all that wait.
            let turn = match slot.declined.get() {
                true => None,
                false => Some(slot.opening.lock().await),
            };
            if slot.has_room() || (turn.is_some() && slot.declined.get()) {
                continue;
            }
            let leads = || picked.cluster.pool.leads_to(&picked.key);
            let alone = if turn.is_some() { slot.is_empty() } else { !leads() };
            let Some(counted) = pick::place(picked, alone) else {
                drop(turn);
                waiting.room(&slot).await;
                continue;
            };
            match Box::pin(either(worker, picked, counted, &slot)).await? {
                Opened::First(connection) => {
                    slot.declined.set(true);
                    return Ok(Either::First(connection));
                }
                Opened::Second(carrier) => {
                    slot.declined.set(false);
                    slot.add(carrier);
                }
            }
        }
    }

    fn slot(&self, key: &Key) -> Rc<Slot> {
        let mut slots = self.by_key.borrow_mut();
        match slots.get(key) {
            Some(slot) => slot.clone(),
            None => slots.entry(key.clone()).or_default().clone(),
        }
    }

    /// Begins anew: what carries requests now closes after the last of them.
    pub fn clear(&self) {
        self.by_key.borrow_mut().clear();
    }

    /// Closes connections that have carried nothing since `then`, and forgets those that are over.
    pub fn sweep(&self, then: Option<Instant>) {
        self.by_key.borrow_mut().retain(|_, slot| {
            slot.list.borrow_mut().retain(|c| !c.is_done(then));
            Rc::strong_count(slot) > 1 || !slot.list.borrow().is_empty()
        });
    }

    pub fn is_empty(&self) -> bool {
        self.by_key.borrow().is_empty()
    }
}

/// A request that finds no connection with room, counted among those that wait.
struct Waiting<'a> {
    _pending: balance::Permit,
    worker: &'a Worker,
    picked: &'a Picked,
    told: Cell<bool>,
}

impl<'a> Waiting<'a> {
    fn begin(worker: &'a Worker, picked: &'a Picked) -> Result<Self, Loss> {
        let _pending = pick::pending(worker, &picked.cluster)?;
        Ok(Self { _pending, worker, picked, told: Cell::new(false) })
    }

    /// There may be no further connection: waits until one has room, or until there may.
    async fn room(&self, slot: &Slot) {
        let cluster = &self.picked.cluster;
        if !self.told.replace(true) {
            self.worker.shard.inc(cluster.stats.cx_overflow);
        }
        tokio::select! {
            () = slot.freed.notified() => {}
            () = cluster.pool.change() => {}
        }
    }
}

impl Slot {
    /// A place on a connection that has room and takes requests.
    async fn ready(&self) -> Option<Lease> {
        loop {
            // Fails when the peer has sent GOAWAY meanwhile.
            if let Some(ready) = self.lease()?.ready().await {
                return Some(ready);
            }
        }
    }

    fn lease(&self) -> Option<Lease> {
        let mut list = self.list.borrow_mut();
        let at = list.iter().position(|c| c.has_room())?;
        let lease = list[at].lease();
        if list[at].is_used_up() {
            // Its last request closes it, so that another may take its place.
            list.swap_remove(at);
        }
        Some(lease)
    }

    fn has_room(&self) -> bool {
        self.list.borrow().iter().any(|c| c.has_room())
    }

    fn is_empty(&self) -> bool {
        // One that has carried all that it may is as good as gone.
        self.list.borrow().iter().all(|c| c.over.get() || (c.streams.get() == 0 && !c.has_room()))
    }

    fn add(&self, carrier: Rc<Carrier>) {
        let mut list = self.list.borrow_mut();
        list.retain(|c| !c.over.get());
        if list.len() < MOST {
            list.push(carrier);
        }
    }
}

impl Carrier {
    fn has_room(&self) -> bool {
        let most = self.most_streams.min(self.send.current_max_send_streams());
        !self.over.get() && !self.is_used_up() && self.streams.get() < most
    }

    /// It has carried as many requests as it may.
    fn is_used_up(&self) -> bool {
        self.most_requests > 0 && self.served.get() >= self.most_requests
    }

    fn lease(self: &Rc<Self>) -> Lease {
        self.streams.set(self.streams.get() + 1);
        self.served.set(self.served.get() + 1);
        Lease { carrier: self.clone(), send: self.send.clone() }
    }

    fn is_done(&self, then: Option<Instant>) -> bool {
        let idle = then.is_some_and(|then| self.idle_since.get() < then);
        self.over.get() || (self.streams.get() == 0 && idle)
    }
}

impl Lease {
    pub fn ends(&self) -> &Rc<Ends> {
        &self.carrier.ends
    }

    /// Whether the connection has carried a request before.
    pub fn is_reused(&self) -> bool {
        self.carrier.served.get() > 1
    }

    /// Waits until a request can be sent; `None` when the connection takes no more.
    async fn ready(mut self) -> Option<Self> {
        match poll_fn(|cx| self.send.poll_ready(cx)).await {
            Ok(()) => Some(self),
            Err(_) => {
                self.carrier.over.set(true);
                None
            }
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let carrier = &self.carrier;
        carrier.streams.set(carrier.streams.get() - 1);
        carrier.idle_since.set(Instant::now());
        carrier.freed.notify_one();
    }
}

/// Opens a connection.
async fn open(
    worker: &Rc<Worker>,
    picked: &Picked,
    counted: Counted,
    slot: &Slot,
) -> Result<Rc<Carrier>, Loss> {
    let offer = match picked.tells_protocol() {
        true => Offer::Only(&[b"istio-h2", b"istio", b"h2"]),
        false => Offer::Fallback(&[b"h2"]),
    };
    let connection = pick::made(worker, picked, offer, counted).await?;
    begin(worker, picked, connection, slot).await
}

/// A new connection, of the protocol that its server chose.
enum Opened {
    First(Connection),
    Second(Rc<Carrier>),
}

/// Opens a connection and lets the server choose.
async fn either(
    worker: &Rc<Worker>,
    picked: &Picked,
    counted: Counted,
    slot: &Slot,
) -> Result<Opened, Loss> {
    let offer = Offer::Fallback(&[b"h2", b"http/1.1"]);
    let connection = pick::made(worker, picked, offer, counted).await?;
    match connection.io.alpn().is_some_and(|p| p == b"h2") {
        true => Ok(Opened::Second(begin(worker, picked, connection, slot).await?)),
        false => Ok(Opened::First(connection)),
    }
}

/// Starts the driver of a connection.
async fn begin(
    worker: &Rc<Worker>,
    picked: &Picked,
    connection: Connection,
    slot: &Slot,
) -> Result<Rc<Carrier>, Loss> {
    let config = &picked.cluster.config;
    let Connection { io, ends, mut counted, .. } = connection;
    if let Some(counted) = &mut counted {
        counted.apart();
    }
    let transport = Transport::of_server(io);
    let handshake = settings::client(&config.http2).handshake::<_, Bytes>(transport);
    let (send, connection) = handshake.await.map_err(|_| Loss::Closed)?;
    worker.shard.inc(picked.cluster.stats.cx_http2_total);
    let over = Rc::new(Cell::new(false));
    let (flag, keepalive) = (over.clone(), super::ping::Keepalive::new(&config.http2));
    let cluster = picked.cluster.clone();
    let worker = worker.clone();
    tokio::task::spawn_local(async move {
        super::ping::drive_client(connection, keepalive).await;
        flag.set(true);
        worker.shard.inc(cluster.stats.cx_destroy);
        drop(counted);
    });
    Ok(Rc::new(Carrier {
        send,
        ends,
        over,
        streams: Cell::new(0),
        served: Cell::new(0),
        most_streams: settings::streams_per_connection(&config.http2),
        most_requests: config.common.max_requests_per_connection,
        idle_since: Cell::new(Instant::now()),
        freed: slot.freed.clone(),
    }))
}
