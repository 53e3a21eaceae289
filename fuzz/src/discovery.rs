//! xDS from both ends: what proxies ask of the control plane, and what a control plane, which need not be
//! ours, tells our proxy. The first byte chooses the dialect.

use base::Instant;
use ir::{Kind, Resource};
use prost::Message;
use proto::discovery::{
    Any, DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse,
    Resource as Wrapped,
};
use std::sync::{Arc, LazyLock};
use std::time::Duration;
use xds::client::{Assembler, CONFIGURATION_AND_NAMES};
use xds::server::{Desired, Dialect, Encoded, Request};

/// What there is to be had.
static RESOURCES: LazyLock<Vec<Resource>> = LazyLock::new(|| {
    let text = include_str!("../../crates/xds/tests/data/wide.yaml");
    let config = xds::bootstrap::read(text).expect("our own bootstrap").config;
    let clusters = config.clusters.into_iter().map(Resource::Cluster);
    let listeners = config.listeners.into_iter().map(Resource::Listener);
    let rest = config.routes.into_iter().map(Resource::Route);
    clusters.chain(listeners).chain(rest).collect()
});

/// As many requests as there are, each after its length in two bytes.
pub fn server(bytes: &[u8]) {
    let [dialect, rest @ ..] = bytes else { return };
    let whole = dialect % 2 == 0;
    let of = if whole { Dialect::StateOfTheWorld } else { Dialect::Delta };
    let mut session = xds::server::Session::new(of);
    let mut desired = Desired::new();
    for resource in RESOURCES.iter().take(4) {
        desired.insert(resource.key(), Encoded::of(resource));
    }
    session.set_desired(Arc::new(desired));
    for message in messages(rest) {
        let request = if whole {
            DiscoveryRequest::decode(message).ok().and_then(Request::of_whole)
        } else {
            DeltaDiscoveryRequest::decode(message).ok().and_then(Request::of_delta)
        };
        let Some(request) = request else { continue };
        session.receive(request);
        // One push for each kind, and no more before it is answered.
        let pushes = std::iter::from_fn(|| session.poll()).take(Kind::ALL.len() * 3 + 1).count();
        assert!(pushes <= Kind::ALL.len() * 3, "a session that does not end");
    }
}

/// Likewise responses; and each resource in them for itself, which means the same when it is written again.
pub fn client(bytes: &[u8]) {
    let [dialect, rest @ ..] = bytes else { return };
    let whole = dialect % 2 == 0;
    let of = if whole { Dialect::StateOfTheWorld } else { Dialect::Delta };
    let assembler = Assembler::new(&ir::Config::default(), Duration::from_secs(15));
    let mut session = xds::client::Session::new(of, &Default::default(), assembler)
        .asking_for(CONFIGURATION_AND_NAMES);
    session.connect();
    for (at, message) in messages(rest).enumerate() {
        let now = Instant(at as u64 * 4_000_000_000);
        let resources: Vec<Any> = if whole {
            let Ok(response) = DiscoveryResponse::decode(message) else { continue };
            let resources = response.resources.clone();
            session.receive_whole(response, now);
            resources
        } else {
            let Ok(response) = DeltaDiscoveryResponse::decode(message) else { continue };
            let resources = response.resources.iter().filter_map(|r| r.resource.clone()).collect();
            session.receive_delta(response, now);
            resources
        };
        resources.iter().for_each(read_again);
        session.tick(now);
        session.take_config();
        session.take_findings();
    }
}

fn read_again(any: &Any) {
    let Ok((read, _)) = xds::decode(&any.type_url, &any.value) else { return };
    let (again, _) = xds::decode(&any.type_url, &xds::encode(&read)).expect("our own writing");
    assert_eq!(format!("{again:?}"), format!("{read:?}"));
}

fn messages(mut rest: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let [high, low, tail @ ..] = rest else { return None };
        let len = usize::from(u16::from_be_bytes([*high, *low])).min(tail.len());
        let (message, after) = tail.split_at(len);
        rest = after;
        Some(message)
    })
}

fn stream(dialect: u8, messages: impl IntoIterator<Item = Vec<u8>>) -> Vec<u8> {
    let mut bytes = vec![dialect];
    for message in messages.into_iter().filter(|m| m.len() < 1 << 16) {
        bytes.extend_from_slice(&(message.len() as u16).to_be_bytes());
        bytes.extend(message);
    }
    bytes
}

pub fn requests() -> Vec<Vec<u8>> {
    let url = xds::type_url_of;
    let whole = |kind, names: &[&str], nonce: &str| {
        let resource_names = names.iter().map(|n| (*n).to_owned()).collect();
        let response_nonce = nonce.to_owned();
        DiscoveryRequest {
            type_url: url(kind),
            resource_names,
            response_nonce,
            ..Default::default()
        }
        .encode_to_vec()
    };
    let delta = |kind, names: &[&str], nonce: &str| {
        let resource_names_subscribe = names.iter().map(|n| (*n).to_owned()).collect();
        DeltaDiscoveryRequest {
            type_url: url(kind),
            resource_names_subscribe,
            resource_names_unsubscribe: vec!["b".to_owned()],
            initial_resource_versions: [("a".to_owned(), "1".to_owned())].into(),
            response_nonce: nonce.to_owned(),
            ..Default::default()
        }
        .encode_to_vec()
    };
    let (cluster, listener, route) = (Kind::Cluster, Kind::Listener, Kind::Route);
    vec![
        stream(0, [whole(cluster, &[], ""), whole(listener, &[], ""), whole(cluster, &[], "1")]),
        stream(0, [whole(route, &["a", "b"], ""), whole(route, &["b"], "1")]),
        stream(1, [delta(cluster, &["*"], ""), delta(listener, &[], ""), delta(cluster, &[], "1")]),
        stream(1, [delta(route, &["a", "b"], ""), delta(route, &["b"], "1")]),
    ]
}

pub fn responses() -> Vec<Vec<u8>> {
    let any =
        |r: &Resource| Any { type_url: xds::type_url_of(r.key().kind), value: xds::encode(r) };
    let wholes = RESOURCES.iter().map(|resource| {
        let response = DiscoveryResponse {
            type_url: xds::type_url_of(resource.key().kind),
            version_info: "1".to_owned(),
            nonce: "1".to_owned(),
            resources: vec![any(resource)],
            ..Default::default()
        };
        stream(0, [response.encode_to_vec()])
    });
    let deltas = RESOURCES.iter().take(3).map(|resource| {
        let wrapped = Wrapped {
            name: resource.key().name.to_string(),
            version: "1".to_owned(),
            resource: Some(any(resource)),
        };
        let response = DeltaDiscoveryResponse {
            type_url: xds::type_url_of(resource.key().kind),
            nonce: "1".to_owned(),
            resources: vec![wrapped],
            removed_resources: vec!["gone".to_owned()],
            ..Default::default()
        };
        stream(1, [response.encode_to_vec()])
    });
    wholes.chain(deltas).collect()
}
