//! VirtualService rules as routes: which match, what then.

mod action;
pub(crate) mod claims;
mod delegate;
mod extras;
mod l4;
mod matches;
mod retry;

pub(crate) use l4::{L4Route, tcp_routes, tls_routes};

use crate::build::Build;
use crate::http::{CORS, FAULT};
use crate::scope::Scope;
use crate::unsupported;
use api::{Destination, HttpMatchRequest, HttpRoute, VirtualService};
use base::Labels;
use delegate::Rule;
use ir::{Action, PathMatch, Route, RouteMatch, Str};
use registry::{Item, Snapshot};
use std::sync::Arc;

/// Where the rules are to apply: by what `match` conditions on the client are decided now.
pub(crate) struct Place<'a> {
    pub scope: &'a Scope,
    /// The names that this place goes by in `gateways`: `mesh`, or gateways as `namespace/name`.
    pub gateways: &'a [String],
    /// Port of the service or of the gateway's server.
    pub port: u16,
    /// Whether requests come by TLS that ends here.
    pub tls: bool,
}

/// The routes of a VirtualService at a place, in its order. What follows a rule that matches
/// everything can never be reached, and is left out.
pub(crate) fn http_routes(
    b: &mut Build<'_>,
    place: &Place<'_>,
    root: &Arc<Item<VirtualService>>,
) -> Vec<Route> {
    let mut routes = Vec::new();
    for finding in unsupported::in_virtual_service(&root.spec) {
        b.say(&root.object, finding);
    }
    for Rule { item, http, path } in delegate::expanded(b, root) {
        if http.r#match.is_empty() {
            if binds(place, root, &[]) {
                routes.push(route(b, place, &item, &http, None, &path));
                return routes;
            }
            continue;
        }
        for (at, condition) in http.r#match.iter().enumerate() {
            if !applies(b, place, root, condition) {
                continue;
            }
            let path = format!("{path}.match[{at}]");
            let route = route(b, place, &item, &http, Some(condition), &path);
            let all = is_catch_all(&route.matches);
            routes.push(route);
            if all {
                return routes;
            }
        }
    }
    routes
}

/// Whether the conditions that do not look at the request hold.
fn applies(
    b: &Build<'_>,
    place: &Place<'_>,
    item: &Item<VirtualService>,
    m: &HttpMatchRequest,
) -> bool {
    let is_readable = |name: &String| claims::complaint(name, false).is_none();
    binds(place, item, &m.gateways)
        && m.headers.keys().chain(m.without_headers.keys()).all(is_readable)
        && m.port.is_none_or(|p| p == u32::from(place.port))
        && from_source(b, &m.source_labels, &m.source_namespace)
}

/// `gateways` of a match stand in place of those of the VirtualService.
fn binds(place: &Place<'_>, item: &Item<VirtualService>, of_match: &[String]) -> bool {
    let here = |name: &str| {
        let qualified = match name {
            VirtualService::MESH => name.to_owned(),
            _ if name.contains('/') => name.to_owned(),
            _ => format!("{}/{name}", item.namespace()),
        };
        place.gateways.contains(&qualified)
    };
    if of_match.is_empty() {
        item.spec.gateways().any(here)
    } else {
        of_match.iter().any(|g| here(g))
    }
}

/// Conditions on the client, which is the workload that the proxy is for: a gateway does not know
/// from whom its own clients' requests come.
fn from_source(b: &Build<'_>, labels: &Labels, namespace: &str) -> bool {
    let own = &b.proxy.labels;
    labels.iter().all(|(k, v)| own.get(k) == Some(v))
        && (namespace.is_empty() || namespace == b.proxy.namespace)
}

/// Nothing after it is ever reached.
pub(crate) fn is_catch_all(m: &RouteMatch) -> bool {
    let any_path = match &m.path {
        PathMatch::Prefix(p) => &**p == "/",
        PathMatch::Regex(r) => matches!(&**r, "*" | ".*" | "/.*"),
        _ => false,
    };
    any_path && m.headers.is_empty() && m.query.is_empty() && m.metadata.is_empty() && !m.grpc
}

fn route(
    b: &mut Build<'_>,
    place: &Place<'_>,
    item: &Item<VirtualService>,
    http: &HttpRoute,
    condition: Option<&HttpMatchRequest>,
    path: &str,
) -> Route {
    let rule_path = path.split(".match").next().unwrap_or(path).to_owned();
    let mut route = Route {
        name: name(http, condition),
        matches: condition
            .map_or_else(|| RouteMatch::path(PathMatch::Prefix("/".into())), matches::of),
        action: action::of(b, place, item, http, &rule_path),
        headers: action::headers(http),
        decorator: "".into(),
        per_filter: Vec::new(),
        metadata: metadata(item),
        stat_prefix: condition.map_or("", |c| c.stat_prefix.as_str()).into(),
        origin: b.origin(&item.object, path),
    };
    route.decorator = operation(place, item, &route);
    // In the order of their names, as a map has them.
    if let Some(cors) = &http.cors_policy {
        route.per_filter.push((CORS.into(), extras::cors(cors)));
    }
    if let Some(fault) = http.fault.as_ref()
        && let Some(config) = extras::fault(b, &item.object, fault, &rule_path)
    {
        route.per_filter.push((FAULT.into(), config));
    }
    if let Action::Forward(forward) = &route.action
        && let [only] = http.route.as_slice()
        && matches!(forward.to, ir::Destination::Cluster(_))
    {
        route.headers =
            action::joined(route.headers, action::of_destination(only.headers.as_ref()));
    }
    route
}

