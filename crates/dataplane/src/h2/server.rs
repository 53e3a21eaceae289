//! The server's side of an HTTP/2 connection: a driver that accepts streams, and a task per stream.
//! All run on the worker that accepted the connection.

use super::body::Receive;
use super::down::Down;
use super::ping::Keepalive;
use super::settings;
use super::stream;
use super::transport::Transport;
use crate::alarm::Alarm;
use crate::course::{Course, LEAVE};
use crate::identify::{Identified, Origin};
use crate::record::Client;
use crate::runtime::ManagerRt;
use crate::view::View;
use crate::worker::Worker;
use ::h2::server::{self, SendResponse};
use bytes::Bytes;
use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::Instant;

/// A connection without streams is closed after this, where the configuration does not say.
const IDLE: Duration = Duration::from_secs(3600);
/// The preface and the settings must have come by then.
const HANDSHAKE: Duration = Duration::from_secs(15);
/// After GOAWAY, streams that are still open get this long.
const DRAIN: Duration = Duration::from_secs(5);

/// What the streams of a connection share.
#[derive(Debug)]
pub(super) struct Shared {
    pub worker: Rc<Worker>,
    pub client: Client,
    pub origin: Origin,
    course: RefCell<Course>,
    open: Cell<usize>,
    idle_since: Cell<Instant>,
}

/// A stream that counts as open until it is dropped.
#[derive(Debug)]
pub(super) struct Open(Rc<Shared>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.set(self.0.open.get() - 1);
        self.0.idle_since.set(Instant::now());
    }
}

/// Serves a connection until it ends.
pub async fn serve(connection: Identified, manager: Arc<ManagerRt>) {
    let worker = connection.worker.clone();
    let stats = manager.stats;
    worker.shard.inc(stats.cx_total);
    worker.shard.inc(stats.cx_http2_total);
    worker.shard.up(stats.cx_active);
    if run(connection, manager).await.is_err() {
        worker.shard.inc(stats.cx_protocol_error);
    }
    worker.shard.down(stats.cx_active);
    worker.shard.inc(stats.cx_destroy);
}

async fn run(connection: Identified, manager: Arc<ManagerRt>) -> Result<(), ::h2::Error> {
    let options = manager.config.http2.clone();
    let builder = settings::server(&options, manager.limits.head);
    let transport = Transport::of_client(connection.prefix, connection.io);
    let handshake = tokio::time::timeout(HANDSHAKE, builder.handshake(transport));
    let Ok(handshake) = handshake.await else { return Ok(()) };
    let mut codec: server::Connection<Transport, Bytes> = handshake?;
    let shared = Rc::new(Shared {
        worker: connection.worker,
        client: connection.client,
        course: RefCell::new(Course::new(&connection.origin, &connection.view, manager)),
        origin: connection.origin,
        open: Cell::new(0),
        idle_since: Cell::new(Instant::now()),
    });
    let mut life = Life::new(&shared);
    let mut pinger = Keepalive::new(&options).start(codec.ping_pong());
    loop {
        let accepted = poll_fn(|cx| {
            if let Poll::Ready(accepted) = codec.poll_accept(cx) {
                return Poll::Ready(accepted);
            }
            if pinger.as_mut().is_some_and(|p| p.poll_overdue(cx).is_ready()) {
                return Poll::Ready(None);
            }
            match life.poll(cx, &shared) {
                Poll::Ready(Phase::Leave) => codec.graceful_shutdown(),
                Poll::Ready(Phase::Over) => return Poll::Ready(None),
                Poll::Pending => return Poll::Pending,
            }
            // The shutdown takes effect when the codec is polled again.
            codec.poll_accept(cx)
        });
        match accepted.await {
            None => return Ok(()),
            Some(accepted) => {
                let (request, respond) = accepted?;
                life.requests += 1;
                begin(&shared, request, respond);
            }
        }
    }
}

/// Starts the task of one stream.
fn begin(
    shared: &Rc<Shared>,
    request: http::Request<::h2::RecvStream>,
    respond: SendResponse<Bytes>,
) {
    shared.open.set(shared.open.get() + 1);
    let open = Open(shared.clone());
    let (head, body) = request.into_parts();
    let down = Down::new(Receive::new(body), respond);
    let shared = shared.clone();
    // On the heap from the start: a task's future is moved to its place, and away at the end.
    tokio::task::spawn_local(Box::pin(async move {
        stream::run(&shared, &head, down).await;
        drop(open);
    }));
}

impl Shared {
    /// The newest configuration. `None`: the connection takes no further request.
    pub fn refresh(&self) -> Option<(Rc<View>, Arc<ManagerRt>)> {
        let view = self.worker.view();
        let mut course = self.course.borrow_mut();
        let goes_on = course.refresh(&self.origin, &self.client, &view);
        goes_on.then(|| (view, course.manager().clone()))
    }
}

/// What the end of a connection has come to.
enum Phase {
    /// Say GOAWAY; open streams go on.
    Leave,
    Over,
}

/// When a connection ends: idle, too old, too many requests, or the process is draining.
struct Life {
    alarm: Alarm,
    idle: Option<Duration>,
    oldest: Option<Instant>,
    most: u32,
    requests: u32,
    /// GOAWAY was said; the connection is closed at the latest then.
    leaving: Option<Instant>,
}

impl Life {
    fn new(shared: &Shared) -> Self {
        let course = shared.course.borrow();
        let common = &course.manager().config.common;
        let idle = common.idle_timeout.unwrap_or(IDLE);
        Self {
            alarm: Alarm::default(),
            idle: (!idle.is_zero()).then_some(idle),
            oldest: common.max_connection_duration.map(|d| Instant::now() + d),
            most: common.max_requests_per_connection,
            requests: 0,
            leaving: None,
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>, shared: &Shared) -> Poll<Phase> {
        if let Some(end) = self.leaving {
            return self.alarm.poll(cx, Some(end)).map(|()| Phase::Over);
        }
        let used_up = self.most != 0 && self.requests >= self.most;
        loop {
            let now = Instant::now();
            // A connection with open streams is looked at again when it could be idle at the earliest.
            let since = if shared.open.get() == 0 { shared.idle_since.get() } else { now };
            let deadline = [self.idle.map(|d| since + d), self.oldest].into_iter().flatten().min();
            let left = shared.refresh().is_none() || shared.course.borrow().is_leaving();
            if !shared.worker.is_draining(shared.origin.direction) && !used_up && !left {
                if self.alarm.poll(cx, deadline).is_pending() {
                    return Poll::Pending;
                }
                if deadline.is_some_and(|d| d > Instant::now()) {
                    continue;
                }
            }
            self.leaving = Some(Instant::now() + if left { LEAVE } else { DRAIN });
            return Poll::Ready(Phase::Leave);
        }
    }
}
