//! Connections and single requests. Nothing is ever sent twice: a connection that is found closed
//! before a request went out is replaced; once the request is on its way, what happens is the result.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper::{HeaderMap, Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};

use super::aim::{Aim, Mode};
use super::tally::Outcome;

const LARGEST_BODY: usize = 64 << 20;
const MOST_IDLE: usize = 1024;

type Sender1 = http1::SendRequest<Full<Bytes>>;
type Sender2 = http2::SendRequest<Full<Bytes>>;
type Failure = &'static str;

/// Open connections: idle ones for HTTP/1.1, a fixed number of shared ones for HTTP/2.
pub struct Lines {
    aim: Rc<Aim>,
    idle: RefCell<Vec<Sender1>>,
    shared: Vec<tokio::sync::Mutex<Option<Sender2>>>,
    turn: Cell<usize>,
}

impl Lines {
    pub fn new(aim: Rc<Aim>, shared: usize) -> Lines {
        let shared = (0..shared).map(|_| tokio::sync::Mutex::new(None)).collect();
        Lines { aim, idle: RefCell::new(Vec::new()), shared, turn: Cell::new(0) }
    }

    fn turn(&self) -> usize {
        self.turn.set(self.turn.get().wrapping_add(1));
        self.turn.get()
    }

    async fn connect(&self) -> Result<TokioIo<TcpStream>, Failure> {
        let address = self.aim.addresses[self.turn() % self.aim.addresses.len()];
        match timeout(self.aim.connect_timeout, TcpStream::connect(address)).await {
            Err(_) => Err("connect: timeout"),
            Ok(Err(error)) => Err(match error.kind() {
                std::io::ErrorKind::ConnectionRefused => "connect: refused",
                std::io::ErrorKind::ConnectionReset => "connect: reset",
                _ => "connect: failed",
            }),
            Ok(Ok(stream)) => {
                stream.set_nodelay(true).map_err(|_| "connect: failed")?;
                Ok(TokioIo::new(stream))
            }
        }
    }

    async fn http1(&self) -> Result<Sender1, Failure> {
        loop {
            let Some(mut sender) = self.idle.borrow_mut().pop() else { break };
            if sender.ready().await.is_ok() {
                return Ok(sender);
            }
        }
        self.open().await
    }

    async fn open(&self) -> Result<Sender1, Failure> {
        let stream = self.connect().await?;
        let (sender, connection) =
            http1::handshake(stream).await.map_err(|_| "connect: handshake")?;
        tokio::task::spawn_local(async move {
            // Its end is seen by the request that it carries.
            let _ = connection.await;
        });
        Ok(sender)
    }

    fn keep(&self, sender: Sender1) {
        let mut idle = self.idle.borrow_mut();
        if idle.len() < MOST_IDLE && !sender.is_closed() {
            idle.push(sender);
        }
    }

    async fn http2(&self) -> Result<Sender2, Failure> {
        let mut slot = self.shared[self.turn() % self.shared.len()].lock().await;
        if let Some(sender) = slot.as_mut()
            && sender.ready().await.is_ok()
        {
            return Ok(sender.clone());
        }
        let stream = self.connect().await?;
        let (sender, connection) = http2::handshake(hyper_util::rt::TokioExecutor::new(), stream)
            .await
            .map_err(|_| "connect: handshake")?;
        tokio::spawn(async move {
            let _ = connection.await;
        });
        *slot = Some(sender.clone());
        Ok(sender)
    }
}

/// One request, from the moment it was due to its end or its deadline.
pub async fn request(aim: &Aim, lines: &Lines, due: Instant) -> Outcome {
    let deadline = due + aim.request_timeout;
    let answer = timeout_at(deadline, exchange(aim, lines)).await;
    let took = due.elapsed();
    match answer {
        Err(_) => Outcome { took, ..Outcome::failed("timeout") },
        Ok(Err(reason)) => Outcome { took, ..Outcome::failed(reason) },
        Ok(Ok(answer)) => answer.judge(aim, took),
    }
}

