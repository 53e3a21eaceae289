//! Mutual TLS of the mesh: which connections a workload takes by its PeerAuthentications, and what its
//! clients begin.

mod support;

use compile::{Compiled, compile};
use ir::{Cluster, Listener};
use registry::Store;
use support::{apply, bookinfo, sidecar, slice};

fn policy(namespace: &str, name: &str, created: u32, spec: &str) -> String {
    format!(
        "{{apiVersion: security.istio.io/v1, kind: PeerAuthentication, metadata: {{name: {name}, \
         namespace: {namespace}, creationTimestamp: '2026-01-01T00:00:{created:02}Z'}}, spec: {spec}}}"
    )
}

fn rule(spec: &str) -> String {
    format!(
        "{{apiVersion: networking.istio.io/v1, kind: DestinationRule, metadata: {{name: r, \
         namespace: default}}, spec: {spec}}}"
    )
}

fn reviews(store: &mut Store) -> Compiled {
    compile(&store.snapshot(), &sidecar("default", "reviews", "v1", "10.1.0.4"))
}

fn inbound(c: &Compiled) -> &Listener {
    c.config.listeners.iter().find(|l| &*l.name == "virtualInbound").expect("a listener")
}

/// `S` strict, `P` permissive, `D` plaintext only.
fn mode_at(c: &Compiled, port: Option<u16>) -> char {
    let of_port = inbound(c).chains.iter().filter(|c| c.matches.destination_port == port);
    let (mutual, plain): (Vec<_>, Vec<_>) = of_port.partition(|c| c.tls.is_some());
    match (mutual.is_empty(), plain.is_empty()) {
        (false, true) => 'S',
        (false, false) => 'P',
        _ => 'D',
    }
}

/// reference: PeerAuthentication's merge: mesh, namespace, workload, port; the oldest of each counts.
#[test]
fn the_narrowest_policy_that_says_something_counts() {
    let own = |mtls: &str| format!("{{selector: {{matchLabels: {{app: reviews}}}}, {mtls}}}");
    let strict = "{mtls: {mode: STRICT}}".to_owned();
    let ports = "mtls: {mode: DISABLE}, portLevelMtls: {'9080': {mode: STRICT}, '99': {}}";
    type Policies<'a> = Vec<(&'a str, u32, String)>;
    let table: Vec<(Policies<'_>, &str)> = vec![
        (vec![], "PP"),
        (vec![("istio-system", 1, strict.clone())], "SS"),
        (vec![("default", 1, strict.clone())], "SS"),
        (vec![("elsewhere", 1, strict.clone())], "PP"),
        (
            vec![("default", 1, strict.clone()), ("default", 2, "{mtls: {mode: DISABLE}}".into())],
            "SS",
        ),
        (
            vec![
                ("istio-system", 1, strict.clone()),
                ("default", 1, "{mtls: {mode: UNSET}}".into()),
            ],
            "SS",
        ),
        (
            vec![
                ("istio-system", 1, strict.clone()),
                ("default", 1, "{mtls: {mode: PERMISSIVE}}".into()),
            ],
            "PP",
        ),
        (vec![("istio-system", 1, own("mtls: {mode: STRICT}"))], "PP"),
        (vec![("default", 1, strict.clone()), ("default", 1, own("mtls: {mode: DISABLE}"))], "DD"),
        (vec![("default", 1, own(ports))], "SD"),
        (
            vec![
                ("default", 1, strict),
                ("default", 1, own("portLevelMtls: {'9080': {mode: PERMISSIVE}}")),
            ],
            "PS",
        ),
    ];
    for (policies, expected) in table {
        let mut store = bookinfo();
        for (index, (namespace, created, spec)) in policies.iter().enumerate() {
            apply(&mut store, &policy(namespace, &format!("p{index}"), *created, spec));
        }
        let c = reviews(&mut store);
        let modes: String = [Some(9080), None].map(|port| mode_at(&c, port)).iter().collect();
        assert_eq!(modes, expected, "{policies:?}");
    }
}

