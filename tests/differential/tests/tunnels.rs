//! What goes on as something else than HTTP: upgrades by HTTP/1.1, extended CONNECT (RFC 8441) and CONNECT, by
//! each protocol to each protocol. What the upstream is asked, what the client is told, and what becomes of
//! the bytes must be as with Envoy.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "tunnels/client.rs"]
mod client;
#[path = "common/peers.rs"]
mod peers;
#[path = "tunnels/upstream.rs"]
mod upstream;

use client::{Ask, End};
use differential::bootstrap::Upstreams;
use differential::cases::{Case, single};
use differential::proxy::{Proxy, free_ports};
use differential::run::{Setup, start};
use serde_json::json;
use std::net::SocketAddr;
use std::path::PathBuf;
use upstream::Heard;

/// Lines that say what happened, without what is never the same.
pub type Transcript = Vec<String>;

/// The end of a tunnel by HTTP/2, when it is told as an error.
const CUT: &str = "cut: Some(CONNECT_ERROR)";

/// A head as lines; times and random identifiers are left out.
fn lines<'a>(first: String, fields: impl Iterator<Item = (&'a str, &'a str)>) -> Transcript {
    const NEVER_THE_SAME: [&str; 4] =
        ["date", "x-request-id", "x-envoy-upstream-service-time", "x-envoy-expected-rq-timeout-ms"];
    let mut rest: Vec<_> = fields
        // The option `upgrade` means the same in any case.
        .map(|(name, value)| (name.to_lowercase(), value.to_lowercase()))
        .filter(|(name, _)| !NEVER_THE_SAME.contains(&name.as_str()))
        .map(|(name, value)| format!("{name}: {value}"))
        .collect();
    rest.sort();
    [vec![first], rest].concat()
}

fn case(name: &str, cluster: &str) -> Case {
    let mut case = single(name, cluster, json!({}), vec![]);
    case.manager = json!({
        "upgrade_configs": [{ "upgrade_type": "websocket" }, { "upgrade_type": "CONNECT" }],
        "http2_protocol_options": { "allow_connect": true },
    });
    let host = &mut case.routes["virtual_hosts"][0];
    let connect = json!({ "match": { "connect_matcher": {} }, "route": { "cluster": cluster } });
    host["routes"].as_array_mut().unwrap().insert(0, connect);
    case
}

/// Envoy and ours before the two upstreams, with a listener for each.
struct Pair {
    proxies: [Proxy; 2],
    heard: Heard,
    cases: [Case; 2],
    dir: PathBuf,
}

impl Pair {
    fn start() -> Option<Self> {
        let (envoy, ours) = peers::peers()?;
        let dir = peers::directory("tunnels");
        let heard = Heard::default();
        let first = upstream::http1(&heard);
        let second = upstream::http2(&heard);
        let dead = SocketAddr::from(([127, 0, 0, 1], free_ports(1).unwrap()[0]));
        let up = Upstreams::two(first, second, dead);
        let cases = [case("to_http1", "a"), case("to_http2", "second")];
        let setup = Setup { envoy, ours, dir: &dir, plant: &|_| {} };
        let proxies = start(&setup, &cases, &up).unwrap();
        Some(Self { proxies, heard, cases, dir })
    }

    /// What happened through Envoy and through ours, to the upstream of this place.
    fn both(&self, place: usize, ask: &Ask, end: End) -> [Transcript; 2] {
        self.proxies.each_ref().map(|proxy| {
            let told = ask.clone().send(proxy.address(place), end);
            [told, vec!["upstream:".to_owned()], self.heard.take()].concat()
        })
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

#[test]
fn tunnels_are_asked_for_and_carry_bytes_as_with_envoy() {
    let Some(pair) = Pair::start() else { return };
    let mut different = Vec::new();
    for (place, case) in pair.cases.iter().enumerate() {
        for (name, ask) in Ask::all() {
            let [mut envoy, ours] = pair.both(place, &ask, End::Word);
            // How a tunnel ends is a row of docs/envoy-differences.md.
            envoy.retain(|line| line != CUT);
            if envoy != ours {
                different.push(format!("{} {name}\nENVOY {envoy:#?}\nOURS {ours:#?}", case.name));
            }
            // A pair of silences would be equal too.
            if name.ends_with("granted") && !ours.iter().any(|line| line == "back: >ping") {
                different.push(format!("{} {name} carries nothing\n{ours:#?}", case.name));
            }
        }
    }
    assert!(different.is_empty(), "{}", different.join("\n"));
}

/// A row of docs/envoy-differences.md: the end of one direction is not the end of the other.
#[test]
fn who_has_said_all_still_hears_the_rest() {
    let Some(pair) = Pair::start() else { return };
    for (name, ask) in Ask::all().into_iter().filter(|(name, _)| name.ends_with("granted")) {
        let [envoy, ours] = pair.both(0, &ask, End::HalfClose);
        let rest = |of: &Transcript| of.iter().find(|l| l.starts_with("rest: ")).cloned();
        let whole = |of: &Transcript| rest(of).is_some_and(|l| l.contains("bye"));
        assert_eq!((whole(&envoy), whole(&ours)), (false, true), "{name}: {envoy:?} {ours:?}");
        let cut = |of: &Transcript| of.iter().any(|line| line == CUT);
        assert_eq!((cut(&envoy), cut(&ours)), (name.contains("HTTP/2"), false), "{name}");
    }
}
