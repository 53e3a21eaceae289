//! Format strings with `%COMMAND%` operators, shared by access logs and header values: compiled once,
//! run without allocating.

mod command;
mod json;
mod time;

use crate::Flags;
use base::{Finding, Instant, WallTime};
use command::Command;
pub use command::number;
use ir::Str;
use std::borrow::Cow;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;
use wire::{Head, RequestHead, Version};

pub use json::JsonTemplate;
pub use time::http_date;

/// A shared name, or none yet.
pub type Text = Option<ir::Str>;

/// Everything about a request or connection that can be shown.
#[derive(Clone, Debug, Default)]
pub struct Stream {
    pub began: Instant,
    pub start: WallTime,
    /// From the start to the end.
    pub duration: Option<Duration>,
    /// From the start to the last byte of the request, and to the first of the response.
    pub request_duration: Option<Duration>,
    pub response_duration: Option<Duration>,
    pub protocol: Option<Version>,
    /// Zero while there is none.
    pub status: u16,
    pub flags: Flags,
    pub details: Cow<'static, str>,
    pub termination: Cow<'static, str>,
    /// Why the last upstream could not be spoken to.
    pub transport_failure: Cow<'static, str>,
    /// Why the client's encryption came to nothing.
    pub client_failure: Cow<'static, str>,
    pub bytes_received: u64,
    pub bytes_sent: u64,
    pub route: Text,
    pub virtual_host: Text,
    pub cluster: Text,
    pub attempts: u32,
    /// While an answer of our own is being made: its body.
    pub local_body: Vec<u8>,
    pub upstream: Option<Rc<Ends>>,
    pub downstream: Option<Rc<Ends>>,
    /// The client as `x-forwarded-for` says, where it is trusted; else the peer.
    pub remote: Option<Rc<Shown>>,
    pub peer: Option<Rc<Peer>>,
    /// What filters have said of it.
    pub metadata: ir::Metadata,
}

/// An address and how it is written, so that no request has to write it again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    pub address: Option<SocketAddr>,
    pub text: Box<str>,
}

impl Shown {
    pub fn new(address: SocketAddr) -> Self {
        Self { address: Some(address), text: address.to_string().into() }
    }

    /// A Unix socket, by its path.
    pub fn pipe(path: &str) -> Self {
        Self { address: None, text: path.into() }
    }
}

/// Both ends of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ends {
    pub local: Shown,
    pub remote: Shown,
    /// What both ends have proved to be, where the mesh's TLS is spoken.
    pub identities: Option<Rc<Identities>>,
}

/// URI names of certificates.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Identities {
    pub local: Str,
    pub remote: Str,
}

impl Ends {
    pub fn new(local: Shown, remote: Shown) -> Self {
        Self { local, remote, identities: None }
    }
}

/// What TLS said of a downstream peer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Peer {
    pub server_name: Option<String>,
    pub uri_san: Option<String>,
    pub local_uri_san: Option<String>,
    pub subject: Option<String>,
    pub dns_sans: Vec<String>,
    /// Of the certificate, SHA-256 in hexadecimal.
    pub certificate_hash: String,
    /// The certificate, in DER.
    pub certificate: Vec<u8>,
    pub tls_version: Option<&'static str>,
}

impl Peer {
    /// The certificate as text in a form that URLs may hold.
    pub fn certificate_in_url(&self) -> String {
        if self.certificate.is_empty() { String::new() } else { in_url(&pem(&self.certificate)) }
    }

    /// One element of `x-forwarded-client-cert`.
    pub fn forwarded(&self, details: &ir::ClientCertDetails) -> String {
        let mut parts = Vec::new();
        if let Some(by) = &self.local_uri_san {
            parts.push(format!("By={by}"));
        }
        parts.push(format!("Hash={}", self.certificate_hash));
        if details.cert {
            parts.push(format!("Cert=\"{}\"", in_url(&pem(&self.certificate))));
        }
        if details.subject {
            parts.push(format!("Subject=\"{}\"", self.subject.as_deref().unwrap_or_default()));
        }
        if details.uri {
            parts.push(format!("URI={}", self.uri_san.as_deref().unwrap_or_default()));
        }
        if details.dns {
            parts.extend(self.dns_sans.iter().map(|name| format!("DNS={name}")));
        }
        parts.join(";")
    }
}

/// A certificate as text.
fn pem(der: &[u8]) -> String {
    use base64::Engine;
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    let mut out = String::from("-----BEGIN CERTIFICATE-----\n");
    for line in text.as_bytes().chunks(64) {
        out.extend(line.iter().map(|b| char::from(*b)));
        out.push('\n');
    }
    out + "-----END CERTIFICATE-----\n"
}

