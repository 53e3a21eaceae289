//! What lies outside Kubernetes, and what Sidecars change: names, ServiceEntries, machines, egress.

mod support;

use compile::{Compiled, Dns, Proxy, compile};
use ir::{Listener, NameInfo, TcpDestination, Terminal};
use registry::Store;
use serde_json::json;
use support::{apply, pod, sidecar, store};

fn client(dns: Dns) -> Proxy {
    Proxy { dns, ..sidecar("default", "client", "v1", "10.1.0.99") }
}

fn compiled(store: &mut Store, dns: Dns) -> Compiled {
    compile(&store.snapshot(), &client(dns))
}

fn istio(kind: &str, name: &str, spec: &str) -> String {
    format!(
        "apiVersion: networking.istio.io/v1
kind: {kind}
metadata: {{name: {name}, namespace: default}}
spec: {spec}
---
"
    )
}

fn entry(name: &str, spec: &str) -> String {
    istio("ServiceEntry", name, spec)
}

/// Gives every entry its automatic addresses, as the control plane does.
fn allocate(store: &mut Store, yaml: &str) {
    for mut object in support::documents(yaml) {
        let name = object["metadata"]["name"].clone();
        let all = store.allocations();
        let Some(own) = all.iter().find(|a| name == a.name.as_str()) else { continue };
        let list = own.addresses.iter().map(|(h, ip)| json!({"value": ip, "host": h.as_str()}));
        object["status"]["addresses"] = list.collect();
        store.apply(api::Kind::ServiceEntry, &object);
    }
}

fn name<'a>(c: &'a Compiled, host: &str) -> Option<&'a NameInfo> {
    c.config.names.as_ref().expect("names").hosts.get(host)
}

fn ips(c: &Compiled, host: &str) -> Vec<String> {
    name(c, host).iter().flat_map(|i| &i.ips).map(ToString::to_string).collect()
}

fn listener<'a>(c: &'a Compiled, name: &str) -> &'a Listener {
    let found = c.config.listeners.iter().find(|l| &*l.name == name);
    let all: Vec<_> = c.config.listeners.iter().map(|l| &*l.name).collect();
    found.unwrap_or_else(|| panic!("no listener {name} among {all:?}"))
}

/// The clusters to which a listener's TCP chains lead.
fn leads_to(listener: &Listener) -> Vec<&str> {
    let chains = listener.chains.iter().chain(&listener.default_chain);
    let to = chains.filter_map(|c| match &c.terminal {
        Terminal::Tcp(tcp) => match &tcp.to {
            TcpDestination::Cluster(name) => Some(&**name),
            TcpDestination::Weighted(_) => None,
        },
        _ => None,
    });
    to.collect()
}

const SERVICES: &str = "
apiVersion: v1
kind: Service
metadata: {name: web, namespace: default}
spec: {clusterIP: 10.96.0.7, ports: [{name: http, port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: db, namespace: default}
spec: {clusterIP: None, ports: [{name: tcp, port: 5432}]}
---
apiVersion: v1
kind: Service
metadata: {name: alias, namespace: default}
spec: {type: ExternalName, externalName: example.org}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: db-1, namespace: default, labels: {kubernetes.io/service-name: db}}
addressType: IPv4
ports: [{name: tcp, port: 5432}]
endpoints:
- {addresses: [10.1.0.4], hostname: db-0}
- {addresses: [10.1.0.5], hostname: db-1, conditions: {ready: false}}
";

const DATABASES: &str = "
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: one, namespace: default}
spec: {hosts: [one.example.com], ports: [{number: 5432, name: tcp, protocol: TCP}], resolution: DNS}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: two, namespace: default}
spec: {hosts: [two.example.com], ports: [{number: 5432, name: tcp, protocol: TCP}], resolution: DNS}
";

