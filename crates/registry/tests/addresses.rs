//! Automatic addresses: who gets one, that no two are the same, and that what was given stays.

#![allow(clippy::unwrap_used)] // What a test cannot do without ends it.

use api::Kind;
use registry::{Allocation, Store};
use serde_json::{Value, json};
use std::collections::HashSet;

fn entry(name: &str, spec: Value) -> Value {
    json!({"metadata": {"name": name, "namespace": "default",
            "creationTimestamp": "2026-01-01T00:00:00Z"}, "spec": spec})
}

fn dns(name: &str) -> Value {
    entry(
        name,
        json!({"hosts": [format!("{name}.example.com")], "resolution": "DNS",
        "ports": [{"number": 5432, "name": "tcp", "protocol": "TCP"}]}),
    )
}

/// Does what the control plane does: writes what is to be written.
fn write(store: &mut Store, objects: &mut [Value]) -> Vec<Allocation> {
    let all = store.allocations();
    for allocation in &all {
        let name = |o: &&mut Value| o["metadata"]["name"] == allocation.name.as_str();
        let object = objects.iter_mut().find(name).unwrap();
        let addresses = allocation.addresses.iter();
        let list = addresses.map(|(host, ip)| json!({"value": ip, "host": host.as_str()}));
        object["status"]["addresses"] = list.collect();
        store.apply(Kind::ServiceEntry, object);
    }
    assert_eq!(store.allocations(), [], "nothing is left to write");
    all
}

fn store(objects: &[Value]) -> Store {
    let mut store = Store::new("cluster.local", "istio-system");
    for object in objects {
        store.apply(Kind::ServiceEntry, object);
    }
    store
}

/// The automatic addresses that a host has in the end.
fn given(objects: &mut [Value], host: &str) -> Vec<String> {
    let mut store = store(objects);
    write(&mut store, objects);
    let host = base::Host::parse(host).unwrap();
    let snapshot = store.snapshot();
    let service = snapshot.services.of_host(&host).first().cloned();
    service.iter().flat_map(|s| &s.automatic).map(ToString::to_string).collect()
}

#[test]
fn hosts_without_addresses_get_one_of_each_family() {
    let ports = json!([{"number": 80, "name": "http", "protocol": "HTTP"}]);
    let of = |host: &str, extra: Value| {
        let mut spec = json!({"hosts": [host], "resolution": "DNS", "ports": ports});
        spec.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        given(&mut [entry("e", spec)], host)
    };
    let some = of("a.example.com", json!({}));
    assert!(some[0].starts_with("240.240.") && some[1].starts_with("2001:2::"), "{some:?}");
    assert_eq!(of("a.example.com", json!({"resolution": "STATIC"})).len(), 2);
    let none = Vec::<String>::new();
    assert_eq!(of("a.example.com", json!({"resolution": "NONE"})), none);
    let by_host = json!({"resolution": "DYNAMIC_DNS"});
    assert_eq!(of("*.example.com", by_host).len(), 2);
    let tls = json!([{"number": 443, "name": "tls", "protocol": "TLS"}]);
    assert_eq!(of("*.example.com", json!({"resolution": "DYNAMIC_DNS", "ports": tls})), none);
    assert_eq!(of("*.example.com", json!({})), none);
    assert_eq!(of("a.example.com", json!({"addresses": ["192.0.2.1"]})), none);
    let mut opted_out = dns("a");
    opted_out["metadata"]["labels"] =
        json!({"networking.istio.io/enable-autoallocate-ip": "false"});
    assert_eq!(given(&mut [opted_out], "a.example.com"), none);
}

#[test]
fn no_two_hosts_share_an_address_whatever_users_wrote() {
    let mut objects: Vec<Value> = (0..3000).map(|i| dns(&format!("e{i}"))).collect();
    let wanted = given(&mut [dns("e7")], "e7.example.com")[0].clone();
    // Somebody uses what e7 would get.
    objects.push(entry(
        "mine",
        json!({"hosts": ["mine.example.com"], "addresses": [wanted],
        "ports": [{"number": 80, "name": "http", "protocol": "HTTP"}]}),
    ));
    let mut store = store(&objects);
    let all = write(&mut store, &mut objects);
    let ips: Vec<_> = all.iter().flat_map(|a| &a.addresses).map(|(_, ip)| *ip).collect();
    assert_eq!(ips.len(), 6000);
    assert_eq!(ips.iter().collect::<HashSet<_>>().len(), 6000);
    assert!(!ips.iter().any(|ip| ip.to_string() == wanted));
}

/// Whoever wrote the status.
#[test]
fn two_hosts_of_an_entry_do_not_share_an_address() {
    let mut objects = [dns("e")];
    let own = given(&mut objects.clone(), "e.example.com");
    let hosts = ["e.example.com", "f.example.com"];
    objects[0]["spec"]["hosts"] = json!(hosts);
    let said = hosts.map(|h| own.iter().map(|ip| json!({"value": ip, "host": h})).collect());
    let said: [Vec<Value>; 2] = said;
    objects[0]["status"]["addresses"] = said.concat().into();
    let f = given(&mut objects.clone(), "f.example.com");
    assert_eq!(given(&mut objects.clone(), "e.example.com"), own, "the first keeps it");
    assert!(f.len() == 2 && !f.iter().any(|ip| own.contains(ip)), "{f:?} beside {own:?}");
}

#[test]
fn what_was_given_stays() {
    let mut objects: Vec<Value> = (0..50).map(|i| dns(&format!("e{i}"))).collect();
    write(&mut store(&objects), &mut objects);
    let before = given(&mut objects.clone(), "e3.example.com");
    // A restart, other entries before it, and a second host: nothing moves.
    for i in 50..100 {
        objects.insert(0, dns(&format!("e{i}")));
    }
    let e3 = objects.iter_mut().find(|o| o["metadata"]["name"] == "e3").unwrap();
    e3["spec"]["hosts"] = json!(["another.example.com", "e3.example.com"]);
    assert_eq!(given(&mut objects.clone(), "e3.example.com"), before);
    let another = given(&mut objects.clone(), "another.example.com");
    assert!(another.len() == 2 && another != before);
    // What lies outside the range, or is another's, is replaced.
    let e4 = objects.iter_mut().find(|o| o["metadata"]["name"] == "e4").unwrap();
    e4["status"]["addresses"] = json!([{"value": before[0], "host": "e4.example.com"},
        {"value": before[1], "host": "e4.example.com"}]);
    let e4 = given(&mut objects.clone(), "e4.example.com");
    assert!(e4.len() == 2 && e4 != before);
    // An entry that got addresses of its own gives its automatic ones back.
    let e5 = objects.iter_mut().find(|o| o["metadata"]["name"] == "e5").unwrap();
    e5["spec"]["addresses"] = json!(["192.0.2.1"]);
    let all = store(&objects).allocations();
    assert!(all.iter().any(|a| a.name == "e5" && a.addresses.is_empty()), "{all:?}");
}
