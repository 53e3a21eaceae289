//! The discovery client: one stream to the control plane, taken up again when it ends. What to ask and
//! what to run is decided by `xds::client`; here are the connection, the waiting and the back-off.

use crate::dial::Dial;
use crate::identity::{Authority, IdentityError, back_off, jitter};
use base::Instant;
use bytes::{Buf, Bytes, BytesMut};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use ir::Kind;
use prost::Message;
use proto::discovery::{DELTA, DeltaDiscoveryResponse, DiscoveryResponse, STREAM};
use std::convert::Infallible;
use std::pin::Pin;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;
use xds::bootstrap::Node;
use xds::client::{Assembler, Outgoing, Session};
use xds::server::Dialect;

/// Where a control plane is, and how to reach it.
#[derive(Clone, Debug)]
pub enum ControlPlane {
    /// The mesh's own: TLS towards its name, and the pod's token.
    Mesh(Authority),
    /// In the clear, as a bootstrap's static cluster says.
    Plain { address: ir::Address, dial: Dial },
}

/// What to follow.
#[derive(Clone, Debug)]
pub struct Source {
    pub control_plane: ControlPlane,
    pub dialect: Dialect,
    pub node: Node,
    /// What runs whatever the control plane says.
    pub fixed: ir::Config,
    /// What is asked for without being referred to.
    pub asks: &'static [Kind],
}

