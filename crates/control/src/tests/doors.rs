//! The TLS door: who gets a certificate, whose name is in it, and who may speak for which proxy.

use super::*;
use crate::debug::Debug;
use crate::listen::Peer;
use bytes::Bytes;
use futures::{StreamExt, stream};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message;
use proto::ca::{CREATE_CERTIFICATE, IstioCertificateRequest, IstioCertificateResponse};
use proto::discovery::{DELTA, DeltaDiscoveryRequest, Node};
use std::convert::Infallible;
use tls::{Credential, Expect};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio_rustls::TlsConnector;

/// What a client says: one message, and no end before what is returned is dropped.
fn saying(message: &[u8]) -> (BoxBody<Bytes, Infallible>, oneshot::Sender<()>) {
    let mut framed = vec![0];
    framed.extend_from_slice(&u32::try_from(message.len()).unwrap().to_be_bytes());
    framed.extend_from_slice(message);
    let (end, ended) = oneshot::channel();
    let end_of_body = stream::once(ended).filter_map(|_| std::future::ready(None));
    let frames = stream::iter([Ok(Frame::data(Bytes::from(framed)))]).chain(end_of_body);
    (BodyExt::boxed(StreamBody::new(frames)), end)
}

/// What comes back for a call, as far as its head.
async fn open(
    plane: &Plane,
    path: &str,
    token: Option<&str>,
    body: BoxBody<Bytes, Infallible>,
) -> http::Response<hyper::body::Incoming> {
    open_showing(plane, None, path, token, body).await
}

