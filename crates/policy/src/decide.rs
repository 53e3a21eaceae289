//! Which virtual host, which route, and what then: a pure function of table, head and environment.

use crate::matching::split_query;
use crate::normal::split_port;
use crate::rewrite::{RedirectRule, set_host};
use crate::table::{
    Domains, ForwardRule, Hosts, Part, Route, RouteAction, RouteTable, To, VirtualHost,
};
use crate::{HostFrom, Scope, Stream};
use base::Env;
use bytes::Bytes;
use ir::{Metadata, RequireTls, Str};
use wire::{Request, RequestHead, Response};

/// Listens to a decision. The proxy passes [`NoTrace`], which compiles to nothing.
pub trait Trace {
    fn host(&mut self, _host: &VirtualHost) {}
    /// A route that was looked at and did not match; the condition that failed.
    fn skipped(&mut self, _route: &Route, _because: Miss<'_>) {}
    fn taken(&mut self, _route: &Route) {}
    fn weighted(&mut self, _part: &Part) {}
}

pub struct NoTrace;
impl Trace for NoTrace {}

/// The first condition of a route that did not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Miss<'t> {
    Path,
    /// The condition at this place, on this header.
    Header(usize, &'t [u8]),
    Query(usize, &'t [u8]),
    Grpc,
    /// What the filter has said at this path.
    Said(&'t Str, &'t [Str]),
    /// The draw fell outside the fraction.
    Fraction,
}

/// What is done with a request.
#[derive(Debug)]
pub enum Decision<'t> {
    /// No virtual host or no route: 404.
    NotFound,
    Redirect(Redirection<'t>),
    Direct {
        host: &'t VirtualHost,
        route: &'t Route,
        status: u16,
        body: &'t Bytes,
    },
    Forward(Forwarding<'t>),
    /// The route is for proxyless clients.
    NonForwarding {
        host: &'t VirtualHost,
        route: &'t Route,
    },
}

impl<'t> Decision<'t> {
    /// Where filters find what the configuration says of this request.
    pub fn scope(&self) -> Scope<'t> {
        match self {
            Decision::Forward(forwarding) => forwarding.scope(),
            Decision::Redirect(Redirection { host, route: Some(route), .. })
            | Decision::Direct { host, route, .. }
            | Decision::NonForwarding { host, route } => Scope::of_route(host, route),
            // The way to TLS is no route of the configuration's.
            Decision::NotFound | Decision::Redirect(_) => Scope::default(),
        }
    }

    pub fn forwarding(&self) -> Option<Forwarding<'t>> {
        if let Decision::Forward(forwarding) = self { Some(*forwarding) } else { None }
    }

    /// What the route says of upgrades. `None`: without a route nobody is asked.
    pub fn upgrades(&self) -> Option<&'t [ir::Upgrade]> {
        match self {
            Decision::NotFound => None,
            Decision::Forward(forwarding) => Some(&forwarding.rule.upgrades),
            _ => Some(&[]),
        }
    }
}

#[derive(Clone, Copy, Debug)]
pub struct Redirection<'t> {
    pub host: &'t VirtualHost,
    /// `None`: the virtual host wants TLS.
    pub route: Option<&'t Route>,
    rule: &'t RedirectRule,
    matched: usize,
}

impl Redirection<'_> {
    pub fn status(&self) -> u16 {
        self.rule.status()
    }

    /// Where to, by the head as filters left it.
    pub fn location(&self, head: &impl RequestHead) -> Vec<u8> {
        self.rule.location(head, self.matched)
    }
}

/// A request that goes to a cluster.
#[derive(Clone, Copy, Debug)]
pub struct Forwarding<'t> {
    pub table: &'t RouteTable,
    pub host: &'t VirtualHost,
    pub route: &'t Route,
    pub rule: &'t ForwardRule,
    pub to: Target,
    /// The weighted cluster that was drawn.
    pub part: Option<&'t Part>,
    matched: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// A place in [`RouteTable::clusters`].
    Cluster(u32),
    /// The request's header names the cluster.
    Header,
    /// The header is absent, or all weights are zero.
    Nowhere,
}

