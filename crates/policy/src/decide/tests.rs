use super::*;
use base::FixedEnv;
use ir::{
    Action, Destination, Forward, HeaderCondition, HeaderMatch, OriginId, PathMatch, RouteConfig,
    RouteMatch, StringMatch, WeightedCluster,
};
use wire::Request;

fn route(name: &str, path: PathMatch, to: Destination) -> ir::Route {
    ir::Route {
        name: name.into(),
        matches: RouteMatch::path(path),
        action: Action::Forward(Box::new(Forward::to(to))),
        headers: Default::default(),
        decorator: "".into(),
        per_filter: Vec::new(),
        metadata: Default::default(),
        stat_prefix: "".into(),
        origin: OriginId::NONE,
    }
}

fn host(name: &str, domains: &[&str], routes: Vec<ir::Route>) -> ir::VirtualHost {
    ir::VirtualHost {
        name: name.into(),
        domains: domains.iter().map(|d| (*d).into()).collect(),
        routes,
        ..Default::default()
    }
}

fn one(name: &str) -> Vec<ir::Route> {
    vec![route(name, PathMatch::Prefix("/".into()), Destination::Cluster(name.into()))]
}

fn table(virtual_hosts: Vec<ir::VirtualHost>, ignore_port: bool) -> RouteTable {
    let config = RouteConfig {
        virtual_hosts: virtual_hosts.into_iter().map(Into::into).collect(),
        ignore_port_in_host_matching: ignore_port,
        ..Default::default()
    };
    let table = RouteTable::new(&config);
    assert_eq!(table.findings, []);
    table
}

fn taken<'t>(table: &'t RouteTable, request: &Request) -> Option<&'t str> {
    match table.decide(request, &ir::Metadata::new(), &FixedEnv::seeded(1), &mut NoTrace) {
        Decision::Forward(f) => Some(&f.route.name),
        _ => None,
    }
}

#[test]
fn the_most_specific_host_wins() {
    let hosts = || {
        vec![
            host("any", &["*"], one("any")),
            host("exact", &["a.example.com", "b:8080"], one("exact")),
            host("suffix", &["*.example.com"], one("suffix")),
            host("longer", &["*.x.example.com"], one("longer")),
            host("prefix", &["a.*", "svc.ns.*"], one("prefix")),
        ]
    };
    let rows = [
        ("a.example.com", "exact"),
        ("A.Example.COM", "exact"),
        ("a.example.com:80", "prefix"),
        ("c.example.com", "suffix"),
        ("c.x.example.com", "longer"),
        (".example.com", "any"),
        ("a.other", "prefix"),
        ("svc.ns.svc", "prefix"),
        ("b:8080", "exact"),
        ("b", "any"),
        ("", "any"),
    ];
    let strict = table(hosts(), false);
    for (authority, expected) in rows {
        let request = Request::new(b"GET", authority.as_bytes(), b"/");
        assert_eq!(taken(&strict, &request), Some(expected), "{authority}");
    }
    let portless = table(hosts(), true);
    let request = Request::new(b"GET", b"a.example.com:80", b"/");
    assert_eq!(taken(&portless, &request), Some("exact"));
}

#[test]
fn the_first_route_whose_conditions_all_hold_is_taken() {
    let to = || Destination::Cluster("c".into());
    let mut jason = route("jason", PathMatch::Prefix("/".into()), to());
    jason.matches.headers.push(HeaderMatch {
        name: "end-user".into(),
        condition: HeaderCondition::Value(StringMatch::exact("jason")),
        invert: false,
        missing_as_empty: false,
    });
    let mut query = route("query", PathMatch::Prefix("/q".into()), to());
    query.matches.query.push(ir::QueryMatch { name: "v".into(), value: None });
    let mut grpc = route("grpc", PathMatch::Prefix("/".into()), to());
    grpc.matches.grpc = true;
    let mut folded = route("folded", PathMatch::Exact("/FOLD".into()), to());
    folded.matches.ignore_case = true;
    let routes = vec![
        jason,
        query,
        grpc,
        folded,
        route("exact", PathMatch::Exact("/e".into()), to()),
        route("separated", PathMatch::PathSeparatedPrefix("/s".into()), to()),
        route("regex", PathMatch::Regex("/r[0-9]+".into()), to()),
        route("connect", PathMatch::Connect, to()),
    ];
    let table = table(vec![host("h", &["*"], routes)], false);
    let rows: [(&str, &str, Option<(&str, &str)>, Option<&str>); 14] = [
        ("GET", "/x", Some(("end-user", "jason")), Some("jason")),
        ("GET", "/x", Some(("end-user", "jasonx")), None),
        ("GET", "/q?v", None, Some("query")),
        ("GET", "/q?w", None, None),
        ("POST", "/x", Some(("content-type", "application/grpc+proto")), Some("grpc")),
        ("POST", "/x", Some(("content-type", "application/grpc-web")), None),
        ("GET", "/e?z=1", None, Some("exact")),
        ("GET", "/e/", None, None),
        ("GET", "/s/a", None, Some("separated")),
        ("GET", "/sa", None, None),
        ("GET", "/r12?x", None, Some("regex")),
        ("GET", "/r12x", None, None),
        ("GET", "/fold", None, Some("folded")),
        ("CONNECT", "", None, Some("connect")),
    ];
    for (method, path, header, expected) in rows {
        let mut request = Request::new(method.as_bytes(), b"h", path.as_bytes());
        if let Some((name, value)) = header {
            request.fields.push(name.as_bytes(), value.as_bytes());
        }
        assert_eq!(taken(&table, &request), expected, "{method} {path} {header:?}");
    }
}

