//! Istio's semantics beyond Bookinfo: who sees what, which rule wins, and what each kind of service
//! becomes.

mod support;

use base::Level;
use compile::{Compiled, Proxy, compile};
use ir::{
    Action, Destination, Discovery, FilterChain, Listener, RequireTls, RouteConfig, TcpDestination,
    Terminal, VirtualHost,
};
use registry::Store;
use std::sync::Arc;
use std::time::Duration;
use support::{apply, ingress, pod, sidecar, slice, store};

fn client() -> Proxy {
    sidecar("default", "client", "v1", "10.1.0.99")
}

fn compiled(store: &mut Store) -> Compiled {
    compile(&store.snapshot(), &client())
}

fn service(name: &str, namespace: &str, ip: &str, ports: &str) -> String {
    format!(
        "apiVersion: v1
kind: Service
metadata: {{name: {name}, namespace: {namespace}}}
spec: {{clusterIP: {ip}, ports: {ports}, selector: {{app: {name}}}}}
---
"
    )
}

fn istio(kind: &str, name: &str, namespace: &str, spec: &str) -> String {
    format!(
        "apiVersion: networking.istio.io/v1
kind: {kind}
metadata: {{name: {name}, namespace: {namespace}}}
spec: {spec}
---
"
    )
}

const HTTP: &str = "[{name: http, port: 80}]";

fn listener<'a>(c: &'a Compiled, name: &str) -> &'a Listener {
    let found = c.config.listeners.iter().find(|l| &*l.name == name);
    found.unwrap_or_else(|| panic!("no listener {name} among {:?}", listeners(c)))
}

fn listeners(c: &Compiled) -> Vec<&str> {
    c.config.listeners.iter().map(|l| &*l.name).collect()
}

fn routes<'a>(c: &'a Compiled, name: &str) -> &'a RouteConfig {
    let found = c.config.routes.iter().find(|r| &*r.name == name);
    found.unwrap_or_else(|| panic!("no route configuration {name}"))
}

fn host<'a>(config: &'a RouteConfig, domain: &str) -> &'a VirtualHost {
    let has = |h: &&Arc<VirtualHost>| h.domains.iter().any(|d| &**d == domain);
    config.virtual_hosts.iter().find(has).unwrap_or_else(|| panic!("no host {domain}"))
}

fn clusters(c: &Compiled) -> Vec<&str> {
    let ours = |n: &&str| n.starts_with("outbound|");
    c.config.clusters.iter().map(|c| &*c.name).filter(ours).collect()
}

fn forwards_to(host: &VirtualHost) -> Vec<String> {
    let of = |action: &Action| match action {
        Action::Forward(f) => match &f.to {
            Destination::Cluster(name) => name.to_string(),
            other => format!("{other:?}"),
        },
        other => format!("{other:?}"),
    };
    host.routes.iter().map(|r| of(&r.action)).collect()
}

fn tcp_to(chain: &FilterChain) -> &str {
    match &chain.terminal {
        Terminal::Tcp(tcp) => match &tcp.to {
            TcpDestination::Cluster(name) => name,
            TcpDestination::Weighted(_) => "weighted",
        },
        _ => "not tcp",
    }
}

#[test]
fn a_proxy_under_a_sidecar_that_names_5_of_5000_hosts_holds_5() {
    let mut store = store();
    for i in 0..5000 {
        let ip = format!("10.{}.{}.{}", 96 + i / 62500, i / 250 % 250, i % 250 + 1);
        apply(&mut store, &service(&format!("s{i}"), "default", &ip, HTTP));
    }
    let hosts = (0..5).map(|i| format!("./s{i}.default.svc.cluster.local"));
    let hosts = hosts.collect::<Vec<_>>().join(", ");
    let spec = format!("{{egress: [{{hosts: [{hosts}]}}]}}");
    assert_eq!(clusters(&compiled(&mut store)).len(), 5000);
    apply(&mut store, &istio("Sidecar", "default", "default", &spec));
    let c = compiled(&mut store);
    assert_eq!((clusters(&c).len(), c.config.endpoints.len()), (5, 5));
    assert_eq!(routes(&c, "80").virtual_hosts.len(), 6);
    assert_eq!(c.dependencies.hosts.len(), 5);
}