/// What a stream brings.
#[derive(Debug)]
pub enum News {
    /// Another configuration to run.
    Config(ir::Config),
    /// All that was referred to has come, or was waited for long enough.
    Complete,
    /// What is still to come, for people.
    Waiting(String),
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum StreamError {
    #[error("{0}")]
    Identity(#[from] IdentityError),
    #[error("cannot connect: {0}")]
    Connect(#[from] std::io::Error),
    #[error("{0}")]
    Http(#[from] hyper::Error),
    #[error("the request cannot be made: {0}")]
    Request(#[from] hyper::http::Error),
    #[error("the control plane refuses: {message} (gRPC status {code})")]
    Refused { code: String, message: String },
    #[error("a message of {0} bytes is refused; the limit is {MAX_MESSAGE}")]
    TooLarge(usize),
    #[error("a message cannot be read: {0}")]
    Decode(#[from] prost::DecodeError),
    #[error("the control plane is too slow to read what we ask")]
    Full,
}

/// One response at most; 5,000 services make about a tenth of it.
const MAX_MESSAGE: usize = 64 << 20;
/// References that do not come are waited for this long, as Istio's agent waits for none.
const PATIENCE: Duration = Duration::from_secs(15);
/// Requests on their way; a stream that needs more does not work.
const QUEUE: usize = 256;
const KEEP_ALIVE: Duration = Duration::from_secs(30);
const CONNECT: Duration = Duration::from_secs(10);
/// A stream that lived this long was a good one: the next attempt comes at once.
const GOOD: Duration = Duration::from_secs(10);

/// Follows the mesh's control plane for ever; `heed` takes what comes.
pub async fn follow(
    authority: Authority,
    node: Node,
    asks: &'static [Kind],
    heed: impl FnMut(News),
) {
    let control_plane = ControlPlane::Mesh(authority);
    let (dialect, fixed) = (Dialect::Delta, ir::Config::default());
    follow_source(Source { control_plane, dialect, node, fixed, asks }, heed).await;
}

/// Follows a control plane for ever; `heed` takes what comes.
pub async fn follow_source(source: Source, mut heed: impl FnMut(News)) {
    let assembler = Assembler::new(&source.fixed, PATIENCE);
    let session = Session::new(source.dialect, &source.node, assembler);
    let mut session = session.asking_for(source.asks);
    let clock = Clock(std::time::Instant::now());
    let mut failures = 0;
    loop {
        let begun = std::time::Instant::now();
        match stream(&source, &mut session, &clock, &mut heed).await {
            Ok(()) => tracing::info!("the control plane ended the stream"),
            Err(error) => {
                tracing::warn!(%error, "no discovery stream; trying again");
                heed(News::Waiting(error.to_string()));
            }
        }
        failures = if begun.elapsed() > GOOD { 1 } else { failures + 1 };
        tokio::time::sleep(back_off(failures, jitter())).await;
    }
}

struct Clock(std::time::Instant);

impl Clock {
    fn now(&self) -> Instant {
        Instant(u64::try_from(self.0.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }
}

/// One stream, to its end.
async fn stream(
    source: &Source,
    session: &mut Session,
    clock: &Clock,
    heed: &mut impl FnMut(News),
) -> Result<(), StreamError> {
    let (requests, mut answers) = open(source).await?;
    send(&requests, session.connect())?;
    let mut buffer = BytesMut::new();
    let mut complete = false;
    loop {
        let frame = tokio::select! {
            frame = answers.next() => frame,
            () = until(session.deadline(), clock) => {
                session.tick(clock.now());
                tell(session, &mut complete, heed);
                continue;
            }
        };
        let Some(frame) = frame? else { return Ok(()) };
        buffer.extend_from_slice(&frame);
        while let Some(message) = message(&mut buffer)? {
            let next = match source.dialect {
                Dialect::Delta => {
                    session.receive_delta(DeltaDiscoveryResponse::decode(message)?, clock.now())
                }
                Dialect::StateOfTheWorld => {
                    session.receive_whole(DiscoveryResponse::decode(message)?, clock.now())
                }
            };
            send(&requests, next)?;
        }
        for finding in session.take_findings() {
            tracing::warn!(%finding, "configuration");
        }
        tell(session, &mut complete, heed);
    }
}

async fn until(deadline: Option<Instant>, clock: &Clock) {
    match deadline {
        Some(deadline) => tokio::time::sleep(deadline.since(clock.now())).await,
        None => std::future::pending().await,
    }
}

/// Passes on what is new.
fn tell(session: &mut Session, complete: &mut bool, heed: &mut impl FnMut(News)) {
    if let Some(config) = session.take_config() {
        heed(News::Config(config));
    }
    if *complete {
        return;
    }
    if session.is_complete() {
        *complete = true;
        heed(News::Complete);
    } else {
        let missing: Vec<String> = session
            .missing()
            .iter()
            .take(3)
            .map(|m| format!("{:?} {}", m.needs.kind, m.needs.name))
            .collect();
        let what =
            if missing.is_empty() { "clusters and listeners".into() } else { missing.join(", ") };
        heed(News::Waiting(what));
    }
}

type Requests = mpsc::Sender<Bytes>;

type Head = Pin<Box<dyn Future<Output = hyper::Result<Response<Incoming>>> + Send>>;

/// The response, frame by frame.
enum Answers {
    Coming(Head),
    Body(Incoming),
}

impl Answers {
    /// `None` when the stream ended well. May be dropped and called again.
    async fn next(&mut self) -> Result<Option<Bytes>, StreamError> {
        loop {
            match self {
                Answers::Coming(head) => {
                    let response = head.as_mut().await?;
                    status(Some(response.headers()))?;
                    *self = Answers::Body(response.into_body());
                }
                Answers::Body(body) => {
                    let Some(frame) = body.frame().await else { return Ok(None) };
                    match frame?.into_data() {
                        Ok(data) => return Ok(Some(data)),
                        Err(frame) => status(frame.trailers_ref())?,
                    }
                }
            }
        }
    }
}

fn status(headers: Option<&hyper::HeaderMap>) -> Result<(), StreamError> {
    let text = |name: &str| {
        let value = headers.and_then(|h| h.get(name)).and_then(|v| v.to_str().ok());
        value.unwrap_or_default().to_owned()
    };
    match text("grpc-status").as_str() {
        "" | "0" => Ok(()),
        code => Err(StreamError::Refused {
            code: code.to_owned(),
            message: text("grpc-message").replace("%20", " "),
        }),
    }
}

async fn open(source: &Source) -> Result<(Requests, Answers), StreamError> {
    let path = match source.dialect {
        Dialect::Delta => DELTA,
        Dialect::StateOfTheWorld => STREAM,
    };
    match &source.control_plane {
        ControlPlane::Mesh(authority) => {
            let token = Some(authority.token()?);
            let uri = format!("https://{}{path}", authority.address);
            call(authority.connect().await?, uri, token).await
        }
        ControlPlane::Plain { address: ir::Address::Pipe(file), .. } => {
            let socket = tokio::net::UnixStream::connect(&**file).await?;
            call(socket, format!("http://localhost{path}"), None).await
        }
        ControlPlane::Plain { address, dial } => {
            let socket = dial.by_name(&address.to_string(), CONNECT).await?;
            call(socket, format!("http://{address}{path}"), None).await
        }
    }
}

/// One streaming gRPC call over a connection of its own.
async fn call<I>(
    io: I,
    uri: String,
    token: Option<String>,
) -> Result<(Requests, Answers), StreamError>
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = hyper::client::conn::http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .keep_alive_interval(KEEP_ALIVE)
        .handshake(TokioIo::new(io))
        .await?;
    tokio::spawn(connection);
    let (requests, queue) = mpsc::channel(QUEUE);
    let frames = futures::stream::unfold(queue, |mut queue| async move {
        let message: Bytes = queue.recv().await?;
        Some((Ok::<_, Infallible>(Frame::data(message)), queue))
    });
    let mut request =
        Request::post(uri).header("content-type", "application/grpc").header("te", "trailers");
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    // The head of the answer may wait for the first request, so that is not waited for here.
    let response = sender.send_request(request.body(StreamBody::new(Box::pin(frames)))?);
    Ok((requests, Answers::Coming(Box::pin(response))))
}

fn send(requests: &Requests, messages: Vec<Outgoing>) -> Result<(), StreamError> {
    for message in messages {
        let framed = match message {
            Outgoing::Delta(request) => frame(&request),
            Outgoing::Whole(request) => frame(&request),
        };
        requests.try_send(framed).map_err(|_| StreamError::Full)?;
    }
    Ok(())
}

/// Not compressed, then the length.
pub(crate) fn frame(request: &impl Message) -> Bytes {
    let length = request.encoded_len();
    let mut framed = Vec::with_capacity(length + 5);
    framed.push(0);
    framed.extend_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes());
    framed.extend_from_slice(&request.encode_to_vec());
    framed.into()
}

/// The next whole message in the buffer.
pub(crate) fn message(buffer: &mut BytesMut) -> Result<Option<Bytes>, StreamError> {
    let Some(head) = buffer.get(1..5) else { return Ok(None) };
    let length = u32::from_be_bytes([head[0], head[1], head[2], head[3]]) as usize;
    if length > MAX_MESSAGE {
        return Err(StreamError::TooLarge(length));
    }
    if buffer.len() < 5 + length {
        return Ok(None);
    }
    buffer.advance(5);
    Ok(Some(buffer.split_to(length).freeze()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proto::discovery::DeltaDiscoveryRequest;

    #[test]
    fn messages_are_cut_from_the_stream_wherever_it_breaks() {
        let request = DeltaDiscoveryRequest { type_url: "x".repeat(300), ..Default::default() };
        let stream = [frame(&request), frame(&request)].concat();
        for step in [1, 3, 7, 600] {
            let mut buffer = BytesMut::new();
            let mut found = 0;
            for chunk in stream.chunks(step) {
                buffer.extend_from_slice(chunk);
                while let Some(m) = message(&mut buffer).unwrap() {
                    assert_eq!(DeltaDiscoveryRequest::decode(m).unwrap(), request);
                    found += 1;
                }
            }
            assert_eq!((found, buffer.len()), (2, 0), "in steps of {step}");
        }
    }

    #[test]
    fn a_message_that_claims_too_much_ends_the_stream() {
        let mut buffer = BytesMut::from(&[0, 0xff, 0, 0, 0][..]);
        assert!(matches!(message(&mut buffer), Err(StreamError::TooLarge(_))));
    }
}
