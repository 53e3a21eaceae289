//! What becomes of a sidecar's configuration; that gRPC's own clients and servers do with it what they should is
//! tested in `control`.

use super::*;
use ir::{
    Action, Address, AuthzService, CertificateSource, ChainMatch, Destination, Discovery, Endpoint,
    EndpointGroup, ExtAuthz, FilterChain, Forward, GrpcAuthz, HttpFilter, HttpFilterConfig,
    HttpManager, Listener, PathMatch, QueryMatch, Route, RouteConfig, RouteMatch, RouteSource,
    SecretRef, Terminal, TlsCommon, UpstreamTls, Validation,
};
use proto::envoy::envoy::config::endpoint::v3::ClusterLoadAssignment;
use proto::envoy::envoy::config::listener::v3::Listener as PbListener;
use proto::envoy::envoy::config::listener::v3::filter::ConfigType::TypedConfig;
use proto::envoy::envoy::config::route::v3::RouteConfiguration;
use proto::envoy::envoy::extensions::filters::http::rbac::v3::Rbac as PbRbac;
use proto::envoy::envoy::extensions::filters::network::http_connection_manager::v3 as hcm;
use serde_json::Value;
use std::sync::Arc;

const CLUSTER: &str = "outbound|80||a.x.svc";

fn key(kind: Kind, name: &str) -> ResourceKey {
    ResourceKey::new(kind, name)
}

fn one(config: &Config, kind: Kind, name: &str) -> Option<Encoded> {
    let key = key(kind, name);
    resources(config, [&key].into_iter()).get(&key).cloned()
}

fn host(name: &str, domains: &[&str], routes: Vec<Route>) -> Arc<VirtualHost> {
    let domains = domains.iter().map(|d| (*d).into()).collect();
    Arc::new(VirtualHost { name: name.into(), domains, routes, ..VirtualHost::default() })
}

fn routes(hosts: Vec<Arc<VirtualHost>>) -> Config {
    let table = RouteConfig { virtual_hosts: hosts, ..RouteConfig::default() };
    Config { routes: vec![Arc::new(table)], ..Config::default() }
}

fn route(matches: RouteMatch) -> Route {
    Route {
        name: "".into(),
        matches,
        action: Action::Forward(Box::new(Forward::to(Destination::Cluster(CLUSTER.into())))),
        headers: Default::default(),
        decorator: "".into(),
        per_filter: vec![("other".into(), HttpFilterConfig::GrpcWeb)],
        metadata: Default::default(),
        stat_prefix: "".into(),
        origin: base::OriginId::NONE,
    }
}

fn cluster(discovery: Discovery, tls: Option<UpstreamTls>) -> Config {
    let cluster = Cluster { tls, ..Cluster::new(CLUSTER, discovery) };
    Config { clusters: vec![Arc::new(cluster)], ..Config::default() }
}

#[test]
fn a_host_is_found_by_any_of_its_names_and_nothing_else_is() {
    let mut config = routes(vec![host("a.x.svc:80", &["a.x.svc", "a.x"], Vec::new())]);
    config.routes.extend(routes(vec![host("a.x.svc:81", &["a.x.svc", "a.x"], Vec::new())]).routes);
    config.routes.extend(routes(vec![host("b.x.svc:90", &["*"], Vec::new())]).routes);
    for (name, leads_to) in [
        ("a.x.svc:80", Some("outbound|80||a.x.svc")),
        ("A.X:81", Some("outbound|81||a.x.svc")),
        ("a.x", Some("outbound|80||a.x.svc")),
        ("b.x.svc", Some("outbound|90||b.x.svc")),
        ("b.x.svc:90", Some("outbound|90||b.x.svc")),
        ("a.x.svc:82", None),
        ("c.x.svc:90", None),
        ("a.x.svc:no", None),
        ("xds.istio.io/grpc/lds/inbound/nonsense", None),
    ] {
        let found = one(&config, Kind::Listener, name);
        let needs = found.map(|e| e.needs.iter().cloned().collect::<Vec<_>>());
        assert_eq!(needs, leads_to.map(|route| vec![key(Kind::Route, route)]), "{name}");
    }
    assert!(one(&config, Kind::Route, "outbound|81||a.x.svc").is_some());
    // Under other spellings of the name the same routes would be held as often as somebody likes to ask.
    for copy in ["outbound|81||A.x.svc", "outbound|81||a.x", "outbound|081||a.x.svc"] {
        assert_eq!(one(&config, Kind::Route, copy), None, "{copy}");
    }
    for absent in ["outbound|82||a.x.svc", "81", "inbound|81||"] {
        assert_eq!(one(&config, Kind::Route, absent), None, "{absent}");
    }
}

