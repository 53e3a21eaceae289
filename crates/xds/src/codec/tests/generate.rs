//! Random `ir`, in the form that reading gives back: lower-case header names, sorted maps, absence
//! where a default has no words of its own. The same seed gives the same value.

mod authz;
mod cluster;
mod jwt;
mod listener;
mod rate_limit;
mod rbac;
mod route;

use base::{Env, FixedEnv};
use ir::*;
use std::sync::Arc;
use std::time::Duration;

pub(crate) struct Gen {
    env: FixedEnv,
}

impl Gen {
    pub fn seeded(seed: u64) -> Self {
        Self { env: FixedEnv::seeded(seed) }
    }

    pub fn resource(&self) -> Resource {
        match self.below(6) {
            0 => Resource::Cluster(Arc::new(self.cluster())),
            1 => Resource::Endpoints(Arc::new(self.endpoints())),
            2 => Resource::Listener(Arc::new(self.listener())),
            3 => Resource::Route(Arc::new(self.route_config())),
            4 => Resource::Secret(Arc::new(self.secret())),
            _ => Resource::Names(Arc::new(self.names())),
        }
    }

    fn names(&self) -> NameTable {
        let info = || NameInfo {
            ips: self.some_of(|| match self.yes() {
                true => [10, 0, 0, self.below(256) as u8].into(),
                false => std::net::Ipv6Addr::from(u128::from(self.below(1 << 40))).into(),
            }),
            registry: self.word(),
            short_name: self.word(),
            namespace: self.word(),
        };
        let mut hosts = self.some_of(|| (self.word(), info()));
        hosts.push((self.word(), info()));
        NameTable { hosts: hosts.into_iter().collect() }
    }

    fn below(&self, bound: u64) -> u64 {
        self.env.below(bound)
    }

    fn yes(&self) -> bool {
        self.below(2) == 0
    }

    fn one_of<T: Copy>(&self, list: &[T]) -> T {
        list[self.below(list.len() as u64) as usize]
    }

    fn opt<T>(&self, f: impl FnOnce() -> T) -> Option<T> {
        self.yes().then(f)
    }

    fn some_of<T>(&self, f: impl Fn() -> T) -> Vec<T> {
        (0..self.below(3)).map(|_| f()).collect()
    }

    /// Never empty.
    fn word(&self) -> Str {
        let letters = b"abcdefgh-.0";
        let mut word = String::from("x");
        for _ in 0..self.below(12) {
            word.push(char::from(self.one_of(letters)));
        }
        word.into()
    }

    fn text(&self) -> Str {
        match self.below(4) {
            0 => "".into(),
            1 => format!("{} ünï\n{}", self.word(), self.below(100)).into(),
            _ => self.word(),
        }
    }

    fn u32(&self) -> u32 {
        self.one_of(&[0, 1, 5, 300, 70_000, u32::MAX])
    }

    fn u16(&self) -> u16 {
        self.one_of(&[0, 1, 80, 443, 9080, 65535])
    }

    fn float(&self) -> f64 {
        self.one_of(&[0.0, 0.5, 1.0, 33.3, 100.0])
    }

    fn duration(&self) -> Duration {
        let nanos = self.one_of(&[0, 1, 1_000_000, 999_999_999]);
        Duration::new(self.one_of(&[0, 1, 15, 3600, 1 << 33]), nanos)
    }

    fn blob(&self) -> bytes::Bytes {
        (0..1 + self.below(200)).map(|i| i as u8).collect::<Vec<_>>().into()
    }

    fn value(&self, depth: u32) -> Value {
        match self.below(if depth == 0 { 4 } else { 6 }) {
            0 => Value::Null,
            1 => Value::Bool(self.yes()),
            2 => Value::Number(self.float()),
            3 => Value::String(self.text()),
            4 => Value::List(self.some_of(|| self.value(depth - 1))),
            _ => self.structure(depth - 1),
        }
    }

    fn structure(&self, depth: u32) -> Value {
        Value::Struct(self.some_of(|| (self.word(), self.value(depth))).into_iter().collect())
    }

    fn metadata(&self) -> Metadata {
        self.some_of(|| (self.word(), self.structure(2))).into_iter().collect()
    }

    fn string_match(&self) -> StringMatch {
        let text = self.word();
        let pattern = match self.below(5) {
            0 => Pattern::Exact(self.text()),
            1 => Pattern::Prefix(text),
            2 => Pattern::Suffix(text),
            3 => Pattern::Contains(text),
            _ => Pattern::Regex(text),
        };
        StringMatch { pattern, ignore_case: self.yes() }
    }