/// reference: DNS proxying; NDS.
#[test]
fn names_are_told_for_what_has_addresses() {
    let mut store = store();
    apply(&mut store, SERVICES);
    apply(
        &mut store,
        &entry(
            "fixed",
            "{hosts: [fixed.example.com], addresses: [192.168.0.1, 10.8.0.0/16], ports: [{number: 80, name: http, protocol: HTTP}], resolution: STATIC}",
        ),
    );
    apply(
        &mut store,
        &entry(
            "wild",
            "{hosts: ['*.example.net'], addresses: [192.168.0.2], ports: [{number: 80, name: http, protocol: HTTP}], resolution: STATIC}",
        ),
    );
    apply(
        &mut store,
        &entry(
            "none",
            "{hosts: [none.example.com], ports: [{number: 80, name: http, protocol: HTTP}], resolution: NONE}",
        ),
    );
    let c = compiled(&mut store, Dns::Captured);
    assert_eq!(ips(&c, "web.default.svc.cluster.local"), ["10.96.0.7"]);
    assert_eq!(ips(&c, "db.default.svc.cluster.local"), ["10.1.0.4"]);
    assert_eq!(ips(&c, "db-0.db.default.svc.cluster.local"), ["10.1.0.4"]);
    // A range is no address.
    assert_eq!(ips(&c, "fixed.example.com"), ["192.168.0.1"]);
    assert_eq!(ips(&c, "*.example.net"), ["192.168.0.2"]);
    for absent in
        ["db-1.db.default.svc.cluster.local", "alias.default.svc.cluster.local", "none.example.com"]
    {
        assert_eq!(name(&c, absent), None, "{absent}");
    }
    let web = name(&c, "web.default.svc.cluster.local").expect("web");
    assert_eq!(
        (&*web.short_name, &*web.namespace, &*web.registry),
        ("web", "default", "Kubernetes")
    );
    let fixed = name(&c, "fixed.example.com").expect("fixed");
    assert_eq!((&*fixed.short_name, &*fixed.registry), ("", "External"));
    // A Sidecar narrows what has a name; a proxy whose DNS is not ours is told none.
    apply(&mut store, &istio("Sidecar", "default", "{egress: [{hosts: ['./fixed.example.com']}]}"));
    let c = compiled(&mut store, Dns::Captured);
    assert_eq!(c.config.names.as_ref().map(|n| n.hosts.len()), Some(1));
    assert_eq!(compiled(&mut store, Dns::Elsewhere).config.names, None);
}

/// reference: ServiceEntry, automatic addresses.
#[test]
fn two_databases_on_one_port_are_told_apart_by_automatic_addresses() {
    let mut store = store();
    apply(&mut store, DATABASES);
    // Without addresses the older has the port.
    let c = compiled(&mut store, Dns::Captured);
    assert_eq!(leads_to(listener(&c, "0.0.0.0_5432")), ["outbound|5432||one.example.com"]);
    assert!(c.findings.iter().any(|f| f.message.contains("give the service addresses")));
    allocate(&mut store, DATABASES);
    let c = compiled(&mut store, Dns::Captured);
    for host in ["one.example.com", "two.example.com"] {
        let ip = &ips(&c, host)[0];
        assert!(ip.starts_with("240.240."), "{ip}");
        let own = listener(&c, &format!("{ip}_5432"));
        assert_eq!(leads_to(own), [format!("outbound|5432||{host}")]);
    }
    assert!(c.findings.is_empty(), "{:?}", c.findings);
    // Who does not ask us for names does not connect to these addresses.
    let c = compiled(&mut store, Dns::Elsewhere);
    assert_eq!(leads_to(listener(&c, "0.0.0.0_5432")), ["outbound|5432||one.example.com"]);
}

/// reference: the proxy's own `DNS_AUTO_ALLOCATE`.
#[test]
fn a_proxy_may_allocate_by_itself() {
    let mut store = store();
    apply(&mut store, DATABASES);
    assert_eq!(name(&compiled(&mut store, Dns::Captured), "one.example.com"), None);
    let c = compiled(&mut store, Dns::Allocated);
    let [one, two] = ["one.example.com", "two.example.com"].map(|host| ips(&c, host));
    assert!(one[0].starts_with("240.240.") && one != two, "{one:?} {two:?}");
    assert_eq!(
        leads_to(listener(&c, &format!("{}_5432", two[0]))),
        ["outbound|5432||two.example.com"]
    );
}

