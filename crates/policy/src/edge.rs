//! What a proxy adds to, and takes from, every request before it is routed: who asked, from where,
//! by which scheme, under which id (Envoy's HTTP connection manager).

use crate::format::Peer;
use base::Env;
use ir::{ForwardClientCert, HttpManager, ServerHeader};
use std::net::IpAddr;
use wire::{Head, Request, Response, Scheme, Version};

/// The connection that a request came by.
#[derive(Clone, Copy, Debug)]
pub struct Via<'a> {
    pub remote: IpAddr,
    /// Of this machine, for clients that are on it too.
    pub local: IpAddr,
    pub tls: bool,
    /// Of a client certificate that was verified.
    pub peer: Option<&'a Peer>,
}

/// Headers that only clients inside the mesh may use to steer this proxy.
const INTERNAL: [&[u8]; 15] = [
    b"x-envoy-retriable-status-codes",
    b"x-envoy-retriable-header-names",
    b"x-envoy-retry-on",
    b"x-envoy-retry-grpc-on",
    b"x-envoy-max-retries",
    b"x-envoy-upstream-alt-stat-name",
    b"x-envoy-upstream-rq-timeout-ms",
    b"x-envoy-upstream-rq-per-try-timeout-ms",
    b"x-envoy-upstream-rq-timeout-alt-response",
    b"x-envoy-expected-rq-timeout-ms",
    b"x-envoy-force-trace",
    b"x-envoy-hedge-on-per-try-timeout",
    b"x-envoy-upstream-stream-duration-ms",
    b"x-envoy-original-url",
    b"x-envoy-ip-tags",
];

/// What only a proxy of ours may have said, so that at the edge nobody has.
const EDGE: [&[u8]; 5] = [
    b"x-envoy-decorator-operation",
    b"x-envoy-downstream-service-cluster",
    b"x-envoy-downstream-service-node",
    b"x-envoy-original-path",
    b"x-envoy-original-host",
];

/// Prepares a request. Gives the client's address where `x-forwarded-for` is trusted to say it.
pub fn prepare(
    request: &mut Request,
    manager: &HttpManager,
    via: &Via<'_>,
    env: &impl Env,
) -> Option<IpAddr> {
    let client = client_address(request, manager);
    let edge = manager.use_remote_address;
    if edge {
        take_remote_address(request, manager, via);
    }
    request.scheme = if via.tls { Scheme::Https } else { Scheme::Http };
    if request.get(b"x-forwarded-proto").is_none() {
        let proto = request.scheme.as_str();
        request.fields.push(b"x-forwarded-proto", proto.as_bytes());
    }
    if request.version != Version::Http2 {
        // HTTP/1 has no scheme of its own, so what was forwarded is what goes on.
        request.scheme = match request.get(b"x-forwarded-proto") {
            Some(said) if said.eq_ignore_ascii_case(b"https") => Scheme::Https,
            Some(said) if said.eq_ignore_ascii_case(b"http") => Scheme::Http,
            _ => request.scheme,
        };
    }
    request.fields.remove(b"x-envoy-internal");
    // No address counts as internal, as with Envoy's default, so nobody may steer this proxy.
    for name in INTERNAL {
        request.fields.remove(name);
    }
    if edge {
        for name in EDGE {
            request.fields.remove(name);
        }
        let address = client.unwrap_or(via.remote).to_string();
        request.fields.set(b"x-envoy-external-address", address.as_bytes());
    }
    client_certificate(request, manager, via);
    request_id(request, manager, edge, env);
    if !manager.via.is_empty() {
        request.fields.append(b"via", b", ", manager.via.as_bytes());
    }
    client
}

/// The address that `x-forwarded-for` names as the client's, counted from the end.
fn client_address(request: &Request, manager: &HttpManager) -> Option<IpAddr> {
    let hops = manager.xff_num_trusted_hops as usize;
    if manager.use_remote_address && hops == 0 {
        return None;
    }
    let skip = if manager.use_remote_address { hops - 1 } else { hops };
    let mut all = Vec::new();
    request.each_value(b"x-forwarded-for", &mut |value| {
        all.extend(String::from_utf8_lossy(value).split(',').map(|a| a.trim().to_owned()));
    });
    all.iter().rev().nth(skip)?.parse().ok()
}

