//! Gateways: what stands together on a port and what does not, and what comes in without a route.

mod support;

use compile::{Compiled, compile};
use ir::{Discovery, FilterChain, ForwardClientCert, Listener, TcpDestination, Terminal};
use registry::Store;
use serde_json::{Value, json};
use support::{apply, bookinfo, ingress, sidecar};

fn object(kind: &str, name: &str, spec: Value) -> String {
    json!({"apiVersion": "networking.istio.io/v1", "kind": kind, "metadata": {"name": name},
        "spec": spec})
    .to_string()
}

fn gateway(name: &str, servers: Value) -> String {
    object("Gateway", name, json!({"selector": {"istio": "ingressgateway"}, "servers": servers}))
}

fn compiled(store: &mut Store, objects: &[String]) -> Compiled {
    objects.iter().for_each(|o| apply(store, o));
    compile(&store.snapshot(), &ingress())
}

fn listener<'a>(c: &'a Compiled, name: &str) -> &'a Listener {
    c.config.listeners.iter().find(|l| &*l.name == name).expect("a listener")
}

fn names(chain: &FilterChain) -> Vec<&str> {
    chain.matches.server_names.iter().map(|n| &**n).collect()
}

fn to(chain: &FilterChain) -> &str {
    match &chain.terminal {
        Terminal::Tcp(tcp) => match &tcp.to {
            TcpDestination::Cluster(name) => name,
            TcpDestination::Weighted(_) => "several",
        },
        Terminal::Http(_) => "http",
        Terminal::Close => "nowhere",
    }
}

fn findings(c: &Compiled) -> Vec<String> {
    c.findings.iter().map(|f| format!("{} {f}", f.code)).collect()
}

#[test]
fn a_server_that_does_not_go_with_an_older_one_is_told_which() {
    let port = |number: u16, name: &str, protocol: &str| json!({"number": number, "name": name, "protocol": protocol});
    let tls = json!({"mode": "SIMPLE", "credentialName": "c"});
    let a = gateway(
        "a",
        json!([{"port": port(80, "http", "HTTP"), "hosts": ["*"]},
            {"port": port(443, "https", "HTTPS"), "hosts": ["x.example", "y.example"], "tls": tls}]),
    );
    let b = gateway(
        "b",
        json!([{"port": port(80, "tcp", "TCP"), "hosts": ["*"]},
            {"port": port(443, "https-b", "HTTPS"), "hosts": ["y.example"], "tls": tls},
            {"port": port(443, "pass", "TLS"), "hosts": ["x.example"], "tls": {"mode": "PASSTHROUGH"}},
            {"port": port(443, "https-c", "HTTPS"), "hosts": ["z.example"], "tls": tls}]),
    );
    let c = compiled(&mut bookinfo(), &[a, b]);
    let chains: Vec<_> =
        listener(&c, "0.0.0.0_8443").chains.iter().flat_map(|c| names(c)).collect();
    assert_eq!(chains, ["x.example", "y.example", "z.example"]);
    assert_eq!(
        findings(&c),
        [
            "IST0145 Gateway default/b: spec.servers[0].port: port 80 is served as HTTP by Gateway \
             default/a spec.servers[0], which is older, and that does not go together with TCP; \
             choose another port",
            "IST0145 Gateway default/b: spec.servers[1].hosts: TLS for host y.example on port 443 is \
             served by Gateway default/a spec.servers[1], which is older; this server has no effect",
            "IST0145 Gateway default/b: spec.servers[2].hosts: TLS for host x.example on port 443 is \
             served by Gateway default/a spec.servers[1], which is older; this server has no effect",
        ]
    );
}

