//! A route configuration, compiled once: hosts in maps, patterns as matchers, names interned.

use crate::cors::CorsRule;
use crate::filter_rule::FilterRule;
use crate::headers::HeaderRules;
use crate::matching::{HeaderMatcher, QueryMatcher, whole};
use crate::metadata::MetadataMatcher;
use crate::rate_limit::DescriptorRule;
use crate::retry::RetryRules;
use crate::rewrite::{RedirectRule, Rewrites};
use crate::timeout::TimeRules;
use base::{Finding, OriginId};
use bytes::Bytes;
use ir::{Action, Destination, HttpFilterConfig, PathMatch, RequireTls, RouteConfig, Str};
use regex::bytes::Regex;
use std::collections::HashMap;
use std::time::Duration;

/// A compiled [`RouteConfig`].
#[derive(Debug)]
pub struct RouteTable {
    pub name: Str,
    /// The clusters that routes name; routes refer to them by place.
    pub clusters: Vec<Str>,
    pub findings: Vec<Finding>,
    pub(crate) hosts: Vec<VirtualHost>,
    pub(crate) domains: Domains,
    pub(crate) headers: HeaderRules,
    pub(crate) specific_wins: bool,
    /// For hosts that want TLS.
    pub(crate) to_tls: RedirectRule,
}

/// A compiled virtual host.
#[derive(Debug)]
pub struct VirtualHost {
    pub name: Str,
    pub attempt_count: bool,
    pub attempt_count_in_response: bool,
    pub filters: Vec<(Str, FilterRule)>,
    pub limits: Vec<DescriptorRule>,
    pub origin: OriginId,
    pub(crate) routes: Vec<Route>,
    pub(crate) require_tls: RequireTls,
    pub(crate) headers: HeaderRules,
}

/// A compiled route.
#[derive(Debug)]
pub struct Route {
    pub name: Str,
    /// Its place among the routes of the virtual host.
    pub place: u32,
    pub decorator: Str,
    pub filters: Vec<(Str, FilterRule)>,
    pub origin: OriginId,
    pub(crate) path: PathMatcher,
    pub(crate) headers_match: Vec<HeaderMatcher>,
    pub(crate) query: Vec<QueryMatcher>,
    pub(crate) grpc: bool,
    /// In parts of a million.
    pub(crate) fraction: Option<u32>,
    pub(crate) said: Vec<MetadataMatcher>,
    pub(crate) headers: HeaderRules,
    pub(crate) action: RouteAction,
}

#[derive(Debug)]
pub(crate) enum RouteAction {
    Forward(Box<ForwardRule>),
    Redirect(RedirectRule),
    Direct(u16, Bytes),
    NonForwarding,
}

/// What forwarding a request of this route means.
#[derive(Debug)]
pub struct ForwardRule {
    pub time: TimeRules,
    pub idle_timeout: Option<Duration>,
    pub retry: RetryRules,
    pub mirrors: Vec<MirrorRule>,
    pub cluster_not_found: u16,
    pub upgrades: Vec<ir::Upgrade>,
    pub hash: Vec<ir::HashPolicy>,
    pub cors: Option<CorsRule>,
    pub limits: Vec<DescriptorRule>,
    /// The virtual host's, too.
    pub include_host_limits: bool,
    pub(crate) to: To,
    pub(crate) rewrites: Rewrites,
}

#[derive(Debug)]
pub struct MirrorRule {
    pub cluster: u32,
    /// In parts of a million.
    pub fraction: u32,
    pub host_suffix: bool,
}

#[derive(Debug)]
pub(crate) enum To {
    One(u32),
    Header(Str),
    Weighted { total: u64, parts: Vec<Part> },
}

/// One weighted cluster.
#[derive(Debug)]
pub struct Part {
    /// Its place among the weighted clusters of the route.
    pub place: usize,
    pub(crate) cluster: u32,
    pub(crate) weight: u32,
    pub(crate) headers: HeaderRules,
    pub(crate) host: Str,
    pub filters: Vec<(Str, FilterRule)>,
    pub origin: OriginId,
}

#[derive(Debug)]
pub(crate) struct PathMatcher {
    pub kind: PathKind,
    pub ignore_case: bool,
}

#[derive(Debug)]
pub(crate) enum PathKind {
    Prefix(Str),
    Exact(Str),
    Separated(Str),
    Regex(Regex),
    Connect,
    /// A pattern that could not be compiled.
    Never,
}

/// Places of virtual hosts by domain, or by the part of it that is not wild.
pub(crate) type Hosts = HashMap<Box<[u8]>, u32>;

/// Domains by the way they match; longer wildcards first.
#[derive(Debug, Default)]
pub(crate) struct Domains {
    pub exact: Hosts,
    pub suffixes: Vec<(usize, Hosts)>,
    pub prefixes: Vec<(usize, Hosts)>,
    pub any: Option<u32>,
    pub ignore_port: bool,
}