    fn regex_rewrite(&self) -> RegexRewrite {
        RegexRewrite { pattern: self.word(), substitution: self.text() }
    }

    fn fraction(&self) -> Fraction {
        let denominator =
            self.one_of(&[Denominator::Hundred, Denominator::TenThousand, Denominator::Million]);
        Fraction { numerator: self.u32(), denominator, runtime_key: None }
    }

    fn runtime_fraction(&self) -> Fraction {
        Fraction { runtime_key: self.opt(|| RuntimeKey), ..self.fraction() }
    }

    fn header_match(&self) -> HeaderMatch {
        let condition = match self.below(3) {
            0 => HeaderCondition::Present(self.yes()),
            1 => HeaderCondition::Value(self.string_match()),
            _ => HeaderCondition::Range(-5, 1 << 40),
        };
        HeaderMatch {
            name: self.word(),
            condition,
            invert: self.yes(),
            missing_as_empty: self.yes(),
        }
    }

    fn header_ops(&self) -> HeaderOps {
        let add = || HeaderAdd {
            name: self.word(),
            value: self.text(),
            action: self.one_of(&[
                AppendAction::AppendIfExistsOrAdd,
                AppendAction::AddIfAbsent,
                AppendAction::OverwriteIfExistsOrAdd,
                AppendAction::OverwriteIfExists,
            ]),
            keep_empty_value: self.yes(),
        };
        HeaderOps {
            request_add: self.some_of(add),
            request_remove: self.some_of(|| self.word()),
            response_add: self.some_of(add),
            response_remove: self.some_of(|| self.word()),
        }
    }

    fn address(&self) -> Address {
        match self.below(4) {
            0 => Address::Pipe("@abstract".into()),
            1 => Address::Name("example.com".into(), self.u16()),
            2 => Address::Ip((std::net::Ipv6Addr::LOCALHOST, self.u16()).into()),
            _ => Address::Ip((std::net::Ipv4Addr::new(10, 0, 0, 1), self.u16()).into()),
        }
    }

    fn cidr(&self) -> Cidr {
        match self.yes() {
            true => Cidr { base: "10.0.0.0".parse().unwrap(), bits: self.below(33) as u8 },
            false => Cidr { base: "fd00::".parse().unwrap(), bits: self.below(129) as u8 },
        }
    }

    fn data_source(&self) -> DataSource {
        if self.yes() { DataSource::File(self.word()) } else { DataSource::Bytes(self.blob()) }
    }

    fn certificate(&self) -> Certificate {
        Certificate { chain: self.data_source(), key: self.data_source() }
    }

    fn validation(&self) -> Validation {
        let san =
            |kinds: &[SanKind]| SanMatch { kind: self.one_of(kinds), value: self.string_match() };
        let mut sans =
            self.some_of(|| san(&[SanKind::Uri, SanKind::Dns, SanKind::Email, SanKind::Ip]));
        sans.extend(self.some_of(|| san(&[SanKind::Any])));
        Validation {
            roots_sds: None,
            roots: self.opt(|| self.data_source()),
            crl: self.opt(|| self.data_source()),
            sans,
            certificate_hashes: self.some_of(|| self.word()),
            spki_hashes: self.some_of(|| self.word()),
            accept_untrusted: self.yes(),
            system_roots: self.yes(),
        }
    }

    fn secret_ref(&self) -> SecretRef {
        let name = self.one_of(&["default", "ROOTCA", "kubernetes://credential"]).into();
        let from = match self.one_of(&[0, 1, 2]) {
            0 => SecretSource::Static,
            1 => SecretSource::Ads,
            _ => SecretSource::Cluster("sds-grpc".into()),
        };
        SecretRef { name, from }
    }

    fn tls_common(&self) -> TlsCommon {
        let versions = [TlsVersion::Auto, TlsVersion::V1_2, TlsVersion::V1_3, TlsVersion::V1_0];
        let mut certificates = self.some_of(|| CertificateSource::Inline(self.certificate()));
        certificates.extend(self.some_of(|| CertificateSource::Sds(self.secret_ref())));
        TlsCommon {
            alpn: self.some_of(|| self.word()),
            certificates,
            validation: self.opt(|| Validation {
                roots_sds: self.opt(|| self.secret_ref()),
                ..self.validation()
            }),
            min_version: self.one_of(&versions),
            max_version: self.one_of(&versions),
            cipher_suites: self.some_of(|| self.word()),
            ecdh_curves: self.some_of(|| self.word()),
        }
    }

    fn secret(&self) -> Secret {
        let value = match self.yes() {
            true => SecretValue::Certificate(self.certificate()),
            false => SecretValue::Validation(self.validation()),
        };
        Secret { name: self.word(), value }
    }