#[test]
fn which_sidecar_object_is_obeyed() {
    let mut store = store();
    for name in ["a", "b", "c"] {
        apply(&mut store, &service(name, "default", "10.96.0.1", HTTP));
    }
    let only = |name: &str, selector: &str| {
        format!("{{{selector}egress: [{{hosts: ['./{name}.default.svc.cluster.local']}}]}}")
    };
    let names = |s: &mut Store| clusters(&compiled(s)).join(" ");
    let root = "{egress: [{hosts: ['*/a.default.svc.cluster.local']}]}";
    apply(&mut store, &istio("Sidecar", "default", "istio-system", root));
    assert_eq!(names(&mut store), "outbound|80||a.default.svc.cluster.local");
    apply(&mut store, &istio("Sidecar", "default", "default", &only("b", "")));
    assert_eq!(names(&mut store), "outbound|80||b.default.svc.cluster.local");
    let selector = "workloadSelector: {labels: {app: client}}, ";
    apply(&mut store, &istio("Sidecar", "mine", "default", &only("c", selector)));
    assert_eq!(names(&mut store), "outbound|80||c.default.svc.cluster.local");
}

#[test]
fn what_is_not_exported_is_not_seen() {
    let mut store = store();
    let hidden = service("hidden", "other", "10.96.0.1", HTTP).replace(
        "namespace: other}",
        "namespace: other, annotations: {networking.istio.io/exportTo: .}}",
    );
    apply(&mut store, &hidden);
    apply(&mut store, &service("shown", "other", "10.96.0.2", HTTP));
    let shown = "shown.other.svc.cluster.local";
    let spec = format!(
        "{{hosts: [{shown}], exportTo: ['.'], http: [{{directResponse: {{status: 418}}}}]}}"
    );
    apply(&mut store, &istio("VirtualService", "shown", "other", &spec));
    let c = compiled(&mut store);
    assert_eq!(clusters(&c), [format!("outbound|80||{shown}")]);
    assert_eq!(forwards_to(host(routes(&c, "80"), shown)), [format!("outbound|80||{shown}")]);
    assert_eq!(
        host(routes(&c, "80"), shown).domains[1..3],
        ["shown.other.svc".into(), "shown.other".into()]
    );
}

#[test]
fn the_rule_of_the_clients_namespace_comes_first_then_the_services_then_the_roots() {
    let mut store = store();
    apply(&mut store, &service("a", "other", "10.96.0.1", HTTP));
    let rule = |lb: &str| {
        format!(
            "{{host: a.other.svc.cluster.local, trafficPolicy: {{connectionPool: {{tcp: {{connectTimeout: {lb}s}}}}}}}}"
        )
    };
    let timeout = |s: &mut Store| {
        let c = compiled(s);
        let cluster = c.config.clusters.iter().find(|c| c.name.starts_with("outbound|80||a"));
        cluster.and_then(|c| c.connect_timeout).map(|d| d.as_secs())
    };
    assert_eq!(timeout(&mut store), Some(10));
    let wide =
        "{host: '*.cluster.local', trafficPolicy: {connectionPool: {tcp: {connectTimeout: 4s}}}}";
    apply(&mut store, &istio("DestinationRule", "wide", "istio-system", wide));
    assert_eq!(timeout(&mut store), Some(4));
    apply(&mut store, &istio("DestinationRule", "a", "istio-system", &rule("1")));
    assert_eq!(timeout(&mut store), Some(1));
    apply(&mut store, &istio("DestinationRule", "a", "other", &rule("2")));
    assert_eq!(timeout(&mut store), Some(2));
    apply(&mut store, &istio("DestinationRule", "a", "default", &rule("3")));
    assert_eq!(timeout(&mut store), Some(3));
    apply(&mut store, &istio("DestinationRule", "a", "third", &rule("5")));
    assert_eq!(timeout(&mut store), Some(3));
}

#[test]
fn rules_of_one_host_and_namespace_are_one() {
    let mut store = store();
    apply(&mut store, &service("a", "default", "10.96.0.1", HTTP));
    let one = "{host: a, subsets: [{name: v1, labels: {version: v1}}]}";
    let two = "{host: a.default.svc.cluster.local, subsets: [{name: v1, labels: {version: x}}, {name: v2, labels: {version: v2}}]}";
    apply(&mut store, &istio("DestinationRule", "a1", "default", one));
    apply(&mut store, &istio("DestinationRule", "a2", "default", two));
    let expected = ["", "v1", "v2"].map(|s| format!("outbound|80|{s}|a.default.svc.cluster.local"));
    assert_eq!(clusters(&compiled(&mut store)), expected);
}