#[test]
fn routes_hold_only_what_grpc_takes() {
    let query = QueryMatch { name: "q".into(), value: None };
    let by_query =
        RouteMatch { query: vec![query], ..RouteMatch::path(PathMatch::Prefix("/".into())) };
    let below = RouteMatch::path(PathMatch::PathSeparatedPrefix("/a.b".into()));
    let connect = RouteMatch::path(PathMatch::Connect);
    let all = [by_query, below, connect].map(route).to_vec();
    let config = routes(vec![host("a.x.svc:80", &["a.x.svc"], all)]);
    let encoded = one(&config, Kind::Route, CLUSTER).unwrap();
    assert_eq!(encoded.needs.iter().collect::<Vec<_>>(), [&key(Kind::Cluster, CLUSTER)]);
    let read = RouteConfiguration::decode(encoded.bytes).unwrap();
    assert_eq!(read.virtual_hosts[0].domains, ["*"]);
    let [only] = &read.virtual_hosts[0].routes[..] else { panic!("{read:?}") };
    let json = crate::to_json("envoy.config.route.v3.Route", &only.encode_to_vec()).unwrap();
    assert_eq!(json["match"]["safe_regex"]["regex"], "\\/a\\.b(/.*)?");
    assert_eq!(json["typed_per_filter_config"], Value::Null);
}

#[test]
fn encryption_that_grpc_cannot_do_takes_the_cluster_away() {
    let tls = |certificate: &str| {
        let certificates = vec![CertificateSource::Sds(SecretRef::of_agent(certificate))];
        let validation = Some(Validation::default());
        let common = TlsCommon { certificates, validation, ..TlsCommon::default() };
        UpstreamTls { common, ..UpstreamTls::default() }
    };
    let simple = UpstreamTls::default();
    for (tls, is_there) in [
        (None, true),
        (Some(tls("default")), true),
        (Some(tls("file-cert:a~b")), false),
        (Some(simple), false),
    ] {
        let config = cluster(Discovery::Eds("".into()), tls);
        assert_eq!(one(&config, Kind::Cluster, CLUSTER).is_some(), is_there, "{config:?}");
    }
    let original = cluster(Discovery::OriginalDst, None);
    assert_eq!(one(&original, Kind::Cluster, CLUSTER), None);
}

#[test]
fn localities_have_the_weight_that_grpc_asks_for() {
    let at = |port: u16| Endpoint::at(Address::Ip(([10, 0, 0, 1], port).into()));
    let named = Endpoint::at(Address::Name("a".into(), 1));
    let heavy = Endpoint { weight: Some(3), ..at(2) };
    let group = EndpointGroup { endpoints: vec![at(1), heavy, named], ..Default::default() };
    let mut config = cluster(Discovery::Eds("service".into()), None);
    let groups = vec![EndpointGroup::default(), group];
    let endpoints = Endpoints { cluster: "service".into(), groups, ..Endpoints::default() };
    config.endpoints = vec![Arc::new(endpoints)];
    let encoded = one(&config, Kind::Endpoints, CLUSTER).unwrap();
    let read = ClusterLoadAssignment::decode(encoded.bytes).unwrap();
    assert_eq!((&*read.cluster_name, read.endpoints.len()), (CLUSTER, 1));
    assert_eq!(read.endpoints[0].lb_endpoints.len(), 2, "a name is no address");
    assert_eq!(read.endpoints[0].load_balancing_weight.as_ref().unwrap().value, 4);
}

/// A port that is served in plaintext, or by mutual TLS.
fn inbound(port: u16, tls: bool, filters: Vec<HttpFilterConfig>) -> FilterChain {
    let filter = |config| HttpFilter {
        name: "".into(),
        config,
        disabled: false,
        origin: base::OriginId::NONE,
    };
    let mut manager = HttpManager::new("", RouteSource::Inline(Arc::default()));
    manager.filters = filters.into_iter().map(filter).collect();
    FilterChain {
        matches: ChainMatch { destination_port: Some(port), ..ChainMatch::default() },
        tls: tls.then(Default::default),
        ..FilterChain::new(Terminal::Http(Box::new(manager)))
    }
}

fn server(chains: Vec<FilterChain>) -> Config {
    let at = Address::Ip(([0, 0, 0, 0], 15006).into());
    let listener = Listener {
        chains,
        direction: ir::Direction::Inbound,
        ..Listener::new("virtualInbound", at)
    };
    Config { listeners: vec![Arc::new(listener)], ..Config::default() }
}

