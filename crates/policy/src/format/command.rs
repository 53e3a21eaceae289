//! The operators of format strings.

use super::time::TimeFormat;
use super::{Info, Shown};
use crate::matching::split_query;
use crate::metadata;
use std::io::Write;
use std::net::SocketAddr;
use std::time::Duration;
use wire::RequestHead;

#[derive(Clone, Debug)]
pub enum Command {
    /// Known, but with nothing to show here.
    Absent,
    StartTime(TimeFormat),
    Request(Box<[u8]>, Option<Box<[u8]>>),
    Response(Box<[u8]>, Option<Box<[u8]>>),
    Path {
        query: bool,
        original: bool,
    },
    Protocol,
    Status,
    Flags,
    FlagsLong,
    Details,
    Termination,
    TransportFailure,
    ClientFailure,
    Received,
    Sent,
    Took(Span),
    Attempts,
    /// Of an answer of our own, while it is being made.
    LocalBody,
    Route,
    VirtualHost,
    Cluster,
    UpstreamRemote(Form),
    UpstreamLocal(Form),
    DownstreamLocal(Form),
    DownstreamRemote(Form),
    DownstreamDirect(Form),
    ServerName,
    PeerUri,
    LocalUri,
    PeerSubject,
    TlsVersion,
    /// What a filter has said, at this path.
    Metadata(ir::Str, Vec<ir::Str>),
}

/// A stretch of time.
#[derive(Clone, Copy, Debug)]
pub enum Span {
    Whole,
    Request,
    Response,
    /// From the first byte of the response to the end.
    Sending,
}

/// How much of an address is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    Whole,
    Ip,
    Port,
}

impl Command {
    /// What stands between the percent signs: `NAME`, `NAME(arguments)`, `NAME(arguments):max`.
    pub fn parse(text: &str) -> Result<(Self, Option<usize>), String> {
        let (name, arguments, rest) = match text.split_once('(') {
            Some((name, tail)) => {
                let (arguments, rest) = tail.rsplit_once(')').ok_or("')' is missing")?;
                (name, arguments, rest)
            }
            None => match text.split_once(':') {
                Some((name, max)) => (name, "", &text[name.len()..name.len() + 1 + max.len()]),
                None => (text, "", ""),
            },
        };
        let max = match rest.strip_prefix(':') {
            Some(digits) => {
                Some(digits.parse().map_err(|_| format!("'{digits}' is not a length"))?)
            }
            None if rest.is_empty() => None,
            None => return Err(format!("'%{text}%' is not understood at '{rest}'")),
        };
        Ok((Self::named(name, arguments)?, max))
    }

    fn named(name: &str, arguments: &str) -> Result<Self, String> {
        if let Some(address) = Self::address(name) {
            return Ok(address);
        }
        Ok(match name {
            "START_TIME" => Command::StartTime(TimeFormat::parse(arguments)?),
            "REQ" => {
                let (name, other) = header_names(arguments)?;
                Command::Request(name, other)
            }
            "RESP" => {
                let (name, other) = header_names(arguments)?;
                Command::Response(name, other)
            }
            "PATH" => path_command(arguments)?,
            "PROTOCOL" => Command::Protocol,
            "RESPONSE_CODE" => Command::Status,
            "RESPONSE_FLAGS" => Command::Flags,
            "RESPONSE_FLAGS_LONG" => Command::FlagsLong,
            "RESPONSE_CODE_DETAILS" => Command::Details,
            "CONNECTION_TERMINATION_DETAILS" => Command::Termination,
            "UPSTREAM_TRANSPORT_FAILURE_REASON" => Command::TransportFailure,
            "DOWNSTREAM_TRANSPORT_FAILURE_REASON" => Command::ClientFailure,
            "BYTES_RECEIVED" => Command::Received,
            "BYTES_SENT" => Command::Sent,
            "DURATION" => Command::Took(Span::Whole),
            "REQUEST_DURATION" => Command::Took(Span::Request),
            "RESPONSE_DURATION" => Command::Took(Span::Response),
            "RESPONSE_TX_DURATION" => Command::Took(Span::Sending),
            "UPSTREAM_REQUEST_ATTEMPT_COUNT" => Command::Attempts,
            "LOCAL_REPLY_BODY" => Command::LocalBody,
            "ROUTE_NAME" => Command::Route,
            "VIRTUAL_HOST_NAME" => Command::VirtualHost,
            "UPSTREAM_CLUSTER" | "UPSTREAM_CLUSTER_RAW" => Command::Cluster,
            "REQUESTED_SERVER_NAME" => Command::ServerName,
            "DOWNSTREAM_PEER_URI_SAN" => Command::PeerUri,
            "DOWNSTREAM_LOCAL_URI_SAN" => Command::LocalUri,
            "DOWNSTREAM_PEER_SUBJECT" => Command::PeerSubject,
            "DOWNSTREAM_TLS_VERSION" => Command::TlsVersion,
            "DYNAMIC_METADATA" => {
                let mut parts = arguments.split(':').map(ir::Str::from);
                let filter = parts.next().filter(|f| !f.is_empty());
                let filter = filter.ok_or("DYNAMIC_METADATA needs a namespace in parentheses")?;
                Command::Metadata(filter, parts.collect())
            }
            "TRAILER"
            | "METADATA"
            | "CLUSTER_METADATA"
            | "FILTER_STATE"
            | "UPSTREAM_METADATA"
            | "CONNECTION_ID"
            | "STREAM_ID"
            | "TRACE_ID"
            | "GRPC_STATUS"
            | "GRPC_STATUS_NUMBER"
            | "UPSTREAM_TLS_VERSION"
            | "UPSTREAM_PEER_URI_SAN"
            | "HOSTNAME"
            | "VIRTUAL_CLUSTER_NAME" => Command::Absent,
            _ => return Err(format!("operator '%{name}%' is not supported; remove it")),
        })
    }

