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
