//! The explanation and the live proxy never disagree: requests at random through the data plane under
//! compiled configuration, each explained from the same objects. Which of several weighted clusters and
//! which faults a request meets is drawn; the draw is among what is told of all, and is the very one that is
//! told when the proxy's random numbers are drawn again.
#![allow(clippy::unwrap_used)] // a test that cannot go on may end there

mod requests;
mod running;
mod world;

use base::FixedEnv;
use dataplane::Recent;
use differential::http::header;
use explain::{Asked, Draws, Explainer, Explanation, Side, Verdict, Workload};
use policy::Flag;
use registry::{Snapshot, Store};
use requests::Request;
use running::{Answer, Client};
use std::collections::BTreeMap;
use std::sync::Arc;
use world::{Ports, SERVICES, VERSIONS, endpoint_address};

/// Worlds, and requests to each.
const WORLDS: u64 = 10;
const REQUESTS: usize = 1000;
/// Of the requests of a world, each of these fates has at least this share.
const FATES: [&str; 4] = ["refused", "redirected", "faulted", "unrouted"];
const LEAST: usize = REQUESTS * 16 / 100;

#[test]
fn ten_thousand_requests_go_where_the_explanation_says() {
    let mut fates: BTreeMap<&str, usize> = BTreeMap::new();
    let [http, tcp, gateway, upstream] =
        differential::proxy::free_ports(4).unwrap().try_into().unwrap();
    let ports = Ports { http, tcp, gateway, upstream };
    for service in 0..SERVICES {
        for version in 0..VERSIONS {
            let ip = endpoint_address(service, version).parse().unwrap();
            running::upstream(std::net::SocketAddr::new(ip, ports.upstream));
        }
    }
    for seed in 0..WORLDS {
        for (fate, count) in in_one_world(seed, &ports) {
            *fates.entry(fate).or_default() += count;
        }
    }
    let drawn = fates.remove("endpoint drawn again").unwrap_or_default();
    assert!(drawn > 100, "the endpoint of only {drawn} requests was a matter of draw or hash");
    let all: usize = fates.values().sum();
    eprintln!("{all} requests: {fates:?}; {drawn} endpoints drawn again");
    assert_eq!(all, REQUESTS * WORLDS as usize);
    for fate in FATES {
        assert!(fates[fate] * 100 >= all * 15, "{fate}: {fates:?}");
    }
}

fn snapshot(env: &FixedEnv, ports: &Ports) -> Arc<Snapshot> {
    let mut store = Store::new("cluster.local", "istio-system");
    for object in world::objects(env, ports) {
        let text = |key: &str| object[key].as_str().unwrap();
        let kind = api::Kind::of(text("apiVersion"), text("kind")).unwrap();
        let findings = store.apply(kind, &object).findings;
        assert!(findings.iter().all(|f| f.level != base::Level::Error), "{findings:?} {object}");
    }
    store.snapshot()
}

fn in_one_world(seed: u64, ports: &Ports) -> BTreeMap<&'static str, usize> {
    let env = FixedEnv::seeded(seed);
    let snapshot = snapshot(&env, ports);
    let who = |labels: &[(&str, &str)], ip: &str| Workload {
        name: "w".into(),
        namespace: "default".into(),
        labels: labels.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
        ip: Some(ip.parse().unwrap()),
        ..Workload::default()
    };
    let client = who(&[("app", "client")], "127.0.0.1");
    let edge = who(&[("istio", "ingressgateway")], "127.0.0.1");
    let explainers = [
        Explainer::new(&snapshot, Side::Client(client)),
        Explainer::new(&snapshot, Side::Gateway(edge)),
    ];
    let proxies = [0, 1].map(|i| running::proxy(&explainers[i].compiled().config, seed));
    let mut sender = Client::default();
    // What is expected, and what has happened.
    let (mut expects, mut fates) = (BTreeMap::new(), BTreeMap::new());
    let mut sent = Vec::new();
    let mut checked = 0;
    while checked < REQUESTS {
        let request = requests::request(&env, ports);
        let explainer = &explainers[usize::from(request.at_gateway)];
        let told = explainer.explain(&request.asked, Draws::All);
        // The mix is held by what is expected; what is counted is what has happened.
        let expected = kind(fate_told(&told));
        let left = REQUESTS - checked - sent.len();
        let missing: usize = FATES
            .iter()
            .map(|f| LEAST.saturating_sub(expects.get(f).copied().unwrap_or_default()))
            .sum();
        let short = |f: &str| expects.get(f).copied().unwrap_or_default() < LEAST;
        if left <= missing && !(FATES.contains(&expected) && short(expected)) {
            continue;
        }
        let id = checked + sent.len();
        let answer = sender.send(&request, id);
        *expects.entry(expected).or_default() += 1;
        sent.push((id, request, answer, told));
        if sent.len() == 100 || checked + sent.len() == REQUESTS {
            checked += sent.len();
            for live in check_all(&explainers, &proxies.each_ref(), sent.drain(..)) {
                *fates.entry(live).or_default() += 1;
            }
        }
    }
    fates
}

