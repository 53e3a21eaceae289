//! What clients are told, and when.

mod simulation;

use super::*;
use crate::codec::{kind_of, type_url_of};
use proto::discovery as pb;

/// A resource that needs others, with a body that tells versions apart.
pub(super) fn encoded(version: u64, needs: &[ResourceKey]) -> Encoded {
    Encoded { version, bytes: version.to_string().into(), needs: needs.into() }
}

pub(super) fn key(kind: Kind, name: &str) -> ResourceKey {
    ResourceKey::new(kind, name)
}

fn cluster(name: &str) -> ResourceKey {
    key(Kind::Cluster, name)
}
fn route(name: &str) -> ResourceKey {
    key(Kind::Route, name)
}

/// Cluster `c` of EDS, and route `r` to the given clusters behind listener `l`.
fn world(clusters: &[(&str, u64)], route_version: u64, uses: &[&str]) -> Arc<Desired> {
    let mut desired = Desired::new();
    for (name, version) in clusters {
        let endpoints = key(Kind::Endpoints, name);
        desired.insert(cluster(name), encoded(*version, std::slice::from_ref(&endpoints)));
        desired.insert(endpoints, encoded(1, &[]));
    }
    let needs: Vec<_> = uses.iter().map(|n| cluster(n)).collect();
    desired.insert(route("r"), encoded(route_version, &needs));
    desired.insert(key(Kind::Listener, "l"), encoded(1, &[route("r")]));
    Arc::new(desired)
}

fn ask(kind: Kind, subscribe: &[&str]) -> Request {
    Request::of_delta(pb::DeltaDiscoveryRequest {
        type_url: type_url_of(kind),
        resource_names_subscribe: subscribe.iter().map(|s| s.to_string()).collect(),
        ..Default::default()
    })
    .unwrap()
}

fn answer(push: &Push, error: Option<&str>) -> Request {
    Request {
        kind: push.kind,
        ack: Some(Ack { nonce: push.nonce.clone(), error: error.map(str::to_owned) }),
        subscription: Subscription::Delta {
            subscribe: Vec::new(),
            unsubscribe: Vec::new(),
            holds: HashMap::new(),
        },
    }
}

/// What a push says, as text: `Cluster +a +b -c`.
fn said(push: &Push) -> String {
    let mut text = format!("{:?}", push.kind);
    push.resources.iter().for_each(|(n, _)| text += &format!(" +{n}"));
    push.removed.iter().for_each(|n| text += &format!(" -{n}"));
    text
}

/// Everything that goes out while each push is accepted at once.
fn drain(session: &mut Session) -> Vec<String> {
    let mut log = Vec::new();
    while let Some(push) = session.poll() {
        log.push(said(&push));
        session.receive(answer(&push, None));
    }
    log
}

/// Adds to what the client is to hold, or replaces it.
fn put(session: &mut Session, key: ResourceKey, encoded: Encoded) {
    let mut desired = Desired::clone(&session.desired);
    desired.insert(key, encoded);
    session.set_desired(Arc::new(desired));
}

fn connected(desired: Arc<Desired>) -> Session {
    let mut session = Session::new(Dialect::Delta);
    session.set_desired(desired);
    for (kind, names) in [
        (Kind::Cluster, vec![]),
        (Kind::Endpoints, vec!["a", "b", "c"]),
        (Kind::Listener, vec![]),
        (Kind::Route, vec!["r"]),
    ] {
        session.receive(ask(kind, &names));
    }
    session
}

#[test]
fn a_first_configuration_comes_in_the_order_of_its_references() {
    let mut session = connected(world(&[("a", 1), ("b", 1)], 1, &["a"]));
    assert_eq!(
        drain(&mut session),
        ["Cluster +a +b", "Endpoints +a +b -c", "Listener +l", "Route +r"]
    );
    assert!(session.is_synced());
}

