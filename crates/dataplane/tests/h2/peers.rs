//! The proxy under test, its clients and its upstreams.

use bytes::Bytes;
use dataplane::{Drain, Options, Proxy};
use h2::client::SendRequest;
use h2::server::SendResponse;
use h2::{Reason, RecvStream};
use http::{HeaderMap, Request, Response};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// A proxy with one listener and one cluster, `up`.
pub struct TestProxy {
    proxy: Proxy,
    config: ir::Config,
    pub address: SocketAddr,
}

impl TestProxy {
    /// `http2`: how the upstream is spoken to. `route`: more fields of the route.
    pub fn new(up: &Upstream, http2: bool, route: &str) -> Self {
        let config = xds::bootstrap::read(&yaml(up.address, http2, route)).unwrap().config;
        let proxy = Proxy::start(Options::default()).unwrap();
        assert_eq!(proxy.publish(&config), []);
        let ir::Address::Ip(asked) = config.listeners[0].address else { panic!() };
        let address = proxy.bound(asked).unwrap();
        Self { proxy, config, address }
    }

    pub fn stat(&self, name: &str) -> u64 {
        let text = telemetry::text(self.proxy.registry(), |n| n == name);
        let value = text.trim().rsplit(": ").next().unwrap_or_default();
        value.parse().unwrap_or_else(|_| panic!("no statistic {name}: {text}"))
    }

    /// The only chain takes other connections from now on.
    pub fn take_others(&mut self) {
        let listener = Arc::make_mut(&mut self.config.listeners[0]);
        listener.chains[0].matches.transport_protocol = "tls".into();
        assert_eq!(self.proxy.publish(&self.config), []);
    }

    pub fn drain(&self) {
        self.proxy.drain(Drain::All);
    }
}

fn yaml(up: SocketAddr, http2: bool, route: &str) -> String {
    let protocol = if http2 {
        r#"
    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        explicit_http_config: { http2_protocol_options: {} }"#
    } else {
        ""
    };
    format!(
        r#"
static_resources:
  listeners:
  - name: in
    address: {{ socket_address: {{ address: 127.0.0.1, port_value: 0 }} }}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: in
          route_config:
            virtual_hosts:
            - name: any
              domains: ["*"]
              routes:
              - match: {{ path: /direct }}
                direct_response: {{ status: 418, body: {{ inline_string: short }} }}
              - match: {{ prefix: / }}
                route:
                  cluster: up
                  timeout: 0s
                  {route}
          http_filters:
          - name: envoy.filters.http.router
            typed_config: {{ "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router }}
  clusters:
  - name: up
    type: STATIC
    connect_timeout: 1s
    load_assignment:
      cluster_name: up
      endpoints: [{{ lb_endpoints: [{{ endpoint: {{ address: {{ socket_address: {{ address: {}, port_value: {} }} }} }} }}] }}]{protocol}
"#,
        up.ip(),
        up.port()
    )
}

/// What an upstream does with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The body comes back, and the trailers.
    Echo,
    /// The body, then `grpc-status: 0`.
    Grpc,
    TrailersOnly,
    /// A body without an end.
    Endless,
    RefuseFirst,
    GoAwayAfterEach,
    Reset,
}

pub struct Upstream {
    pub address: SocketAddr,
    counts: Arc<Counts>,
}

#[derive(Default)]
struct Counts {
    connections: AtomicUsize,
    requests: AtomicUsize,
    sent: AtomicUsize,
    resets: AtomicUsize,
}

impl Upstream {
    pub fn connections(&self) -> usize {
        self.counts.connections.load(SeqCst)
    }

    pub fn sent(&self) -> usize {
        self.counts.sent.load(SeqCst)
    }

    pub fn resets(&self) -> usize {
        self.counts.resets.load(SeqCst)
    }
}

pub async fn upstream(answer: Answer) -> Upstream {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let counts = Arc::new(Counts::default());
    let shared = counts.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            shared.connections.fetch_add(1, SeqCst);
            tokio::spawn(serve(stream, answer, shared.clone()));
        }
    });
    Upstream { address, counts }
}

async fn serve(stream: TcpStream, answer: Answer, counts: Arc<Counts>) {
    let Ok(mut connection) = h2::server::handshake(stream).await else { return };
    while let Some(Ok((request, respond))) = connection.accept().await {
        let first = counts.requests.fetch_add(1, SeqCst) == 0;
        if answer == Answer::GoAwayAfterEach {
            connection.graceful_shutdown();
        }
        tokio::spawn(respond_to(request, respond, answer, first, counts.clone()));
    }
}

