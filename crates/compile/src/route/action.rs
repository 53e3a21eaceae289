//! What a rule does with a request: forward, redirect or answer.

use super::{Place, extras, retry};
use crate::Missing;
use crate::build::Build;
use crate::cluster::{self, Lack, Policy, Target};
use crate::scope::rule_of;
use api::{
    DerivePort, Destination, Headers, HttpRedirect, HttpRewrite, HttpRoute, HttpRouteDestination,
    VirtualService,
};
use base::Origin;
use ir::{
    Action, AppendAction, DirectResponse, Forward, GrpcTimeout, HeaderAdd, HeaderOps, HostRewrite,
    Redirect, RedirectCode, RedirectPath, RegexRewrite, Str, WeightedCluster,
};
use registry::Item;
use std::time::Duration;

pub(super) fn of(
    b: &mut Build<'_>,
    place: &Place<'_>,
    item: &Item<VirtualService>,
    http: &HttpRoute,
    path: &str,
) -> Action {
    if let Some(redirect) = &http.redirect {
        return Action::Redirect(redirect_to(redirect, place));
    }
    if let Some(direct) = &http.direct_response {
        let status = u16::try_from(direct.status).unwrap_or(500);
        return Action::Direct(DirectResponse { status, body: extras::body(direct) });
    }
    if http.route.is_empty() {
        return Action::Direct(DirectResponse { status: 500, body: Default::default() });
    }
    forward(b, place, item, http, path)
}

fn forward(
    b: &mut Build<'_>,
    place: &Place<'_>,
    item: &Item<VirtualService>,
    http: &HttpRoute,
    path: &str,
) -> Action {
    let mut hash = Vec::new();
    let mut clusters = Vec::new();
    for (index, destination) in weighed(&http.route) {
        let field = format!("{path}.route[{index}].destination");
        let Some(target) = resolve(b, place, item, destination.destination.as_ref(), &field) else {
            continue;
        };
        if hash.is_empty() {
            hash = hash_of(b, &target, destination.destination.as_ref());
        }
        clusters.push(WeightedCluster {
            name: target.cluster,
            weight: u32::try_from(destination.weight).unwrap_or(0),
            headers: of_destination(destination.headers.as_ref()),
            host_rewrite: host_in(destination.headers.as_ref()).unwrap_or_default(),
            metadata_match: ir::Metadata::new(),
            per_filter: Vec::new(),
            origin: b.origin(&item.object, format!("{path}.route[{index}]")),
        });
    }
    let only = http.route.len() == 1;
    let only_host = clusters.first().filter(|_| only).map(|c| c.host_rewrite.clone());
    let to = match clusters.as_slice() {
        [] => return Action::Direct(DirectResponse { status: 500, body: Default::default() }),
        [cluster] if only => ir::Destination::Cluster(cluster.name.clone()),
        _ => ir::Destination::Weighted(clusters),
    };
    let mut forward = forward_to(to, http.timeout.map(|t| t.0));
    let hashed = only && !hash.is_empty();
    forward.retry = retry::of(&b.world.mesh.config, http.retries.as_ref(), hashed);
    forward.hash = hash;
    if let Some(rewrite) = &http.rewrite {
        apply_rewrite(rewrite, &mut forward);
    }
    // A rewrite of the authority counts before the rule's headers, and those before the destination's.
    let authority = http.rewrite.as_ref().map(|r| r.authority.as_str()).filter(|a| !a.is_empty());
    let host = authority.map(Str::from).or_else(|| host_in(http.headers.as_ref()));
    if let Some(host) = host.or(only_host).filter(|h| !h.is_empty()) {
        forward.host_rewrite = HostRewrite::Literal(host);
    }
    forward.mirrors = extras::mirrors(b, place, item, http, path);
    Action::Forward(Box::new(forward))
}

/// The destinations that get a share: of several, those with a weight.
fn weighed(
    routes: &[HttpRouteDestination],
) -> impl Iterator<Item = (usize, &HttpRouteDestination)> {
    let several = routes.len() > 1;
    routes.iter().enumerate().filter(move |(_, r)| !several || r.weight > 0)
}

/// A forward without limits on time but the one written.
pub(super) fn forward_to(to: ir::Destination, timeout: Option<Duration>) -> Forward {
    let timeout = timeout.unwrap_or(Duration::ZERO);
    let mut forward = Forward::to(to);
    forward.timeout = Some(timeout);
    // Not `max_stream_duration`, beside which Envoy takes no notice of `timeout`.
    forward.grpc_timeout = Some(GrpcTimeout { max: Some(timeout), offset: None });
    forward
}

/// The cluster of a destination. That it does not exist is said and remembered; the route stays, and
/// answers 503 until it does.
pub(super) fn resolve(
    b: &mut Build<'_>,
    place: &Place<'_>,
    item: &Item<VirtualService>,
    destination: Option<&Destination>,
    field: &str,
) -> Option<Target> {
    let target = cluster::target(b, place.scope, destination?, item.namespace(), place.port)?;
    if let Some(lack) = &target.lacks {
        b.say(&item.object, lack.finding(field));
        let (host, subset) = match lack {
            Lack::Host(host) | Lack::Port(host) => (host.clone(), None),
            Lack::Subset(host, subset) => (host.clone(), Some(subset.clone())),
        };
        let origin = Origin { object: item.object.clone(), path: field.to_owned(), line: None };
        b.missing.push(Missing { host, subset, origin });
    }
    Some(target)
}