#[test]
fn a_route_moves_between_the_new_cluster_and_the_old_ones_removal() {
    let mut session = connected(world(&[("a", 1)], 1, &["a"]));
    drain(&mut session);
    session.set_desired(world(&[("b", 1)], 2, &["b"]));
    let add = session.poll().unwrap();
    assert_eq!(said(&add), "Cluster +b");
    let endpoints = session.poll().unwrap();
    assert_eq!(said(&endpoints), "Endpoints +b");
    assert_eq!(session.poll(), None, "nothing uses b before it is accepted");
    session.receive(answer(&add, None));
    assert_eq!(session.poll(), None, "nor before it has endpoints");
    session.receive(answer(&endpoints, None));
    let switch = session.poll().unwrap();
    assert_eq!(said(&switch), "Route +r");
    assert_eq!(session.poll(), None, "a may still be in use");
    session.receive(answer(&switch, None));
    assert_eq!(drain(&mut session), ["Cluster -a", "Endpoints -a"]);
}

#[test]
fn a_refused_cluster_keeps_its_route_back_and_the_old_one_in_place() {
    let mut session = connected(world(&[("a", 1)], 1, &["a"]));
    drain(&mut session);
    session.set_desired(world(&[("b", 1)], 2, &["b"]));
    let add = session.poll().unwrap();
    assert_eq!(add.resources.len(), 1);
    let event = session.receive(answer(&add, Some("no")));
    assert_eq!(event, Some(Event::Nacked(Kind::Cluster, "no".to_owned())));
    assert_eq!(drain(&mut session), ["Endpoints +b"]);
    assert_eq!(session.status(Kind::Cluster).refused, ["b".into()]);
    session.set_desired(world(&[("b", 2)], 2, &["b"]));
    assert_eq!(
        drain(&mut session),
        ["Cluster +b", "Endpoints +b", "Route +r", "Cluster -a", "Endpoints -a"]
    );
    assert_eq!(session.status(Kind::Cluster).error, None);
}

#[test]
fn a_refused_route_keeps_the_clusters_it_used() {
    let mut session = connected(world(&[("a", 1)], 1, &["a"]));
    drain(&mut session);
    session.set_desired(world(&[("b", 1)], 2, &["b"]));
    while let Some(push) = session.poll() {
        let error = (push.kind == Kind::Route).then_some("no");
        session.receive(answer(&push, error));
        assert!(push.removed.is_empty(), "{}", said(&push));
    }
}

#[test]
fn a_changed_cluster_is_followed_by_its_endpoints() {
    let mut session = connected(world(&[("a", 1)], 1, &["a"]));
    drain(&mut session);
    session.set_desired(world(&[("a", 2)], 1, &["a"]));
    assert_eq!(drain(&mut session), ["Cluster +a", "Endpoints +a"]);
}

#[test]
fn endpoints_alone_pass_by_everything_else() {
    let mut session = connected(world(&[("a", 1)], 1, &["a"]));
    drain(&mut session);
    put(&mut session, key(Kind::Endpoints, "a"), encoded(9, &[]));
    assert_eq!(drain(&mut session), ["Endpoints +a"]);
    put(&mut session, key(Kind::Endpoints, "x"), encoded(9, &[]));
    assert_eq!(drain(&mut session), [""; 0], "nobody asked for x");
}

#[test]
fn one_push_of_a_kind_is_under_way_at_a_time_and_stale_answers_are_told_apart() {
    let mut session = connected(world(&[("a", 1)], 1, &["a"]));
    let first = session.poll().unwrap();
    session.set_desired(world(&[("a", 2)], 1, &["a"]));
    assert!(session.poll().is_none_or(|p| p.kind != Kind::Cluster));
    let stale = Push { nonce: "999".to_owned(), ..first.clone() };
    assert_eq!(session.receive(answer(&stale, None)), Some(Event::Stale(Kind::Cluster)));
    assert_eq!(session.receive(answer(&first, None)), Some(Event::Acked(Kind::Cluster)));
    assert_eq!(said(&session.poll().unwrap()), "Cluster +a");
}

/// Listener `l` that names certificate `s`, which may be there.
fn with_secret(there: bool) -> Arc<Desired> {
    let secret = key(Kind::Secret, "s");
    let mut desired = Desired::new();
    desired.insert(key(Kind::Listener, "l"), encoded(1, std::slice::from_ref(&secret)));
    if there {
        desired.insert(secret, encoded(7, &[]));
    }
    Arc::new(desired)
}