async fn respond_to(
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
    answer: Answer,
    first: bool,
    counts: Arc<Counts>,
) {
    let head = |request: &Request<RecvStream>| {
        Response::builder().header("x-path", request.uri().path()).body(()).unwrap()
    };
    match answer {
        Answer::Reset => return respond.send_reset(Reason::INTERNAL_ERROR),
        Answer::RefuseFirst if first => return respond.send_reset(Reason::REFUSED_STREAM),
        Answer::TrailersOnly => {
            let mut response = head(&request);
            response.headers_mut().insert("grpc-status", "12".parse().unwrap());
            respond.send_response(response, true).unwrap();
            return;
        }
        _ => {}
    }
    let mut out = respond.send_response(head(&request), false).unwrap();
    if answer == Answer::Endless {
        loop {
            out.reserve_capacity(1 << 16);
            match std::future::poll_fn(|cx| out.poll_capacity(cx)).await {
                Some(Ok(n)) => {
                    if out.send_data(Bytes::from(vec![0; n]), false).is_err() {
                        break;
                    }
                    counts.sent.fetch_add(n, SeqCst);
                }
                _ => break,
            }
        }
        counts.resets.fetch_add(1, SeqCst);
        return;
    }
    let te = request.headers().get("te").cloned();
    let mut body = request.into_body();
    while let Some(Ok(data)) = body.data().await {
        let _ = body.flow_control().release_capacity(data.len());
        let mut rest = data;
        while !rest.is_empty() {
            out.reserve_capacity(rest.len());
            let Some(Ok(n)) = std::future::poll_fn(|cx| out.poll_capacity(cx)).await else {
                return;
            };
            let piece = rest.split_to(n.min(rest.len()));
            if out.send_data(piece, false).is_err() {
                return;
            }
        }
    }
    let trailers = body.trailers().await.ok().flatten();
    let sent = match (answer, trailers) {
        (Answer::Grpc, _) => {
            let mut trailers = HeaderMap::new();
            trailers.insert("grpc-status", "0".parse().unwrap());
            trailers.insert("x-te", te.unwrap());
            out.send_trailers(trailers)
        }
        (_, Some(trailers)) => out.send_trailers(trailers),
        (_, None) => out.send_data(Bytes::new(), true),
    };
    // The client may be gone by now.
    let _ = sent;
}

/// Answers each request with the bytes that it got.
pub async fn http1_upstream() -> Upstream {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut got = Vec::new();
            while !got.ends_with(b"0\r\n\r\n") {
                let mut buffer = [0; 4096];
                let n = stream.read(&mut buffer).await.unwrap();
                if n == 0 {
                    return;
                }
                got.extend_from_slice(&buffer[..n]);
            }
            let head =
                b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\nconnection: keep-alive\r\n\r\n";
            stream.write_all(head).await.unwrap();
            stream.write_all(format!("{:x}\r\n", got.len()).as_bytes()).await.unwrap();
            stream.write_all(&got).await.unwrap();
            stream.write_all(b"\r\n0\r\n\r\n").await.unwrap();
        }
    });
    Upstream { address, counts: Arc::default() }
}

/// A client's connection.
pub struct Peer {
    pub send: SendRequest<Bytes>,
    /// Ends with the connection.
    pub closed: tokio::task::JoinHandle<()>,
}

impl Peer {
    pub async fn connect(to: SocketAddr) -> Self {
        let stream = TcpStream::connect(to).await.unwrap();
        let (send, connection) = h2::client::handshake(stream).await.unwrap();
        let closed = tokio::spawn(async move {
            // How it ended is seen by the streams.
            let _ = connection.await;
        });
        Self { send: send.ready().await.unwrap(), closed }
    }
}

pub async fn client(to: SocketAddr) -> SendRequest<Bytes> {
    Peer::connect(to).await.send
}

pub fn get(path: &str) -> Request<()> {
    Request::get(format!("http://example.com{path}")).body(()).unwrap()
}

pub fn post(path: &str) -> Request<()> {
    Request::post(format!("http://example.com{path}")).body(()).unwrap()
}

/// The whole body and the trailers.
pub async fn collect(mut body: RecvStream) -> (Vec<u8>, Option<HeaderMap>) {
    let mut all = Vec::new();
    while let Some(data) = body.data().await {
        let data = data.unwrap();
        body.flow_control().release_capacity(data.len()).unwrap();
        all.extend_from_slice(&data);
    }
    (all, body.trailers().await.unwrap())
}

/// Sends bytes by HTTP/1 and reads one answer that is chunked.
pub async fn read_http1(to: SocketAddr, request: &str) -> (String, String) {
    let mut stream = TcpStream::connect(to).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut got = Vec::new();
    while !got.ends_with(b"0\r\n\r\n") {
        let mut buffer = [0; 4096];
        let n = stream.read(&mut buffer).await.unwrap();
        assert!(n > 0, "closed after {}", String::from_utf8_lossy(&got));
        got.extend_from_slice(&buffer[..n]);
    }
    let text = String::from_utf8(got).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    (format!("{head}\r\n"), body.to_owned())
}

/// Polls until it holds; panics after `most`.
pub async fn until(most: Duration, mut holds: impl FnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + most;
    while !holds() {
        assert!(tokio::time::Instant::now() < deadline, "not within {most:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