#[test]
fn a_port_that_only_a_policy_names_has_chains_of_its_own() {
    let mut store = bookinfo();
    let spec = "{selector: {matchLabels: {app: reviews}}, portLevelMtls: {'7000': {mode: STRICT}}}";
    apply(&mut store, &policy("default", "p", 1, spec));
    let c = reviews(&mut store);
    assert_eq!([Some(7000), Some(9080), None].map(|p| mode_at(&c, p)), ['S', 'P', 'P']);
    let origin = inbound(&c).chains.iter().find(|c| c.matches.destination_port == Some(7000));
    let origin = c.origins.get(origin.expect("a chain").origin).expect("an origin");
    assert_eq!(origin.path, "spec.portLevelMtls[7000].mode");
}

/// What only takes plaintext is not looked into.
#[test]
fn a_plaintext_port_is_left_alone() {
    let mut store = bookinfo();
    let spec =
        "{selector: {matchLabels: {app: reviews}}, portLevelMtls: {'9080': {mode: DISABLE}}}";
    apply(&mut store, &policy("default", "p", 1, spec));
    let c = reviews(&mut store);
    let inspector = inbound(&c).filters.tls_inspector.as_ref().expect("of the other ports");
    assert_eq!(inspector.disabled_ports, [(9080, 9081)]);
    apply(&mut store, &policy("default", "all", 1, "{mtls: {mode: DISABLE}}"));
    let c = reviews(&mut store);
    assert_eq!(mode_at(&c, None), 'D');
}

fn cluster<'a>(c: &'a Compiled, name: &str) -> &'a Cluster {
    c.config.clusters.iter().find(|c| &*c.name == name).expect("a cluster")
}

const RATINGS: &str = "outbound|9080||ratings.default.svc.cluster.local";

/// Endpoints of a cluster that mutual TLS is spoken with, of all.
fn secured(c: &Compiled, name: &str) -> (usize, usize) {
    let all = c.config.endpoints.iter().find(|e| &*e.cluster == name).expect("endpoints");
    let each = || all.groups.iter().flat_map(|g| &g.endpoints);
    let takes = each().filter(|e| e.metadata.contains_key("envoy.transport_socket_match"));
    (takes.count(), each().count())
}

#[test]
fn clients_begin_mutual_tls_where_the_endpoint_takes_it() {
    let mut store = bookinfo();
    let c = reviews(&mut store);
    let ratings = cluster(&c, RATINGS);
    let tls = ratings.tls_matches[0].tls.as_ref().expect("TLS");
    assert_eq!(&*tls.sni, "outbound_.9080_._.ratings.default.svc.cluster.local");
    let sans = &tls.common.validation.as_ref().expect("a validation").sans;
    let id = "spiffe://cluster.local/ns/default/sa/bookinfo-ratings";
    assert_eq!(sans.iter().map(|s| &s.value).collect::<Vec<_>>(), [&ir::StringMatch::exact(id)]);
    assert_eq!(ratings.tls_matches[1].tls, None);
    assert_eq!(secured(&c, RATINGS), (1, 1));
    // A policy of the server's takes it out again, in the endpoints alone.
    apply(&mut store, &policy("default", "p", 1, "{mtls: {mode: DISABLE}}"));
    assert_eq!(secured(&reviews(&mut store), RATINGS), (0, 1));
}

#[test]
fn a_rule_says_what_is_begun() {
    let written = |tls: &str| {
        let mut store = bookinfo();
        apply(&mut store, &rule(&format!("{{host: ratings, trafficPolicy: {{tls: {tls}}}}}")));
        let c = reviews(&mut store);
        assert!(c.findings.is_empty(), "{:?}", c.findings);
        cluster(&c, RATINGS).clone()
    };
    let plain = written("{mode: DISABLE}");
    assert_eq!((plain.tls, plain.tls_matches), (None, vec![]));
    let mutual = written("{mode: ISTIO_MUTUAL}").tls.expect("TLS");
    assert_eq!(&*mutual.sni, "outbound_.9080_._.ratings.default.svc.cluster.local");
    assert_eq!(mutual.common.alpn, ["istio-peer-exchange".into(), "istio".into()]);
    let named = written("{mode: ISTIO_MUTUAL, sni: x, subjectAltNames: [spiffe://a/b]}");
    let named = named.tls.expect("TLS");
    assert_eq!(&*named.sni, "x");
    let sans = named.common.validation.expect("a validation").sans;
    assert_eq!(sans[0].value, ir::StringMatch::exact("spiffe://a/b"));
    // Servers of others are offered what the context says.
    let simple = written("{mode: SIMPLE}");
    let said = simple.metadata["istio"].get("alpn_override").cloned();
    assert_eq!(said, Some(ir::Value::String("false".into())));
}