#[test]
fn what_the_mesh_names_itself_is_passed_on_and_nothing_else() {
    let auto = gateway(
        "cross",
        json!([{"port": {"number": 15443, "name": "tls", "protocol": "TLS"},
            "tls": {"mode": "AUTO_PASSTHROUGH"}, "hosts": ["*.default.svc.cluster.local"]}]),
    );
    let rule = json!({"host": "reviews", "subsets": [{"name": "v1", "labels": {"version": "v1"}}],
        "trafficPolicy": {"tls": {"mode": "ISTIO_MUTUAL"}}});
    let outside = json!({"hosts": ["out.default.svc.cluster.local"], "resolution": "DNS",
        "location": "MESH_EXTERNAL", "ports": [{"number": 443, "name": "tls", "protocol": "TLS"}]});
    let objects =
        [auto, object("DestinationRule", "reviews", rule), object("ServiceEntry", "out", outside)];
    let c = compiled(&mut bookinfo(), &objects);
    let chains = &listener(&c, "0.0.0.0_15443").chains;
    for chain in chains {
        assert_eq!(names(chain), [to(chain)]);
        let m = &chain.matches;
        assert_eq!(&*m.transport_protocol, "tls");
        assert!(m.application_protocols.contains(&"istio".into()), "only what the mesh speaks");
        assert!(!m.application_protocols.contains(&"h2".into()));
    }
    let all: Vec<&str> = chains.iter().flat_map(names).collect();
    for name in
        ["outbound_.9080_._.reviews", "outbound_.9080_.v1_.reviews", "outbound_.9080_._.details"]
    {
        assert!(all.contains(&format!("{name}.default.svc.cluster.local").as_str()), "{all:?}");
    }
    assert!(
        !all.iter().any(|n| n.contains("out.default") || n.contains("istio-system")),
        "{all:?}"
    );
    let find = |name: &str| c.config.clusters.iter().find(|c| &*c.name == name).expect("a cluster");
    let v1 = find("outbound_.9080_.v1_.reviews.default.svc.cluster.local");
    assert!(v1.tls.is_none() && matches!(v1.discovery, Discovery::Eds(_)));
    let endpoints = c.config.endpoints.iter().find(|e| e.cluster == v1.name).expect("endpoints");
    assert_eq!(endpoints.groups.iter().flat_map(|g| &g.endpoints).count(), 1);
    assert_eq!(findings(&c), [""; 0]);
}

/// An endpoint without a sidecar would be sent TLS that it cannot end.
#[test]
fn nothing_is_passed_on_to_pods_without_a_sidecar() {
    let auto = gateway(
        "cross",
        json!([{"port": {"number": 15443, "name": "tls", "protocol": "TLS"},
            "tls": {"mode": "AUTO_PASSTHROUGH"}, "hosts": ["*.local"]}]),
    );
    let mut store = bookinfo();
    let pod = json!({
        "metadata": {"name": "details-v1-0", "namespace": "default", "labels": {"app": "details", "version": "v1"}},
        "spec": {}, "status": {"phase": "Running", "podIP": "10.1.0.2", "podIPs": [{"ip": "10.1.0.2"}],
            "conditions": [{"type": "Ready", "status": "True"}]}});
    store.apply(api::Kind::Pod, &pod);
    let service = |name: &str, rest: Value| {
        let mut spec = json!({"ports": [{"name": "tcp", "port": 9080}]});
        spec.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
        json!({"metadata": {"name": name, "namespace": "default"}, "spec": spec})
    };
    let outside = json!({"type": "ExternalName", "externalName": "outside.example"});
    store.apply(api::Kind::Service, &service("outside", outside));
    let headless = json!({"clusterIP": "None", "selector": {"app": "headless"}});
    store.apply(api::Kind::Service, &service("headless", headless));
    // Wherever the connection was going, in both ways to say so.
    let anywhere = json!({"hosts": ["anywhere.local"], "resolution": "NONE",
        "location": "MESH_INTERNAL", "ports": [{"number": 9080, "name": "tcp", "protocol": "TCP"}]});
    let through = json!({"host": "productpage",
        "trafficPolicy": {"loadBalancer": {"simple": "PASSTHROUGH"}}});
    let objects = [
        auto,
        object("ServiceEntry", "anywhere", anywhere),
        object("DestinationRule", "through", through),
    ];
    let c = compiled(&mut store, &objects);
    let name = |name: &str| format!("outbound_.9080_._.{name}.default.svc.cluster.local");
    let of = |service: &str| {
        let found = c.config.endpoints.iter().find(|e| *e.cluster == *name(service));
        found.expect("endpoints").groups.iter().flat_map(|g| &g.endpoints).count()
    };
    assert_eq!((of("details"), of("productpage"), of("headless")), (0, 1, 0));
    let chains = listener(&c, "0.0.0.0_15443").chains.iter().flat_map(names);
    let led: Vec<&str> =
        chains.filter(|n| n.contains("outside") || n.contains("anywhere")).collect();
    assert_eq!(led, [""; 0], "names of which nobody knows who answers to them");
    for cluster in c.config.clusters.iter().filter(|c| c.name.starts_with("outbound_.")) {
        assert!(matches!(cluster.discovery, Discovery::Eds(_)), "{cluster:?}");
    }
}

