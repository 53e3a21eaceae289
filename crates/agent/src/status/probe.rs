//! The application's probes, performed for the node: injection moved them here, since the node has no
//! certificate and is not to be treated like a client.

use crate::dial::Dial;
use crate::fetch;
use bytes::Bytes;
use http_body_util::Full;
use hyper::Request;
use serde::Deserialize;
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tls::{Expect, TrustSource};
use tokio_rustls::TlsConnector;

/// The probes of this pod by path, as injection writes them into `ISTIO_KUBE_APP_PROBERS`.
#[derive(Clone, Debug, Default)]
pub struct Probes {
    by_path: Arc<HashMap<String, Probe>>,
    /// Where the application listens.
    pod: Option<IpAddr>,
    dial: Dial,
}

#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase")]
struct Probe {
    http_get: Option<HttpGet>,
    tcp_socket: Option<TcpSocket>,
    grpc: Option<Grpc>,
    #[serde(default)]
    timeout_seconds: Option<u64>,
}

#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase")]
struct HttpGet {
    #[serde(default)]
    path: String,
    port: u16,
    #[serde(default)]
    host: String,
    #[serde(default)]
    scheme: String,
    #[serde(default)]
    http_headers: Vec<Header>,
}

#[derive(Clone, Debug, Deserialize, PartialEq)]
struct Header {
    name: String,
    #[serde(default)]
    value: String,
}

#[derive(Clone, Debug, Deserialize, PartialEq)]
struct TcpSocket {
    port: u16,
    #[serde(default)]
    host: String,
}

#[derive(Clone, Debug, Deserialize, PartialEq)]
struct Grpc {
    port: u16,
    #[serde(default)]
    service: String,
}

/// Redirects to the application itself are followed this often, as the node would.
const MAX_REDIRECTS: usize = 10;

impl Probes {
    pub fn read(json: &str, pod: Option<IpAddr>, dial: Dial) -> Result<Self, serde_json::Error> {
        let by_path = if json.is_empty() { HashMap::new() } else { serde_json::from_str(json)? };
        Ok(Self { by_path: Arc::new(by_path), pod, dial })
    }

    /// The status that the node gets; `None` when there is no such probe.
    pub async fn run(&self, path: &str) -> Option<u16> {
        let probe = self.by_path.get(path)?.clone();
        let timeout = Duration::from_secs(probe.timeout_seconds.unwrap_or(1).clamp(1, 60));
        let attempt = async {
            match (probe.http_get, probe.tcp_socket, probe.grpc) {
                (Some(get), ..) => self.http(get, timeout).await,
                (_, Some(tcp), _) => self.tcp(tcp, timeout).await,
                (_, _, Some(grpc)) => self.grpc(grpc, timeout).await,
                _ => Err("the probe says nothing".to_owned()),
            }
        };
        let outcome = tokio::time::timeout(timeout, attempt).await;
        Some(match outcome {
            Ok(Ok(status)) => status,
            Ok(Err(error)) => {
                tracing::debug!(path, %error, "probe failed");
                500
            }
            Err(_) => 504,
        })
    }

    fn target(&self, host: &str, port: u16) -> Result<SocketAddr, String> {
        let ip = if host.is_empty() { self.pod } else { host.parse().ok() };
        let ip = ip.ok_or_else(|| format!("{host:?} is no address of this pod"))?;
        Ok(SocketAddr::new(ip, port))
    }

    async fn tcp(&self, tcp: TcpSocket, timeout: Duration) -> Result<u16, String> {
        let target = self.target(&tcp.host, tcp.port)?;
        self.dial.to_own_pod(target, timeout).await.map_err(|e| e.to_string())?;
        Ok(200)
    }

    async fn http(&self, get: HttpGet, timeout: Duration) -> Result<u16, String> {
        let target = self.target(&get.host, get.port)?;
        let mut path = get.path.clone();
        for _ in 0..=MAX_REDIRECTS {
            let response = self.get(&get, target, &path, timeout).await?;
            let status = response.status().as_u16();
            let location = response.headers().get("location").and_then(|l| l.to_str().ok());
            match location.filter(|_| (300..400).contains(&status)).and_then(own_path) {
                Some(next) => path = next,
                None => return Ok(status),
            }
        }
        Err("it redirects for ever".to_owned())
    }

    async fn get(
        &self,
        get: &HttpGet,
        target: SocketAddr,
        path: &str,
        timeout: Duration,
    ) -> Result<hyper::Response<Bytes>, String> {
        let say = |e: &dyn std::fmt::Display| e.to_string();
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        let mut request = Request::get(path).header("user-agent", "kube-probe/1.33");
        let host = get.http_headers.iter().find(|h| h.name.eq_ignore_ascii_case("host"));
        request = request.header("host", host.map_or(target.to_string(), |h| h.value.clone()));
        for h in get.http_headers.iter().filter(|h| !h.name.eq_ignore_ascii_case("host")) {
            request = request.header(&h.name, &h.value);
        }
        let request = request
            .header("connection", "close")
            .body(Full::new(Bytes::new()))
            .map_err(|e| say(&e))?;
        let socket = self.dial.to_own_pod(target, timeout).await.map_err(|e| say(&e))?;
        if !get.scheme.eq_ignore_ascii_case("https") {
            return fetch::http1(socket, request).await.map_err(|e| say(&e));
        }
        let config =
            tls::client_config(TrustSource::default(), Expect::Nothing, None, &[b"http/1.1"])
                .map_err(|e| say(&e))?;
        let name = rustls::pki_types::ServerName::from(target.ip());
        let stream = TlsConnector::from(config).connect(name, socket).await.map_err(|e| say(&e))?;
        fetch::http1(stream, request).await.map_err(|e| say(&e))
    }

    /// `grpc.health.v1.Health/Check`: the service's name out, `SERVING` (1) back.
    async fn grpc(&self, grpc: Grpc, timeout: Duration) -> Result<u16, String> {
        let target = self.target("", grpc.port)?;
        let socket = self.dial.to_own_pod(target, timeout).await.map_err(|e| e.to_string())?;
        let mut message = Vec::new();
        if !grpc.service.is_empty() {
            let length = u8::try_from(grpc.service.len()).map_err(|_| "the name is too long")?;
            message.extend([0x0a, length]);
            message.extend_from_slice(grpc.service.as_bytes());
        }
        let uri = format!("http://{target}/grpc.health.v1.Health/Check");
        let answer = fetch::grpc(socket, &uri, None, &message).await.map_err(|e| e.to_string())?;
        Ok(if answer[..] == [0x08, 1] { 200 } else { 503 })
    }
}

/// The path of a redirect that stays here.
fn own_path(location: &str) -> Option<String> {
    let uri: hyper::Uri = location.parse().ok()?;
    match uri.authority() {
        None => uri.path_and_query().map(ToString::to_string),
        Some(_) => None,
    }
}