#[test]
fn ports_that_are_not_http() {
    let mut store = store();
    let ports = "[{name: tcp-x, port: 9000}, {port: 9001, name: ''}, {name: https, port: 443}]";
    apply(&mut store, &service("a", "default", "10.96.0.1", ports));
    apply(&mut store, &service("h", "default", "None", "[{name: tcp, port: 6379}]"));
    pod(&mut store, "default", "h", "v1", "10.1.0.7");
    slice(&mut store, "default", "h", ("tcp", 6379), &[("10.1.0.7", true), ("10.1.0.8", false)]);
    let c = compiled(&mut store);
    let a = "a.default.svc.cluster.local";

    // A declared port is not looked at; an undeclared one is.
    let declared = listener(&c, "10.96.0.1_9000");
    assert_eq!(declared.filters, ir::ListenerFilters::default());
    assert_eq!(tcp_to(&declared.chains[0]), format!("outbound|9000||{a}"));
    let detected = listener(&c, "10.96.0.1_9001");
    assert!(detected.filters.http_inspector.is_some() && detected.filters.continue_on_timeout);
    assert_eq!(
        tcp_to(detected.default_chain.as_ref().expect("tcp")),
        format!("outbound|9001||{a}")
    );
    assert_eq!(routes(&c, &format!("{a}:9001")).virtual_hosts[0].domains, ["*".into()]);
    assert_eq!(tcp_to(&listener(&c, "10.96.0.1_443").chains[0]), format!("outbound|443||{a}"));

    // A headless service is listened for at the addresses of its ready pods.
    let headless = listener(&c, "10.1.0.7_6379");
    assert_eq!(tcp_to(&headless.chains[0]), "outbound|6379||h.default.svc.cluster.local");
    assert!(!listeners(&c).contains(&"10.1.0.8_6379"));
    let cluster = c.config.clusters.iter().find(|c| c.name.starts_with("outbound|6379|"));
    assert_eq!(cluster.expect("a cluster").discovery, Discovery::OriginalDst);
}

#[test]
fn tcp_and_tls_rules() {
    let mut store = store();
    apply(
        &mut store,
        &service("a", "default", "10.96.0.1", "[{name: tcp, port: 9000}, {name: tls, port: 443}]"),
    );
    for v in ["v1", "v2"] {
        let name = format!("a-{v}");
        apply(
            &mut store,
            &service(
                &name,
                "default",
                "10.96.0.9",
                "[{name: tcp, port: 9000}, {name: tls, port: 443}]",
            ),
        );
    }
    let spec = "{hosts: [a], tcp: [{match: [{port: 9000}], route: [{destination: {host: a-v1, port: {number: 9000}}, weight: 80}, {destination: {host: a-v2, port: {number: 9000}}, weight: 20}]}], tls: [{match: [{port: 443, sniHosts: [a.default.svc.cluster.local]}], route: [{destination: {host: a-v2, port: {number: 443}}}]}]}";
    apply(&mut store, &istio("VirtualService", "a", "default", spec));
    let rule = "{host: a-v1, trafficPolicy: {connectionPool: {tcp: {idleTimeout: 7s}}, loadBalancer: {consistentHash: {useSourceIp: true}}}}";
    apply(&mut store, &istio("DestinationRule", "a-v1", "default", rule));
    let c = compiled(&mut store);
    let Terminal::Tcp(tcp) = &listener(&c, "10.96.0.1_9000").chains[0].terminal else { panic!() };
    let TcpDestination::Weighted(parts) = &tcp.to else { panic!("{:?}", tcp.to) };
    let parts: Vec<_> = parts.iter().map(|p| (&*p.name, p.weight)).collect();
    let cluster = |v: &str| format!("outbound|9000||a-{v}.default.svc.cluster.local");
    assert_eq!(parts, [(&*cluster("v1"), 80), (&*cluster("v2"), 20)]);
    assert_eq!((tcp.idle_timeout, tcp.hash_source_ip), (Some(Duration::from_secs(7)), true));
    let tls = listener(&c, "10.96.0.1_443");
    assert!(tls.filters.tls_inspector.is_some());
    assert_eq!(tls.chains[0].matches.server_names, ["a.default.svc.cluster.local".into()]);
    assert_eq!(tcp_to(&tls.chains[0]), "outbound|443||a-v2.default.svc.cluster.local");
}