/// A client of a gateway knows nothing of the service's endpoints: the gateway chooses.
#[test]
fn a_headless_service_is_reached_through_a_gateway() {
    let mut store = bookinfo();
    let service = json!({"metadata": {"name": "db", "namespace": "default"}, "spec": {
        "clusterIP": "None", "selector": {"app": "db"}, "ports": [{"name": "http", "port": 80}]}});
    store.apply(api::Kind::Service, &service);
    support::slice(&mut store, "default", "db", ("http", 80), &[("10.1.0.77", true)]);
    let servers =
        json!([{"port": {"number": 80, "name": "http", "protocol": "HTTP"}, "hosts": ["*"]}]);
    let way = json!({"hosts": ["*"], "gateways": ["way"],
        "http": [{"route": [{"destination": {"host": "db"}}]}]});
    let c = compiled(&mut store, &[gateway("way", servers), object("VirtualService", "way", way)]);
    let name = "outbound|80||db.default.svc.cluster.local";
    let cluster = c.config.clusters.iter().find(|c| &*c.name == name).expect("the cluster");
    assert!(matches!(cluster.discovery, Discovery::Eds(_)), "{:?}", cluster.discovery);
    let endpoints = c.config.endpoints.iter().find(|e| *e.cluster == *name).expect("endpoints");
    assert_eq!(endpoints.groups.iter().flat_map(|g| &g.endpoints).count(), 1);
}

/// The TLS of the cluster for `out.example:PORT`, as (SNI, by host, names checked by host, ALPN,
/// certificate, roots), or what is said where there is no cluster.
fn tls_of(proxy: &compile::Proxy, port: u16, rule: Value) -> Result<String, String> {
    let mut store = bookinfo();
    let ports = json!([
        {"number": 80, "name": "http", "protocol": "HTTP"},
        {"number": 443, "name": "https", "protocol": "HTTPS"},
        {"number": 9000, "name": "tcp", "protocol": "TCP"}]);
    let entry = json!({"hosts": ["out.example"], "resolution": "DNS", "location": "MESH_EXTERNAL",
        "addresses": ["10.9.9.9"], "ports": ports});
    let to = json!([{"destination": {"host": "out.example", "port": {"number": port}}}]);
    let way =
        json!({"hosts": ["out.example"], "gateways": ["mesh", "way"], "http": [{"route": to}]});
    let servers =
        json!([{"port": {"number": 80, "name": "http", "protocol": "HTTP"}, "hosts": ["*"]}]);
    for object in [
        object("ServiceEntry", "out", entry),
        object("DestinationRule", "out", rule),
        gateway("way", servers),
        object("VirtualService", "way", way),
    ] {
        apply(&mut store, &object);
    }
    let c = compile(&store.snapshot(), proxy);
    let name = format!("outbound|{port}||out.example");
    let Some(cluster) = c.config.clusters.iter().find(|c| *c.name == *name) else {
        return Err(findings(&c).join("; "));
    };
    let Some(tls) = &cluster.tls else { return Ok("plain".to_owned()) };
    let certificates = tls.common.certificates.iter().map(|c| match c {
        ir::CertificateSource::Sds(secret) => secret.name.to_string(),
        ir::CertificateSource::Inline(_) => "inline".to_owned(),
    });
    let v = tls.common.validation.as_ref().expect("servers are always checked");
    let roots = match &v.roots_sds {
        Some(roots) => roots.name.to_string(),
        None if v.system_roots => "system".to_owned(),
        None => format!("untrusted={}", v.accept_untrusted),
    };
    Ok(format!(
        "sni={} auto={}/{} alpn={} cert={} roots={roots} sans={} crl={}",
        tls.sni,
        tls.auto_sni,
        tls.auto_san_validation,
        tls.common.alpn.join(","),
        certificates.collect::<Vec<_>>().join(","),
        v.sans.len(),
        v.crl.is_some(),
    ))
}