impl RouteTable {
    /// What cannot be compiled matches nothing and is told in `findings`.
    pub fn new(config: &RouteConfig) -> Self {
        let mut build = Build::default();
        let mut domains =
            Domains { ignore_port: config.ignore_port_in_host_matching, ..Default::default() };
        let mut hosts = Vec::new();
        for (i, host) in config.virtual_hosts.iter().enumerate() {
            let path = format!("virtual_hosts[{i}]");
            for domain in &host.domains {
                if !domains.add(domain, i as u32) {
                    let message = format!("domain '{domain}' is already taken by another host");
                    build.findings.push(Finding::error(format!("{path}.domains"), message));
                }
            }
            hosts.push(build.host(host, &path));
        }
        domains.suffixes.sort_by_key(|(len, _)| std::cmp::Reverse(*len));
        domains.prefixes.sort_by_key(|(len, _)| std::cmp::Reverse(*len));
        let https = ir::Redirect { https: true, ..Default::default() };
        Self {
            name: config.name.clone(),
            to_tls: RedirectRule::new(&https, "", &mut build.findings),
            headers: HeaderRules::new(&config.headers, "", &mut build.findings),
            specific_wins: config.most_specific_header_mutations_wins,
            clusters: build.clusters,
            findings: build.findings,
            hosts,
            domains,
        }
    }
}

impl Domains {
    /// Says whether the domain was free.
    fn add(&mut self, domain: &str, host: u32) -> bool {
        let domain = domain.to_ascii_lowercase();
        let wild = |list: &mut Vec<(usize, Hosts)>, part: &str| {
            let at = list.iter().position(|(len, _)| *len == part.len()).unwrap_or_else(|| {
                list.push((part.len(), HashMap::new()));
                list.len() - 1
            });
            free(&mut list[at].1, part, host)
        };
        if domain == "*" {
            self.any.replace(host).is_none()
        } else if let Some(suffix) = domain.strip_prefix('*') {
            wild(&mut self.suffixes, suffix)
        } else if let Some(prefix) = domain.strip_suffix('*') {
            wild(&mut self.prefixes, prefix)
        } else {
            free(&mut self.exact, &domain, host)
        }
    }
}

/// Enters a domain unless it is there.
fn free(map: &mut Hosts, domain: &str, host: u32) -> bool {
    let before = map.len();
    map.entry(domain.as_bytes().into()).or_insert(host);
    map.len() > before
}

#[derive(Default)]
struct Build {
    clusters: Vec<Str>,
    places: HashMap<Str, u32>,
    findings: Vec<Finding>,
}

impl Build {
    fn cluster(&mut self, name: &Str) -> u32 {
        *self.places.entry(name.clone()).or_insert_with(|| {
            self.clusters.push(name.clone());
            self.clusters.len() as u32 - 1
        })
    }

    fn host(&mut self, host: &ir::VirtualHost, path: &str) -> VirtualHost {
        let routes = host.routes.iter().enumerate();
        VirtualHost {
            name: host.name.clone(),
            attempt_count: host.include_attempt_count,
            attempt_count_in_response: host.include_attempt_count_in_response,
            filters: self.filters(&host.per_filter, path),
            limits: DescriptorRule::all(&host.rate_limits, path, &mut self.findings),
            origin: host.origin,
            routes: routes
                .map(|(i, r)| {
                    let route = self.route(r, host, &format!("{path}.routes[{i}]"));
                    Route { place: i as u32, ..route }
                })
                .collect(),
            require_tls: host.require_tls,
            headers: HeaderRules::new(&host.headers, path, &mut self.findings),
        }
    }

    fn route(&mut self, route: &ir::Route, host: &ir::VirtualHost, path: &str) -> Route {
        let m = &route.matches;
        let findings = &mut self.findings;
        let at = format!("{path}.match");
        Route {
            name: route.name.clone(),
            place: 0,
            decorator: route.decorator.clone(),
            origin: route.origin,
            path: PathMatcher::new(&m.path, m.ignore_case, &at, findings),
            headers_match: m.headers.iter().map(|h| HeaderMatcher::new(h, &at, findings)).collect(),
            query: m.query.iter().map(|q| QueryMatcher::new(q, &at, findings)).collect(),
            grpc: m.grpc,
            fraction: m.runtime_fraction.map(|f| f.per_million()),
            said: m.metadata.iter().map(|m| MetadataMatcher::new(m, &at, findings)).collect(),
            headers: HeaderRules::new(&route.headers, path, findings),
            filters: self.filters(&route.per_filter, path),
            action: self.action(&route.action, host, path),
        }
    }