fn hash_of(
    b: &Build<'_>,
    target: &Target,
    destination: Option<&Destination>,
) -> Vec<ir::HashPolicy> {
    let (Some(service), Some(destination)) = (&target.service, destination) else {
        return Vec::new();
    };
    let rule = rule_of(b.world, b.proxy, service).map(|r| &**r);
    let subset = rule.and_then(|r| r.subset(&destination.subset));
    cluster::hash_policies(&Policy::of(rule, subset, target.port))
}

fn apply_rewrite(rewrite: &HttpRewrite, forward: &mut Forward) {
    if let Some(regex) = &rewrite.uri_regex_rewrite {
        forward.regex_rewrite = Some(RegexRewrite {
            pattern: regex.r#match.as_str().into(),
            substitution: regex.rewrite.as_str().into(),
        });
    } else if !rewrite.uri.is_empty() {
        // Of an exact or regex match the whole path is what was matched, and is replaced.
        forward.prefix_rewrite = rewrite.uri.as_str().into();
    }
}

fn redirect_to(redirect: &HttpRedirect, place: &Place<'_>) -> Redirect {
    let path = match (redirect.uri.as_str(), redirect.prefix_rewrite.as_str()) {
        ("", "") => RedirectPath::Keep,
        ("", prefix) => RedirectPath::Prefix(prefix.into()),
        (uri, _) => RedirectPath::Replace(uri.into()),
    };
    let port = match (redirect.port, redirect.derive_port) {
        (Some(port), _) => port,
        (None, Some(DerivePort::FromRequestPort)) => u32::from(place.port),
        (None, _) => 0,
    };
    let scheme = match redirect.scheme.as_str() {
        "" if place.tls => "https",
        "" => "http",
        written => written,
    };
    // The port that goes without saying is not said.
    let port = if matches!((port, scheme), (80, "http") | (443, "https")) { 0 } else { port };
    Redirect {
        https: false,
        scheme: redirect.scheme.as_str().into(),
        host: redirect.authority.as_str().into(),
        port,
        path,
        code: match redirect.redirect_code {
            302 => RedirectCode::Found,
            303 => RedirectCode::SeeOther,
            307 => RedirectCode::TemporaryRedirect,
            308 => RedirectCode::PermanentRedirect,
            _ => RedirectCode::MovedPermanently,
        },
        strip_query: false,
    }
}

/// The header operations of a rule.
pub(super) fn headers(http: &HttpRoute) -> HeaderOps {
    of_destination(http.headers.as_ref())
}

/// Header operations; setting the host is a rewrite and not among them.
pub(super) fn of_destination(headers: Option<&Headers>) -> HeaderOps {
    let Some(headers) = headers else { return HeaderOps::default() };
    let mut ops = HeaderOps::default();
    if let Some(request) = &headers.request {
        ops.request_add = adds(request);
        ops.request_remove = removes(request);
    }
    if let Some(response) = &headers.response {
        ops.response_add = adds(response);
        ops.response_remove = removes(response);
    }
    ops
}

fn adds(ops: &api::HeaderOperations) -> Vec<HeaderAdd> {
    let entry = |action| {
        move |(name, value): (&String, &String)| HeaderAdd {
            name: lower(name),
            value: value.as_str().into(),
            action,
            keep_empty_value: false,
        }
    };
    let ours = |(name, _): &(&String, &String)| !is_internal(name);
    let set = ops.set.iter().filter(ours).map(entry(AppendAction::OverwriteIfExistsOrAdd));
    let add = ops.add.iter().filter(ours).map(entry(AppendAction::AppendIfExistsOrAdd));
    set.chain(add).collect()
}

fn removes(ops: &api::HeaderOperations) -> Vec<Str> {
    ops.remove.iter().filter(|n| !is_internal(n)).map(|n| lower(n)).collect()
}

/// The host that operations on the request's headers give it: `set` counts before `add`.
fn host_in(headers: Option<&Headers>) -> Option<Str> {
    let request = headers?.request.as_ref()?;
    let mut all = request.set.iter().chain(&request.add);
    all.find(|(name, _)| is_host(name)).map(|(_, value)| value.as_str().into())
}

/// What Envoy lets nobody change as a header.
fn is_internal(name: &str) -> bool {
    name.starts_with(':') || name.eq_ignore_ascii_case("host")
}

fn is_host(name: &str) -> bool {
    name.eq_ignore_ascii_case("host") || name == ":authority"
}

fn lower(name: &str) -> Str {
    name.to_ascii_lowercase().into()
}

/// One after the other.
pub(super) fn joined(mut first: HeaderOps, then: HeaderOps) -> HeaderOps {
    first.request_add.extend(then.request_add);
    first.request_remove.extend(then.request_remove);
    first.response_add.extend(then.response_add);
    first.response_remove.extend(then.response_remove);
    first
}