/// Clients of a headless service choose by address, so all of its endpoints must take it.
#[test]
fn a_headless_service_is_spoken_to_as_all_its_endpoints_can() {
    let mut store = bookinfo();
    apply(
        &mut store,
        "{apiVersion: v1, kind: Service, metadata: {name: db}, spec: {clusterIP: None, \
         selector: {app: ratings}, ports: [{name: tcp, port: 9000}]}}",
    );
    slice(&mut store, "default", "db", ("tcp", 9000), &[("10.1.0.3", true)]);
    let name = "outbound|9000||db.default.svc.cluster.local";
    assert!(cluster(&reviews(&mut store), name).tls.is_some());
    slice(&mut store, "default", "db", ("tcp", 9000), &[("10.1.0.3", true), ("10.9.9.9", true)]);
    let c = reviews(&mut store);
    assert_eq!((&cluster(&c, name).tls, &cluster(&c, name).tls_matches), (&None, &vec![]));
}

/// The accounts stand in the cluster: when they change, it does, and only then.
#[test]
fn who_may_answer_follows_the_endpoints() {
    let mut store = bookinfo();
    let mut compiler = compile::Compiler::new();
    let proxy = sidecar("default", "reviews", "v1", "10.1.0.4");
    let names = |c: &Compiled| {
        let tls = cluster(c, RATINGS).tls_matches[0].tls.clone().expect("TLS");
        tls.common.validation.expect("a validation").sans.len()
    };
    let first = compiler.compile(&store.snapshot(), &proxy);
    assert_eq!(names(&first), 1);
    let two = [("10.1.0.3", true), ("10.1.0.2", true)];
    slice(&mut store, "default", "ratings", ("http", 9080), &two);
    let second = compiler.compile(&store.snapshot(), &proxy);
    assert_eq!(names(&second), 2, "details' account answers too");
    let work = compiler.work();
    slice(&mut store, "default", "ratings", ("http", 9080), &[two[1], two[0]]);
    let again = [("10.1.0.3", false), ("10.1.0.2", true)];
    slice(&mut store, "default", "ratings", ("http", 9080), &again);
    compiler.compile(&store.snapshot(), &proxy);
    assert_eq!(compiler.work().clusters, work.clusters, "readiness alone makes no new one");
}

/// Machines have no pod that says who they are: their entries do.
#[test]
fn machines_run_as_their_entries_say() {
    let mut store = bookinfo();
    let head = "apiVersion: networking.istio.io/v1, kind";
    let ports = "ports: [{number: 80, name: http, protocol: HTTP}]";
    let internal = "location: MESH_INTERNAL, resolution: STATIC";
    let takes = "labels: {app: vm, security.istio.io/tlsMode: istio}";
    for text in [
        format!(
            "{{{head}: ServiceEntry, metadata: {{name: a}}, spec: {{hosts: [a.example], {ports}, \
             {internal}, endpoints: [{{address: 192.0.2.1, serviceAccount: of-a, {takes}}}]}}}}"
        ),
        format!(
            "{{{head}: ServiceEntry, metadata: {{name: b}}, spec: {{hosts: [b.example], {ports}, \
             {internal}, workloadSelector: {{labels: {{app: vm}}}}}}}}"
        ),
        format!(
            "{{{head}: WorkloadEntry, metadata: {{name: b-1, labels: {{app: vm}}}}, \
             spec: {{address: 192.0.2.2, serviceAccount: of-b, {takes}}}}}"
        ),
    ] {
        apply(&mut store, &text);
    }
    let c = reviews(&mut store);
    for (host, account) in [("a.example", "of-a"), ("b.example", "of-b")] {
        let name = format!("outbound|80||{host}");
        assert_eq!(secured(&c, &name), (1, 1), "{host}");
        let tls = cluster(&c, &name).tls_matches[0].tls.clone().expect("TLS");
        let sans = tls.common.validation.expect("a validation").sans;
        let id = format!("spiffe://cluster.local/ns/default/sa/{account}");
        assert_eq!(sans[0].value, ir::StringMatch::exact(id));
    }
}