#[test]
fn service_entries() {
    let mut store = store();
    let entries = [
        (
            "dns",
            "{hosts: [api.example.com], ports: [{number: 80, name: http, protocol: HTTP}, {number: 443, name: https, protocol: TLS}], resolution: DNS}",
        ),
        (
            "fixed",
            "{hosts: [db.example.com], addresses: [240.0.0.5], ports: [{number: 5432, name: tcp, protocol: TCP}], resolution: STATIC, endpoints: [{address: 192.0.2.1}, {address: 192.0.2.2, ports: {tcp: 5433}, weight: 3}]}",
        ),
        (
            "any",
            "{hosts: ['*.wild.example.com'], ports: [{number: 443, name: tls, protocol: TLS}], resolution: NONE}",
        ),
    ];
    for (name, spec) in entries {
        apply(&mut store, &istio("ServiceEntry", name, "default", spec));
    }
    let c = compiled(&mut store);
    let discovery = |name: &str| {
        let found = c.config.clusters.iter().find(|c| &*c.name == name);
        found.unwrap_or_else(|| panic!("no {name}")).discovery.clone()
    };
    let Discovery::StrictDns { groups, .. } = discovery("outbound|80||api.example.com") else {
        panic!()
    };
    assert_eq!(groups[0].endpoints[0].address.to_string(), "api.example.com:80");
    assert_eq!(host(routes(&c, "80"), "api.example.com").routes.len(), 1);
    let shared = listener(&c, "0.0.0.0_443");
    let names: Vec<_> =
        shared.chains.iter().map(|c| c.matches.server_names[0].to_string()).collect();
    assert_eq!(names, ["*.wild.example.com", "api.example.com"]);
    assert_eq!(discovery("outbound|443||*.wild.example.com"), Discovery::OriginalDst);
    assert_eq!(tcp_to(&listener(&c, "240.0.0.5_5432").chains[0]), "outbound|5432||db.example.com");
    let endpoints =
        c.config.endpoints.iter().find(|e| &*e.cluster == "outbound|5432||db.example.com");
    let endpoints: Vec<_> = endpoints.expect("endpoints").groups[0]
        .endpoints
        .iter()
        .map(|e| (e.address.to_string(), e.weight))
        .collect();
    let expected = [("192.0.2.1:5432", Some(1)), ("192.0.2.2:5433", Some(3))];
    assert_eq!(endpoints, expected.map(|(a, w)| (a.to_owned(), w)));
}

#[test]
fn unknown_destinations_pass_or_are_refused() {
    let mut store = store();
    apply(&mut store, &service("a", "default", "10.96.0.1", HTTP));
    let fallback = |s: &mut Store| {
        let c = compiled(s);
        let last = routes(&c, "80").virtual_hosts.last().expect("a host").name.to_string();
        (tcp_to(&listener(&c, "virtualOutbound").chains[1]).to_owned(), last)
    };
    let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
    assert_eq!(fallback(&mut store), pair("PassthroughCluster", "allow_any"));
    let spec = "{outboundTrafficPolicy: {mode: REGISTRY_ONLY}}";
    apply(&mut store, &istio("Sidecar", "default", "default", spec));
    assert_eq!(fallback(&mut store), pair("BlackHoleCluster", "block_all"));
    apply(
        &mut store,
        &istio("Sidecar", "default", "default", "{outboundTrafficPolicy: {mode: ALLOW_ANY}}"),
    );
    let mesh = "apiVersion: v1
kind: ConfigMap
metadata: {name: istio, namespace: istio-system}
data: {mesh: '{\"outboundTrafficPolicy\": {\"mode\": \"REGISTRY_ONLY\"}, \"accessLogFile\": \"/dev/stdout\"}'}
";
    apply(&mut store, mesh);
    assert_eq!(fallback(&mut store), pair("PassthroughCluster", "allow_any"));
    store.delete(api::Kind::Sidecar, "default", "default");
    assert_eq!(fallback(&mut store), pair("BlackHoleCluster", "block_all"));
}

#[test]
fn the_most_specific_virtual_service_wins_then_the_oldest() {
    let mut store = store();
    apply(&mut store, &service("a", "default", "10.96.0.1", HTTP));
    let status = |s: &mut Store| {
        let c = compiled(s);
        match &host(routes(&c, "80"), "a").routes[0].action {
            Action::Direct(d) => d.status,
            other => panic!("{other:?}"),
        }
    };
    let vs = |name: &str, host: &str, status: u16, created: &str| {
        let spec =
            format!("{{hosts: ['{host}'], http: [{{directResponse: {{status: {status}}}}}]}}");
        istio("VirtualService", name, "default", &spec)
            .replace("metadata: {", &format!("metadata: {{creationTimestamp: '{created}', "))
    };
    apply(&mut store, &vs("wide", "*.cluster.local", 201, "2026-01-01T00:00:00Z"));
    assert_eq!(status(&mut store), 201);
    apply(&mut store, &vs("wider", "*.local", 202, "2025-01-01T00:00:00Z"));
    assert_eq!(status(&mut store), 201);
    apply(&mut store, &vs("young", "a", 203, "2026-03-01T00:00:00Z"));
    assert_eq!(status(&mut store), 203);
    apply(&mut store, &vs("old", "a.default.svc.cluster.local", 204, "2026-02-01T00:00:00Z"));
    assert_eq!(status(&mut store), 204);
}