    /// The operators that show addresses: a place, and perhaps how much of it.
    fn address(name: &str) -> Option<Self> {
        let (place, form) = if let Some(place) = name.strip_suffix("_ADDRESS_WITHOUT_PORT") {
            (place, Form::Ip)
        } else if let Some(place) = name.strip_suffix("_PORT") {
            (place, Form::Port)
        } else {
            (name.strip_suffix("_ADDRESS").unwrap_or(name), Form::Whole)
        };
        Some(match (place, form) {
            ("UPSTREAM_HOST", Form::Whole) => Command::UpstreamRemote(form),
            ("UPSTREAM_REMOTE", _) => Command::UpstreamRemote(form),
            ("UPSTREAM_LOCAL", _) => Command::UpstreamLocal(form),
            ("DOWNSTREAM_LOCAL", _) => Command::DownstreamLocal(form),
            ("DOWNSTREAM_REMOTE", _) => Command::DownstreamRemote(form),
            ("DOWNSTREAM_DIRECT_REMOTE", _) => Command::DownstreamDirect(form),
            _ => return None,
        })
    }

    /// Whether JSON logs show this as a number.
    pub fn is_number(&self) -> bool {
        use Command::*;
        matches!(self, Status | Received | Sent | Took(_) | Attempts)
            || matches!(
                self,
                UpstreamRemote(Form::Port)
                    | DownstreamLocal(Form::Port)
                    | DownstreamRemote(Form::Port)
            )
    }

    /// Writes the value; says whether there is one.
    pub fn write(&self, info: &Info<'_>, out: &mut Vec<u8>) -> bool {
        let s = info.stream;
        match self {
            Command::Absent => false,
            Command::StartTime(format) => {
                format.write(s.start, out);
                true
            }
            Command::Request(name, other) => info.request.is_some_and(|head| {
                bytes(head.field(name).or_else(|| head.field(other.as_deref()?)), out)
            }),
            Command::Response(name, other) => info.response.is_some_and(|head| {
                bytes(head.get(name).or_else(|| head.get(other.as_deref()?)), out)
            }),
            Command::Path { query, original } => path(info.request, *query, *original, out),
            Command::Protocol => text(s.protocol.map(|p| p.as_str()), out),
            Command::Status => {
                number(u64::from(s.status), out);
                true
            }
            Command::Flags => write!(out, "{}", s.flags).is_ok(),
            Command::FlagsLong => {
                let start = out.len();
                for long in s.flags.longs() {
                    if out.len() > start {
                        out.push(b',');
                    }
                    out.extend_from_slice(long.as_bytes());
                }
                out.len() > start
            }
            Command::Details => text(Some(&s.details), out),
            Command::Termination => text(Some(&s.termination), out),
            Command::TransportFailure => one_word(&s.transport_failure, out),
            Command::ClientFailure => one_word(&s.client_failure, out),
            Command::Received => some(Some(s.bytes_received), out),
            Command::Sent => some(Some(s.bytes_sent), out),
            Command::Took(span) => some(took(s, *span).map(|d| d.as_millis() as u64), out),
            Command::Attempts => some(Some(u64::from(s.attempts)), out),
            Command::LocalBody => {
                out.extend_from_slice(&s.local_body);
                true
            }
            Command::Route => text(s.route.as_deref(), out),
            Command::VirtualHost => text(s.virtual_host.as_deref(), out),
            Command::Cluster => text(s.cluster.as_deref(), out),
            Command::UpstreamRemote(form) => {
                shown(s.upstream.as_ref().map(|e| &e.remote), *form, out)
            }
            Command::UpstreamLocal(form) => {
                shown(s.upstream.as_ref().map(|e| &e.local), *form, out)
            }
            Command::DownstreamLocal(form) => {
                shown(s.downstream.as_ref().map(|e| &e.local), *form, out)
            }
            Command::DownstreamDirect(form) => {
                shown(s.downstream.as_ref().map(|e| &e.remote), *form, out)
            }
            Command::DownstreamRemote(form) => {
                let direct = s.downstream.as_ref().map(|e| &e.remote);
                shown(s.remote.as_deref().or(direct), *form, out)
            }
            Command::ServerName => peer(info, |p| p.server_name.as_deref(), out),
            Command::PeerUri => peer(info, |p| p.uri_san.as_deref(), out),
            Command::LocalUri => peer(info, |p| p.local_uri_san.as_deref(), out),
            Command::PeerSubject => peer(info, |p| p.subject.as_deref(), out),
            Command::TlsVersion => peer(info, |p| p.tls_version, out),
            Command::Metadata(filter, path) => match metadata::find(&s.metadata, filter, path) {
                Some(value) => metadata::show(value, out),
                None => false,
            },
        }
    }
}