impl RouteTable {
    /// Decides about one request, of which filters have `said` something.
    pub fn decide<'t>(
        &'t self,
        head: &impl RequestHead,
        said: &Metadata,
        env: &impl Env,
        trace: &mut impl Trace,
    ) -> Decision<'t> {
        let Some(host) = self.domains.find(head.authority()) else { return Decision::NotFound };
        let host = &self.hosts[host as usize];
        trace.host(host);
        if needs_tls(host.require_tls, head) {
            let rule = &self.to_tls;
            return Decision::Redirect(Redirection { host, route: None, rule, matched: 0 });
        }
        let (path, query) = split_query(head.path());
        let connect = head.method() == b"CONNECT";
        for route in &host.routes {
            match route.matches(head, path, query, connect, said, env) {
                Ok(matched) => {
                    trace.taken(route);
                    return self.act(host, route, matched, head, env, trace);
                }
                Err(because) => trace.skipped(route, because),
            }
        }
        Decision::NotFound
    }

    fn act<'t>(
        &'t self,
        host: &'t VirtualHost,
        route: &'t Route,
        matched: usize,
        head: &impl RequestHead,
        env: &impl Env,
        trace: &mut impl Trace,
    ) -> Decision<'t> {
        match &route.action {
            RouteAction::Redirect(rule) => {
                Decision::Redirect(Redirection { host, route: Some(route), rule, matched })
            }
            RouteAction::Direct(status, body) => {
                Decision::Direct { host, route, status: *status, body }
            }
            RouteAction::NonForwarding => Decision::NonForwarding { host, route },
            RouteAction::Forward(rule) => {
                let (to, part) = draw(&rule.to, head, env);
                if let Some(part) = part {
                    trace.weighted(part);
                }
                Decision::Forward(Forwarding { table: self, host, route, rule, to, part, matched })
            }
        }
    }

    /// Applies what configuration, virtual host and route say about the headers of an answer that
    /// does not come from an upstream.
    pub fn local_response_headers(
        &self,
        host: &VirtualHost,
        route: Option<&Route>,
        response: &mut Response,
        request: &Request,
        stream: &Stream,
    ) {
        let mut levels = [route.map(|r| &r.headers), Some(&host.headers), Some(&self.headers)];
        if self.specific_wins {
            levels.reverse();
        }
        for rules in levels.into_iter().flatten() {
            rules.apply_to_response(response, request, stream);
        }
    }
}

impl<'t> Forwarding<'t> {
    /// Changes the head of a request on its way to the upstream: header operations, host, path.
    pub fn rewrite(&self, request: &mut Request, stream: &Stream, envoy_headers: bool) {
        for rules in self.levels().into_iter().flatten() {
            rules.apply_to_request(request, stream);
        }
        if let Some(part) = self.part.filter(|p| !p.host.is_empty()) {
            // Unlike a route's own, this rewriting tells nobody what the host was.
            request.set_authority(part.host.as_bytes());
        }
        self.rule.rewrites.apply(request, self.matched, envoy_headers);
    }

    /// Changes the head of the answer.
    pub fn rewrite_response(&self, response: &mut Response, request: &Request, stream: &Stream) {
        for rules in self.levels().into_iter().flatten() {
            rules.apply_to_response(response, request, stream);
        }
    }

    /// Takes the host from the chosen endpoint, if the route says so.
    pub fn rewrite_host(&self, request: &mut Request, endpoint: &str, envoy_headers: bool) {
        let rewrites = &self.rule.rewrites;
        if matches!(rewrites.host, HostFrom::Endpoint) && !endpoint.is_empty() {
            set_host(request, endpoint.as_bytes(), rewrites.forwarded_host, envoy_headers);
        }
    }