/// reference: ServiceEntry.workloadSelector; WorkloadEntry.
#[test]
fn an_entry_selects_pods_and_machines() {
    let mut store = store();
    pod(&mut store, "default", "db", "v1", "10.1.0.8");
    apply(
        &mut store,
        &istio(
            "WorkloadEntry",
            "vm",
            "{address: 192.0.2.9, labels: {app: db}, ports: {tcp: 6432}, weight: 5, locality: eu/a/1}",
        ),
    );
    apply(
        &mut store,
        &entry(
            "db",
            "{hosts: [db.example.com], addresses: [240.0.0.9], location: MESH_INTERNAL, ports: [{number: 5432, name: tcp, protocol: TCP, targetPort: 15432}], resolution: STATIC, workloadSelector: {labels: {app: db}}}",
        ),
    );
    let c = compiled(&mut store, Dns::Captured);
    let found = c.config.endpoints.iter().find(|e| &*e.cluster == "outbound|5432||db.example.com");
    let groups = &found.expect("endpoints").groups;
    let all = groups.iter().flat_map(|g| g.endpoints.iter().map(move |e| (&g.locality, e)));
    let mut all: Vec<_> = all
        .map(|(l, e)| format!("{} {:?} {}", e.address, e.weight.unwrap_or(0), l.region))
        .collect();
    all.sort();
    assert_eq!(all, ["10.1.0.8:15432 1 ", "192.0.2.9:6432 5 eu"]);
}

/// reference: WorkloadEntry, condition `Healthy`.
#[test]
fn a_machine_whose_health_is_checked_serves_while_it_is_well() {
    let mut store = store();
    apply(
        &mut store,
        &entry(
            "db",
            "{hosts: [db.example.com], addresses: [240.0.0.9], ports: [{number: 5432, name: tcp, protocol: TCP}], resolution: STATIC, workloadSelector: {labels: {app: db}}}",
        ),
    );
    let mut machine = json!({
        "metadata": {"name": "vm", "namespace": "default"},
        "spec": {"address": "192.0.2.9", "labels": {"app": "db"}}});
    let mut serves = |machine: &serde_json::Value| {
        store.apply(api::Kind::WorkloadEntry, machine);
        let c = compiled(&mut store, Dns::Captured);
        let found = c.config.endpoints.iter().find(|e| e.cluster.ends_with("db.example.com"));
        found.is_some_and(|e| e.groups.iter().any(|g| !g.endpoints.is_empty()))
    };
    assert!(serves(&machine));
    machine["metadata"]["annotations"]["proxy.istio.io/health-checks-enabled"] = "true".into();
    assert!(!serves(&machine), "nothing is known of it yet");
    for (status, well) in [("True", true), ("False", false)] {
        machine["status"]["conditions"] = json!([{"type": "Healthy", "status": status}]);
        assert_eq!(serves(&machine), well, "{status}");
    }
}

fn hosts(c: &Compiled, route: &str) -> Vec<String> {
    let found = c.config.routes.iter().find(|r| &*r.name == route);
    let hosts = found.iter().flat_map(|r| &r.virtual_hosts);
    hosts.map(|h| h.name.to_string()).filter(|n| n.contains(':')).collect()
}

/// Listeners with sockets of their own.
fn bound(c: &Compiled) -> Vec<&str> {
    let all = c.config.listeners.iter().filter(|l| l.bind_to_port);
    all.map(|l| &*l.name).collect()
}

fn cluster<'a>(c: &'a Compiled, name: &str) -> &'a ir::Cluster {
    let found = c.config.clusters.iter().find(|c| &*c.name == name);
    found.unwrap_or_else(|| panic!("no cluster {name}"))
}