fn part(name: &str, weight: u32) -> WeightedCluster {
    WeightedCluster {
        name: name.into(),
        weight,
        headers: Default::default(),
        host_rewrite: "".into(),
        metadata_match: Default::default(),
        per_filter: Vec::new(),
        origin: OriginId::NONE,
    }
}

#[test]
fn the_host_of_a_weighted_cluster_hides_what_it_was() {
    let rewritten = WeightedCluster { host_rewrite: "new".into(), ..part("v1", 1) };
    let to = Destination::Weighted(vec![rewritten]);
    let routes = vec![route("r", PathMatch::Prefix("/".into()), to)];
    let table = table(vec![host("any", &["*"], routes)], false);
    let mut request = Request::new(b"GET", b"old", b"/");
    let decision =
        table.decide(&request.clone(), &ir::Metadata::new(), &FixedEnv::seeded(1), &mut NoTrace);
    let Decision::Forward(forwarding) = decision else { panic!("{decision:?}") };
    forwarding.rewrite(&mut request, &Stream::default(), true);
    assert_eq!(wire::RequestHead::authority(&request), b"new");
    assert_eq!(wire::Head::get(&request, b"x-envoy-original-host"), None);
}

#[test]
fn what_filters_have_said_chooses() {
    let value = ir::ValueMatch::Text(ir::StringMatch::exact("b"));
    let (filter, path) = (ir::Str::from("claims"), vec![ir::Str::from("group")]);
    let mut claimed =
        route("claimed", PathMatch::Prefix("/".into()), Destination::Cluster("b".into()));
    claimed.matches.metadata =
        vec![ir::MetadataMatch { filter: filter.clone(), path, value, invert: false }];
    let other = route("other", PathMatch::Prefix("/".into()), Destination::Cluster("a".into()));
    let table = table(vec![host("any", &["*"], vec![claimed, other])], false);
    let request = Request::new(b"GET", b"h", b"/");
    for (group, expected) in [(None, "other"), (Some("a"), "other"), (Some("b"), "claimed")] {
        let mut said = ir::Metadata::new();
        if let Some(group) = group {
            let fields = [("group".into(), ir::Value::String(group.into()))].into();
            crate::metadata::add(&mut said, &filter, fields);
        }
        match table.decide(&request, &said, &FixedEnv::seeded(1), &mut NoTrace) {
            Decision::Forward(f) => assert_eq!(&*f.route.name, expected, "{group:?}"),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn weights_are_kept() {
    let to = |parts| vec![route("r", PathMatch::Prefix("/".into()), Destination::Weighted(parts))];
    let split = vec![part("v1", 50), part("never", 0), part("v3", 50)];
    let hosts = vec![
        host("split", &["split"], to(split)),
        host("zero", &["zero"], to(vec![part("v1", 0)])),
    ];
    let table = table(hosts, false);
    let env = FixedEnv::seeded(9);
    let mut counts = [0u32; 3];
    let request = Request::new(b"GET", b"split", b"/");
    for _ in 0..4000 {
        match table.decide(&request, &ir::Metadata::new(), &env, &mut NoTrace) {
            Decision::Forward(Forwarding { to: Target::Cluster(n), .. }) => counts[n as usize] += 1,
            other => panic!("{other:?}"),
        }
    }
    assert!((1840..2160).contains(&counts[0]) && counts[1] == 0, "{counts:?}");
    let request = Request::new(b"GET", b"zero", b"/");
    let Decision::Forward(f) = table.decide(&request, &ir::Metadata::new(), &env, &mut NoTrace)
    else {
        panic!()
    };
    assert_eq!(f.to, Target::Nowhere);
}

#[test]
fn a_host_that_wants_tls_redirects() {
    let mut secure = host("h", &["*"], one("c"));
    secure.require_tls = RequireTls::All;
    let table = table(vec![secure], false);
    let mut request = Request::new(b"GET", b"a:80", b"/p?q");
    let Decision::Redirect(r) =
        table.decide(&request, &ir::Metadata::new(), &FixedEnv::default(), &mut NoTrace)
    else {
        panic!()
    };
    assert_eq!((r.status(), r.location(&request).as_slice()), (301, &b"https://a/p?q"[..]));
    request.fields.push(b"x-forwarded-proto", b"https");
    assert_eq!(taken(&table, &request), Some("c"));
}

#[test]
fn patterns_that_cannot_be_compiled_are_reported_and_match_nothing() {
    let bad = vec![
        route("bad", PathMatch::Regex("(".into()), Destination::Cluster("c".into())),
        route("good", PathMatch::Prefix("/".into()), Destination::Cluster("c".into())),
    ];
    let config = RouteConfig {
        virtual_hosts: vec![host("h", &["*", "*"], bad).into()],
        ..Default::default()
    };
    let table = RouteTable::new(&config);
    let paths: Vec<_> = table.findings.iter().map(|f| f.path.as_str()).collect();
    assert_eq!(paths, ["virtual_hosts[0].domains", "virtual_hosts[0].routes[0].match"]);
    assert_eq!(taken(&table, &Request::new(b"GET", b"h", b"/")), Some("good"));
}
