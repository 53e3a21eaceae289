//! An authorizer over gRPC: it writes down what it is told of a request, and does what the header `x-do`
//! of that request, or `do` of the route's context, asks for: `deny=401;set=x-user:u;remove=cookie;…`.

use crate::second::{read, runtime, send_all};
use crate::upstream::Seen;
use ::h2::RecvStream;
use ::h2::server::SendResponse;
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue};
use prost::Message;
use proto::envoy::envoy::config::core::v3 as core;
use proto::envoy::envoy::service::auth::v3::check_response::HttpResponse;
use proto::envoy::envoy::service::auth::v3::{
    AttributeContext, CheckRequest, CheckResponse, DeniedHttpResponse, OkHttpResponse,
};
use proto::envoy::envoy::r#type::v3::HttpStatus;
use proto::envoy::google::protobuf::BoolValue;
use proto::envoy::google::rpc::Status;
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use tokio::net::TcpListener;

/// Starts it on a free port of 127.0.0.1; it lives as long as the process.
pub fn start(seen: Seen) -> io::Result<SocketAddr> {
    let runtime = runtime()?;
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0"))?;
    let address = listener.local_addr()?;
    std::thread::spawn(move || {
        runtime.block_on(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let seen = seen.clone();
                tokio::spawn(async move {
                    let Ok(mut connection) = ::h2::server::handshake(stream).await else { return };
                    while let Some(Ok((request, respond))) = connection.accept().await {
                        tokio::spawn(answer(request, respond, seen.clone()));
                    }
                });
            }
        });
    });
    Ok(address)
}

async fn answer(
    request: http::Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
    seen: Seen,
) -> Option<()> {
    let (body, _) = read(request.into_body()).await.ok()?;
    let asked = CheckRequest::decode(body.get(5..)?).ok()?.attributes?;
    let http = asked.request.as_ref()?.http.clone()?;
    seen.note(http.headers.get("x-id")?, told(&asked)?);
    let wish = http.headers.get("x-do").or_else(|| asked.context_extensions.get("do"));
    let wish = wish.cloned().unwrap_or_default();
    let response = http::Response::builder().header("content-type", "application/grpc");
    let trailers = |code: &'static str| {
        let name = HeaderName::from_static("grpc-status");
        HeaderMap::from_iter([(name, HeaderValue::from_static(code))])
    };
    let out = respond.send_response(response.body(()).ok()?, false).ok()?;
    if wish == "fail" {
        return send_all(out, Bytes::new(), Some(trailers("14"))).await;
    }
    let message = respond_to(&wish).encode_to_vec();
    let mut framed = BytesMut::from(&b"\0"[..]);
    framed.extend_from_slice(&u32::try_from(message.len()).ok()?.to_be_bytes());
    framed.extend_from_slice(&message);
    send_all(out, framed.freeze(), Some(trailers("0"))).await
}

/// The question, without what differs from time to time.
fn told(asked: &AttributeContext) -> Option<String> {
    let http = asked.request.as_ref()?.http.as_ref()?;
    let hidden = |name: &str| ["x-id", "x-request-id"].contains(&name);
    let headers: BTreeMap<_, _> = http.headers.iter().filter(|(n, _)| !hidden(n)).collect();
    let context: BTreeMap<_, _> = asked.context_extensions.iter().collect();
    let (method, path, host) = (&http.method, &http.path, &http.host);
    let raw = String::from_utf8_lossy(&http.raw_body);
    Some(format!(
        "authorizer {method} {path} {host} {} {} body {:?} raw {raw:?} {headers:?} {context:?} from {:?}",
        http.scheme,
        http.protocol,
        http.body,
        asked.source.as_ref().map(|s| &s.principal),
    ))
}

#[allow(deprecated, reason = "authorizers still say it there")]
fn respond_to(wish: &str) -> CheckResponse {
    let mut ok = OkHttpResponse::default();
    let mut denied = DeniedHttpResponse::default();
    let mut code = 0;
    for part in wish.split(';').filter(|p| !p.is_empty()) {
        let (verb, rest) = part.split_once('=').unwrap_or((part, ""));
        let pseudo = usize::from(rest.starts_with(':'));
        let colon = rest[pseudo..].find(':').map_or(rest.len(), |at| pseudo + at);
        let (name, value) = (&rest[..colon], rest.get(colon + 1..).unwrap_or_default());
        let header = |append: Option<bool>, action: i32| core::HeaderValueOption {
            header: Some(core::HeaderValue {
                key: name.into(),
                value: value.into(),
                ..Default::default()
            }),
            append: append.map(|value| BoolValue { value }),
            append_action: action,
            ..Default::default()
        };
        match verb {
            "deny" => {
                code = 7;
                denied.status = rest.parse().ok().map(|code| HttpStatus { code });
            }
            "body" => denied.body = rest.into(),
            "header" => denied.headers.push(header(None, 0)),
            "set" => ok.headers.push(header(Some(false), 0)),
            "join" => ok.headers.push(header(Some(true), 0)),
            "action0" => ok.headers.push(header(None, 0)),
            "action1" => ok.headers.push(header(None, 1)),
            "action2" => ok.headers.push(header(None, 2)),
            "action3" => ok.headers.push(header(None, 3)),
            "remove" => ok.headers_to_remove.push(rest.into()),
            "client" => ok.response_headers_to_add.push(header(None, 0)),
            "client-set" => ok.response_headers_to_add.push(header(Some(false), 0)),
            "client1" => ok.response_headers_to_add.push(header(None, 1)),
            "client2" => ok.response_headers_to_add.push(header(None, 2)),
            "client3" => ok.response_headers_to_add.push(header(None, 3)),
            "query" => ok
                .query_parameters_to_set
                .push(core::QueryParameter { key: name.into(), value: value.into() }),
            "unquery" => ok.query_parameters_to_remove.push(rest.into()),
            _ => {}
        }
    }
    CheckResponse {
        status: Some(Status { code, ..Default::default() }),
        http_response: Some(match code {
            0 => HttpResponse::OkResponse(ok),
            _ => HttpResponse::DeniedResponse(denied),
        }),
        ..Default::default()
    }
}
