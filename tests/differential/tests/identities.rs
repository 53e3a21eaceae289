//! Who a client has proved to be, and which server it named: rules about both, made from a seed, decided by
//! Envoy and by ours for the same handshakes. `DIFFERENTIAL_SEED` repeats a run.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "common/peers.rs"]
mod peers;

use authority::Authority;
use differential::bootstrap::{self, DOWNSTREAM_TLS, HCM, RBAC, ROUTER, TLS_INSPECTOR};
use differential::dice::Dice;
use differential::http::read_head;
use differential::proxy::{Proxy, free_ports};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

const FIELDS: [&str; 2] = ["principal", "server name"];
/// Listeners of each field, and handshakes with each.
const OF_FIELD: usize = 8;
const HANDSHAKES: usize = 20;

/// What clients have in their certificates; the last one has no URI.
const CLIENTS: [&[&str]; 8] = [
    &["spiffe://cluster.local/ns/default/sa/a"],
    &["spiffe://cluster.local/ns/default/sa/ab"],
    &["spiffe://cluster.local/ns/defaulted/sa/a"],
    &["spiffe://cluster.local/ns/b/sa/default"],
    &["spiffe://td.example/ns/default/sa/a"],
    &["spiffe://Cluster.local/ns/default/sa/A"],
    &["spiffe://cluster.local/ns/b/sa/b", "a.example"],
    &["a.example"],
];
/// An address is no server name: who uses it names none.
const SERVERS: [&str; 6] = [
    "a.example",
    "x.a.example",
    "b.example",
    "outbound_.80_._.a.default.svc.cluster.local",
    "outbound_.80_.v1_.a.default.svc.cluster.local",
    "127.0.0.1",
];

/// As AuthorizationPolicies are written to Envoy: the whole, a part, a pattern; ids that nobody has, too.
fn condition(dice: &Dice, field: &str) -> Value {
    let of: &[&str] = match field {
        "principal" => &[
            "spiffe://cluster.local/ns/default/sa/a",
            "spiffe://cluster.local/ns/b/sa/b",
            "spiffe://td.example/ns/default/sa/a",
            "spiffe://CLUSTER.local/ns/default/sa/a",
            "a.example",
        ],
        _ => &SERVERS,
    };
    let exact = dice.one(of);
    let parts: &[&str] = match field {
        "principal" => &["spiffe://cluster.local/", "spiffe://cluster.local/ns/default", "a.e"],
        _ => &["outbound_.80_", "a.", "x"],
    };
    let ends: &[&str] =
        if field == "principal" { &["/sa/a", "/default", "b"] } else { &[".example", "local"] };
    let patterns: &[&str] = match field {
        "principal" => &[".*/ns/default/.*", "spiffe://[^/]*/ns/b/sa/.+", ".+", "default"],
        _ => &["[^.]*[.]example", "outbound_.*_[.]v1_[.].*", ".+", ".*"],
    };
    let mut text = match dice.below(5) {
        0 => json!({ "prefix": dice.one(parts) }),
        1 => json!({ "suffix": dice.one(ends) }),
        2 => json!({ "safe_regex": { "regex": dice.one(patterns) } }),
        _ => json!({ "exact": exact }),
    };
    if text.get("safe_regex").is_none() && dice.chance(20) {
        text["ignore_case"] = true.into();
    }
    let asked = match field {
        "principal" => json!({ "authenticated": { "principal_name": text } }),
        _ => json!({ "requested_server_name": text }),
    };
    match (dice.below(6), field) {
        (0, "principal") => json!({ "not_id": asked }),
        (0, _) => json!({ "not_rule": asked }),
        _ => asked,
    }
}

fn rules(dice: &Dice, field: &str, number: usize) -> Value {
    let list: Vec<Value> = (0..2).map(|_| condition(dice, field)).collect();
    let any = json!({ "any": true });
    let (permissions, principals) = match field {
        "principal" => (json!([any]), json!([{ "or_ids": { "ids": list } }])),
        _ => (json!([{ "or_rules": { "rules": list } }]), json!([any])),
    };
    let policy = json!({ "permissions": permissions, "principals": principals });
    let action = ["ALLOW", "DENY"][number % 2];
    json!({ "@type": RBAC, "rules": { "action": action, "policies": { "p": policy } } })
}

fn listener(name: &str, port: u16, files: &Files, rules: &Value) -> Value {
    let answer = json!({ "match": { "prefix": "/" }, "direct_response": { "status": 200 } });
    let manager = json!({
        "@type": HCM, "stat_prefix": "x",
        "route_config": { "virtual_hosts": [{ "name": "all", "domains": ["*"], "routes": [answer] }] },
        "http_filters": [
            { "name": "rbac", "typed_config": rules },
            { "name": "router", "typed_config": { "@type": ROUTER } },
        ],
    });
    let tls = json!({ "@type": DOWNSTREAM_TLS, "require_client_certificate": true, "common_tls_context": {
        "tls_certificates": [{
            "certificate_chain": { "inline_string": files.server.chain },
            "private_key": { "inline_string": files.server.key },
        }],
        "validation_context": { "trusted_ca": { "inline_string": files.authority.root } },
    } });
    json!({
        "name": name, "address": socket(port),
        "listener_filters": [{ "name": "tls", "typed_config": { "@type": TLS_INSPECTOR } }],
        "filter_chains": [{
            "transport_socket": { "name": "tls", "typed_config": tls },
            "filters": [{ "name": "hcm", "typed_config": manager }],
        }],
    })
}

