//! The server's side of an HTTP/1 connection: requests one after the other, each answered before the
//! next is looked at.

use super::down::{AHEAD, Down, Next};
use super::{Reader, Writer, client};
use crate::accept::Served;
use crate::alarm::Alarm;
use crate::buffer::Buffer;
use crate::course::Course;
use crate::exchange::Run;
use crate::forward::Ending;
use crate::identify::Identified;
use crate::io::Io;
use crate::record::{Client, Record};
use crate::reply::Reply;
use crate::runtime::ManagerRt;
use crate::tcp;
use crate::view::View;
use crate::worker::Worker;
use policy::Flag;
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::Instant;
use wire::h1::{Framing, HeadError, HeadScan, parse_request};
use wire::{RequestHead, Version};

/// A connection on which nothing happens is closed after this, where the configuration does not say.
const IDLE: Duration = Duration::from_secs(3600);

/// Serves a connection until it ends.
pub fn serve(connection: Identified, manager: Arc<ManagerRt>) -> Served {
    let mut server = Server::new(connection, manager);
    Box::pin(async move {
        let stats = server.course.manager().stats;
        let shard = &server.worker.shard;
        shard.inc(stats.cx_total);
        shard.inc(stats.cx_http1_total);
        shard.up(stats.cx_active);
        server.run().await;
        let shard = &server.worker.shard;
        shard.down(stats.cx_active);
        shard.inc(stats.cx_destroy);
    })
}

struct Server {
    worker: Rc<Worker>,
    io: Io,
    input: Buffer,
    connection: crate::identify::Origin,
    client: Client,
    course: Course,
    alarm: Alarm,
    requests: u32,
    began: Instant,
}

impl Server {
    fn new(connection: Identified, manager: Arc<ManagerRt>) -> Self {
        Self {
            course: Course::new(&connection.origin, &connection.view, manager),
            worker: connection.worker,
            io: connection.io,
            input: connection.prefix,
            client: connection.client,
            connection: connection.origin,
            alarm: Alarm::default(),
            requests: 0,
            began: Instant::now(),
        }
    }

    async fn run(&mut self) {
        loop {
            if self.input.is_empty() && !self.wait().await {
                return;
            }
            // Boxed, so that an idle connection does not carry it.
            match Box::pin(self.next()).await {
                Some(Next::Again) => {}
                Some(Next::Close) => return Box::pin(self.linger()).await,
                Some(Next::Abort) => return self.io.reset_on_close(),
                None => return,
            }
        }
    }

    /// The next request, from its head to its end. `None`: there is none.
    async fn next(&mut self) -> Option<Next> {
        let mut heads = self.worker.stock.heads();
        let read = self.read_head(&mut heads.request).await;
        if matches!(read, Err(Stop::Silently)) {
            self.worker.stock.take_back_heads(heads);
            return None;
        }
        let view = self.worker.view();
        if !self.course.refresh(&self.connection, &self.client, &view) {
            self.worker.stock.take_back_heads(heads);
            return None;
        }
        let mut record =
            Record::new(&self.worker, &view, self.course.manager(), &self.client, heads);
        Some(match read {
            Ok(framing) => {
                record.has_request = true;
                self.exchange(framing, &view, record).await
            }
            Err(Stop::Malformed(error)) => self.refuse(error, record).await,
            Err(Stop::TooSlow) => {
                self.local(Reply::new(408, "request_header_timeout"), record).await
            }
            Err(Stop::Silently) => return None,
        })
    }

    /// Waits for a request without holding a buffer; false when the connection is to be closed.
    async fn wait(&mut self) -> bool {
        self.worker.stock.take_back(std::mem::take(&mut self.input));
        let common = &self.course.manager().config.common;
        let idle = common.idle_timeout.unwrap_or(IDLE);
        let now = Instant::now();
        let idle = (!idle.is_zero()).then(|| now + idle);
        let oldest = common.max_connection_duration.map(|d| self.began + d);
        let deadline = [idle, oldest].into_iter().flatten().min();
        let (worker, io, alarm) = (&self.worker, &self.io, &mut self.alarm);
        let (course, connection, client) = (&mut self.course, &self.connection, &self.client);
        let readable = poll_fn(|cx| {
            // A connection that is over ends before another request has come.
            let goes_on = course.refresh(connection, client, &worker.view());
            if !goes_on || worker.is_draining(connection.direction) {
                return Poll::Ready(false);
            }
            if let Poll::Ready(readable) = io.poll_readable(cx) {
                return Poll::Ready(readable.is_ok());
            }
            alarm.poll(cx, deadline).map(|()| false)
        })
        .await;
        if readable {
            self.input = self.worker.stock.buffer();
        }
        readable
    }

    async fn read_head(&mut self, into: &mut wire::Request) -> Result<Framing, Stop> {
        let limits = self.course.manager().limits;
        let mut scan = HeadScan::default();
        let timeout = self.course.manager().config.request_headers_timeout.filter(|t| !t.is_zero());
        let deadline = timeout.map(|t| Instant::now() + t);
        loop {
            let parsed = parse_request(self.input.unread(), &mut scan, &limits, into);
            if let Some((range, framing)) = parsed.map_err(Stop::Malformed)? {
                self.input.consume(range.end);
                return Ok(framing);
            }
            let (io, input, alarm) = (&self.io, &mut self.input, &mut self.alarm);
            // One byte more than the limit, so that the parser sees that it is exceeded.
            let most = limits.head + 16;
            let read = poll_fn(|cx| {
                if let Poll::Ready(read) = input.poll_fill(io, cx, most) {
                    return Poll::Ready(Some(read));
                }
                alarm.poll(cx, deadline).map(|()| None)
            });
            match read.await {
                None => return Err(Stop::TooSlow),
                Some(Ok(0)) | Some(Err(_)) if !scan.begun(self.input.unread()) => {
                    return Err(Stop::Silently);
                }
                Some(Ok(0)) => return Err(Stop::Malformed(HeadError::Truncated)),
                Some(Err(_)) => return Err(Stop::Silently),
                Some(Ok(_)) => {}
            }
        }
    }