/// reference: Sidecar.egress, port, bind and captureMode.
#[test]
fn egress_listeners_of_their_own_take_their_port() {
    let mut store = store();
    for (name, ip) in [("a", "10.96.0.1"), ("b", "10.96.0.2")] {
        let spec = "[{name: http, port: 80}, {name: tcp, port: 3306}]";
        apply(
            &mut store,
            &format!(
                "apiVersion: v1\nkind: Service\nmetadata: {{name: {name}}}\nspec: {{clusterIP: {ip}, ports: {spec}}}\n"
            ),
        );
    }
    let all = ["a.default.svc.cluster.local:80", "b.default.svc.cluster.local:80"];
    let virtuals = ["virtualOutbound", "virtualInbound"];
    let c = compiled(&mut store, Dns::Captured);
    assert_eq!(
        (hosts(&c, "80").as_slice(), bound(&c)),
        (all.map(str::to_owned).as_slice(), virtuals.to_vec())
    );
    // The port belongs to its listener, which imports a alone; the listener for the rest keeps the others.
    let own = "{port: {number: 80, name: http, protocol: HTTP}, bind: 127.0.0.2, captureMode: NONE, hosts: ['./a.default.svc.cluster.local']}";
    apply(
        &mut store,
        &istio("Sidecar", "default", &format!("{{egress: [{own}, {{hosts: ['./*']}}]}}")),
    );
    let c = compiled(&mut store, Dns::Captured);
    assert_eq!(hosts(&c, "80"), all[..1]);
    assert_eq!(bound(&c), ["virtualOutbound", "127.0.0.2_80", "virtualInbound"]);
    assert_eq!(
        leads_to(listener(&c, "10.96.0.2_3306")),
        ["outbound|3306||b.default.svc.cluster.local"]
    );
    // Without capture everything is listened for on the loopback address.
    let none = "{egress: [{captureMode: NONE, hosts: ['./*']}]}";
    apply(&mut store, &istio("Sidecar", "default", none));
    let c = compiled(&mut store, Dns::Captured);
    assert_eq!(bound(&c), ["virtualOutbound", "127.0.0.1_80", "127.0.0.1_3306", "virtualInbound"]);
    assert_eq!(
        leads_to(listener(&c, "127.0.0.1_3306")),
        ["outbound|3306||a.default.svc.cluster.local"]
    );
    // Nothing at all.
    apply(&mut store, &istio("Sidecar", "default", "{egress: [{hosts: ['~/*']}]}"));
    let c = compiled(&mut store, Dns::Captured);
    assert_eq!((hosts(&c, "80").len(), bound(&c)), (0, virtuals.to_vec()));
    assert!(c.findings.is_empty(), "{:?}", c.findings);
}

/// reference: Sidecar.outboundTrafficPolicy.egressProxy.
#[test]
fn unknown_traffic_goes_through_the_egress_proxy() {
    let mut store = store();
    apply(&mut store, SERVICES);
    let policy = |mode: &str| {
        format!(
            "{{egress: [{{hosts: ['./db.default.svc.cluster.local']}}], outboundTrafficPolicy: {{mode: {mode}, egressProxy: {{host: web, port: {{number: 80}}}}}}}}"
        )
    };
    apply(&mut store, &istio("Sidecar", "default", &policy("ALLOW_ANY")));
    let c = compiled(&mut store, Dns::Captured);
    let web = "outbound|80||web.default.svc.cluster.local";
    assert_eq!(leads_to(listener(&c, "virtualOutbound")), ["BlackHoleCluster", web]);
    // It need not be imported.
    assert_eq!(&*cluster(&c, web).name, web);
    apply(&mut store, &istio("Sidecar", "default", &policy("REGISTRY_ONLY")));
    let c = compiled(&mut store, Dns::Captured);
    assert_eq!(leads_to(listener(&c, "virtualOutbound")), ["BlackHoleCluster"; 2]);
}

