//! Answers that do not come from an upstream: what they say, and why.

use crate::filter::Passed;
use policy::coding::Unreadable;
use policy::cors::CorsRule;
use policy::{Flag, Forwarding, Route, RouteTable, VirtualHost};
use std::borrow::Cow;

/// One local answer.
#[derive(Debug)]
pub struct Reply<'v> {
    pub status: u16,
    pub body: Cow<'v, [u8]>,
    pub details: Cow<'static, str>,
    pub flag: Option<Flag>,
    pub headers: Vec<(Cow<'static, str>, Vec<u8>)>,
    /// The connection ends with it.
    pub close: bool,
    /// For gRPC clients, in place of what the status stands for.
    pub grpc: Option<u32>,
    /// Whose header operations apply.
    pub from: Option<From<'v>>,
    /// Its own fields replace what others have put there.
    pub overrides: bool,
    /// What filters add to it.
    pub passed: Passed<'v>,
}

/// The part of the configuration that an answer comes from.
#[derive(Clone, Debug)]
pub enum From<'v> {
    Table(&'v RouteTable, &'v VirtualHost, Option<&'v Route>),
    /// The request was to be forwarded.
    Forwarding(Forwarding<'v>),
}

/// The origin that an answer is shown to, by which rule.
pub type Shared<'v> = (&'v CorsRule, Vec<u8>);

impl<'v> Reply<'v> {
    pub fn new(status: u16, details: impl Into<Cow<'static, str>>) -> Self {
        Self {
            status,
            body: Cow::Borrowed(b""),
            details: details.into(),
            flag: None,
            headers: Vec::new(),
            close: false,
            grpc: None,
            from: None,
            overrides: false,
            passed: Passed::default(),
        }
    }

    pub fn text(mut self, body: impl Into<Cow<'v, str>>) -> Self {
        self.body = match body.into() {
            Cow::Borrowed(s) => Cow::Borrowed(s.as_bytes()),
            Cow::Owned(s) => Cow::Owned(s.into_bytes()),
        };
        self
    }

    pub fn flag(mut self, flag: Flag) -> Self {
        self.flag = Some(flag);
        self
    }

    pub fn header(mut self, name: &'static str, value: impl Into<Vec<u8>>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    pub fn grpc(mut self, status: u32) -> Self {
        self.grpc = Some(status);
        self
    }

    pub fn closing(mut self) -> Self {
        self.close = true;
        self
    }

    pub fn from(
        mut self,
        table: &'v RouteTable,
        host: &'v VirtualHost,
        route: Option<&'v Route>,
    ) -> Self {
        self.from = Some(From::Table(table, host, route));
        self
    }

    pub fn of_forwarding(mut self, forwarding: Forwarding<'v>) -> Self {
        self.from = Some(From::Forwarding(forwarding));
        self
    }

    pub fn passed(mut self, passed: Passed<'v>) -> Self {
        self.passed = passed;
        self
    }

    /// A request that no codec could read.
    pub fn malformed(error: wire::h1::HeadError) -> Reply<'static> {
        let status = error.status();
        let mut reply = Reply::new(status, error.detail()).closing();
        if !matches!(error.detail(), "missing_host_header" | "path_with_fragment") {
            reply = reply.text(wire::h1::reason(status));
        }
        if let Some(limit) = error.limit() {
            reply = reply.header("x-lateen-limit", limit);
        }
        reply.flag(Flag::DownstreamProtocolError)
    }

    pub fn no_healthy_upstream() -> Reply<'static> {
        Reply::new(503, "no_healthy_upstream")
            .text("no healthy upstream")
            .flag(Flag::NoHealthyUpstream)
    }

    pub fn timeout(details: &'static str) -> Reply<'static> {
        Reply::new(504, details).text("upstream request timeout").flag(Flag::UpstreamRequestTimeout)
    }

    /// More of a body than a filter takes.
    pub fn too_long() -> Reply<'static> {
        Reply::new(413, "request_payload_too_large").text("Payload Too Large").closing()
    }

    /// A body that cannot be read.
    pub fn bad_body() -> Reply<'static> {
        let reply = Reply::new(400, "http1.codec_error").text("Bad Request").closing();
        reply.flag(Flag::DownstreamProtocolError)
    }

    /// A body that is not what its head says.
    pub fn unreadable(why: Unreadable) -> Reply<'static> {
        match why {
            Unreadable::Base64 => Reply::new(400, "grpc_base_64_decode_failed")
                .text("Bad gRPC-web request, invalid base64 data."),
            Unreadable::Compression => Self::bad_body(),
        }
    }

    /// Nothing moved for too long; `sent`: the request had come to its end.
    pub fn idle(sent: bool) -> Reply<'static> {
        let status = if sent { 504 } else { 408 };
        let reply = Reply::new(status, "stream_idle_timeout").text("stream timeout");
        reply.flag(Flag::StreamIdleTimeout)
    }

    /// The stream has lived as long as it may; `sent`: its request had come to its end.
    pub fn stream_over(sent: bool) -> Reply<'static> {
        const DEADLINE_EXCEEDED: u32 = 4;
        Reply::new(if sent { 504 } else { 408 }, "max_duration_timeout")
            .text("downstream duration timeout")
            .flag(Flag::DurationTimeout)
            .grpc(DEADLINE_EXCEEDED)
    }

    /// The upstream was lost before it answered.
    pub fn upstream_lost(loss: &Loss, retried: bool) -> Reply<'static> {
        let (reason, flag) = match loss {
            Loss::PerTryTimeout => return Self::timeout("upstream_per_try_timeout"),
            Loss::Connect(_) => ("remote connection failure", Flag::UpstreamConnectionFailure),
            Loss::ConnectTimeout => ("connection timeout", Flag::UpstreamConnectionFailure),
            Loss::Closed => ("connection termination", Flag::UpstreamConnectionTermination),
            Loss::Reset => ("remote reset", Flag::UpstreamRemoteReset),
            Loss::Refused => ("remote refused stream reset", Flag::UpstreamRemoteReset),
            Loss::Protocol => ("protocol error", Flag::UpstreamProtocolError),
            Loss::Overflow => ("overflow", Flag::UpstreamOverflow),
        };
        let before = if retried { "retried and the latest " } else { "" };
        let text = format!(
            "upstream connect error or disconnect/reset before headers. {before}reset reason: {reason}"
        );
        // Why a connection failed is for our log, not for the client.
        let detail = match loss {
            Loss::Connect(why) => format!("{reason}|{why}").replace(' ', "_"),
            _ => reason.replace(' ', "_"),
        };
        let status = if *loss == Loss::Protocol { 502 } else { 503 };
        let details = format!("upstream_reset_before_response_started{{{detail}}}");
        let reply = Reply::new(status, details).text(text).flag(flag);
        match loss {
            Loss::Overflow => reply.header("x-envoy-overloaded", *b"true"),
            _ => reply,
        }
    }
}

/// How an upstream was lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Loss {
    Connect(String),
    ConnectTimeout,
    /// The connection ended.
    Closed,
    /// One stream was reset (HTTP/2).
    Reset,
    /// The endpoint did not look at the stream (HTTP/2).
    Refused,
    Protocol,
    Overflow,
    /// The time for one attempt is over.
    PerTryTimeout,
}