#[test]
fn a_secret_that_is_named_and_not_there_is_said_to_be_absent() {
    let mut session = Session::new(Dialect::Delta);
    session.set_desired(with_secret(false));
    session.receive(ask(Kind::Listener, &[]));
    assert_eq!(drain(&mut session), ["Listener +l"]);
    session.receive(ask(Kind::Secret, &["s"]));
    assert_eq!(drain(&mut session), ["Secret -s"], "else its listener is waited for");
    session.set_desired(with_secret(true));
    assert_eq!(drain(&mut session), ["Secret +s"]);
    session.set_desired(with_secret(false));
    assert_eq!(drain(&mut session), ["Secret -s"], "who may not have it any more");
    session.set_desired(with_secret(true));
    assert_eq!(drain(&mut session), ["Secret +s"]);
    session.set_desired(Arc::default());
    assert_eq!(drain(&mut session), ["Listener -l", "Secret -s"], "not before its last user");
}

#[test]
fn what_is_not_there_is_said_once_and_sent_when_it_comes() {
    let mut session = connected(world(&[("a", 1)], 1, &["a"]));
    drain(&mut session);
    session.receive(ask(Kind::Route, &["later"]));
    assert_eq!(drain(&mut session), ["Route -later"]);
    put(&mut session, route("later"), encoded(1, &[]));
    assert_eq!(drain(&mut session), ["Route +later"]);
}

#[test]
fn asking_again_is_answered_again_and_unsubscribing_ends_it() {
    let mut session = connected(world(&[("a", 1)], 1, &["a"]));
    drain(&mut session);
    session.receive(ask(Kind::Endpoints, &["a"]));
    assert_eq!(drain(&mut session), ["Endpoints +a"]);
    let mut bye = ask(Kind::Endpoints, &[]);
    bye.subscription = Subscription::Delta {
        subscribe: Vec::new(),
        unsubscribe: vec!["a".into()],
        holds: HashMap::new(),
    };
    session.receive(bye);
    put(&mut session, key(Kind::Endpoints, "a"), encoded(5, &[]));
    assert_eq!(drain(&mut session), [""; 0]);
}

#[test]
fn a_client_that_comes_back_is_told_only_what_changed() {
    let mut session = Session::new(Dialect::Delta);
    session.set_desired(world(&[("a", 1), ("b", 2)], 1, &["a", "b"]));
    let resume = |kind: Kind, holds: &[(&str, u64)]| {
        Request::of_delta(pb::DeltaDiscoveryRequest {
            type_url: type_url_of(kind),
            resource_names_subscribe: match kind {
                Kind::Cluster | Kind::Listener => Vec::new(),
                _ => holds.iter().map(|(n, _)| n.to_string()).collect(),
            },
            initial_resource_versions: holds
                .iter()
                .map(|(n, v)| (n.to_string(), request::version_text(*v)))
                .collect(),
            ..Default::default()
        })
        .unwrap()
    };
    session.receive(resume(Kind::Cluster, &[("a", 1), ("b", 1), ("gone", 1)]));
    session.receive(resume(Kind::Endpoints, &[("a", 1), ("b", 1)]));
    assert_eq!(
        drain(&mut session),
        ["Cluster +b", "Endpoints +b"],
        "b changed; gone may be in use until the client says what it runs"
    );
    session.receive(resume(Kind::Listener, &[("l", 1)]));
    assert_eq!(drain(&mut session), ["Listener"]);
    session.receive(resume(Kind::Route, &[("r", 1)]));
    assert_eq!(drain(&mut session), ["Cluster -gone"]);
}

#[test]
fn the_state_of_the_world_is_whole_and_keeps_what_is_in_use() {
    let mut session = Session::new(Dialect::StateOfTheWorld);
    session.set_desired(world(&[("a", 1)], 1, &["a"]));
    let ask = |kind: Kind, names: &[&str], ack: Option<&Push>| {
        Request::of_whole(pb::DiscoveryRequest {
            type_url: type_url_of(kind),
            resource_names: names.iter().map(|s| s.to_string()).collect(),
            response_nonce: ack.map(|p| p.nonce.clone()).unwrap_or_default(),
            ..Default::default()
        })
        .unwrap()
    };
    let names = |kind| match kind {
        Kind::Endpoints => vec!["a", "b"],
        Kind::Route => vec!["r"],
        _ => vec![],
    };
    for kind in [Kind::Cluster, Kind::Endpoints, Kind::Listener, Kind::Route] {
        session.receive(ask(kind, &names(kind), None));
    }
    let drain = |session: &mut Session| {
        let mut log = Vec::new();
        while let Some(push) = session.poll() {
            log.push(said(&push));
            session.receive(ask(push.kind, &names(push.kind), Some(&push)));
        }
        log
    };
    let first = drain(&mut session);
    assert_eq!(first, ["Cluster +a", "Endpoints +a -b", "Listener +l", "Route +r"]);
    session.set_desired(world(&[("b", 1)], 2, &["b"]));
    assert_eq!(
        drain(&mut session),
        ["Cluster +a +b", "Endpoints +b", "Route +r", "Cluster +b -a", "Endpoints -a"],
        "a stays in the whole until the route has left it"
    );
}