/// One request that was sent: its number, what came back, and all that may become of it.
type Sent = (usize, Request, Answer, Explanation);

fn check_all(
    explainers: &[Explainer<'_>; 2],
    proxies: &[&dataplane::Proxy],
    sent: impl Iterator<Item = Sent>,
) -> Vec<&'static str> {
    let mut fates = Vec::new();
    let recent = running::recent(proxies);
    for (id, request, answer, told) in sent {
        let explainer = &explainers[usize::from(request.at_gateway)];
        let Some(live) = recent.get(&id) else {
            // A head that cannot be understood is answered before anything is noted.
            let Verdict::Answered { status, by: explain::Answer::Head, .. } = told.verdict else {
                panic!("{:?}\n{answer:?}\ntold {}", request.asked, told.text(|_| None));
            };
            assert_eq!(status, answer.status, "{:?}", request.asked);
            fates.push("refused");
            continue;
        };
        let again = explainer.explain(&with_id(&request.asked, id), Draws::From(live.random));
        let context = || {
            let text = again.text(|_| None);
            format!("{:?}\nlive {live:#?}\n{answer:?}\ntold {text}", request.asked)
        };
        if let Err(what) = check(live, &answer, &told, &again) {
            panic!("{what}\n{}", context());
        }
        if again.verdict.picks().iter().any(|p| p.chosen.is_some() && p.endpoints.len() > 1) {
            fates.push("endpoint drawn again");
        }
        fates.push(kind(fate(live, &answer)));
    }
    fates
}

fn with_id(asked: &Asked, id: usize) -> Asked {
    let mut asked = asked.clone();
    asked.headers.push(("x-test".into(), id.to_string()));
    asked
}

fn check(
    live: &Recent,
    answer: &Answer,
    told: &Explanation,
    again: &Explanation,
) -> Result<(), String> {
    let same = |what: &str, holds: bool| if holds { Ok(()) } else { Err(what.to_owned()) };
    let host = |e: &Explanation| e.virtual_host.as_ref().map(|h| h.name.clone());
    if live.virtual_host.is_some() {
        same("another virtual host", live.virtual_host == host(again))?;
        same("another virtual host of all", live.virtual_host == host(told))?;
    }
    same("another route", live.place == again.place && live.place == told.place)?;
    let named = again.route.as_ref().map(|r| r.name.clone());
    same("another name of the route", live.route.is_none() || live.route == named)?;
    same("another verdict", fate(live, answer) == fate_told(again))?;
    match &again.verdict {
        Verdict::Answered { status, .. } => {
            same("another status", live.status == seen(again, *status))?;
        }
        Verdict::Redirected { status, location } => {
            same("another status", live.status == seen(again, *status))?;
            let got = header(&answer.headers, "location");
            same("another location", got == Some(location.as_str()))?;
        }
        Verdict::Forwarded { picks } => {
            let [drawn] = picks.as_slice() else { return Err("several are drawn".into()) };
            same("another cluster", live.cluster.as_ref() == Some(&drawn.cluster.name))?;
            if passes_through(live) {
                return Ok(());
            }
            same("another status", answer.status == 200)?;
            let of_all = told.verdict.picks().iter();
            let chosen = of_all.clone().find(|p| Some(&p.cluster.name) == live.cluster.as_ref());
            let chosen = chosen.ok_or("the cluster is not among those that are told")?;
            let among = |e: &explain::Endpoint| Some(&e.address) == live.endpoint.as_ref();
            same("an endpoint that is not told", chosen.endpoints.iter().any(among))?;
            let repeated = drawn.chosen.is_none() || drawn.chosen == live.endpoint;
            same("another endpoint for the same draw", repeated)?;
            arrived(answer, again)?;
        }
        Verdict::Bytes { .. } | Verdict::Closed { .. } => {
            return Err("a request that is none".into());
        }
    }
    if let Some(status) = again.grpc_status {
        let got = header(&answer.headers, "grpc-status");
        same("another gRPC status", got == Some(status.to_string().as_str()))?;
    }
    for (name, value) in &again.answered_with {
        let got = answer.headers.iter().any(|(n, v)| n.eq_ignore_ascii_case(name) && v == value);
        same(&format!("no field {name}: {value} in the answer"), got)?;
    }
    Ok(())
}

