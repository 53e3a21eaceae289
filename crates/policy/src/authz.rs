//! External authorization: who is asked about, what the service is told of a request, and what its answer
//! means. Asking is the proxy's business.

mod answer;

pub use answer::{Answer, Changes, Denial, Edit};

use crate::matching::Matcher;
use crate::metadata::MetadataMatcher;
use base::{Env, Finding};
use ir::{AuthzBody, AuthzService, AuthzSettings, ExtAuthz, HttpAuthz, Metadata, Str, StringMatch};
use std::time::Duration;
use wire::{Request, RequestHead};

/// A compiled [`ExtAuthz`].
#[derive(Debug)]
pub struct AuthzRule {
    pub config: ExtAuthz,
    service: Service,
    only: Option<Vec<Matcher>>,
    never: Vec<Matcher>,
    /// In parts of a million.
    enabled: u32,
    metadata: Option<MetadataMatcher>,
}

/// What one route says of it.
#[derive(Debug)]
pub struct AuthzOwn {
    pub settings: AuthzSettings,
    service: Option<Service>,
}

/// Whom to ask, and how.
#[derive(Debug)]
pub enum Service {
    Grpc { cluster: Str, timeout: Duration },
    Http(Box<HttpService>),
}

/// A compiled [`HttpAuthz`].
#[derive(Debug)]
pub struct HttpService {
    pub config: HttpAuthz,
    pub timeout: Duration,
    only: Option<Vec<Matcher>>,
    pub(crate) upstream: Vec<Matcher>,
    pub(crate) upstream_append: Vec<Matcher>,
    pub(crate) client: Vec<Matcher>,
    pub(crate) client_on_success: Vec<Matcher>,
    pub(crate) metadata: Vec<Matcher>,
}

/// Whether the service is to be asked about a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Concern {
    Ask,
    Pass,
    Refuse,
}

/// Of a service that does not say, as in Envoy.
const TIMEOUT: Duration = Duration::from_millis(200);

/// Whether a part of the body is all of it.
pub const PARTIAL: &str = "x-envoy-auth-partial-body";

/// What an authorizer over HTTP always gets.
const NECESSARY: [&str; 4] = [":method", ":path", ":authority", "authorization"];

fn matchers(list: &[StringMatch], path: &str, findings: &mut Vec<Finding>) -> Vec<Matcher> {
    list.iter().map(|m| Matcher::new(m, path, findings)).collect()
}

impl AuthzRule {
    pub fn new(from: &ExtAuthz, path: &str, findings: &mut Vec<Finding>) -> Self {
        let only = from.allowed_headers.as_deref();
        Self {
            service: Service::new(&from.service, path, findings),
            only: only.map(|list| matchers(list, path, findings)),
            never: matchers(&from.disallowed_headers, path, findings),
            enabled: from.enabled.map_or(1_000_000, |f| f.per_million()),
            metadata: from
                .enabled_metadata
                .as_ref()
                .map(|m| MetadataMatcher::new(m, path, findings)),
            config: from.clone(),
        }
    }

    pub fn concern(&self, metadata: &Metadata, env: &impl Env) -> Concern {
        let hit = self.enabled >= 1_000_000 || env.below(1_000_000) < u64::from(self.enabled);
        if hit && self.metadata.as_ref().is_none_or(|m| m.matches(metadata)) {
            Concern::Ask
        } else if self.config.deny_at_disable {
            Concern::Refuse
        } else {
            Concern::Pass
        }
    }

    /// The route's service, or that of the chain.
    pub fn service<'s>(&'s self, own: Option<&'s AuthzOwn>) -> &'s Service {
        own.and_then(|o| o.service.as_ref()).unwrap_or(&self.service)
    }

    /// How much of the body the service gets.
    pub fn body(&self, own: Option<&AuthzOwn>) -> Option<AuthzBody> {
        match own {
            Some(own) if own.settings.no_body => None,
            Some(own) => own.settings.body.or(self.config.body),
            None => self.config.body,
        }
    }

    /// The status of an answer where there is none of the service.
    pub fn on_error(&self) -> u16 {
        self.config.status_on_error.filter(|s| *s >= 400).unwrap_or(403)
    }

