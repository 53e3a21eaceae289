//! Heads between the crates `h2`/`http` and [`wire`]: one representation for policy, whatever came. What
//! HTTP/2 calls extended CONNECT (RFC 8441) is an upgrade in that representation.

use ::h2::ext::Protocol;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::{Method, Uri, uri};
use wire::h1::Body;
use wire::{Fields, Head, Request, RequestHead, Response, Scheme, Version};

/// Why a head cannot be carried on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeadError {
    #[error("the method is not valid")]
    Method,
    #[error("authority or path cannot be written as HTTP/2 pseudo headers")]
    Target,
    #[error("the status is not valid")]
    Status,
    #[error("a header that belongs to one HTTP/1 connection was sent")]
    ConnectionSpecific,
}

/// Fields that mean something between two HTTP/1 neighbours only (RFC 9113, 8.2.2).
const OF_CONNECTION: [&[u8]; 5] =
    [b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade"];

fn is_of_connection(name: &[u8]) -> bool {
    OF_CONNECTION.iter().any(|n| name.eq_ignore_ascii_case(n))
}

/// Fills `into` with a request that came by HTTP/2.
pub fn read_request(head: &http::request::Parts, into: &mut Request) -> Result<(), HeadError> {
    into.clear();
    into.version = Version::Http2;
    into.set_method(head.method.as_str().as_bytes());
    let authority = head.uri.authority().map(uri::Authority::as_str);
    let host = head.headers.get("host").map(HeaderValue::as_bytes);
    into.set_authority(authority.map(str::as_bytes).or(host).unwrap_or_default());
    into.set_path(head.uri.path_and_query().map_or("", |p| p.as_str()).as_bytes());
    if head.uri.scheme_str() == Some("https") {
        into.scheme = Scheme::Https;
    }
    read_fields(&head.headers, &mut into.fields, true)?;
    if let Some(protocol) = wished(head) {
        into.set_method(b"GET");
        into.fields.push(b"upgrade", protocol.as_str().as_bytes());
    }
    Ok(())
}

/// The protocol that the stream of a request is to go on in.
pub fn wished(head: &http::request::Parts) -> Option<&Protocol> {
    head.extensions.get()
}

/// Fills `into` with a response that came by HTTP/2. `asked`: the protocol that its request wished for.
pub fn read_response(
    head: &http::response::Parts,
    asked: Option<&Protocol>,
    into: &mut Response,
) -> Result<(), HeadError> {
    into.clear();
    into.version = Version::Http2;
    into.status = head.status.as_u16();
    read_fields(&head.headers, &mut into.fields, false)?;
    if let Some(protocol) = asked.filter(|_| into.status == 200) {
        into.status = 101;
        into.fields.push(b"upgrade", protocol.as_str().as_bytes());
    }
    Ok(())
}

fn read_fields(from: &HeaderMap, into: &mut Fields, request: bool) -> Result<(), HeadError> {
    for (name, value) in from {
        let (name, value) = (name.as_str().as_bytes(), value.as_bytes());
        if is_of_connection(name) {
            return Err(HeadError::ConnectionSpecific);
        }
        match name {
            b"host" if request => {}
            // Crumbs are put together again, since HTTP/1 has one field (RFC 9113, 8.2.3).
            b"cookie" => into.append(name, b"; ", value),
            _ => into.push(name, value),
        }
    }
    Ok(())
}

/// How another protocol frames this body.
pub fn kind_of_body(head: &impl Head, empty: bool) -> Body {
    let length = head.get(b"content-length").and_then(|v| str::from_utf8(v).ok()?.parse().ok());
    match (empty, length) {
        (true, _) => Body::Empty,
        (false, Some(length)) => Body::Length(length),
        (false, None) => Body::Chunked,
    }
}

/// Trailers as fields.
pub fn read_trailers(from: &HeaderMap) -> Fields {
    let mut fields = Fields::default();
    for (name, value) in from {
        fields.push(name.as_str().as_bytes(), value.as_bytes());
    }
    fields
}

/// The request as the crate `h2` sends it. `upgrade`: it wishes for the protocol in its field `upgrade`.
pub fn write_request(from: &Request, upgrade: bool) -> Result<http::Request<()>, HeadError> {
    let mut request = http::Request::new(());
    *request.version_mut() = http::Version::HTTP_2;
    *request.method_mut() = Method::from_bytes(from.method()).map_err(|_| HeadError::Method)?;
    *request.uri_mut() = uri_of(from)?;
    *request.headers_mut() = header_map(&from.fields, true);
    if let Some(protocol) = from.get(b"upgrade").filter(|_| upgrade) {
        let protocol = std::str::from_utf8(protocol).map_err(|_| HeadError::Target)?;
        *request.method_mut() = Method::CONNECT;
        request.extensions_mut().insert(Protocol::from(protocol));
    }
    Ok(request)
}

fn uri_of(from: &Request) -> Result<Uri, HeadError> {
    let mut parts = uri::Parts::default();
    if !from.authority().is_empty() {
        let authority = uri::Authority::try_from(from.authority());
        parts.authority = Some(authority.map_err(|_| HeadError::Target)?);
    }
    if from.method() != b"CONNECT" {
        parts.scheme = Some(match from.scheme {
            Scheme::Http => uri::Scheme::HTTP,
            Scheme::Https => uri::Scheme::HTTPS,
        });
        let path = uri::PathAndQuery::try_from(from.path());
        parts.path_and_query = Some(path.map_err(|_| HeadError::Target)?);
    }
    Uri::from_parts(parts).map_err(|_| HeadError::Target)
}

/// The response as the crate `h2` sends it. There is no switching of protocols by HTTP/2: what was asked
/// for is granted.
pub fn write_response(from: &Response) -> Result<http::Response<()>, HeadError> {
    let mut response = http::Response::new(());
    *response.version_mut() = http::Version::HTTP_2;
    let status = if from.status == 101 { 200 } else { from.status };
    *response.status_mut() = http::StatusCode::from_u16(status).map_err(|_| HeadError::Status)?;
    *response.headers_mut() = header_map(&from.fields, false);
    Ok(response)
}

/// Fields without those of an HTTP/1 connection. Values that are not legal were refused when the head
/// was read; what rewriting made illegal is left out.
fn header_map(from: &Fields, request: bool) -> HeaderMap {
    let mut map = HeaderMap::with_capacity(from.len() + 4);
    for (name, value) in from.iter() {
        let te = request && name.eq_ignore_ascii_case(b"te");
        if is_of_connection(name) || (te && !value.eq_ignore_ascii_case(b"trailers")) {
            continue;
        }
        if let (Ok(name), Ok(value)) =
            (HeaderName::from_bytes(name), HeaderValue::from_bytes(value))
        {
            map.append(name, value);
        }
    }
    map
}

/// Trailers as the crate `h2` sends them.
pub fn write_trailers(from: &Fields) -> HeaderMap {
    header_map(from, false)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(build: http::request::Builder) -> http::request::Parts {
        build.body(()).unwrap().into_parts().0
    }

    #[test]
    fn a_request_survives_the_way_there_and_back() {
        let head = parts(
            http::Request::post("https://example.com:8443/a/b?c=d")
                .header("x-a", "1")
                .header("cookie", "a=1")
                .header("x-a", "2")
                .header("cookie", "b=2")
                .header("te", "trailers"),
        );
        let mut request = Request::default();
        read_request(&head, &mut request).unwrap();
        assert_eq!(request.authority(), b"example.com:8443");
        assert_eq!((request.path(), request.scheme), (&b"/a/b?c=d"[..], Scheme::Https));
        assert_eq!(request.get(b"cookie"), Some(&b"a=1; b=2"[..]));
        let sent = write_request(&request, false).unwrap();
        assert_eq!(sent.uri(), "https://example.com:8443/a/b?c=d");
        assert_eq!(sent.headers().get_all("x-a").iter().count(), 2);
        assert_eq!(sent.headers()["te"], "trailers");
    }

    #[test]
    fn what_belongs_to_one_connection_stays_there() {
        let mut request = Request::new(b"GET", b"h", b"/");
        for name in ["Connection", "keep-alive", "transfer-encoding", "upgrade", "x-kept"] {
            request.fields.push(name.as_bytes(), b"v");
        }
        request.fields.push(b"te", b"gzip");
        let sent = write_request(&request, false).unwrap();
        let names: Vec<_> = sent.headers().keys().map(HeaderName::as_str).collect();
        assert_eq!(names, ["x-kept"]);
        let head = parts(http::Request::get("http://h/").header("connection", "close"));
        let read = read_request(&head, &mut Request::default());
        assert_eq!(read, Err(HeadError::ConnectionSpecific));
    }

    #[test]
    fn an_upgrade_is_an_extended_connect_there_and_back() {
        let mut head = parts(http::Request::connect("https://example.com/chat").header("x-a", "1"));
        head.extensions.insert(Protocol::from_static("websocket"));
        let mut request = Request::default();
        read_request(&head, &mut request).unwrap();
        assert_eq!((request.method(), request.path()), (&b"GET"[..], &b"/chat"[..]));
        assert_eq!(request.get(b"upgrade"), Some(&b"websocket"[..]));
        let sent = write_request(&request, true).unwrap();
        assert_eq!((sent.method(), sent.uri().path()), (&Method::CONNECT, "/chat"));
        let asked = sent.extensions().get::<Protocol>();
        assert_eq!(asked.map(Protocol::as_str), Some("websocket"));
        assert_eq!(sent.headers().len(), 1);
        let mut response = Response::default();
        for (status, expected) in [(200, 101), (403, 403), (204, 204)] {
            let head = http::Response::builder().status(status).body(()).unwrap().into_parts().0;
            read_response(&head, asked, &mut response).unwrap();
            assert_eq!(response.status, expected);
        }
        assert_eq!(write_response(&Response::new(101)).unwrap().status(), 200);
    }

    #[test]
    fn connect_has_an_authority_only() {
        let request = Request::new(b"CONNECT", b"h:80", b"");
        let sent = write_request(&request, false).unwrap();
        assert_eq!((sent.uri().to_string(), sent.uri().scheme()), ("h:80".into(), None));
    }

    #[test]
    fn impossible_heads_are_refused() {
        let table = [
            (Request::new(b"G T", b"h", b"/"), HeadError::Method),
            (Request::new(b"GET", b"h h", b"/"), HeadError::Target),
            (Request::new(b"GET", b"h", b"/a b"), HeadError::Target),
        ];
        for (request, expected) in table {
            assert_eq!(write_request(&request, false).map(drop), Err(expected));
        }
        assert_eq!(write_response(&Response::new(42)).map(drop), Err(HeadError::Status));
    }
}