    async fn exchange(&mut self, framing: Framing, view: &Rc<View>, mut record: Record) -> Next {
        self.requests = self.requests.saturating_add(1);
        record.stream.protocol = Some(record.heads.request.version);
        let manager = self.course.manager().clone();
        let case = client::case(manager.config.http1.header_case);
        let mut down = Down {
            io: &self.io,
            reader: Reader::new(std::mem::take(&mut self.input)),
            writer: Writer::new(
                self.worker.stock.output(),
                case,
                manager.config.http1.enable_trailers,
            ),
            version: record.heads.request.version,
            head_only: record.heads.request.method() == b"HEAD",
            close: !framing.keep_alive
                || self.course.is_leaving()
                || self.worker.is_draining(self.connection.direction),
        };
        down.reader.begin(framing.body);
        let most = manager.config.common.max_requests_per_connection;
        down.close |= most != 0 && self.requests >= most;
        if framing.expect_continue && !manager.config.proxy_100_continue {
            down.writer.out.extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
            record.heads.request.fields.remove(b"expect");
        }
        let run = Run {
            view,
            manager: &manager,
            client: &self.client,
            connection: &self.connection,
            framing,
        };
        let ending = run.request(&mut record, &mut down, &mut self.alarm).await;
        let next = match ending {
            Ending::Done => down.after(),
            Ending::Gone => {
                record.stream.flags.set(Flag::DownstreamConnectionTermination);
                record.stream.details = "downstream_remote_disconnect".into();
                Next::Close
            }
            Ending::Broken => Next::Abort,
            Ending::Tunnel(client, idle) => {
                let (course, connection) = (&mut self.course, &self.connection);
                let (worker, of) = (&self.worker, &self.client);
                let over = |_: &mut Context<'_>| !course.refresh(connection, of, &worker.view());
                tunnel(&mut down, *client, idle, over, &mut record).await;
                Next::Close
            }
        };
        drop(record);
        self.input = down.release(&self.worker.stock);
        next
    }

    async fn refuse(&mut self, error: HeadError, mut record: Record) -> Next {
        record.stream.protocol = Some(Version::Http11);
        self.worker.shard.inc(self.course.manager().stats.cx_protocol_error);
        self.local(Reply::malformed(error), record).await
    }

    /// Answers a request whose head could not be read, and ends the connection.
    async fn local(&mut self, reply: Reply<'static>, mut record: Record) -> Next {
        record.heads.request.clear();
        let case = client::case(self.course.manager().config.http1.header_case);
        let mut down = Down {
            io: &self.io,
            reader: Reader::new(std::mem::take(&mut self.input)),
            writer: Writer::new(self.worker.stock.output(), case, false),
            version: Version::Http11,
            head_only: false,
            close: true,
        };
        let manager = self.course.manager().clone();
        down.reply(reply, &manager, &mut record).await;
        self.input = down.release(&self.worker.stock);
        Next::Close
    }

    /// Closes so that the client can read the answer even if it is still sending.
    async fn linger(&mut self) {
        self.io.shutdown_write();
        let deadline = Instant::now() + LINGER;
        let (io, input, alarm) = (&self.io, &mut self.input, &mut self.alarm);
        let mut taken = 0;
        poll_fn(|cx| {
            loop {
                let held = input.unread().len();
                input.consume(held);
                match input.poll_fill(io, cx, AHEAD) {
                    Poll::Ready(Ok(n)) if n > 0 && taken < LINGER_BYTES => taken += n,
                    Poll::Ready(_) => return Poll::Ready(()),
                    Poll::Pending => return alarm.poll(cx, Some(deadline)),
                }
            }
        })
        .await;
    }
}

/// How long, and how many bytes, a connection is read for that we have closed.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES: usize = 1 << 20;

/// Why no head was read.
enum Stop {
    /// The connection ended between requests.
    Silently,
    Malformed(HeadError),
    TooSlow,
}

async fn tunnel(
    down: &mut Down<'_>,
    client: super::Client,
    idle: Option<Duration>,
    over: impl FnMut(&mut Context<'_>) -> bool,
    record: &mut Record,
) {
    let worker = record.worker.clone();
    if poll_fn(|cx| down.writer.poll_flush(down.io, cx)).await.is_err() {
        return;
    }
    let (connection, answer) = client.into_parts(&worker.stock);
    let from_client = std::mem::take(&mut down.reader.buffer);
    let ends = [(down.io, from_client), (&connection.io, answer)];
    let bounds = tcp::Bounds { idle, until: None };
    let moved = tcp::copy_both(&worker.stock, ends, bounds, over).await;
    if moved.idle {
        record.stream.flags.set(Flag::StreamIdleTimeout);
        record.stream.details = "stream_idle_timeout".into();
    }
    record.stream.bytes_received = moved.forth;
    record.stream.bytes_sent = moved.back;
}
