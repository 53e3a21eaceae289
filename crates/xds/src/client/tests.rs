//! What a client asks, answers and runs.

mod both_ends;

use super::*;
use ir::{
    Action, Cluster, Destination, Discovery, Endpoints, Forward, HttpManager, Listener, PathMatch,
    Resource, Route, RouteConfig, RouteMatch, RouteSource, VirtualHost,
};
use std::sync::Arc;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(5);

pub(super) fn cluster(name: &str) -> Resource {
    Resource::Cluster(Arc::new(Cluster::new(name, Discovery::Eds("".into()))))
}

pub(super) fn endpoints(name: &str, weight: u32) -> Resource {
    let group = ir::EndpointGroup { weight: Some(weight), ..Default::default() };
    let groups = vec![group];
    Resource::Endpoints(Arc::new(Endpoints { cluster: name.into(), groups, ..Default::default() }))
}

pub(super) fn route(name: &str, clusters: &[&str]) -> Resource {
    let to = |c: &&str| Route {
        name: "".into(),
        matches: RouteMatch::path(PathMatch::Prefix(format!("/{c}").as_str().into())),
        action: Action::Forward(Box::new(Forward::to(Destination::Cluster((*c).into())))),
        headers: Default::default(),
        decorator: "".into(),
        per_filter: Vec::new(),
        metadata: Default::default(),
        stat_prefix: "".into(),
        origin: ir::OriginId::NONE,
    };
    let host = VirtualHost {
        domains: vec!["*".into()],
        routes: clusters.iter().map(to).collect(),
        ..Default::default()
    };
    Resource::Route(Arc::new(RouteConfig {
        name: name.into(),
        virtual_hosts: vec![host.into()],
        ..Default::default()
    }))
}

pub(super) fn listener(name: &str, route: &str) -> Resource {
    let manager = HttpManager::new("in", RouteSource::Rds(route.into()));
    let chain = ir::FilterChain::new(ir::Terminal::Http(Box::new(manager)));
    let address = ir::Address::Pipe("/l".into());
    Resource::Listener(Arc::new(Listener { chains: vec![chain], ..Listener::new(name, address) }))
}

fn session() -> Session {
    let node = Node { id: "me".into(), ..Node::default() };
    Session::new(Dialect::Delta, &node, Assembler::new(&Config::default(), PATIENCE))
}

fn response(kind: Kind, set: &[Resource], removed: &[&str]) -> pb::DeltaDiscoveryResponse {
    let resource = |r: &Resource| pb::Resource {
        version: "v1".to_owned(),
        resource: Some(pb::Any { type_url: type_url_of(kind), value: codec::encode(r) }),
        name: r.key().name.to_string(),
    };
    pb::DeltaDiscoveryResponse {
        type_url: type_url_of(kind),
        nonce: "n".to_owned(),
        resources: set.iter().map(resource).collect(),
        removed_resources: removed.iter().map(|s| s.to_string()).collect(),
        ..Default::default()
    }
}

fn at(seconds: u64) -> Instant {
    Instant::default().after(Duration::from_secs(seconds))
}

/// What is sent, as text: `Endpoints +a -b`, `Cluster ok`, `Cluster no: why`.
fn said(out: &[Outgoing]) -> Vec<String> {
    out.iter()
        .map(|o| {
            let Outgoing::Delta(r) = o else { panic!("not delta") };
            let mut text = format!("{:?}", kind_of(&r.type_url).unwrap());
            r.resource_names_subscribe.iter().for_each(|n| text += &format!(" +{n}"));
            r.resource_names_unsubscribe.iter().for_each(|n| text += &format!(" -{n}"));
            match (&r.error_detail, r.response_nonce.is_empty()) {
                (Some(error), _) => text += &format!(" no: {}", error.message),
                (None, false) => text += " ok",
                _ => {}
            }
            text
        })
        .collect()
}

/// Feeds responses at second 0; gives the last configuration.
fn feed(s: &mut Session, responses: &[pb::DeltaDiscoveryResponse]) -> Option<Config> {
    for r in responses {
        s.receive_delta(r.clone(), at(0));
    }
    s.take_config()
}

