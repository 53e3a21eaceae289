//! The pair of proxies with mutual TLS between them: certificates, and what its two bootstraps have beyond
//! those of one proxy. Shaped as Istio's sidecars: SPIFFE identities, ten policies at the server.

use super::config::{Protocol, address, bootstrap};
use crate::shell;
use anyhow::Result;
use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use std::process::Command;

const SNI: &str = "outbound_.80_._.backend.default.svc.cluster.local";
const CLIENT: &str = "spiffe://cluster.local/ns/default/sa/client";
const POLICIES: usize = 10;

/// A root of our own and one certificate for each side, on P-256; made once.
pub fn certificates(dir: &Path) -> Result<()> {
    if dir.join("client.pem").exists() {
        return Ok(());
    }
    let openssl =
        |line: &str| shell::run(Command::new("openssl").args(line.split(' ')).current_dir(dir));
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";
    let root = "-addext basicConstraints=critical,CA:TRUE";
    openssl(&format!("req -x509 {key} -keyout ca.key -out ca.pem -subj /O=cluster.local {root}"))?;
    for name in ["server", "client"] {
        let san =
            format!("subjectAltName=URI:spiffe://cluster.local/ns/default/sa/{name},DNS:{name}");
        let usage = "extendedKeyUsage=serverAuth,clientAuth\nkeyUsage=digitalSignature";
        fs::write(dir.join("extensions"), format!("{san}\n{usage}\n"))?;
        openssl(&format!("req -new {key} -keyout {name}.key -out {name}.csr -subj /"))?;
        let signed = "-CA ca.pem -CAkey ca.key -CAcreateserial -days 3650 -extfile extensions";
        openssl(&format!("x509 -req -in {name}.csr {signed} -out {name}.pem"))?;
    }
    Ok(())
}

/// What `port` takes in plaintext comes out of the second proxy's other side, which listens on `encrypted`.
pub fn pair(dir: &Path, port: u16, encrypted: u16, logs: [&Path; 2]) -> [Value; 2] {
    let mut first = bootstrap(Protocol::Mutual, port, logs[0]);
    let mut second = bootstrap(Protocol::Mutual, encrypted, logs[1]);
    let cluster = &mut first["static_resources"]["clusters"][0];
    cluster["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]["address"] =
        address(encrypted);
    cluster["transport_socket"] = transport("Upstream", "client", dir, ("sni", json!(SNI)));
    let chain = &mut second["static_resources"]["listeners"][0]["filter_chains"][0];
    let wanted = ("require_client_certificate", json!(true));
    chain["transport_socket"] = transport("Downstream", "server", dir, wanted);
    let manager = &mut chain["filters"][0]["typed_config"];
    if let Some(filters) = manager["http_filters"].as_array_mut() {
        filters.insert(0, policies());
    }
    manager["forward_client_cert_details"] = json!("APPEND_FORWARD");
    manager["set_current_client_cert_details"] = json!({"subject": true, "uri": true, "dns": true});
    [first, second]
}

fn transport(side: &str, name: &str, dir: &Path, own: (&str, Value)) -> Value {
    let file = |name: String| json!({ "filename": dir.join(name).display().to_string() });
    let of_mesh = json!({ "prefix": "spiffe://cluster.local/" });
    let mut config = json!({
        "@type": format!("type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.{side}TlsContext"),
        "common_tls_context": {
            "alpn_protocols": ["http/1.1"],
            "tls_certificates": [{
                "certificate_chain": file(format!("{name}.pem")),
                "private_key": file(format!("{name}.key")),
            }],
            "validation_context": {
                "trusted_ca": file("ca.pem".into()),
                "match_typed_subject_alt_names": [{ "san_type": "URI", "matcher": of_mesh }],
            },
        },
    });
    config[own.0] = own.1;
    json!({ "name": "envoy.transport_sockets.tls", "typed_config": config })
}

/// The last of them allows.
fn policies() -> Value {
    let method =
        |name: &str| json!({ "header": { "name": ":method", "string_match": { "exact": name } } });
    let policy = |i: usize| {
        let path = if i + 1 < POLICIES { format!("/admin/{i}/") } else { "/".into() };
        let paths = json!([{ "url_path": { "path": { "prefix": path } } }]);
        let rules = json!([
            { "or_rules": { "rules": [method("GET"), method("POST")] } },
            { "or_rules": { "rules": paths } },
        ]);
        let caller = json!({ "authenticated": { "principal_name": { "exact": CLIENT } } });
        let value = json!({
            "permissions": [{ "and_rules": { "rules": rules } }],
            "principals": [{ "and_ids": { "ids": [{ "or_ids": { "ids": [caller] } }] } }],
        });
        (format!("ns[default]-policy[p{i}]-rule[0]"), value)
    };
    let all: serde_json::Map<String, Value> = (0..POLICIES).map(policy).collect();
    json!({ "name": "envoy.filters.http.rbac", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC",
        "rules": { "action": "ALLOW", "policies": all },
    }})
}