/// The status that the client gets.
fn seen(told: &Explanation, status: u16) -> u16 {
    if told.grpc_status.is_some() { 200 } else { status }
}

/// Without the kernel's redirection there is nowhere to pass through to.
fn passes_through(live: &Recent) -> bool {
    live.details == "no_healthy_upstream" && live.cluster.as_deref() == Some("PassthroughCluster")
}

/// What the upstream got is what was told.
fn arrived(answer: &Answer, again: &Explanation) -> Result<(), String> {
    let told = again.sent.as_ref().ok_or("nothing is sent")?;
    if told.method == "HEAD" {
        return Ok(());
    }
    let line = format!("{} {} HTTP/1.1\n", told.method, told.path);
    let missing = |what: &str| format!("the upstream did not get {what:?}");
    if !answer.body.starts_with(&line) {
        return Err(missing(&line));
    }
    let has = |name: &str, value: &str| {
        let line = format!("{name}: {value}");
        answer.body.lines().any(|l| l.eq_ignore_ascii_case(&line))
    };
    if !has("host", &told.authority) {
        return Err(missing(&told.authority));
    }
    // Who the client is is known to the live proxy only.
    let own = ["x-forwarded-for", "x-envoy-external-address"];
    for (name, value) in told.fields.iter().filter(|(n, _)| !own.contains(&n.as_str())) {
        if !has(name, value) {
            return Err(missing(&format!("{name}: {value}")));
        }
    }
    let got = |name: &str| answer.body.lines().any(|l| l.starts_with(&format!("{name}: ")));
    let kept = |name: &str| told.fields.iter().any(|(n, _)| n == name);
    match requests::OF_CONNECTION.iter().find(|name| got(name) && !kept(name)) {
        Some(name) => Err(format!("the upstream got {name}, which is not told")),
        None => Ok(()),
    }
}

/// What the live proxy did, in the words of the explanation.
fn fate(live: &Recent, answer: &Answer) -> &'static str {
    let has = |flag| live.flags.has(flag);
    let redirects = header(&answer.headers, "location").is_some();
    match live.status {
        _ if has(Flag::FaultInjected) => "fault",
        _ if has(Flag::NoRouteFound) => "no-route",
        _ if has(Flag::NoClusterFound) => "no-cluster",
        _ if live.details == "upgrade_failed" => "upgrade",
        _ if live.details == "cors_response" => "cors",
        _ if live.details == "direct_response" && redirects => "redirected",
        _ if live.details == "direct_response" => "route",
        _ if live.details == "via_upstream" || passes_through(live) => "forwarded",
        _ => "head",
    }
}

fn fate_told(told: &Explanation) -> &'static str {
    match &told.verdict {
        Verdict::Answered { by, .. } => by.as_str(),
        Verdict::Redirected { .. } => "redirected",
        Verdict::Forwarded { .. } => "forwarded",
        Verdict::Bytes { .. } => "bytes",
        Verdict::Closed { .. } => "closed",
    }
}

/// The fates that are to be frequent.
fn kind(fate: &str) -> &'static str {
    match fate {
        "redirected" => "redirected",
        "fault" => "faulted",
        "no-route" => "unrouted",
        "forwarded" | "cors" => "passed",
        _ => "refused",
    }
}