    /// Where filters find what the configuration says of this request.
    pub fn scope(&self) -> Scope<'t> {
        Scope::of_forwarding(self.host, self.route, self.part, self.rule)
    }

    /// The cluster's name where [`Target::Header`] says that a header holds it.
    pub fn cluster_header(&self) -> Option<&'t str> {
        if let To::Header(name) = &self.rule.to { Some(name) } else { None }
    }

    /// The weighted cluster's rules first, then from the route outwards, or the other way round.
    fn levels(&self) -> [Option<&'t crate::headers::HeaderRules>; 4] {
        let mut outwards =
            [Some(&self.route.headers), Some(&self.host.headers), Some(&self.table.headers)];
        if self.table.specific_wins {
            outwards.reverse();
        }
        let [first, second, third] = outwards;
        [self.part.map(|p| &p.headers), first, second, third]
    }
}

fn draw<'t>(to: &'t To, head: &impl RequestHead, env: &impl Env) -> (Target, Option<&'t Part>) {
    match to {
        To::One(cluster) => (Target::Cluster(*cluster), None),
        To::Header(name) => match head.field(name.as_bytes()) {
            Some(value) if !value.is_empty() => (Target::Header, None),
            _ => (Target::Nowhere, None),
        },
        To::Weighted { total, parts } => {
            let mut rest = env.below(*total);
            for part in parts {
                match rest.checked_sub(u64::from(part.weight)) {
                    Some(left) => rest = left,
                    None => return (Target::Cluster(part.cluster), Some(part)),
                }
            }
            (Target::Nowhere, None)
        }
    }
}

fn needs_tls(require: RequireTls, head: &impl RequestHead) -> bool {
    let plain = head.get(b"x-forwarded-proto").unwrap_or(head.scheme()) != b"https";
    match require {
        RequireTls::No => false,
        RequireTls::All => plain,
        RequireTls::ExternalOnly => plain && head.get(b"x-envoy-internal") != Some(b"true"),
    }
}

impl Route {
    /// How much of the path was matched, or which condition failed.
    fn matches(
        &self,
        head: &impl RequestHead,
        path: &[u8],
        query: &[u8],
        connect: bool,
        said: &Metadata,
        env: &impl Env,
    ) -> Result<usize, Miss<'_>> {
        let matched = self.path.matches(path, connect).ok_or(Miss::Path)?;
        if let Some(i) = self.headers_match.iter().position(|h| !h.matches(head)) {
            return Err(Miss::Header(i, self.headers_match[i].name()));
        }
        if let Some(i) = self.query.iter().position(|q| !q.matches(query)) {
            return Err(Miss::Query(i, self.query[i].name()));
        }
        if self.grpc && !head.get(b"content-type").is_some_and(is_grpc) {
            return Err(Miss::Grpc);
        }
        if let Some(matcher) = self.said.iter().find(|m| !m.matches(said)) {
            let (filter, path) = matcher.name();
            return Err(Miss::Said(filter, path));
        }
        if self.fraction.is_some_and(|f| env.below(1_000_000) >= u64::from(f)) {
            return Err(Miss::Fraction);
        }
        Ok(matched)
    }
}

/// `application/grpc` or `application/grpc+…`; parameters make it something else, as for Envoy.
pub(crate) fn is_grpc(content_type: &[u8]) -> bool {
    content_type
        .strip_prefix(b"application/grpc")
        .is_some_and(|rest| matches!(rest.first(), None | Some(b'+')))
}

/// Longest host name that is compared.
const LONGEST: usize = 512;

impl Domains {
    /// The virtual host of an authority: exact, longest suffix, longest prefix, any.
    fn find(&self, authority: &[u8]) -> Option<u32> {
        let host = if self.ignore_port { split_port(authority).0 } else { authority };
        let mut buffer = [0u8; LONGEST];
        let Some(lower) = buffer.get_mut(..host.len()) else { return self.any };
        lower.copy_from_slice(host);
        lower.make_ascii_lowercase();
        let host = &*lower;
        if let Some(found) = self.exact.get(host) {
            return Some(*found);
        }
        let wild = |list: &[(usize, Hosts)], suffix: bool| {
            list.iter().filter(|(len, _)| *len < host.len()).find_map(|(len, map)| {
                let part = if suffix { &host[host.len() - len..] } else { &host[..*len] };
                map.get(part).copied()
            })
        };
        wild(&self.suffixes, true).or_else(|| wild(&self.prefixes, false)).or(self.any)
    }
}

#[cfg(test)]
mod tests;