#[test]
fn conditions_on_the_client_are_decided_now() {
    let mut store = store();
    apply(&mut store, &service("a", "default", "10.96.0.1", HTTP));
    let spec = "{hosts: [a], http: [{match: [{sourceLabels: {app: client}}], directResponse: {status: 201}}, {match: [{sourceNamespace: other}], directResponse: {status: 202}}, {match: [{port: 81}], directResponse: {status: 203}}, {match: [{gateways: [g]}], directResponse: {status: 204}}, {directResponse: {status: 205}}, {directResponse: {status: 206}}]}";
    apply(&mut store, &istio("VirtualService", "a", "default", spec));
    let statuses = |proxy: &Proxy, s: &mut Store| -> Vec<u16> {
        let c = compile(&s.snapshot(), proxy);
        let actions = host(routes(&c, "80"), "a.default.svc.cluster.local").routes.iter();
        actions
            .filter_map(|r| if let Action::Direct(d) = &r.action { Some(d.status) } else { None })
            .collect()
    };
    // The first match without conditions on the request takes everything.
    assert_eq!(statuses(&client(), &mut store), [201]);
    assert_eq!(statuses(&sidecar("other", "x", "v1", "10.1.0.98"), &mut store), [202]);
    assert_eq!(statuses(&sidecar("third", "x", "v1", "10.1.0.98"), &mut store), [205]);
}

#[test]
fn a_gateway_merges_servers_and_redirects_to_https() {
    let mut store = support::bookinfo();
    let gateway = "{selector: {istio: ingressgateway}, servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: [a.example.com], tls: {httpsRedirect: true}}, {port: {number: 443, name: https, protocol: HTTPS}, hosts: [a.example.com], tls: {mode: SIMPLE, credentialName: a-cert}}]}";
    apply(&mut store, &istio("Gateway", "one", "default", gateway));
    let gateway = "{selector: {istio: ingressgateway}, servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: ['b.example.com', 'default/c.example.com']}, {port: {number: 443, name: pass, protocol: TLS}, hosts: [p.example.com], tls: {mode: PASSTHROUGH}}, {port: {number: 31400, name: tcp, protocol: TCP}, hosts: ['*']}]}";
    apply(&mut store, &istio("Gateway", "two", "default", gateway));
    let to =
        |port: u16| format!("[{{destination: {{host: productpage, port: {{number: {port}}}}}}}]");
    let vs = format!(
        "{{hosts: ['*.example.com'], gateways: [one, two], http: [{{route: {0}}}], tls: [{{match: [{{sniHosts: [p.example.com]}}], route: {0}}}], tcp: [{{match: [{{port: 31400}}], route: {0}}}]}}",
        to(9080)
    );
    apply(&mut store, &istio("VirtualService", "v", "default", &vs));
    let c = compile(&store.snapshot(), &ingress());
    assert_eq!(listeners(&c), ["0.0.0.0_8080", "0.0.0.0_8443", "0.0.0.0_31400"]);

    let plain = routes(&c, "http.8080");
    let names: Vec<_> = plain.virtual_hosts.iter().map(|h| (&*h.name, h.require_tls)).collect();
    let expected = [
        ("a.example.com:80", RequireTls::All),
        ("b.example.com:80", RequireTls::No),
        ("c.example.com:80", RequireTls::No),
    ];
    assert_eq!(names, expected);
    assert_eq!(
        routes(&c, "https.443.https.one.default").virtual_hosts[0].domains,
        ["a.example.com".into()]
    );

    let secure = listener(&c, "0.0.0.0_8443");
    assert!(secure.filters.tls_inspector.is_some());
    let tls = secure.chains[0].tls.as_ref().expect("a certificate");
    assert_eq!(
        tls.common.certificates,
        [ir::CertificateSource::Sds(ir::SecretRef::of_control_plane("kubernetes://a-cert"))]
    );
    assert_eq!(secure.chains[0].matches.server_names, ["a.example.com".into()]);
    assert_eq!(secure.chains[1].matches.server_names, ["p.example.com".into()]);
    let productpage = "outbound|9080||productpage.default.svc.cluster.local";
    assert_eq!(tcp_to(&secure.chains[1]), productpage);
    assert_eq!(tcp_to(&listener(&c, "0.0.0.0_31400").chains[0]), productpage);
    let served: Vec<&str> = c.served.iter().map(|s| &**s).collect();
    assert_eq!(served[..2], ["http.8080/a.example.com", "http.8080/b.example.com"]);
    // Only what its routes lead to.
    assert_eq!(clusters(&c), [productpage]);
    assert!(c.findings.is_empty(), "{:?}", c.findings);
}