#[test]
fn tls_to_servers_is_as_the_rule_says_for_whom_it_says() {
    let (gateway, sidecar) = (ingress(), support::sidecar("default", "client", "v1", "10.1.0.99"));
    let rule = |tls: Value| json!({"host": "out.example", "trafficPolicy": {"tls": tls}});
    let selecting = |tls: Value| {
        let mut rule = rule(tls);
        rule["workloadSelector"] = json!({"matchLabels": {"app": "client"}});
        rule
    };
    let simple = json!({"mode": "SIMPLE"});
    let named =
        json!({"mode": "SIMPLE", "sni": "x.example", "caCertificates": "/ca", "caCrl": "/crl"});
    let trusting = json!({"mode": "SIMPLE", "insecureSkipVerify": true, "sni": "y"});
    let sans = json!({"mode": "SIMPLE", "subjectAltNames": ["z"]});
    let files = json!({"mode": "MUTUAL", "clientCertificate": "/c", "privateKey": "/k", "caCertificates": "/ca"});
    let secret = json!({"mode": "MUTUAL", "credentialName": "own"});
    let simple_secret = json!({"mode": "SIMPLE", "credentialName": "own"});
    let by_host = "sni= auto=true/true alpn=http/1.1";
    let table = [
        (&gateway, 80, rule(simple.clone()), format!("{by_host} cert= roots=system sans=0 crl=false")),
        (&sidecar, 443, rule(simple.clone()), "sni=out.example auto=true/true alpn=http/1.1 cert= roots=system sans=0 crl=false".into()),
        (&sidecar, 9000, rule(simple), "sni=out.example auto=true/true alpn= cert= roots=system sans=0 crl=false".into()),
        (&gateway, 80, rule(named), "sni=x.example auto=false/false alpn=http/1.1 cert= roots=file-root:/ca sans=0 crl=true".into()),
        (&gateway, 80, rule(trusting), "sni=y auto=false/false alpn=http/1.1 cert= roots=untrusted=true sans=0 crl=false".into()),
        (&gateway, 80, rule(sans), "sni= auto=true/false alpn=http/1.1 cert= roots=system sans=1 crl=false".into()),
        (&sidecar, 80, rule(files), format!("{by_host} cert=file-cert:/c~/k roots=file-root:/ca sans=0 crl=false")),
        (&gateway, 80, rule(secret.clone()), format!("{by_host} cert=kubernetes://own roots=kubernetes://own-cacert sans=0 crl=false")),
        (&sidecar, 80, selecting(secret.clone()), format!("{by_host} cert=kubernetes://own roots=kubernetes://own-cacert sans=0 crl=false")),
        (&gateway, 80, rule(simple_secret.clone()), format!("{by_host} cert= roots=kubernetes://own-cacert sans=0 crl=false")),
        (&sidecar, 80, rule(simple_secret), format!("{by_host} cert= roots=system sans=0 crl=false")),
    ];
    for (proxy, port, rule, expected) in table {
        assert_eq!(tls_of(proxy, port, rule.clone()), Ok(expected), "{rule}");
    }
    let refused = tls_of(&sidecar, 80, rule(secret)).expect_err("no certificate to show");
    assert!(refused.contains("credentialName is for gateways"), "{refused}");
}

/// What the mesh says of whoever stands in front of its gateways.
#[test]
fn the_topology_in_front_of_gateways_is_heeded() {
    let mut store = bookinfo();
    let port = json!({"number": 80, "name": "http", "protocol": "HTTP"});
    let g = gateway("g", json!([{"port": port, "hosts": ["*"]}]));
    let topology = |topology: Value| {
        let mesh = json!({"defaultConfig": {"gatewayTopology": topology}}).to_string();
        json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"mesh": mesh},
            "metadata": {"name": "istio", "namespace": "istio-system"}})
        .to_string()
    };
    let mut heeded = |said: Value| {
        let c = compiled(&mut store, &[g.clone(), topology(said)]);
        let listener = listener(&c, "0.0.0.0_8080");
        let Terminal::Http(manager) = &listener.chains[0].terminal else { panic!("not HTTP") };
        let demanded = listener.filters.proxy_protocol.is_some();
        (demanded, manager.xff_num_trusted_hops, manager.forward_client_cert)
    };
    let set = ForwardClientCert::SanitizeSet;
    assert_eq!(heeded(json!({})), (false, 0, set));
    assert_eq!(heeded(json!({"numTrustedProxies": 2})), (false, 2, set));
    assert_eq!(heeded(json!({"proxyProtocol": {}})), (true, 0, set));
    let forward = json!({"forwardClientCertDetails": "ALWAYS_FORWARD_ONLY"});
    assert_eq!(heeded(forward), (false, 0, ForwardClientCert::AlwaysForwardOnly));
}

/// reference: protocol selection; what a port that is `grpc-web` makes of its requests.
#[test]
fn grpc_web_is_spoken_where_a_port_says_so() {
    let speaks = |c: &Compiled, name: &str| {
        let chains = listener(c, name).chains.iter();
        let mut managers = chains.filter_map(|c| match &c.terminal {
            Terminal::Http(manager) => Some(manager),
            _ => None,
        });
        managers.any(|m| m.filters.iter().any(|f| f.config == ir::HttpFilterConfig::GrpcWeb))
    };
    for (protocol, name, expected) in [("HTTP", "http", false), ("GRPC-WEB", "grpc-web", true)] {
        let mut store = bookinfo();
        let port = json!({"number": 80, "name": "p", "protocol": protocol});
        let g = gateway("g", json!([{"port": port, "hosts": ["*"]}]));
        assert_eq!(speaks(&compiled(&mut store, &[g]), "0.0.0.0_8080"), expected, "{protocol}");
        let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "reviews"},
            "spec": {"clusterIP": "10.96.0.4", "selector": {"app": "reviews"},
                "ports": [{"name": name, "port": 9080}]}});
        apply(&mut store, &service.to_string());
        let proxy = sidecar("default", "reviews", "v1", "10.1.0.4");
        let c = compile(&store.snapshot(), &proxy);
        assert_eq!(speaks(&c, "virtualInbound"), expected, "{name}");
    }
}