#[test]
fn a_client_that_asks_for_clusters_by_name_gets_routes_at_once() {
    let mut session = Session::new(Dialect::Delta);
    session.set_desired(world(&[("a", 1), ("b", 1)], 1, &["a"]));
    session.receive(ask(Kind::Listener, &["l"]));
    session.receive(ask(Kind::Route, &["r"]));
    assert_eq!(drain(&mut session), ["Listener +l", "Route +r"]);
    session.receive(ask(Kind::Cluster, &["a"]));
    assert_eq!(drain(&mut session), ["Cluster +a"]);
}

#[test]
fn a_push_carries_shared_bytes_under_the_right_type() {
    let mut session = connected(world(&[("a", 7)], 1, &["a"]));
    let push = session.poll().unwrap();
    let delta = push.clone().into_delta();
    assert_eq!(kind_of(&delta.type_url), Some(Kind::Cluster));
    let resource = &delta.resources[0];
    assert_eq!((resource.name.as_str(), resource.version.as_str()), ("a", "0000000000000007"));
    let any = resource.resource.as_ref().unwrap();
    assert_eq!(any.value.as_ptr(), push.resources[0].1.bytes.as_ptr());
    let whole = push.into_whole();
    assert_eq!((whole.resources.len(), whole.nonce), (1, delta.nonce));
}

#[test]
fn a_cluster_that_is_being_taken_away_is_no_ground_for_a_route() {
    let mut session = connected(world(&[("a", 1), ("b", 1)], 1, &["a"]));
    drain(&mut session);
    session.set_desired(world(&[("a", 1)], 1, &["a"]));
    let removal = session.poll().unwrap();
    assert_eq!(said(&removal), "Cluster -b");
    session.set_desired(world(&[("a", 1), ("b", 1)], 2, &["b"]));
    assert_eq!(session.poll(), None);
    session.receive(answer(&removal, None));
    assert_eq!(drain(&mut session), ["Cluster +b", "Endpoints +b", "Route +r"]);
}

#[test]
fn one_bad_resource_among_many_is_found_and_the_others_arrive() {
    let clusters: Vec<String> = (0..20).map(|i| format!("c{i:02}")).collect();
    let named: Vec<(&str, u64)> = clusters.iter().map(|n| (n.as_str(), 1)).collect();
    let mut session = connected(world(&named, 1, &["c03"]));
    let mut pushes = 0;
    let mut route_arrived = false;
    while let Some(push) = session.poll() {
        pushes += 1;
        route_arrived |= push.kind == Kind::Route;
        let bad = push.resources.iter().any(|(n, _)| &**n == "c13");
        session.receive(answer(&push, bad.then_some("c13 is bad")));
    }
    assert!(route_arrived && pushes < 20, "{pushes}");
    assert_eq!(session.status(Kind::Cluster).refused, ["c13".into()]);
}

/// Whoever lies about what it holds and asks for is not remembered without end.
#[test]
fn what_a_client_says_takes_bounded_memory() {
    let mut session = connected(world(&[("a", 1)], 1, &["a"]));
    for round in 0..5 {
        let names = || (0..50_000).map(move |n| Str::from(format!("{round}-{n}")));
        session.receive(Request {
            kind: Kind::Endpoints,
            ack: None,
            subscription: Subscription::Delta {
                subscribe: names().collect(),
                unsubscribe: Vec::new(),
                holds: names().map(|name| (name, "1".to_owned())).collect(),
            },
        });
        while session.poll().is_some() {}
    }
    let watch = &session.watches[&Kind::Endpoints];
    assert!(watch.names().count() <= 100_000 && watch.told().count() <= 200_000);
}