#[test]
fn a_server_without_routes_answers_404_and_a_conflicting_one_is_said() {
    let mut store = support::bookinfo();
    let server = |name: &str, protocol: &str| {
        format!(
            "{{selector: {{istio: ingressgateway}}, servers: [{{port: {{number: 80, name: {name}, protocol: {protocol}}}, hosts: ['*']}}]}}"
        )
    };
    apply(&mut store, &istio("Gateway", "a", "default", &server("http", "HTTP")));
    apply(&mut store, &istio("Gateway", "b", "default", &server("tcp", "TCP")));
    let c = compile(&store.snapshot(), &ingress());
    let only = &routes(&c, "http.8080").virtual_hosts;
    assert_eq!((&*only[0].name, only[0].routes.len()), ("blackhole:80", 0));
    assert_eq!((c.findings[0].level, c.findings[0].code), (Level::Error, "IST0145"));
}

#[test]
fn what_a_sidecar_serves() {
    let mut store = support::bookinfo();
    apply(
        &mut store,
        &service(
            "extra",
            "default",
            "10.96.0.8",
            "[{name: grpc, port: 81, targetPort: 8081}, {port: 82, targetPort: 8082}]",
        )
        .replace("{app: extra}", "{app: reviews}"),
    );
    let reviews = sidecar("default", "reviews", "v1", "10.1.0.4");
    let c = compile(&store.snapshot(), &reviews);
    let ports: Vec<_> = listener(&c, "virtualInbound")
        .chains
        .iter()
        .filter_map(|c| c.matches.destination_port)
        .collect();
    assert_eq!(ports, [15006, 8081, 8081, 8082, 8082, 8082, 8082, 8082, 9080, 9080]);
    let inbound = listener(&c, "virtualInbound");
    let inspector = inbound.filters.http_inspector.as_ref().expect("undeclared ports");
    assert_eq!(inspector.disabled_ports, [(8081, 8082), (9080, 9081)]);
    let protocol = |name: &str| {
        let found = c.config.clusters.iter().find(|c| &*c.name == name).expect("a cluster");
        (found.protocol, found.bind_sources.iter().map(|ip| ip.to_string()).collect::<Vec<_>>())
    };
    assert_eq!(protocol("inbound|8081||"), (ir::UpstreamProtocol::Http2, vec!["127.0.0.6".into()]));
    assert_eq!(protocol("inbound|9080||").0, ir::UpstreamProtocol::Http1);

    let spec = "{ingress: [{port: {number: 9080, protocol: HTTP, name: h}, defaultEndpoint: '127.0.0.1:7000'}]}";
    apply(&mut store, &istio("Sidecar", "default", "default", spec));
    let c = compile(&store.snapshot(), &reviews);
    let cluster =
        c.config.clusters.iter().find(|c| &*c.name == "inbound|9080||").expect("a cluster");
    let Discovery::Static(groups) = &cluster.discovery else { panic!("{:?}", cluster.discovery) };
    assert_eq!(groups[0].endpoints[0].address.to_string(), "127.0.0.1:7000");
    assert!(!c.config.clusters.iter().any(|c| &*c.name == "inbound|8081||"));
}

#[test]
fn tls_that_cannot_be_is_refused_not_sent_in_plaintext() {
    let mut store = store();
    apply(&mut store, &service("a", "default", "10.96.0.1", HTTP));
    let spec = "{host: a, trafficPolicy: {tls: {mode: MUTUAL}}}";
    apply(&mut store, &istio("DestinationRule", "a", "default", spec));
    let c = compiled(&mut store);
    assert!(clusters(&c).is_empty());
    assert_eq!(c.findings[0].path, "spec.trafficPolicy.tls");
    apply(
        &mut store,
        &istio(
            "DestinationRule",
            "a",
            "default",
            "{host: a, trafficPolicy: {tls: {mode: SIMPLE, sni: x.org}}}",
        ),
    );
    let c = compiled(&mut store);
    let tls = c.config.clusters[0].tls.as_ref().expect("tls");
    assert_eq!(&*tls.sni, "x.org");
}

