//! What to send where, and what counts as a good answer.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use hyper::header::{HeaderName, HeaderValue};
use hyper::{HeaderMap, Method, Uri};

use crate::echo::duration;
use crate::flags::Flags;
use crate::grpc;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// HTTP/1.1, connections used again.
    KeepAlive,
    /// HTTP/1.1, a connection for each request.
    New,
    H2c,
    Grpc,
}

pub struct Aim {
    pub mode: Mode,
    pub addresses: Vec<SocketAddr>,
    pub uri: Uri,
    pub authority: String,
    pub method: Method,
    pub headers: HeaderMap,
    pub body: Bytes,
    pub expect: Expect,
    pub connect_timeout: Duration,
    pub request_timeout: Duration,
}

/// A good answer, and what to count about it.
pub struct Expect {
    pub status: u16,
    /// One of these must be in the body, if there are any.
    pub bodies: Vec<String>,
    /// (name, text in the body): the first that fits names the answer.
    pub classes: Vec<(String, String)>,
    /// Their values, together, name the answer.
    pub headers: Vec<HeaderName>,
    pub pointer: Option<String>,
    pub slow: Option<Duration>,
}

impl Aim {
    pub async fn of(flags: &Flags) -> anyhow::Result<Aim> {
        let url = flags.get("url").context("load needs --url http://HOST[:PORT]/PATH")?;
        let uri: Uri = url.parse().with_context(|| format!("{url:?} is not a URL"))?;
        anyhow::ensure!(uri.scheme_str() == Some("http"), "--url {url:?}: only http:// is spoken");
        let authority = uri.authority().context("--url names no host")?.to_string();
        let target = match flags.get("connect") {
            Some(target) => target.to_owned(),
            None => format!("{}:{}", uri.host().unwrap_or_default(), uri.port_u16().unwrap_or(80)),
        };
        let addresses: Vec<SocketAddr> = tokio::net::lookup_host(&target)
            .await
            .with_context(|| format!("cannot resolve {target}"))?
            .collect();
        anyhow::ensure!(!addresses.is_empty(), "{target} has no address");
        let mode = mode(flags)?;
        let (headers, host) = headers(flags, mode)?;
        Ok(Aim {
            mode,
            addresses,
            method: method(flags, mode)?,
            uri,
            authority: host.unwrap_or(authority),
            headers,
            body: body(flags, mode),
            expect: Expect::of(flags)?,
            connect_timeout: seconds(flags, "connect-timeout", 5.0)?,
            request_timeout: seconds(flags, "request-timeout", 10.0)?,
        })
    }
}

impl Expect {
    fn of(flags: &Flags) -> anyhow::Result<Expect> {
        let classes = flags.all("classify").map(|text| {
            let (name, part) =
                text.split_once('=').with_context(|| format!("--classify {text:?} has no `=`"))?;
            Ok((name.to_owned(), part.to_owned()))
        });
        Ok(Expect {
            status: flags.number("expect-status", 200)?,
            bodies: flags.all("expect-body").map(str::to_owned).collect(),
            classes: classes.collect::<anyhow::Result<_>>()?,
            headers: flags.all("count-header").map(str::parse).collect::<Result<_, _>>()?,
            pointer: flags.get("count-json").map(str::to_owned),
            slow: match flags.has("slow") {
                true => Some(seconds(flags, "slow", 1.0)?),
                false => None,
            },
        })
    }
}

fn mode(flags: &Flags) -> anyhow::Result<Mode> {
    Ok(match flags.get("mode").unwrap_or("keep-alive") {
        "keep-alive" => Mode::KeepAlive,
        "new" => Mode::New,
        "h2c" => Mode::H2c,
        "grpc" => Mode::Grpc,
        other => anyhow::bail!("--mode {other:?} is none of keep-alive, new, h2c, grpc"),
    })
}

fn method(flags: &Flags, mode: Mode) -> anyhow::Result<Method> {
    let default = match mode {
        Mode::Grpc => "POST",
        _ => "GET",
    };
    let name = flags.get("method").unwrap_or(default);
    name.parse().with_context(|| format!("--method {name:?} is not a method"))
}

/// The headers to send, and the host if one of them is that.
fn headers(flags: &Flags, mode: Mode) -> anyhow::Result<(HeaderMap, Option<String>)> {
    let mut headers = HeaderMap::new();
    let mut host = None;
    headers.insert("user-agent", HeaderValue::from_static("lateen-load"));
    if mode == Mode::Grpc {
        headers.insert("content-type", HeaderValue::from_static("application/grpc"));
        headers.insert("te", HeaderValue::from_static("trailers"));
    }
    for text in flags.all("header") {
        let (name, value) =
            text.split_once(':').with_context(|| format!("--header {text:?} has no `:`"))?;
        if name.trim().eq_ignore_ascii_case("host") {
            host = Some(value.trim().to_owned());
            continue;
        }
        let name: HeaderName = name.trim().parse()?;
        headers.insert(name, value.trim().parse()?);
    }
    Ok((headers, host))
}

fn body(flags: &Flags, mode: Mode) -> Bytes {
    let body = flags.get("body").unwrap_or_default().as_bytes();
    match mode {
        Mode::Grpc => grpc::framed(body),
        _ => Bytes::copy_from_slice(body),
    }
}

fn seconds(flags: &Flags, name: &str, default: f64) -> anyhow::Result<Duration> {
    match flags.get(name) {
        None => Ok(Duration::from_secs_f64(default)),
        Some(text) => duration(text).with_context(|| format!("--{name} {text:?} is not a time")),
    }
}