/// reference: Sidecar.ingress and inboundConnectionPool.
#[test]
fn ingress_listeners_say_what_is_served_and_how() {
    let mut store = store();
    let spec = "{
      ingress: [
        {port: {number: 9080, name: http, protocol: HTTP}, defaultEndpoint: 127.0.0.1:8080, connectionPool: {http: {http2MaxRequests: 7}}},
        {port: {number: 9081, name: tcp, protocol: TCP}, defaultEndpoint: 'unix:///run/app', captureMode: NONE, bind: 10.1.0.99},
        {port: {number: 9082, name: tcp-any, protocol: TCP}, defaultEndpoint: 0.0.0.0:8082},
        {port: {number: 9443, name: https, protocol: HTTPS}, defaultEndpoint: 127.0.0.1:8080, tls: {mode: SIMPLE, serverCertificate: /c.pem, privateKey: /k.pem}},
        {port: {number: 9444, name: https-mutual, protocol: HTTPS}, defaultEndpoint: 127.0.0.1:8080, tls: {mode: SIMPLE}}],
      inboundConnectionPool: {tcp: {maxConnections: 5}, http: {http1MaxPendingRequests: 3}}}";
    apply(&mut store, &istio("Sidecar", "default", spec));
    let c = compiled(&mut store, Dns::Captured);
    let at = |name: &str| match &cluster(&c, name).discovery {
        ir::Discovery::Static(groups) => groups[0].endpoints[0].address.to_string(),
        other => format!("{other:?}"),
    };
    assert_eq!(at("inbound|9080||"), "127.0.0.1:8080");
    assert!(at("inbound|9081||").ends_with("/run/app"), "{}", at("inbound|9081||"));
    assert_eq!(at("inbound|9082||"), "10.1.0.99:8082");
    // The listener's own pool replaces that of the whole Sidecar.
    let limits = |name: &str| {
        let b = &cluster(&c, name).breakers;
        [b.max_requests, b.max_connections, b.max_pending_requests].map(|n| n.unwrap_or(u32::MAX))
    };
    assert_eq!(limits("inbound|9080||"), [7, u32::MAX, u32::MAX]);
    assert_eq!(limits("inbound|9082||"), [u32::MAX, 5, 3]);
    let inbound = listener(&c, "virtualInbound");
    let chain =
        |port: u16| inbound.chains.iter().find(|c| c.matches.destination_port == Some(port));
    assert!(chain(9081).is_none(), "it has a socket of its own");
    // Of clients that are not of the mesh.
    let others = |port: u16| {
        let of_port = inbound.chains.iter().filter(|c| c.matches.destination_port == Some(port));
        of_port
            .into_iter()
            .find(|c| !c.matches.application_protocols.iter().any(|p| p.starts_with("istio")))
    };
    assert_eq!(bound(&c).last(), Some(&"10.1.0.99_9081"));
    assert_eq!(leads_to(listener(&c, "10.1.0.99_9081")), ["inbound|9081||"; 3]);
    assert!(others(9080).is_some_and(|c| c.tls.is_none()));
    let chain = others(9443).expect("TLS ends here");
    assert_eq!(&*chain.matches.transport_protocol, "tls", "nothing is served in plaintext");
    let tls = chain.tls.as_ref().expect("TLS ends here");
    let ir::CertificateSource::Sds(certificate) = &tls.common.certificates[0] else { panic!() };
    assert_eq!(&*certificate.name, "file-cert:/c.pem~/k.pem");
    // What cannot be ended is refused rather than served in plaintext, and its author is told.
    let Some(Terminal::Tcp(refused)) = others(9444).map(|c| &c.terminal) else { panic!() };
    assert_eq!(refused.to, TcpDestination::Cluster("BlackHoleCluster".into()));
    let said: Vec<_> = c.findings.iter().map(|f| f.path.as_str()).collect();
    assert_eq!(said, ["spec.ingress[4].tls"]);
}

/// Where connections are not captured a port has a socket of its own; an address that cannot be read
/// does not open it to everybody.
#[test]
fn a_port_is_bound_where_its_listener_says_and_nowhere_else() {
    let spec = "{ingress: [
        {port: {number: 9080, name: tcp, protocol: TCP}, defaultEndpoint: 127.0.0.1:8080, captureMode: NONE, bind: 10.1.0.300},
        {port: {number: 9081, name: tcp-b, protocol: TCP}, defaultEndpoint: 127.0.0.1:8081, bind: 10.1.0.99},
        {port: {number: 9082, name: tcp-c, protocol: TCP}, defaultEndpoint: 127.0.0.1:8082, captureMode: NONE}]}";
    let seen = |metadata: serde_json::Value| {
        let mut store = store();
        store.apply(
            api::Kind::Sidecar,
            &serde_json::json!({
            "metadata": {"name": "s", "namespace": "default"},
            "spec": serde_yaml_ng::from_str::<serde_json::Value>(spec).unwrap()}),
        );
        let id = "sidecar~10.1.0.99~client-0.default~default.svc.cluster.local";
        let c = compile(&store.snapshot(), &Proxy::parse(id, &metadata).unwrap());
        let mut own: Vec<String> = c
            .config
            .listeners
            .iter()
            .map(|l| l.name.to_string())
            .filter(|n| n.contains("_908"))
            .collect();
        own.sort();
        let said: Vec<_> = c.findings.iter().map(|f| format!("{} {}", f.path, f.message)).collect();
        (own.join(" "), said.join("\n"))
    };
    let unread =
        "spec.ingress[0].bind \"10.1.0.300\" is no IP address: the port is open on loopback only";
    let captured = "spec.ingress[1].bind has an effect only with captureMode NONE";
    assert_eq!(
        seen(serde_json::json!({})),
        ("0.0.0.0_9082 127.0.0.1_9080".into(), format!("{unread}\n{captured}"))
    );
    assert_eq!(
        seen(serde_json::json!({"INTERCEPTION_MODE": "NONE"})),
        ("0.0.0.0_9082 10.1.0.99_9081 127.0.0.1_9080".into(), unread.to_owned())
    );
}

