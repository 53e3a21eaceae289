//! Questions and answers of an authorization service in the messages of `envoy.service.auth.v3`.

use super::Question;
use crate::record::Record;
use ir::{AppendAction, NetworkAuthz, Str, Value};
use policy::Stream;
use policy::authz::{Answer, AuthzRule, Changes, Denial, Edit};
use policy::format::{Peer, Shown};
use proto::envoy::envoy::config::core::v3 as core;
use proto::envoy::envoy::service::auth::v3::attribute_context::{
    HttpRequest, Peer as AuthPeer, Request, TlsSession,
};
use proto::envoy::envoy::service::auth::v3::check_response::HttpResponse;
use proto::envoy::envoy::service::auth::v3::{
    AttributeContext, CheckRequest, CheckResponse, DeniedHttpResponse, OkHttpResponse,
};
use proto::envoy::google::protobuf::{ListValue, Struct, Timestamp, Value as PbValue, value::Kind};
use std::collections::BTreeMap;
use wire::RequestHead;

pub(crate) const CHECK: &str = "/envoy.service.auth.v3.Authorization/Check";

/// About a connection.
pub(crate) fn of_connection(config: &NetworkAuthz, stream: &Stream) -> CheckRequest {
    let attributes = AttributeContext {
        source: Some(source(stream, config.include_peer_certificate)),
        destination: Some(destination(stream)),
        tls_session: tls_session(stream, config.include_tls_session),
        ..AttributeContext::default()
    };
    CheckRequest { attributes: Some(attributes) }
}

fn source(stream: &Stream, with_certificate: bool) -> AuthPeer {
    let peer = stream.peer.as_deref();
    AuthPeer {
        address: stream.downstream.as_ref().and_then(|e| address(&e.remote)),
        principal: peer.map(principal).unwrap_or_default(),
        certificate: match peer {
            Some(peer) if with_certificate => peer.certificate_in_url(),
            _ => String::new(),
        },
        ..AuthPeer::default()
    }
}

fn destination(stream: &Stream) -> AuthPeer {
    let local = stream.peer.as_ref().and_then(|p| p.local_uri_san.clone());
    AuthPeer {
        address: stream.downstream.as_ref().and_then(|e| address(&e.local)),
        principal: local.unwrap_or_default(),
        ..AuthPeer::default()
    }
}

fn tls_session(stream: &Stream, wanted: bool) -> Option<TlsSession> {
    let peer = stream.peer.as_deref().filter(|p| wanted && p.tls_version.is_some());
    peer.map(|p| TlsSession { sni: p.server_name.clone().unwrap_or_default() })
}

pub(super) fn question(rule: &AuthzRule, question: &Question<'_>, record: &Record) -> CheckRequest {
    let stream = &record.stream;
    let source = AuthPeer {
        service: text(record.heads.request.field(b"x-envoy-downstream-service-cluster")),
        ..source(stream, rule.config.include_peer_certificate)
    };
    let nanos = stream.start.0;
    let time = Timestamp {
        seconds: (nanos / 1_000_000_000) as i64,
        nanos: (nanos % 1_000_000_000) as i32,
    };
    let context = question.context.iter().map(|(k, v)| (k.to_string(), v.to_string()));
    let attributes = AttributeContext {
        source: Some(source),
        destination: Some(destination(stream)),
        request: Some(Request { time: Some(time), http: Some(http(rule, question, record)) }),
        context_extensions: context.collect(),
        metadata_context: Some(metadata(rule, record)),
        route_metadata_context: None,
        tls_session: tls_session(stream, rule.config.include_tls_session),
    };
    CheckRequest { attributes: Some(attributes) }
}

fn http(rule: &AuthzRule, question: &Question<'_>, record: &Record) -> HttpRequest {
    let head = &record.heads.request;
    let (mut headers, mut header_map) = (Default::default(), None);
    if rule.config.raw_headers {
        let header = |(name, value): &(Vec<u8>, Vec<u8>)| core::HeaderValue {
            key: text(Some(name)),
            value: String::new(),
            raw_value: value.clone(),
        };
        header_map = Some(core::HeaderMap { headers: question.shown.iter().map(header).collect() });
    } else {
        let pair = |(name, value): &(Vec<u8>, Vec<u8>)| (text(Some(name)), text(Some(value)));
        headers = question.shown.iter().map(pair).collect();
    }
    let (body, raw_body) = match question.as_bytes {
        true => (String::new(), question.body.to_vec()),
        false => (text(Some(question.body)), Vec::new()),
    };
    HttpRequest {
        // As good as Envoy's, which is a random number of the stream's.
        id: base::Env::random(&record.worker.env).to_string(),
        method: text(Some(head.method())),
        headers,
        header_map,
        path: text(Some(head.path())),
        host: text(Some(head.authority())),
        scheme: text(Some(head.scheme())),
        size: question.body.len() as i64,
        protocol: record.stream.protocol.map(|p| p.as_str().to_owned()).unwrap_or_default(),
        body,
        raw_body,
        ..HttpRequest::default()
    }
}

/// Bytes that are no UTF-8 are shown as `!`.
fn text(bytes: Option<&[u8]>) -> String {
    let mut out = String::new();
    for chunk in bytes.unwrap_or_default().utf8_chunks() {
        out.push_str(chunk.valid());
        out.extend(chunk.invalid().iter().map(|_| '!'));
    }
    out
}

fn address(shown: &Shown) -> Option<core::Address> {
    let at = shown.address?;
    let socket = core::SocketAddress {
        address: at.ip().to_string(),
        port_specifier: Some(core::socket_address::PortSpecifier::PortValue(at.port().into())),
        ..core::SocketAddress::default()
    };
    Some(core::Address { address: Some(core::address::Address::SocketAddress(socket)) })
}

