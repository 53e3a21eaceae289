//! The TLS door: who gets a certificate, whose name is in it, and who may speak for which proxy.

use super::*;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message;
use proto::ca::{CREATE_CERTIFICATE, IstioCertificateRequest, IstioCertificateResponse};
use proto::discovery::{DELTA, DeltaDiscoveryRequest, Node};
use tls::{Credential, Expect};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// The status of a call with one message, and what came back.
async fn call(plane: &Plane, path: &str, token: Option<&str>, message: Vec<u8>) -> (String, Bytes) {
    let trust = TrustSource::new(Trust::from_pem(&plane.authority.roots()).unwrap());
    let config = tls::client_config(trust, Expect::DialledName, None, &[b"h2"]).unwrap();
    let socket = TcpStream::connect(plane.secure).await.unwrap();
    let name = "istiod.istio-system.svc".try_into().unwrap();
    let stream = TlsConnector::from(config).connect(name, socket).await.unwrap();
    let io = TokioIo::new(stream);
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await.unwrap();
    tokio::spawn(connection);
    let mut framed = vec![0];
    framed.extend_from_slice(&u32::try_from(message.len()).unwrap().to_be_bytes());
    framed.extend(message);
    let mut request = http::Request::post(format!("https://istiod{path}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers");
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    let request = request.body(Full::new(Bytes::from(framed))).unwrap();
    let (head, body) = sender.send_request(request).await.unwrap().into_parts();
    let body = body.collect().await.unwrap();
    let trailers = body.trailers().cloned().unwrap_or_default();
    let status = trailers.get("grpc-status").or(head.headers.get("grpc-status")).unwrap();
    let status = status.to_str().unwrap().to_owned();
    let bytes = body.to_bytes();
    (status, if bytes.len() > 5 { bytes.slice(5..) } else { Bytes::new() })
}

const OK: &str = "0";
const PERMISSION_DENIED: &str = "7";
const INVALID: &str = "3";
const UNAUTHENTICATED: &str = "16";

#[tokio::test]
async fn a_certificate_is_for_the_holder_of_the_token() {
    let plane = Plane::start().await;
    let asked_for = SpiffeId::new("cluster.local", "kube-system", "admin");
    let (csr, key) = tls::request(&asked_for).unwrap();
    let request = IstioCertificateRequest { csr, validity_duration: 3600, metadata: None };
    let request = request.encode_to_vec();
    let (status, answer) =
        call(&plane, CREATE_CERTIFICATE, Some("default/ratings"), request.clone()).await;
    assert_eq!(status, OK);
    let chain = IstioCertificateResponse::decode(answer).unwrap().cert_chain;
    let leaf = Credential::from_pem(&chain.concat(), &key).unwrap();
    let holder = SpiffeId::new("cluster.local", "default", "ratings");
    assert_eq!(leaf.facts.identity, Some(holder));
    assert_eq!(chain.last(), Some(&plane.authority.roots()));
    for token in [None, Some("stolen")] {
        assert_eq!(
            call(&plane, CREATE_CERTIFICATE, token, request.clone()).await.0,
            UNAUTHENTICATED
        );
    }
    let garbage = IstioCertificateRequest { csr: "x".into(), ..Default::default() };
    let garbage = garbage.encode_to_vec();
    assert_eq!(call(&plane, CREATE_CERTIFICATE, Some("a/b"), garbage).await.0, INVALID);
}

#[tokio::test]
async fn a_token_speaks_only_for_proxies_of_its_namespace() {
    let plane = Plane::start().await;
    let hello = |id: &str| {
        let node = Node { id: id.to_owned(), ..Node::default() };
        DeltaDiscoveryRequest { node: Some(node), ..Default::default() }.encode_to_vec()
    };
    let theirs = "sidecar~10.0.0.1~p-1.payments~payments.svc.cluster.local";
    for (token, id, expected) in [
        (Some("default/ratings"), theirs, PERMISSION_DENIED),
        (None, theirs, UNAUTHENTICATED),
        (Some("default/ratings"), "nonsense", INVALID),
    ] {
        assert_eq!(call(&plane, DELTA, token, hello(id)).await.0, expected, "{token:?} {id}");
    }
}