/// Whatever the weights, what is compiled is what was written, without the zeros.
#[test]
fn weights_are_kept() {
    let mut seed = 7u64;
    let mut random = move |below: u64| {
        seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (seed >> 33) % below
    };
    for _ in 0..50 {
        let weights: Vec<u64> = (0..2 + random(4)).map(|_| random(3) * random(100)).collect();
        let mut store = store();
        apply(&mut store, &service("a", "default", "10.96.0.1", HTTP));
        let parts: Vec<String> =
            weights.iter().map(|w| format!("{{destination: {{host: a}}, weight: {w}}}")).collect();
        let spec = format!("{{hosts: [a], http: [{{route: [{}]}}]}}", parts.join(", "));
        apply(&mut store, &istio("VirtualService", "a", "default", &spec));
        let c = compiled(&mut store);
        let written: Vec<u64> = weights.into_iter().filter(|w| *w > 0).collect();
        let compiled = match &host(routes(&c, "80"), "a").routes[0].action {
            Action::Forward(f) => match &f.to {
                Destination::Weighted(parts) => parts.iter().map(|p| u64::from(p.weight)).collect(),
                _ => vec![written.first().copied().unwrap_or_default()],
            },
            Action::Direct(d) => {
                assert_eq!(d.status, 500);
                Vec::new()
            }
            other => panic!("{other:?}"),
        };
        assert_eq!(compiled, written);
    }
}

#[test]
fn an_external_name_is_another_name_for_its_target() {
    let mut store = store();
    apply(&mut store, &service("a", "default", "10.96.0.1", HTTP));
    let alias = |name: &str, target: &str| {
        format!(
            "apiVersion: v1
kind: Service
metadata: {{name: {name}}}
spec: {{type: ExternalName, externalName: {target}, ports: [{{name: http, port: 80}}]}}
---
"
        )
    };
    apply(&mut store, &alias("b", "a.default.svc.cluster.local"));
    apply(&mut store, &alias("x", "example.com"));
    let c = compiled(&mut store);
    assert_eq!(
        forwards_to(host(routes(&c, "80"), "b")),
        ["outbound|80||a.default.svc.cluster.local"]
    );
    let x = "outbound|80||x.default.svc.cluster.local";
    assert_eq!(forwards_to(host(routes(&c, "80"), "x")), [x]);
    let cluster = c.config.clusters.iter().find(|c| &*c.name == x).expect("a cluster");
    assert!(matches!(&cluster.discovery, Discovery::StrictDns { .. }));
}

#[test]
fn what_has_no_effect_is_said_once_by_object_and_field() {
    let mut store = store();
    apply(
        &mut store,
        &service("a", "default", "10.96.0.1", "[{name: http, port: 80}, {name: http-b, port: 81}]"),
    );
    let rule = "{host: a, trafficPolicy: {loadBalancer: {zoneAwareLbSetting: {enabled: true}}}}";
    apply(&mut store, &istio("DestinationRule", "a", "default", rule));
    let claims = "{hosts: [a], http: [{match: [{headers: {'@request.auth.claims.a': {exact: b}}}], route: [{destination: {host: a}}]}]}";
    apply(&mut store, &istio("VirtualService", "a", "default", claims));
    let said: Vec<String> = compiled(&mut store).findings.iter().map(ToString::to_string).collect();
    let expected = [
        "DestinationRule default/a: spec.trafficPolicy.loadBalancer.zoneAwareLbSetting: has no effect in this version",
        "VirtualService default/a: spec.http[0].match[0].headers[@request.auth.claims.a]: claims are known at gateways alone: no request in the mesh has this one",
    ];
    assert_eq!(said, expected);
}

#[test]
fn the_labels_of_the_pod_count_not_those_it_started_with() {
    let mut store = support::bookinfo();
    let mut stranger = sidecar("default", "stranger", "v9", "10.1.0.4");
    let serves = |p: &Proxy, s: &mut Store| {
        let c = compile(&s.snapshot(), p);
        c.config.clusters.iter().any(|c| &*c.name == "inbound|9080||")
    };
    assert!(serves(&stranger, &mut store), "its pod is one of reviews");
    stranger.ips = vec!["10.9.9.9".parse().expect("an address")];
    assert!(!serves(&stranger, &mut store), "no pod is known, so its own labels count");
}