    /// The names and values that the service gets, each name once unless lines stay apart.
    /// A route that has another service asks it with what the chain's would get.
    /// `upgrade`: the connection is to become another, which its own header says.
    pub fn shown(&self, head: &Request, upgrade: bool) -> Vec<(Vec<u8>, Vec<u8>)> {
        let http = if let Service::Http(http) = &self.service { Some(&**http) } else { None };
        let only = http.and_then(|h| h.only.as_ref()).or(self.only.as_ref());
        let passes = |name: &[u8]| {
            let any = |list: &[Matcher]| list.iter().any(|m| m.matches(name));
            let necessary = http.is_some() && NECESSARY.iter().any(|n| n.as_bytes() == name);
            let wanted = match only {
                Some(list) => necessary || any(list),
                None => necessary || http.is_none(),
            };
            // Without its pseudo headers there is no request.
            let needed = http.is_some() && name.first() == Some(&b':');
            wanted && (needed || !any(&self.never)) && name != PARTIAL.as_bytes()
        };
        let pseudo = [":authority", ":path", ":method", ":scheme"].map(str::as_bytes);
        let pseudo = pseudo.iter().filter_map(|name| Some((*name, head.field(name)?)));
        let wish = upgrade.then_some((&b"connection"[..], &b"upgrade"[..]));
        let mut shown: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
        for (name, value) in
            pseudo.chain(head.fields.iter()).chain(wish).filter(|(name, _)| passes(name))
        {
            let name = name.to_ascii_lowercase();
            match shown.iter_mut().find(|(n, _)| *n == name && !self.config.raw_headers) {
                Some((_, before)) => {
                    before.push(b',');
                    before.extend_from_slice(value);
                }
                None => shown.push((name, value.to_vec())),
            }
        }
        shown
    }
}

impl AuthzOwn {
    pub fn new(from: &AuthzSettings, path: &str, findings: &mut Vec<Finding>) -> Self {
        let service = from.service.as_ref().map(|s| Service::new(s, path, findings));
        Self { settings: from.clone(), service }
    }
}

impl Service {
    fn new(from: &AuthzService, path: &str, findings: &mut Vec<Finding>) -> Self {
        match from {
            AuthzService::Grpc(grpc) => Service::Grpc {
                cluster: grpc.cluster.clone(),
                timeout: grpc.timeout.unwrap_or(TIMEOUT),
            },
            AuthzService::Http(http) => {
                Service::Http(Box::new(HttpService::new(http, path, findings)))
            }
        }
    }

    pub fn cluster(&self) -> &Str {
        match self {
            Service::Grpc { cluster, .. } => cluster,
            Service::Http(http) => &http.config.cluster,
        }
    }
}

impl HttpService {
    fn new(from: &HttpAuthz, path: &str, findings: &mut Vec<Finding>) -> Self {
        let mut list = |list: &[StringMatch]| matchers(list, path, findings);
        Self {
            only: from.allowed_headers.as_deref().map(&mut list),
            upstream: list(&from.upstream),
            upstream_append: list(&from.upstream_append),
            client: list(&from.client),
            client_on_success: list(&from.client_on_success),
            metadata: list(&from.metadata),
            timeout: from.timeout.unwrap_or(TIMEOUT),
            config: from.clone(),
        }
    }

    /// The head of the question, from what of the request is shown.
    pub fn question(&self, shown: &[(Vec<u8>, Vec<u8>)], body: usize) -> Request {
        let said = |name: &[u8]| {
            shown.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_slice()).unwrap_or_default()
        };
        let path = match &*self.config.path_override {
            "" => [self.config.path_prefix.as_bytes(), said(b":path")].concat(),
            path => path.as_bytes().to_vec(),
        };
        let mut request = Request::new(said(b":method"), said(b":authority"), &path);
        request.set_field(b"content-length", body.to_string().as_bytes());
        for (name, value) in shown {
            if name.first() != Some(&b':') && !is_of_hop(name) {
                request.fields.push(name, value);
            }
        }
        for (name, value) in &self.config.headers_to_add {
            match &**name {
                "host" | ":authority" => request.set_authority(value.as_bytes()),
                _ => request.fields.set(name.as_bytes(), value.as_bytes()),
            }
        }
        request
    }
}

/// Of one connection only, or of one body.
pub(crate) fn is_of_hop(name: &[u8]) -> bool {
    const OF_HOP: [&str; 8] = [
        "connection",
        "keep-alive",
        "proxy-connection",
        "transfer-encoding",
        "content-length",
        "upgrade",
        "te",
        "trailer",
    ];
    OF_HOP.iter().any(|n| n.as_bytes() == name)
}

#[cfg(test)]
mod tests;
