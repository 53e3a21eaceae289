//! One HTTPS request to a webhook.

use std::net::SocketAddr;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::Request;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use objects::meta::{number, text};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use serde_json::Value;
use thiserror::Error;
use tokio::net::TcpStream;

use crate::core::Core;

/// Largest answer that is read.
const MAX_ANSWER: usize = 4 * 1024 * 1024;

#[derive(Debug, Error)]
pub enum CallError {
    #[error("no endpoints available for service \"{0}\"")]
    NoEndpoints(String),
    #[error("clientConfig needs `service` or an https `url`; it has {0}")]
    Config(String),
    #[error("Post {url:?}: {why}")]
    Transport { url: String, why: String },
    #[error("context deadline exceeded after {0} s")]
    Timeout(i64),
    #[error("it answered {0}")]
    Status(u16),
    #[error("the answer is no usable AdmissionReview: {0}")]
    Answer(String),
}

struct Destination {
    url: String,
    host: String,
    path: String,
    address: Address,
}

enum Address {
    Known(SocketAddr),
    Named(String, u16),
}

/// Posts a review and returns the answer's body.
pub async fn call(core: &Core, config: &Value, review: &Value) -> Result<Value, CallError> {
    let to = destination(core, config)?;
    let failed = |why: String| CallError::Transport { url: to.url.clone(), why };
    let tls = tls_config(config).map_err(|why| failed(why.to_owned()))?;
    let stream = match &to.address {
        Address::Known(address) => TcpStream::connect(address).await,
        Address::Named(host, port) => TcpStream::connect((host.as_str(), *port)).await,
    };
    let stream = stream.map_err(|e| failed(e.to_string()))?;
    let name = ServerName::try_from(to.host.clone()).map_err(|e| failed(e.to_string()))?;
    let stream = tokio_rustls::TlsConnector::from(Arc::new(tls))
        .connect(name, stream)
        .await
        .map_err(|e| failed(e.to_string()))?;
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(|e| failed(e.to_string()))?;
    let driver = tokio::spawn(connection);
    let body = serde_json::to_vec(review).unwrap_or_default();
    let request = Request::post(to.path.as_str())
        .header("host", to.host.as_str())
        .header("content-type", "application/json")
        .header("accept", "application/json")
        .header("user-agent", "kube-apiserver-admission")
        .body(Full::new(Bytes::from(body)))
        .map_err(|e| failed(e.to_string()))?;
    let response = sender.send_request(request).await.map_err(|e| failed(e.to_string()))?;
    let status = response.status();
    let body = Limited::new(response.into_body(), MAX_ANSWER).collect().await;
    driver.abort();
    let body = body.map_err(|e| failed(e.to_string()))?.to_bytes();
    if !status.is_success() {
        return Err(CallError::Status(status.as_u16()));
    }
    serde_json::from_slice(&body).map_err(|e| CallError::Answer(e.to_string()))
}

fn destination(core: &Core, config: &Value) -> Result<Destination, CallError> {
    if let Some(service) = config.get("service") {
        let field = |key| text(service, &[key]).unwrap_or_default();
        let (namespace, name) = (field("namespace"), field("name"));
        let port = number(service, &["port"]).and_then(|p| u16::try_from(p).ok()).unwrap_or(443);
        let host = format!("{name}.{namespace}.svc");
        let path = match field("path") {
            "" => "/".to_owned(),
            path if path.starts_with('/') => path.to_owned(),
            path => format!("/{path}"),
        };
        let address = (core.webhook_resolver)(namespace, name, port)
            .ok_or_else(|| CallError::NoEndpoints(name.to_owned()))?;
        let url = format!("https://{host}:{port}{path}");
        return Ok(Destination { url, host, path, address: Address::Known(address) });
    }
    let url = text(config, &["url"]).unwrap_or_default();
    let parsed: hyper::Uri = url.parse().map_err(|_| CallError::Config(format!("url {url:?}")))?;
    match (parsed.scheme_str(), parsed.host()) {
        (Some("https"), Some(host)) => {
            let host = host.trim_matches(['[', ']']).to_owned();
            let path = parsed.path_and_query().map_or("/", |p| p.as_str()).to_owned();
            let address = Address::Named(host.clone(), parsed.port_u16().unwrap_or(443));
            Ok(Destination { url: url.to_owned(), host, path, address })
        }
        _ => Err(CallError::Config(format!("url {url:?}"))),
    }
}

fn tls_config(config: &Value) -> Result<ClientConfig, &'static str> {
    const UNTRUSTED: &str = "tls: failed to verify certificate: x509: certificate signed by unknown authority (caBundle is empty)";
    let bundle = text(config, &["caBundle"]).unwrap_or_default();
    let pem = STANDARD.decode(bundle).map_err(|_| "caBundle is not base64")?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let certificate = certificate.map_err(|_| "caBundle is not PEM")?;
        roots.add(certificate).map_err(|_| "caBundle holds a certificate that cannot be read")?;
    }
    if roots.is_empty() {
        return Err(UNTRUSTED);
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|_| "TLS is not available")?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}