#[test]
fn delegates() {
    let mut store = store();
    apply(&mut store, &service("a", "default", "10.96.0.1", HTTP));
    apply(&mut store, &service("b", "other", "10.96.0.2", HTTP));
    let root = "{hosts: [a], http: [{name: r, match: [{uri: {prefix: /b/}}], timeout: 3s, delegate: {name: b, namespace: other}}, {match: [{uri: {prefix: /gone}}], delegate: {name: gone}}, {directResponse: {status: 404}}]}";
    apply(&mut store, &istio("VirtualService", "a", "default", root));
    let delegate = "{http: [{name: x, match: [{uri: {exact: /b/x}}], route: [{destination: {host: b}}]}, {match: [{uri: {prefix: /c}}], route: [{destination: {host: b}}]}, {timeout: 1s, route: [{destination: {host: b}}]}]}";
    apply(&mut store, &istio("VirtualService", "b", "other", delegate));
    let c = compiled(&mut store);
    let host = host(routes(&c, "80"), "a.default.svc.cluster.local");
    let seen: Vec<_> = host
        .routes
        .iter()
        .map(|r| match &r.action {
            Action::Forward(f) => (r.name.to_string(), format!("{:?}", r.matches.path), f.timeout),
            _ => (r.name.to_string(), format!("{:?}", r.matches.path), None),
        })
        .collect();
    let row = |name: &str, path: &str, timeout: Option<u64>| {
        (name.to_owned(), path.to_owned(), timeout.map(Duration::from_secs))
    };
    let expected = [
        row("r-x", r#"Exact("/b/x")"#, Some(3)),
        row("r", r#"Prefix("/b/")"#, Some(1)),
        row("", r#"Prefix("/")"#, None),
    ];
    assert_eq!(seen, expected);
    // Names are resolved where they are written.
    assert_eq!(forwards_to(host)[0], "outbound|80||b.other.svc.cluster.local");
    let said: Vec<String> = c.findings.iter().map(|f| f.path.clone()).collect();
    assert_eq!(said, ["spec.http[1]", "spec.http[1].delegate"]);
    let origin = c.origins.get(host.routes[0].origin).expect("an origin");
    assert_eq!(origin.object.to_string(), "VirtualService other/b");
}

#[test]
fn egress_hosts_by_namespace_port_and_exclusion() {
    let mut store = store();
    let both = "[{name: http, port: 80}, {name: http-b, port: 81}]";
    for (name, namespace) in [("a", "default"), ("b", "default"), ("c", "other"), ("d", "third")] {
        apply(&mut store, &service(name, namespace, "10.96.0.1", both));
    }
    let seen = |egress: &str, s: &mut Store| {
        apply(s, &istio("Sidecar", "default", "default", &format!("{{egress: {egress}}}")));
        let c = compiled(s);
        let short = |n: &&str| n.replace("outbound|", "").replace(".svc.cluster.local", "");
        clusters(&c).iter().map(short).collect::<Vec<_>>().join(" ")
    };
    let all = [
        ("[{hosts: ['./*']}]", "80||a.default 81||a.default 80||b.default 81||b.default"),
        (
            "[{hosts: ['other/*', 'third/d.third.svc.cluster.local']}]",
            "80||c.other 81||c.other 80||d.third 81||d.third",
        ),
        ("[{hosts: ['*/c.other.svc.cluster.local']}]", "80||c.other 81||c.other"),
        (
            "[{port: {number: 80, protocol: HTTP, name: h}, hosts: ['./*']}]",
            "80||a.default 80||b.default",
        ),
        (
            "[{port: {number: 80, protocol: HTTP, name: h}, hosts: ['./*']}, {hosts: ['other/*']}]",
            "80||a.default 80||b.default 80||c.other 81||c.other",
        ),
        ("[{hosts: ['~/*']}]", ""),
        ("[{hosts: ['./*', './~a.default.svc.cluster.local']}]", "80||b.default 81||b.default"),
    ];
    for (egress, expected) in all {
        assert_eq!(seen(egress, &mut store), expected, "{egress}");
    }
}

#[test]
fn a_destination_of_a_rule_is_reached_though_the_scope_does_not_list_it() {
    let mut store = store();
    apply(&mut store, &service("a", "default", "10.96.0.1", HTTP));
    apply(&mut store, &service("b", "other", "10.96.0.2", HTTP));
    apply(&mut store, &service("c", "other", "10.96.0.3", HTTP));
    let egress = "{egress: [{hosts: ['./a.default.svc.cluster.local']}]}";
    apply(&mut store, &istio("Sidecar", "default", "default", egress));
    let spec = "{hosts: [a], http: [{route: [{destination: {host: b.other.svc.cluster.local}}]}]}";
    apply(&mut store, &istio("VirtualService", "a", "default", spec));
    let c = compiled(&mut store);
    let expected = ["a.default", "b.other"].map(|h| format!("outbound|80||{h}.svc.cluster.local"));
    assert_eq!(clusters(&c), expected);
    assert!(c.missing.is_empty(), "{:?}", c.missing);
}