/// reference: ServiceEntry.subjectAltNames.
#[test]
fn a_server_must_have_one_of_the_entrys_names_unless_the_rule_says_otherwise() {
    let mut store = store();
    apply(
        &mut store,
        &entry(
            "api",
            "{hosts: [api.example.com], ports: [{number: 80, name: http, protocol: HTTP}], resolution: DNS, subjectAltNames: [one.example.com, two.example.com]}",
        ),
    );
    let mut names = |tls: &str| {
        let spec =
            format!("{{host: api.example.com, trafficPolicy: {{tls: {{mode: SIMPLE{tls}}}}}}}");
        apply(&mut store, &istio("DestinationRule", "api", &spec));
        let c = compiled(&mut store, Dns::Captured);
        let tls = cluster(&c, "outbound|80||api.example.com").tls.clone().expect("TLS");
        let sans = tls.common.validation.expect("a validation").sans;
        (
            sans.iter().map(|s| format!("{:?}", s.value)).collect::<Vec<_>>().join(" "),
            tls.auto_san_validation,
        )
    };
    let (of_entry, automatic) = names("");
    assert!(
        of_entry.contains("one.example.com") && of_entry.contains("two.example.com") && !automatic
    );
    let (of_rule, _) = names(", subjectAltNames: [three.example.com]");
    assert!(
        of_rule.contains("three.example.com") && !of_rule.contains("one.example.com"),
        "{of_rule}"
    );
}

/// reference: ServiceEntry.resolution DYNAMIC_DNS.
#[test]
fn whom_a_request_names_is_looked_up_for_dynamic_dns() {
    let mut store = store();
    let plain = "{hosts: [plain.example.com], ports: [{number: 80, name: http, protocol: HTTP}], resolution: DNS}";
    apply(&mut store, &entry("plain", plain));
    let filters = |c: &Compiled| {
        let chain = listener(c, "0.0.0.0_80").chains.iter().find_map(|c| match &c.terminal {
            Terminal::Http(manager) => Some(manager.filters.clone()),
            _ => None,
        });
        chain.unwrap_or_default().into_iter().map(|f| f.config).collect::<Vec<_>>()
    };
    let by_host = |f: &ir::HttpFilterConfig| matches!(f, ir::HttpFilterConfig::ByHost(_));
    assert!(!filters(&compiled(&mut store, Dns::Captured)).iter().any(by_host));
    apply(
        &mut store,
        &entry(
            "wild",
            "{hosts: ['*.example.net'], ports: [{number: 80, name: http, protocol: HTTP}, {number: 443, name: tls, protocol: TLS}], resolution: DYNAMIC_DNS}",
        ),
    );
    let c = compiled(&mut store, Dns::Captured);
    let ir::Discovery::ByHost(cache) = &cluster(&c, "outbound|80||*.example.net").discovery else {
        panic!("it is not looked up by host")
    };
    // The filter before it looks names up for the same cache, as Envoy wants it.
    let last = filters(&c).pop().expect("filters");
    assert_eq!(last, ir::HttpFilterConfig::ByHost(cache.clone()));
    // Where no request names a host, the client has looked it up.
    assert_eq!(cluster(&c, "outbound|443||*.example.net").discovery, ir::Discovery::OriginalDst);
}