/// The peer is the client, whatever it says of itself.
fn take_remote_address(request: &mut Request, manager: &HttpManager, via: &Via<'_>) {
    if !manager.skip_xff_append {
        let address = if is_here(via.remote) { via.local } else { via.remote };
        let address = address.to_string();
        request.fields.append(b"x-forwarded-for", b",", address.as_bytes());
    }
    if manager.xff_num_trusted_hops == 0 {
        let proto = if via.tls { Scheme::Https } else { Scheme::Http };
        request.fields.set(b"x-forwarded-proto", proto.as_str().as_bytes());
    }
}

/// The one address of this machine that everybody uses; the others of its range are told as they are.
fn is_here(ip: IpAddr) -> bool {
    ip == IpAddr::V4(std::net::Ipv4Addr::LOCALHOST)
        || ip == IpAddr::V6(std::net::Ipv6Addr::LOCALHOST)
}

const XFCC: &[u8] = b"x-forwarded-client-cert";

fn client_certificate(request: &mut Request, manager: &HttpManager, via: &Via<'_>) {
    use ForwardClientCert::*;
    let peer = match (manager.forward_client_cert, via.peer) {
        (AlwaysForwardOnly, _) | (ForwardOnly, Some(_)) => return,
        (AppendForward | SanitizeSet, Some(peer)) => peer,
        _ => {
            request.fields.remove(XFCC);
            return;
        }
    };
    let element = peer.forwarded(&manager.set_client_cert);
    if manager.forward_client_cert == AppendForward {
        request.fields.append(XFCC, b",", element.as_bytes());
    } else {
        request.fields.set(XFCC, element.as_bytes());
    }
}

fn request_id(request: &mut Request, manager: &HttpManager, edge: bool, env: &impl Env) {
    const NAME: &[u8] = b"x-request-id";
    if manager.generate_request_id == Some(false) {
        return;
    }
    let replace = edge && !manager.preserve_external_request_id;
    if replace || request.get(NAME).is_none_or(<[u8]>::is_empty) {
        request.fields.set(NAME, &uuid(env.random(), env.random()));
    }
}

/// A random UUID (version 4).
pub fn uuid(high: u64, low: u64) -> [u8; 36] {
    let high = high & !0xf000 | 0x4000;
    let low = low & !(3 << 62) | 1 << 63;
    let mut out = [b'-'; 36];
    let mut at = 0;
    for i in 0..32 {
        if matches!(at, 8 | 13 | 18 | 23) {
            at += 1;
        }
        let word = if i < 16 { high } else { low };
        out[at] = b"0123456789abcdef"[(word >> (60 - 4 * (i % 16)) & 15) as usize];
        at += 1;
    }
    out
}