async fn exchange(aim: &Aim, lines: &Lines) -> Result<Answer, Failure> {
    match aim.mode {
        Mode::KeepAlive | Mode::New => loop {
            let mut sender = match aim.mode {
                Mode::KeepAlive => lines.http1().await?,
                _ => lines.open().await?,
            };
            let sent = sender.send_request(build(aim)).await;
            match sent {
                // It was closed before anything was written: not a request yet.
                Err(error) if error.is_canceled() => continue,
                Err(error) => return Err(reason(&error)),
                Ok(response) => {
                    let answer = Answer::read(response).await?;
                    if aim.mode == Mode::KeepAlive && sender.ready().await.is_ok() {
                        lines.keep(sender);
                    }
                    return Ok(answer);
                }
            }
        },
        Mode::H2c | Mode::Grpc => loop {
            let mut sender = lines.http2().await?;
            match sender.send_request(build(aim)).await {
                Err(error) if error.is_canceled() => continue,
                Err(error) => return Err(reason(&error)),
                Ok(response) => return Answer::read(response).await,
            }
        },
    }
}

fn build(aim: &Aim) -> Request<Full<Bytes>> {
    let mut request = Request::new(Full::new(aim.body.clone()));
    *request.method_mut() = aim.method.clone();
    *request.headers_mut() = aim.headers.clone();
    match aim.mode {
        Mode::KeepAlive | Mode::New => {
            let path = aim.uri.path_and_query().map_or("/", |path| path.as_str());
            *request.uri_mut() = path.parse().unwrap_or_default();
            if let Ok(host) = aim.authority.parse() {
                request.headers_mut().insert("host", host);
            }
            if aim.mode == Mode::New {
                let close = hyper::header::HeaderValue::from_static("close");
                request.headers_mut().insert("connection", close);
            }
        }
        Mode::H2c | Mode::Grpc => {
            let mut parts = aim.uri.clone().into_parts();
            parts.authority = aim.authority.parse().ok().or(parts.authority);
            *request.uri_mut() = hyper::Uri::from_parts(parts).unwrap_or_default();
        }
    }
    request
}

fn reason(error: &hyper::Error) -> Failure {
    if error.is_incomplete_message() {
        "closed before the answer"
    } else if error.is_parse() {
        "not HTTP"
    } else {
        "reset"
    }
}

/// An answer, read to its end.
struct Answer {
    status: u16,
    headers: HeaderMap,
    trailers: HeaderMap,
    body: Bytes,
}

impl Answer {
    async fn read(response: Response<Incoming>) -> Result<Answer, Failure> {
        let (head, body) = response.into_parts();
        let body =
            Limited::new(body, LARGEST_BODY).collect().await.map_err(|_| "body broken off")?;
        let trailers = body.trailers().cloned().unwrap_or_default();
        Ok(Answer {
            status: head.status.as_u16(),
            headers: head.headers,
            trailers,
            body: body.to_bytes(),
        })
    }

    fn judge(&self, aim: &Aim, took: std::time::Duration) -> Outcome {
        let body = String::from_utf8_lossy(&self.body);
        let mut outcome = Outcome { took, class: self.class(aim, &body), failure: None };
        let expect = &aim.expect;
        outcome.failure = if self.status != expect.status {
            Some(format!("status {}", self.status))
        } else if let Some(code) = self.grpc_failure(aim.mode) {
            Some(format!("grpc-status {code}"))
        } else if !expect.bodies.is_empty() && !expect.bodies.iter().any(|b| body.contains(b)) {
            Some("wrong body".to_owned())
        } else if expect.slow.is_some_and(|slow| took > slow) {
            Some("slow".to_owned())
        } else {
            None
        };
        outcome
    }

    fn grpc_failure(&self, mode: Mode) -> Option<String> {
        if mode != Mode::Grpc {
            return None;
        }
        let status = self.trailers.get("grpc-status").or_else(|| self.headers.get("grpc-status"));
        match status.map(|status| status.to_str().unwrap_or("?").to_owned()) {
            Some(code) if code == "0" => None,
            Some(code) => Some(code),
            None => Some("missing".to_owned()),
        }
    }

    /// What the answer is counted as.
    fn class(&self, aim: &Aim, body: &str) -> Option<String> {
        let expect = &aim.expect;
        if !expect.headers.is_empty() {
            let value = |name| self.headers.get(name).and_then(|value| value.to_str().ok());
            let values: Vec<_> =
                expect.headers.iter().map(|n| value(n).unwrap_or("none")).collect();
            return Some(values.join(" "));
        }
        if let Some(pointer) = &expect.pointer {
            let value: serde_json::Value = serde_json::from_str(body).unwrap_or_default();
            let value = value.pointer(pointer).cloned().unwrap_or_default();
            return Some(value.as_str().map_or_else(|| value.to_string(), str::to_owned));
        }
        let found = expect.classes.iter().find(|(_, part)| body.contains(part.as_str()));
        let other = (!expect.classes.is_empty()).then(|| "other".to_owned());
        found.map(|(name, _)| name.clone()).or(other)
    }
}