    fn filters(&mut self, from: &[(Str, HttpFilterConfig)], path: &str) -> Vec<(Str, FilterRule)> {
        let mut rules = Vec::new();
        for (name, config) in from {
            let at = format!("{path}.typed_per_filter_config[{name}]");
            if let Some(rule) = FilterRule::new(config, &at, &mut self.findings) {
                rules.push((name.clone(), rule));
            }
        }
        rules
    }

    fn action(&mut self, action: &Action, host: &ir::VirtualHost, path: &str) -> RouteAction {
        match action {
            Action::Forward(forward) => RouteAction::Forward(Box::new(self.forward(
                forward,
                host,
                &format!("{path}.route"),
            ))),
            Action::Redirect(redirect) => {
                let at = format!("{path}.redirect");
                RouteAction::Redirect(RedirectRule::new(redirect, &at, &mut self.findings))
            }
            Action::Direct(direct) => RouteAction::Direct(direct.status, direct.body.clone()),
            Action::NonForwarding => RouteAction::NonForwarding,
        }
    }

    fn forward(&mut self, from: &ir::Forward, host: &ir::VirtualHost, path: &str) -> ForwardRule {
        let to = self.destination(&from.to, path);
        let mirrors = from.mirrors.iter().map(|m| MirrorRule {
            cluster: self.cluster(&m.cluster),
            fraction: m.fraction.map_or(1_000_000, |f| f.per_million()),
            host_suffix: !m.disable_shadow_host_suffix,
        });
        let mirrors = mirrors.collect();
        let findings = &mut self.findings;
        let retry = from.retry.as_ref().or(host.retry.as_ref());
        ForwardRule {
            time: TimeRules::new(from),
            idle_timeout: from.idle_timeout,
            retry: RetryRules::new(retry, path, findings),
            mirrors,
            cluster_not_found: from.cluster_not_found.unwrap_or(503),
            upgrades: from.upgrades.clone(),
            hash: from.hash.clone(),
            cors: from.cors.as_ref().map(|c| CorsRule::new(c, path, findings)),
            limits: DescriptorRule::all(&from.rate_limits, path, findings),
            include_host_limits: from.include_vh_rate_limits,
            rewrites: Rewrites::new(from, path, findings),
            to,
        }
    }

    fn destination(&mut self, to: &Destination, path: &str) -> To {
        match to {
            Destination::Cluster(name) => To::One(self.cluster(name)),
            Destination::ClusterHeader(name) => To::Header(name.clone()),
            Destination::Weighted(list) => {
                let mut parts = Vec::new();
                for (i, w) in list.iter().enumerate() {
                    let at = format!("{path}.weighted_clusters.clusters[{i}]");
                    parts.push(Part {
                        place: i,
                        cluster: self.cluster(&w.name),
                        weight: w.weight,
                        headers: HeaderRules::new(&w.headers, &at, &mut self.findings),
                        host: w.host_rewrite.clone(),
                        filters: self.filters(&w.per_filter, &at),
                        origin: w.origin,
                    });
                }
                let total = parts.iter().map(|p| u64::from(p.weight)).sum();
                To::Weighted { total, parts }
            }
        }
    }
}

impl PathMatcher {
    pub(crate) fn new(
        from: &PathMatch,
        ignore_case: bool,
        path: &str,
        findings: &mut Vec<Finding>,
    ) -> Self {
        let kind = match from {
            PathMatch::Prefix(s) => PathKind::Prefix(s.clone()),
            PathMatch::Exact(s) => PathKind::Exact(s.clone()),
            PathMatch::PathSeparatedPrefix(s) => PathKind::Separated(s.clone()),
            PathMatch::Connect => PathKind::Connect,
            PathMatch::Regex(s) => match whole(s) {
                Ok(regex) => PathKind::Regex(regex),
                Err(e) => {
                    findings.push(Finding::error(path, e));
                    PathKind::Never
                }
            },
        };
        Self { kind, ignore_case }
    }

    /// How much of the path (without query) was matched.
    pub fn matches(&self, path: &[u8], connect: bool) -> Option<usize> {
        let starts = |with: &str| {
            let with = with.as_bytes();
            let head = path.get(..with.len())?;
            let same =
                if self.ignore_case { head.eq_ignore_ascii_case(with) } else { head == with };
            same.then_some(with.len())
        };
        match &self.kind {
            PathKind::Prefix(p) => starts(p),
            PathKind::Exact(p) => starts(p).filter(|n| *n == path.len()),
            PathKind::Separated(p) => starts(p).filter(|n| *n == path.len() || path[*n] == b'/'),
            PathKind::Regex(regex) => regex.is_match(path).then_some(path.len()),
            PathKind::Connect => connect.then_some(0),
            PathKind::Never => None,
        }
    }
}