/// The names in a configuration, as text.
fn names(config: &Config) -> String {
    let mut all: Vec<String> = Vec::new();
    all.extend(config.listeners.iter().map(|l| format!("L:{}", l.name)));
    all.extend(config.routes.iter().map(|r| format!("R:{}", r.name)));
    all.extend(config.clusters.iter().map(|c| format!("C:{}", c.name)));
    all.extend(config.endpoints.iter().map(|e| format!("E:{}", e.cluster)));
    all.join(" ")
}

/// Where the one route of a configuration goes.
fn goes_to(config: &Config) -> Vec<Str> {
    let to = |r: &Route| match &r.action {
        Action::Forward(f) => match &f.to {
            Destination::Cluster(c) => c.clone(),
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    };
    config.routes[0].virtual_hosts[0].routes.iter().map(to).collect()
}

#[test]
fn a_client_asks_for_what_it_hears_of_and_answers_last() {
    let mut s = session();
    let hello = s.connect();
    assert_eq!(said(&hello), ["Cluster", "Listener"]);
    let Outgoing::Delta(first) = &hello[0] else { panic!() };
    assert_eq!(first.node.as_ref().unwrap().id, "me");
    let Outgoing::Delta(second) = &hello[1] else { panic!() };
    assert_eq!(second.node, None, "the node goes once");
    let out = s.receive_delta(response(Kind::Cluster, &[cluster("a")], &[]), at(0));
    assert_eq!(said(&out), ["Endpoints +a", "Cluster ok"]);
    let out = s.receive_delta(response(Kind::Listener, &[listener("l", "r")], &[]), at(0));
    assert_eq!(said(&out), ["Route +r", "Listener ok"]);
    assert!(!s.is_complete());
    s.receive_delta(response(Kind::Endpoints, &[endpoints("a", 1)], &[]), at(0));
    s.receive_delta(response(Kind::Route, &[route("r", &["a"])], &[]), at(0));
    assert!(s.is_complete());
    assert_eq!(names(&s.take_config().unwrap()), "L:l R:r C:a E:a");
    assert_eq!(s.take_config(), None, "nothing changed since");
}

fn running() -> Session {
    let mut s = session();
    s.connect();
    let config = feed(
        &mut s,
        &[
            response(Kind::Cluster, &[cluster("a")], &[]),
            response(Kind::Listener, &[listener("l", "r")], &[]),
            response(Kind::Endpoints, &[endpoints("a", 1)], &[]),
            response(Kind::Route, &[route("r", &["a"])], &[]),
        ],
    );
    assert_eq!(goes_to(&config.unwrap()), ["a".into()]);
    s
}

#[test]
fn a_route_that_comes_before_its_cluster_waits_for_it() {
    let mut s = running();
    assert_eq!(feed(&mut s, &[response(Kind::Route, &[route("r", &["b"])], &[])]), None);
    assert_eq!(feed(&mut s, &[response(Kind::Cluster, &[cluster("b")], &[])]), None);
    assert_eq!(s.missing().len(), 1, "endpoints of b");
    let config = feed(&mut s, &[response(Kind::Endpoints, &[endpoints("b", 1)], &[])]).unwrap();
    assert_eq!(goes_to(&config), ["b".into()]);
    assert_eq!(s.missing(), []);
}

#[test]
fn a_cluster_that_is_taken_away_first_stays_while_its_route_runs() {
    let mut s = running();
    let removed = response(Kind::Cluster, &[cluster("b")], &["a"]);
    let no_endpoints = response(Kind::Endpoints, &[endpoints("b", 1)], &["a"]);
    let config = feed(&mut s, &[removed, no_endpoints]).unwrap();
    assert_eq!(names(&config), "L:l R:r C:a C:b E:a E:b");
    let config = feed(&mut s, &[response(Kind::Route, &[route("r", &["b"])], &[])]).unwrap();
    assert_eq!(names(&config), "L:l R:r C:b E:b");
}

#[test]
fn waiting_and_keeping_end() {
    let mut s = running();
    feed(&mut s, &[response(Kind::Route, &[route("r", &["nowhere"])], &[])]);
    assert_eq!(s.deadline(), Some(at(1)), "a cluster should have come before its route");
    assert_eq!(s.take_config(), None);
    s.tick(at(1));
    assert_eq!(goes_to(&s.take_config().unwrap()), ["nowhere".into()]);
    assert_eq!(s.deadline(), None);
    let missing = Missing {
        user: ResourceKey::new(Kind::Route, "r"),
        needs: ResourceKey::new(Kind::Cluster, "nowhere"),
    };
    assert_eq!(s.missing(), [missing]);
    // Known to be missing: the next change of the route does not wait for it again.
    s.receive_delta(response(Kind::Route, &[route("r", &["nowhere", "a"])], &[]), at(6));
    assert_eq!(goes_to(&s.take_config().unwrap()).len(), 2);

    let mut s = running();
    s.receive_delta(response(Kind::Listener, &[listener("m", "q")], &[]), at(0));
    assert_eq!(s.deadline(), Some(at(5)), "a route was asked for, and takes its time");
    s.tick(at(4));
    assert_eq!(s.take_config(), None);
    s.tick(at(5));
    assert_eq!(names(&s.take_config().unwrap()), "L:l L:m R:r C:a E:a");

    let mut s = running();
    s.receive_delta(response(Kind::Cluster, &[], &["a"]), at(10));
    assert_eq!(s.take_config(), None, "kept");
    s.tick(at(14));
    assert_eq!(s.take_config(), None, "kept");
    s.tick(at(15));
    assert_eq!(names(&s.take_config().unwrap()), "L:l R:r");
}

#[test]
fn a_bad_resource_is_refused_with_its_reason_and_the_good_ones_count() {
    let mut s = session();
    s.connect();
    let mut bad = response(Kind::Cluster, &[cluster("good"), cluster("bad")], &[]);
    // Field 42, lrs_server, empty.
    let any = bad.resources[1].resource.as_mut().unwrap();
    any.value = [any.value.as_ref(), b"\xd2\x02\x00"].concat().into();
    let out = s.receive_delta(bad, at(0));
    let log = said(&out);
    assert_eq!(log[0], "Endpoints +good");
    assert!(
        log[1].starts_with("Cluster no: Cluster \"bad\": lrs_server: is not supported"),
        "{log:?}"
    );
    let config = feed(&mut s, &[response(Kind::Endpoints, &[endpoints("good", 1)], &[])]).unwrap();
    assert_eq!(names(&config), "C:good E:good");
    assert_eq!(s.take_findings().len(), 1);
}

#[test]
fn a_resource_under_another_name_or_type_is_refused() {
    let mut s = session();
    s.connect();
    let mut r = response(Kind::Cluster, &[cluster("a")], &[]);
    r.resources[0].name = "b".to_owned();
    assert!(said(&s.receive_delta(r, at(0))).last().unwrap().contains("calls itself \"a\""));
    let mut r = response(Kind::Cluster, &[cluster("a")], &[]);
    r.resources[0].resource.as_mut().unwrap().type_url = type_url_of(Kind::Route);
    assert!(said(&s.receive_delta(r, at(0))).last().unwrap().contains("is of type"));
}

#[test]
fn a_new_stream_takes_up_where_the_last_one_ended() {
    let mut s = running();
    let hello = s.connect();
    let holds: Vec<_> = hello
        .iter()
        .map(|o| {
            let Outgoing::Delta(r) = o else { panic!() };
            let mut names: Vec<_> = r.initial_resource_versions.keys().cloned().collect();
            names.extend(r.resource_names_subscribe.clone());
            (kind_of(&r.type_url).unwrap(), names.join(" "))
        })
        .collect();
    assert_eq!(
        holds,
        [
            (Kind::Cluster, "a".to_owned()),
            (Kind::Listener, "l".to_owned()),
            (Kind::Endpoints, "a a".to_owned()),
            (Kind::Route, "r r".to_owned()),
        ]
    );
    assert_eq!(s.take_config(), None, "a broken stream changes nothing");
}

#[test]
fn the_same_resource_told_again_disturbs_nothing() {
    let mut s = running();
    assert_eq!(feed(&mut s, &[response(Kind::Route, &[route("r", &["a"])], &[])]), None);
}

#[test]
fn what_the_bootstrap_holds_stays() {
    let fixed = Config {
        clusters: vec![Arc::new(Cluster::new("xds-grpc", Discovery::Static(Vec::new())))],
        ..Default::default()
    };
    let mut s = Session::new(Dialect::Delta, &Node::default(), Assembler::new(&fixed, PATIENCE));
    s.connect();
    let config = feed(&mut s, &[response(Kind::Cluster, &[], &["xds-grpc"])]).unwrap();
    assert_eq!(names(&config), "C:xds-grpc");
}