/// The first name of a certificate: a URI, else a host, else its subject.
fn principal(peer: &Peer) -> String {
    let dns = || peer.dns_sans.first().cloned();
    peer.uri_san.clone().or_else(dns).or_else(|| peer.subject.clone()).unwrap_or_default()
}

fn metadata(rule: &AuthzRule, record: &Record) -> core::Metadata {
    let wanted = rule.config.metadata_context.iter();
    let found = wanted.filter_map(|name| {
        let Value::Struct(fields) = record.stream.metadata.get(name)? else { return None };
        Some((name.to_string(), structure(fields)))
    });
    core::Metadata { filter_metadata: found.collect(), ..core::Metadata::default() }
}

fn structure(fields: &BTreeMap<Str, Value>) -> Struct {
    Struct { fields: fields.iter().map(|(k, v)| (k.to_string(), value(v))).collect() }
}

fn value(from: &Value) -> PbValue {
    PbValue {
        kind: Some(match from {
            Value::Null => Kind::NullValue(0),
            Value::Bool(b) => Kind::BoolValue(*b),
            Value::Number(n) => Kind::NumberValue(*n),
            Value::String(s) => Kind::StringValue(s.to_string()),
            Value::List(l) => Kind::ListValue(ListValue { values: l.iter().map(value).collect() }),
            Value::Struct(fields) => Kind::StructValue(structure(fields)),
        }),
    }
}

/// Values nested deeper than this are left out: nothing of ours looks there.
const DEEPEST: u32 = 16;

fn said(from: PbValue, depth: u32) -> Value {
    match from.kind {
        Some(Kind::BoolValue(b)) => Value::Bool(b),
        Some(Kind::NumberValue(n)) => Value::Number(n),
        Some(Kind::StringValue(s)) => Value::String(s.into()),
        Some(Kind::ListValue(l)) if depth > 0 => {
            Value::List(l.values.into_iter().map(|v| said(v, depth - 1)).collect())
        }
        Some(Kind::StructValue(s)) if depth > 0 => Value::Struct(fields(s, depth - 1)),
        _ => Value::Null,
    }
}

fn fields(from: Struct, depth: u32) -> BTreeMap<Str, Value> {
    from.fields.into_iter().map(|(k, v)| (k.into(), said(v, depth))).collect()
}

/// What an answer of the service means.
pub(crate) fn answer(response: CheckResponse) -> Answer {
    let code = response.status.map_or(0, |s| s.code);
    let metadata = response.dynamic_metadata.map(|s| fields(s, DEEPEST)).unwrap_or_default();
    match (code, response.http_response) {
        (_, Some(HttpResponse::ErrorResponse(_))) => Answer::Failed,
        (0, Some(HttpResponse::OkResponse(ok))) => Answer::Allowed(Box::new(changes(ok, metadata))),
        (0, _) => Answer::Allowed(Box::new(Changes { metadata, ..Changes::default() })),
        (_, Some(HttpResponse::DeniedResponse(denied))) => Answer::Denied(Box::new(denial(denied))),
        _ => Answer::Denied(Box::new(Denial { status: 403, ..Denial::default() })),
    }
}

fn denial(denied: DeniedHttpResponse) -> Denial {
    let code = denied.status.and_then(|s| u16::try_from(s.code).ok());
    Denial {
        status: code.filter(|c| (200..600).contains(c)).unwrap_or(403),
        headers: denied.headers.iter().filter_map(pair).collect(),
        body: denied.body.into_bytes(),
    }
}

#[allow(deprecated, reason = "authorizers still say it there")]
fn changes(ok: OkHttpResponse, metadata: BTreeMap<Str, Value>) -> Changes {
    let mut changes = Changes {
        metadata: ok.dynamic_metadata.map(|s| fields(s, DEEPEST)).unwrap_or(metadata),
        remove: ok.headers_to_remove.iter().map(|n| n.to_ascii_lowercase().into_bytes()).collect(),
        query_set: ok.query_parameters_to_set.into_iter().map(|q| (q.key, q.value)).collect(),
        query_remove: ok.query_parameters_to_remove,
        ..Changes::default()
    };
    for option in &ok.headers {
        let Some((name, value)) = pair(option) else { continue };
        match option.append.as_ref().is_some_and(|a| a.value) {
            true => changes.join.push((name, value)),
            false => {
                let action = AppendAction::OverwriteIfExistsOrAdd;
                changes.request.push(Edit { name, value, action });
            }
        }
    }
    for option in &ok.response_headers_to_add {
        let Some((name, value)) = pair(option) else { continue };
        let action = match (&option.append, option.append_action) {
            (Some(append), _) if append.value => AppendAction::AppendIfExistsOrAdd,
            (Some(_), _) => AppendAction::OverwriteIfExistsOrAdd,
            (None, 1) => AppendAction::AddIfAbsent,
            (None, 2) => AppendAction::OverwriteIfExistsOrAdd,
            (None, 3) => AppendAction::OverwriteIfExists,
            (None, _) => AppendAction::AppendIfExistsOrAdd,
        };
        changes.response.push(Edit { name, value, action });
    }
    changes
}

fn pair(option: &core::HeaderValueOption) -> Option<(Vec<u8>, Vec<u8>)> {
    let header = option.header.as_ref()?;
    let value = match header.raw_value.is_empty() {
        true => header.value.as_bytes(),
        false => &header.raw_value,
    };
    Some((header.key.to_ascii_lowercase().into_bytes(), value.to_vec()))
}