/// A header's name, and the one to take if it is absent.
type Names = (Box<[u8]>, Option<Box<[u8]>>);

fn header_names(arguments: &str) -> Result<Names, String> {
    let lower = |s: &str| -> Box<[u8]> { s.to_ascii_lowercase().into_bytes().into() };
    match arguments.split_once('?') {
        _ if arguments.is_empty() => {
            Err("a header operator needs a name in parentheses".to_owned())
        }
        Some((name, other)) => Ok((lower(name), Some(lower(other)))),
        None => Ok((lower(arguments), None)),
    }
}

fn path_command(arguments: &str) -> Result<Command, String> {
    let (query, which) = arguments.split_once(':').unwrap_or((arguments, ""));
    let query = match query {
        "WQ" | "" => true,
        "NQ" => false,
        _ => return Err(format!("'%PATH({arguments})%' is not understood; use WQ or NQ")),
    };
    Ok(Command::Path { query, original: matches!(which, "ORIG" | "ORIG_OR_PATH") })
}

fn path(head: Option<&dyn RequestHead>, query: bool, original: bool, out: &mut Vec<u8>) -> bool {
    let Some(head) = head else { return false };
    let before = if original { head.get(b"x-envoy-original-path") } else { None };
    let path = before.unwrap_or(head.path());
    bytes(Some(if query { path } else { split_query(path).0 }), out)
}

fn took(s: &super::Stream, span: Span) -> Option<Duration> {
    match span {
        Span::Whole => s.duration,
        Span::Request => s.request_duration,
        Span::Response => s.response_duration,
        Span::Sending => s.duration?.checked_sub(s.response_duration?),
    }
}

fn peer(info: &Info<'_>, part: impl Fn(&super::Peer) -> Option<&str>, out: &mut Vec<u8>) -> bool {
    text(info.stream.peer.as_deref().and_then(part), out)
}

fn bytes(value: Option<&[u8]>, out: &mut Vec<u8>) -> bool {
    let value = value.unwrap_or_default();
    out.extend_from_slice(value);
    !value.is_empty()
}

/// A reason, as Envoy keeps it in one field of a line.
fn one_word(reason: &str, out: &mut Vec<u8>) -> bool {
    let start = out.len();
    out.extend_from_slice(reason.as_bytes());
    out[start..].iter_mut().filter(|b| **b == b' ').for_each(|b| *b = b'_');
    out.len() > start
}

fn text(value: Option<&str>, out: &mut Vec<u8>) -> bool {
    bytes(value.map(str::as_bytes), out)
}

fn some(value: Option<u64>, out: &mut Vec<u8>) -> bool {
    value.inspect(|n| number(*n, out)).is_some()
}

fn shown(address: Option<&Shown>, form: Form, out: &mut Vec<u8>) -> bool {
    let Some(shown) = address else { return false };
    match (form, shown.address) {
        (Form::Whole, _) => text(Some(&shown.text), out),
        (Form::Port, Some(a)) => some(Some(u64::from(a.port())), out),
        (Form::Port, None) => false,
        (Form::Ip, None) => text(Some(&shown.text), out),
        (Form::Ip, Some(SocketAddr::V4(_))) => {
            let end = shown.text.rfind(':').unwrap_or(shown.text.len());
            text(Some(&shown.text[..end]), out)
        }
        (Form::Ip, Some(SocketAddr::V6(a))) => write!(out, "{}", a.ip()).is_ok(),
    }
}

/// A number in decimal.
pub fn number(mut n: u64, out: &mut Vec<u8>) {
    let mut digits = [0u8; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (n % 10) as u8;
        n /= 10;
        if n == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}