/// Everything but letters, digits and `-_.~` escaped.
fn in_url(text: &str) -> String {
    let mut out = String::with_capacity(text.len() * 2);
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

/// What a template looks at.
#[derive(Clone, Copy)]
pub struct Info<'a> {
    pub request: Option<&'a dyn RequestHead>,
    pub response: Option<&'a dyn Head>,
    pub stream: &'a Stream,
}

/// A compiled format string.
#[derive(Clone, Debug)]
pub struct Template {
    parts: Vec<Part>,
    missing: &'static [u8],
}

#[derive(Clone, Debug)]
enum Part {
    Literal(Box<[u8]>),
    Command(Command, Option<usize>),
}

/// A compiled [`ir::LogFormat`].
#[derive(Clone, Debug)]
pub enum Format {
    Text(Template),
    Json(JsonTemplate),
}

impl Format {
    /// `default`: where nothing is said.
    pub fn new(
        from: &ir::LogFormat,
        default: &str,
        path: &str,
        findings: &mut Vec<Finding>,
    ) -> Format {
        match from {
            ir::LogFormat::Default => Format::Text(Template::log(default, path, findings)),
            ir::LogFormat::Text(text) => Format::Text(Template::log(text, path, findings)),
            ir::LogFormat::Json(tree) => Format::Json(JsonTemplate::new(tree, path, findings)),
        }
    }

    pub fn write(&self, info: &Info<'_>, out: &mut Vec<u8>) {
        match self {
            Format::Text(template) => template.write(info, out),
            Format::Json(template) => template.write(info, out),
        }
    }
}

/// The access log of Envoy where none is given.
pub const DEFAULT_LOG: &str = "[%START_TIME%] \"%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%\" %RESPONSE_CODE% %RESPONSE_FLAGS% %BYTES_RECEIVED% %BYTES_SENT% %DURATION% %RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% \"%REQ(X-FORWARDED-FOR)%\" \"%REQ(USER-AGENT)%\" \"%REQ(X-REQUEST-ID)%\" \"%REQ(:AUTHORITY)%\" \"%UPSTREAM_HOST%\"\n";

impl Template {
    /// For a log line: what is absent shows as `-`.
    pub fn log(text: &str, path: &str, findings: &mut Vec<Finding>) -> Self {
        Self { parts: parse(text, path, findings), missing: b"-" }
    }

    /// For a header value: what is absent shows as nothing.
    pub fn header(text: &str, path: &str, findings: &mut Vec<Finding>) -> Self {
        Self { parts: parse(text, path, findings), missing: b"" }
    }

    /// The text, if it holds no operators.
    pub fn as_literal(&self) -> Option<&[u8]> {
        match self.parts.as_slice() {
            [] => Some(b""),
            [Part::Literal(text)] => Some(text),
            _ => None,
        }
    }

    pub fn write(&self, info: &Info<'_>, out: &mut Vec<u8>) {
        for part in &self.parts {
            match part {
                Part::Literal(text) => out.extend_from_slice(text),
                Part::Command(command, max) => {
                    let start = out.len();
                    if !command.write(info, out) {
                        out.extend_from_slice(self.missing);
                    } else if let Some(max) = max {
                        out.truncate(start + max.min(&(out.len() - start)));
                    }
                }
            }
        }
    }

    /// The one command that the template consists of.
    fn as_command(&self) -> Option<&Command> {
        match self.parts.as_slice() {
            [Part::Command(command, None)] => Some(command),
            _ => None,
        }
    }
}

fn parse(text: &str, path: &str, findings: &mut Vec<Finding>) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut literal = Vec::new();
    let mut rest = text;
    while let Some(start) = rest.find('%') {
        literal.extend_from_slice(&rest.as_bytes()[..start]);
        rest = &rest[start + 1..];
        if let Some(tail) = rest.strip_prefix('%') {
            literal.push(b'%');
            rest = tail;
            continue;
        }
        let Some(end) = command_end(rest) else {
            findings.push(Finding::error(path, format!("'%{rest}' has no closing '%'")));
            rest = "";
            break;
        };
        if !literal.is_empty() {
            parts.push(Part::Literal(std::mem::take(&mut literal).into()));
        }
        match Command::parse(&rest[..end]) {
            Ok((command, max)) => parts.push(Part::Command(command, max)),
            Err(e) => {
                findings.push(Finding::error(path, e));
                parts.push(Part::Command(Command::Absent, None));
            }
        }
        rest = &rest[end + 1..];
    }
    literal.extend_from_slice(rest.as_bytes());
    if !literal.is_empty() {
        parts.push(Part::Literal(literal.into()));
    }
    parts
}

/// The closing `%`: outside parentheses, since a time format has its own.
fn command_end(text: &str) -> Option<usize> {
    let mut depth = 0;
    text.bytes().position(|b| {
        match b {
            b'(' => depth += 1,
            b')' => depth -= 1,
            _ => {}
        }
        b == b'%' && depth <= 0
    })
}

#[cfg(test)]
mod tests;