/// The same from a client that shows a certificate in the handshake.
async fn open_showing(
    plane: &Plane,
    shown: Option<Credential>,
    path: &str,
    token: Option<&str>,
    body: BoxBody<Bytes, Infallible>,
) -> http::Response<hyper::body::Incoming> {
    let trust = TrustSource::new(Trust::from_pem(&plane.authority.roots()).unwrap());
    let shown = shown.map(CredentialSource::new);
    let config = tls::client_config(trust, Expect::DialledName, shown, &[b"h2"]).unwrap();
    let socket = TcpStream::connect(plane.secure).await.unwrap();
    let name = "istiod.istio-system.svc".try_into().unwrap();
    let stream = TlsConnector::from(config).connect(name, socket).await.unwrap();
    let io = TokioIo::new(stream);
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await.unwrap();
    tokio::spawn(connection);
    let mut request = http::Request::post(format!("https://istiod{path}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers");
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    let request = request.body(body).unwrap();
    sender.send_request(request).await.unwrap()
}

/// The status of a call with one message, and what came back.
async fn call(plane: &Plane, path: &str, token: Option<&str>, message: Vec<u8>) -> (String, Bytes) {
    call_showing(plane, None, path, token, message).await
}

async fn call_showing(
    plane: &Plane,
    shown: Option<Credential>,
    path: &str,
    token: Option<&str>,
    message: Vec<u8>,
) -> (String, Bytes) {
    let body = saying(&message).0;
    let (head, body) = open_showing(plane, shown, path, token, body).await.into_parts();
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
const RESOURCE_EXHAUSTED: &str = "8";
const OUT_OF_RANGE: &str = "11";
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

/// A certificate of the mesh's authority for `id`.
async fn leaf(plane: &Plane, id: &SpiffeId) -> Credential {
    let (csr, key) = tls::request(id).unwrap();
    let names = ca::Names::Workload(id.clone());
    let mut chain = plane.authority.issue(&csr, names, Duration::ZERO).await.unwrap().chain;
    chain.pop();
    Credential::from_pem(&chain.concat(), &key).unwrap()
}

#[tokio::test]
async fn a_certificate_alone_is_not_renewed() {
    let plane = Plane::start().await;
    let id = SpiffeId::new("cluster.local", "default", "ratings");
    let (csr, _) = tls::request(&id).unwrap();
    let request = IstioCertificateRequest { csr, ..Default::default() }.encode_to_vec();
    for (token, expected) in
        [(None, UNAUTHENTICATED), (Some("stolen"), UNAUTHENTICATED), (Some("default/ratings"), OK)]
    {
        let shown = Some(leaf(&plane, &id).await);
        let answer = call_showing(&plane, shown, CREATE_CERTIFICATE, token, request.clone()).await;
        assert_eq!(answer.0, expected, "{token:?}");
    }
}

#[tokio::test]
async fn a_certificate_speaks_only_for_proxies_of_the_meshs_trust_domains() {
    let plane = Plane::start().await;
    plane.synced().await;
    let node = Node { id: "sidecar~10.0.0.1~p.default~default.svc".to_owned(), ..Node::default() };
    let hello = DeltaDiscoveryRequest { node: Some(node), ..Default::default() }.encode_to_vec();
    for (domain, admitted) in [("cluster.local", true), ("old.local", true), ("other", false)] {
        let shown = Some(leaf(&plane, &SpiffeId::new(domain, "default", "ratings")).await);
        let (body, _end) = saying(&hello);
        let answer = open_showing(&plane, shown, DELTA, None, body).await;
        let status = answer.headers().get("grpc-status").map(|s| s.to_str().unwrap());
        assert_eq!(status, (!admitted).then_some(UNAUTHENTICATED), "{domain}");
    }
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

#[tokio::test]
async fn an_identity_holds_so_many_streams_and_others_have_theirs() {
    let plane = Plane::start().await;
    plane.synced().await;
    let node = Node { id: "sidecar~10.0.0.1~p.default~default.svc".to_owned(), ..Node::default() };
    let hello = DeltaDiscoveryRequest { node: Some(node), ..Default::default() }.encode_to_vec();
    let (plane, hello) = (&plane, &hello);
    let follow = |token: &'static str| async move {
        let (body, end) = saying(hello);
        let answer = open(plane, DELTA, Some(token), body).await;
        answer.headers().get("grpc-status").is_none().then_some((answer, end))
    };
    let mut held = Vec::new();
    for _ in 0..3 {
        held.push(follow("default/ratings").await.expect("a stream"));
    }
    let refused = call(plane, DELTA, Some("default/ratings"), hello.clone()).await.0;
    assert_eq!(refused, RESOURCE_EXHAUSTED);
    assert!(follow("default/reviews").await.is_some());
    held.pop();
    eventually("the place is given back", || follow("default/ratings")).await;
}

#[tokio::test]
async fn messages_without_end_are_refused() {
    let plane = Plane::start().await;
    let csr = "x".repeat(17 << 20);
    let request = IstioCertificateRequest { csr, ..Default::default() }.encode_to_vec();
    let status = call(&plane, CREATE_CERTIFICATE, Some("default/ratings"), request).await.0;
    assert!([RESOURCE_EXHAUSTED, OUT_OF_RANGE].contains(&&*status), "{status}");
}

#[tokio::test]
async fn debug_pages_are_for_this_pod_and_for_accounts_of_the_installation() {
    let plane = Plane::start().await;
    let (_, worlds) = watch::channel(None);
    let namespace = "istio-system".into();
    let (ads, authority) = (plane.ads.clone(), plane.authority.clone());
    let debug = Debug { worlds, ads, tokens: Arc::new(ByName), namespace, authority };
    let (far, near) = (Peer::default(), Peer { local: true, ..Peer::default() });
    for (peer, token, may) in [
        (&near, None, true),
        (&far, None, false),
        (&far, Some("stolen"), false),
        (&far, Some("default/ratings"), false),
        (&far, Some("istio-system/istiod"), true),
    ] {
        let mut headers = http::HeaderMap::new();
        if let Some(token) = token {
            headers.insert("authorization", format!("Bearer {token}").parse().unwrap());
        }
        let answer = debug.authorize(peer, &headers).await;
        assert_eq!(answer.is_ok(), may, "{token:?}: {answer:?}");
    }
}