    fn access_log(&self) -> AccessLog {
        let format = || match self.below(3) {
            0 => LogFormat::Default,
            1 => LogFormat::Text(self.word()),
            _ => LogFormat::Json(self.structure(1)),
        };
        let sink = match self.below(3) {
            0 => LogSink::File { path: self.word(), format: format() },
            1 => LogSink::Stdout(format()),
            _ => LogSink::Stderr(format()),
        };
        AccessLog { sink, filter: self.opt(|| self.log_filter(2)) }
    }

    fn local_reply(&self) -> LocalReply {
        let body_format = || BodyFormat {
            format: match self.yes() {
                true => LogFormat::Text(self.word()),
                false => LogFormat::Json(self.structure(1)),
            },
            content_type: self.text(),
        };
        LocalReply {
            mappers: self.some_of(|| ReplyMapper {
                filter: self.log_filter(2),
                status: self.opt(|| 200 + self.below(400) as u16),
                body: self.opt(|| self.text()),
                format: self.opt(body_format),
                headers: self.header_ops().response_add,
            }),
            format: self.opt(body_format),
        }
    }

    fn log_filter(&self, depth: u32) -> LogFilter {
        let op = self.one_of(&[
            Comparison::Equal,
            Comparison::GreaterOrEqual,
            Comparison::LessOrEqual,
            Comparison::NotEqual,
        ]);
        match self.below(if depth == 0 { 6 } else { 8 }) {
            0 => LogFilter::StatusCode { op, value: self.u32() },
            1 => LogFilter::Duration { op, value_ms: self.u32() },
            2 => LogFilter::NotHealthCheck,
            3 => LogFilter::ResponseFlags(self.some_of(|| self.word())),
            4 => LogFilter::Header(self.header_match()),
            5 => LogFilter::Runtime(self.fraction()),
            6 => LogFilter::And(self.some_of(|| self.log_filter(depth - 1))),
            _ => LogFilter::Or(self.some_of(|| self.log_filter(depth - 1))),
        }
    }

    fn common_options(&self) -> HttpCommon {
        HttpCommon {
            idle_timeout: self.opt(|| self.duration()),
            max_connection_duration: self.opt(|| self.duration()),
            max_stream_duration: self.opt(|| self.duration()),
            max_headers_count: self.opt(|| self.u32()),
            max_requests_per_connection: self.u32(),
            underscores: self.one_of(&[
                Underscores::Allow,
                Underscores::RejectRequest,
                Underscores::DropHeader,
            ]),
        }
    }

    fn http1(&self) -> Http1Options {
        Http1Options {
            allow_absolute_url: self.opt(|| self.yes()),
            accept_http_10: self.yes(),
            default_host_for_http_10: self.text(),
            header_case: self.one_of(&[
                HeaderCase::Lower,
                HeaderCase::ProperCaseWords,
                HeaderCase::Preserve,
            ]),
            enable_trailers: self.yes(),
            allow_chunked_length: self.yes(),
        }
    }

    fn http2(&self) -> Http2Options {
        Http2Options {
            max_concurrent_streams: self.opt(|| self.u32()),
            initial_stream_window: self.opt(|| self.u32()),
            initial_connection_window: self.opt(|| self.u32()),
            allow_connect: self.yes(),
            keepalive_interval: self.opt(|| self.duration()),
            keepalive_timeout: self.opt(|| self.duration()),
        }
    }

    fn upgrade(&self) -> Upgrade {
        Upgrade { kind: self.word(), enabled: self.yes() }
    }

    fn locality(&self) -> Locality {
        Locality { region: self.text(), zone: self.text(), sub_zone: self.text() }
    }

    fn endpoint_group(&self) -> EndpointGroup {
        let healths = [
            Health::Unknown,
            Health::Healthy,
            Health::Unhealthy,
            Health::Draining,
            Health::Timeout,
            Health::Degraded,
        ];
        EndpointGroup {
            locality: self.locality(),
            priority: self.u32(),
            weight: self.opt(|| self.u32()),
            endpoints: self.some_of(|| Endpoint {
                address: self.address(),
                hostname: self.text(),
                health: self.one_of(&healths),
                weight: self.opt(|| self.u32()),
                metadata: self.metadata(),
            }),
        }
    }

    fn endpoints(&self) -> Endpoints {
        Endpoints {
            cluster: self.word(),
            groups: self.some_of(|| self.endpoint_group()),
            overprovisioning_factor: self.opt(|| self.u32()),
            weighted_priority_health: self.yes(),
        }
    }
}