fn socket(port: u16) -> Value {
    bootstrap::socket(([127, 0, 0, 1], port).into())
}

struct Files {
    authority: Authority,
    server: authority::Leaf,
    clients: Vec<Arc<ClientConfig>>,
}

impl Files {
    fn make() -> Files {
        let authority = Authority::new("mesh");
        let clients = CLIENTS.iter().map(|names| client(&authority, names)).collect();
        let server = authority.leaf(&SERVERS);
        Files { authority, server, clients }
    }
}

fn client(authority: &Authority, names: &[&str]) -> Arc<ClientConfig> {
    let leaf = authority.leaf(names);
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority.root.as_bytes()).unwrap()).unwrap();
    let chain = vec![CertificateDer::from_pem_slice(leaf.chain.as_bytes()).unwrap()];
    let key = PrivateKeyDer::from_pem_slice(leaf.key.as_bytes()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, key)
        .unwrap();
    // Each handshake says anew who it is.
    config.resumption = rustls::client::Resumption::disabled();
    Arc::new(config)
}

fn launch(name: &str, binary: &Path, dir: &Path, files: &Files, rules: &[Value]) -> Proxy {
    let mut ports = free_ports(rules.len() + 1).unwrap();
    let admin = ports.pop().unwrap();
    let listeners: Vec<Value> = rules
        .iter()
        .zip(&ports)
        .map(|(r, port)| listener(&format!("l{port}"), *port, files, r))
        .collect();
    let config = json!({
        "admin": { "address": socket(admin) },
        "static_resources": { "listeners": listeners },
    });
    let admin = SocketAddr::from(([127, 0, 0, 1], admin));
    Proxy::start(binary, name, dir, &config, admin, ports).unwrap()
}

/// The status, by a connection of its own.
fn ask(at: SocketAddr, client: &Arc<ClientConfig>, server: &str) -> u16 {
    let tcp = TcpStream::connect(at).unwrap();
    tcp.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let name = ServerName::try_from(server.to_owned()).unwrap();
    let tls = ClientConnection::new(client.clone(), name).unwrap();
    let mut stream = StreamOwned::new(tls, tcp);
    stream.write_all(b"GET / HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n").unwrap();
    let head = read_head(&mut BufReader::new(stream)).unwrap().unwrap();
    head.0.split(' ').nth(1).unwrap().parse().unwrap()
}

#[test]
fn rules_about_identities_decide_as_envoys() {
    let Some((envoy, ours)) = peers::peers() else { return };
    let seed = std::env::var("DIFFERENTIAL_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or(1);
    let dice = Dice::of(seed, 0);
    let fields: Vec<&str> = FIELDS.iter().flat_map(|f| [*f; OF_FIELD]).collect();
    let rules: Vec<Value> =
        fields.iter().enumerate().map(|(n, field)| rules(&dice, field, n)).collect();
    let (files, dir) = (Files::make(), peers::directory("identities"));
    let envoy = launch("envoy", &envoy, &dir, &files, &rules);
    let ours = launch("ours", &ours, &dir, &files, &rules);
    let mut decided: BTreeMap<&str, [usize; 2]> = BTreeMap::new();
    let mut found = Vec::new();
    for (n, field) in fields.iter().enumerate() {
        for _ in 0..HANDSHAKES {
            let (client, server) = (dice.below(CLIENTS.len()), dice.one(&SERVERS));
            let [by_envoy, by_ours] = [envoy.address(n), ours.address(n)]
                .map(|at| ask(at, &files.clients[client], server));
            if by_envoy != by_ours {
                let who = (CLIENTS[client], server);
                found.push(format!("{who:?}: envoy {by_envoy}, ours {by_ours}\n{}", rules[n]));
            }
            let outcome = [200, 403].iter().position(|s| *s == by_envoy).unwrap();
            decided.entry(field).or_default()[outcome] += 1;
        }
    }
    println!(
        "{} handshakes, allowed and denied: {decided:?}, seed {seed}",
        HANDSHAKES * fields.len()
    );
    assert!(found.is_empty(), "{} differences, seed {seed}\n{}", found.len(), found.join("\n"));
    assert!(decided.values().flatten().all(|n| *n >= 50), "{decided:?}");
    drop((envoy, ours));
    std::fs::remove_dir_all(&dir).unwrap();
}