/// Whether mutual TLS is asked for, and the rules for requests.
fn served(config: &Config, address: &str) -> Option<(bool, Vec<PbRbac>)> {
    let name = format!("{}{address}", listener::INBOUND);
    let listener = PbListener::decode(one(config, Kind::Listener, &name)?.bytes).unwrap();
    let [chain] = &listener.filter_chains[..] else { panic!("{listener:?}") };
    let Some(TypedConfig(manager)) = &chain.filters[0].config_type else { panic!("{chain:?}") };
    let manager = hcm::HttpConnectionManager::decode(&*manager.value).unwrap();
    let rules = manager.http_filters.iter().filter_map(|f| match &f.config_type {
        Some(hcm::http_filter::ConfigType::TypedConfig(c)) if c.type_url.ends_with(".RBAC") => {
            Some(PbRbac::decode(&*c.value).unwrap())
        }
        _ => None,
    });
    Some((chain.transport_socket.is_some(), rules.collect()))
}

#[test]
fn a_server_is_told_the_way_that_its_port_admits() {
    let both = vec![inbound(80, true, Vec::new()), inbound(80, false, Vec::new())];
    let config = server([both, vec![inbound(81, true, Vec::new())]].concat());
    for (address, tls) in
        [("0.0.0.0:80", Some(false)), ("[::]:81", Some(true)), ("0.0.0.0:82", None)]
    {
        assert_eq!(served(&config, address).map(|s| s.0), tls, "{address}");
    }
}

fn rbac(action: ir::RbacAction, principal: ir::Principal) -> HttpFilterConfig {
    let policy =
        ir::RbacPolicy { permissions: vec![ir::Permission::Any], principals: vec![principal] };
    let rules = ir::RbacRules { action, policies: [("p".into(), policy)].into() };
    HttpFilterConfig::Rbac(Box::new(ir::Rbac { rules: Some(rules), ..ir::Rbac::default() }))
}

/// Nobody has a name at a port that is served in plaintext: a rule that keeps somebody out by name would keep
/// nobody out there.
#[test]
fn denial_by_name_closes_a_port_without_names() {
    let name = ir::StringMatch::exact("spiffe://cluster.local/ns/x/sa/a");
    let somebody = ir::Principal::Authenticated(Some(name));
    let others = ir::Principal::Not(Box::new(somebody.clone()));
    let anybody = ir::Principal::Any;
    use ir::RbacAction::{Allow, Deny};
    for (action, principal, tls, kept) in [
        (Deny, &somebody, false, false),
        (Deny, &others, false, false),
        (Deny, &somebody, true, true),
        (Deny, &anybody, false, true),
        (Allow, &somebody, false, true),
    ] {
        let config = server(vec![inbound(80, tls, vec![rbac(action, principal.clone())])]);
        let (_, rules) = served(&config, "0.0.0.0:80").unwrap();
        let [rules] = &rules[..] else { panic!("{rules:?}") };
        let policies = rules.rules.clone().unwrap().policies;
        assert_eq!(policies.contains_key("p"), kept, "{action:?} {principal:?}, tls: {tls}");
    }
}

#[test]
fn what_grpc_cannot_judge_lets_nobody_in() {
    let service = GrpcAuthz { cluster: "asked".into(), timeout: None };
    let asks = ExtAuthz::asking(AuthzService::Grpc(service));
    let asks = HttpFilterConfig::ExtAuthz(Box::new(asks));
    let template = ir::RbacPolicy {
        permissions: vec![ir::Permission::Not(Box::new(ir::Permission::PathTemplate("/*".into())))],
        principals: vec![ir::Principal::Any],
    };
    let deny =
        ir::RbacRules { action: ir::RbacAction::Deny, policies: [("p".into(), template)].into() };
    let by_template = ir::Rbac { rules: Some(deny), ..ir::Rbac::default() };
    let by_template = HttpFilterConfig::Rbac(Box::new(by_template));
    for config in [asks, by_template] {
        let config = server(vec![inbound(80, true, vec![config])]);
        let (_, rules) = served(&config, "0.0.0.0:80").unwrap();
        let [rules] = &rules[..] else { panic!("{rules:?}") };
        let rules = rules.rules.clone().unwrap();
        assert!(rules.action == 0 && rules.policies.is_empty(), "an ALLOW of nothing: {rules:?}");
    }
}