/// The name of the operation in traces: `host:port/path`, with the VirtualService in place of the
/// host where there are several.
fn operation(place: &Place<'_>, item: &Item<VirtualService>, route: &Route) -> Str {
    let path = match &route.matches.path {
        PathMatch::Exact(p) | PathMatch::Regex(p) => p.to_string(),
        PathMatch::Prefix(p) | PathMatch::PathSeparatedPrefix(p) => format!("{p}*"),
        PathMatch::Connect => "/*".to_owned(),
    };
    if let Action::Forward(forward) = &route.action
        && let ir::Destination::Cluster(cluster) = &forward.to
        && let [_, port, _, host] = cluster.split('|').collect::<Vec<_>>()[..]
    {
        return format!("{host}:{port}{path}").into();
    }
    format!("{}:{}{path}", item.name(), place.port).into()
}

/// The rule's name, and the match's after a dot.
fn name(http: &HttpRoute, condition: Option<&HttpMatchRequest>) -> Str {
    match condition.map(|c| c.name.as_str()).filter(|n| !n.is_empty()) {
        Some(name) => format!("{}.{name}", http.name).into(),
        None => http.name.as_str().into(),
    }
}

/// Filter metadata `istio.config`: the object that the route comes from.
fn metadata(item: &Item<VirtualService>) -> ir::Metadata {
    let text = format!(
        "/apis/networking.istio.io/v1/namespaces/{}/virtual-service/{}",
        item.namespace(),
        item.name()
    );
    let fields = [("config".into(), ir::Value::String(text.into()))].into();
    ir::Metadata::from([("istio".into(), ir::Value::Struct(fields))])
}

/// The route of a service that no VirtualService is about.
pub(crate) fn default_route(b: &mut Build<'_>, service: &registry::Service, port: u16) -> Route {
    let cluster = crate::names::outbound_cluster(port, "", service.host.as_str());
    let mut forward = action::forward_to(ir::Destination::Cluster(cluster), None);
    let rule = crate::scope::rule_of(b.world, b.proxy, service);
    forward.hash =
        crate::cluster::hash_policies(&crate::cluster::Policy::of(rule.map(|r| &**r), None, port));
    forward.retry = retry::of(&b.world.mesh.config, None, false);
    Route {
        name: "default".into(),
        matches: RouteMatch::path(PathMatch::Prefix("/".into())),
        action: Action::Forward(Box::new(forward)),
        headers: ir::HeaderOps::default(),
        decorator: format!("{}:{port}/*", service.host).into(),
        per_filter: Vec::new(),
        metadata: ir::Metadata::new(),
        stat_prefix: "".into(),
        origin: b.origin(&service.object, "spec.ports"),
    }
}

/// A route to a fixed cluster without limits.
pub(crate) fn plain_route(name: &str, cluster: Str, decorator: Str) -> Route {
    let forward = action::forward_to(ir::Destination::Cluster(cluster), None);
    Route {
        name: name.into(),
        matches: RouteMatch::path(PathMatch::Prefix("/".into())),
        action: Action::Forward(Box::new(forward)),
        headers: ir::HeaderOps::default(),
        decorator,
        per_filter: Vec::new(),
        metadata: ir::Metadata::new(),
        stat_prefix: "".into(),
        origin: ir::OriginId::NONE,
    }
}

/// Retries of the sidecar of the server: only when the application provably did not see the request.
pub(crate) fn inbound_retry() -> ir::RetryPolicy {
    ir::RetryPolicy {
        on: vec!["reset-before-request".into()],
        num_retries: Some(2),
        ..ir::RetryPolicy::default()
    }
}

/// The VirtualServices that each rule delegates to; `None` where there is none that it may.
pub(crate) type Delegates = Vec<Option<Arc<Item<VirtualService>>>>;

pub(crate) fn delegates(world: &Snapshot, item: &Item<VirtualService>) -> Delegates {
    let rules = item.spec.http.iter().filter(|h| h.delegate.is_some());
    rules.map(|h| delegate::of_rule(world, item, h)).collect()
}

/// Every destination that the rules name, those of delegates too, with the namespace it is named in.
pub(crate) fn destinations(
    world: &Snapshot,
    item: &Item<VirtualService>,
) -> Vec<(Destination, String)> {
    let delegates = item.spec.http.iter().filter_map(|h| delegate::of_rule(world, item, h));
    let mut all = named_in(item);
    all.extend(delegates.flat_map(|d| named_in(&d)));
    all
}

fn named_in(item: &Item<VirtualService>) -> Vec<(Destination, String)> {
    let spec = &item.spec;
    let http = spec.http.iter().flat_map(|h| {
        let routes = h.route.iter().filter_map(|r| r.destination.as_ref());
        let mirrors = h.mirrors.iter().filter_map(|m| m.destination.as_ref());
        routes.chain(mirrors).chain(&h.mirror)
    });
    let tls = spec.tls.iter().flat_map(|t| &t.route);
    let tcp = spec.tcp.iter().flat_map(|t| &t.route);
    let all = http.chain(tls.chain(tcp).filter_map(|r| r.destination.as_ref()));
    all.map(|d| (d.clone(), item.namespace().to_owned())).collect()
}

/// Whether the labels of the client decide which rules apply.
pub(crate) fn reads_labels(spec: &VirtualService) -> bool {
    spec.http.iter().flat_map(|h| &h.r#match).any(|m| !m.source_labels.is_empty())
        || spec.tls.iter().flat_map(|t| &t.r#match).any(|m| !m.source_labels.is_empty())
        || spec.tcp.iter().flat_map(|t| &t.r#match).any(|m| !m.source_labels.is_empty())
}