/// What every answer gets, from an upstream or from here.
pub fn finish(response: &mut Response, request: &Request, manager: &HttpManager, local: bool) {
    let name = if manager.server_name.is_empty() { "envoy" } else { &manager.server_name };
    match manager.server_header {
        ServerHeader::Overwrite => response.fields.set(b"server", name.as_bytes()),
        ServerHeader::AppendIfAbsent if response.get(b"server").is_none() => {
            response.fields.push(b"server", name.as_bytes());
        }
        ServerHeader::PassThrough if local && response.get(b"server").is_none() => {
            response.fields.push(b"server", name.as_bytes());
        }
        _ => {}
    }
    if !manager.via.is_empty() {
        response.fields.append(b"via", b", ", manager.via.as_bytes());
    }
    if manager.always_set_request_id_in_response
        && let Some(id) = request.get(b"x-request-id")
    {
        response.fields.set(b"x-request-id", id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::FixedEnv;
    use ir::{ClientCertDetails, RouteSource};

    fn manager() -> HttpManager {
        HttpManager::new("in", RouteSource::Rds("r".into()))
    }

    fn prepared(manager: &HttpManager, headers: &[(&str, &str)], peer: Option<&Peer>) -> Request {
        let mut request = Request::new(b"GET", b"h", b"/");
        for (name, value) in headers {
            request.fields.push(name.as_bytes(), value.as_bytes());
        }
        let via = Via {
            remote: "9.9.9.9".parse().unwrap(),
            local: "1.1.1.1".parse().unwrap(),
            tls: peer.is_some(),
            peer,
        };
        prepare(&mut request, manager, &via, &FixedEnv::seeded(1));
        request
    }

    fn value<'a>(request: &'a Request, name: &str) -> &'a str {
        std::str::from_utf8(request.get(name.as_bytes()).unwrap_or_default()).unwrap()
    }

    #[test]
    fn a_sidecar_believes_and_an_edge_does_not() {
        let given = [
            ("x-forwarded-for", "5.5.5.5"),
            ("x-forwarded-proto", "https"),
            ("x-request-id", "mine"),
            ("x-envoy-retry-on", "5xx"),
        ];
        let request = prepared(&manager(), &given, None);
        assert_eq!(value(&request, "x-forwarded-for"), "5.5.5.5");
        assert_eq!(value(&request, "x-forwarded-proto"), "https");
        assert_eq!(value(&request, "x-request-id"), "mine");
        assert_eq!(value(&request, "x-envoy-retry-on"), "");

        let edge = HttpManager { use_remote_address: true, ..manager() };
        let request = prepared(&edge, &given, None);
        assert_eq!(value(&request, "x-forwarded-for"), "5.5.5.5,9.9.9.9");
        assert_eq!(value(&request, "x-forwarded-proto"), "http");
        assert_eq!(value(&request, "x-request-id").len(), 36);
        assert_eq!(value(&request, "x-envoy-retry-on"), "");
        assert_eq!(value(&request, "x-envoy-external-address"), "9.9.9.9");
    }

    #[test]
    fn only_the_usual_loopback_address_is_told_as_the_machines_own() {
        let edge = HttpManager { use_remote_address: true, ..manager() };
        for (remote, told) in
            [("127.0.0.1", "1.1.1.1"), ("::1", "1.1.1.1"), ("127.0.0.2", "127.0.0.2")]
        {
            let mut request = Request::new(b"GET", b"h", b"/");
            let local = "1.1.1.1".parse().unwrap();
            let via = Via { remote: remote.parse().unwrap(), local, tls: false, peer: None };
            prepare(&mut request, &edge, &via, &FixedEnv::seeded(1));
            assert_eq!(value(&request, "x-forwarded-for"), told);
        }
    }

    #[test]
    fn certificates_are_forwarded_only_as_configured() {
        use ForwardClientCert::*;
        let peer = Peer {
            uri_san: Some("spiffe://td/ns/a/sa/b".into()),
            local_uri_san: Some("spiffe://td/ns/c/sa/d".into()),
            certificate_hash: "ab".into(),
            ..Default::default()
        };
        let element = "By=spiffe://td/ns/c/sa/d;Hash=ab;URI=spiffe://td/ns/a/sa/b";
        let appended = format!("forged,{element}");
        let table = [
            (Sanitize, true, ""),
            (SanitizeSet, true, element),
            (AppendForward, true, &appended),
            (ForwardOnly, true, "forged"),
            (ForwardOnly, false, ""),
            (AppendForward, false, ""),
            (AlwaysForwardOnly, false, "forged"),
        ];
        for (forward_client_cert, with_peer, expected) in table {
            let set_client_cert = ClientCertDetails { uri: true, ..Default::default() };
            let manager = HttpManager { forward_client_cert, set_client_cert, ..manager() };
            let peer = with_peer.then_some(&peer);
            let request = prepared(&manager, &[("x-forwarded-client-cert", "forged")], peer);
            assert_eq!(value(&request, "x-forwarded-client-cert"), expected, "{manager:?}");
        }
    }

    #[test]
    fn ids_are_uuids_of_version_4() {
        let id = uuid(u64::MAX, u64::MAX);
        assert_eq!(&id, b"ffffffff-ffff-4fff-bfff-ffffffffffff");
    }
}
