//! Real Envoy as the judge of what we read and write: it accepts the file that we read, and it accepts
//! what we make of it. Runs where `ENVOY` names the binary (`cargo xtask setup` provides one).

#![allow(clippy::unwrap_used)] // What a test cannot do without ends it.

use ir::{Config, Kind, Resource};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::process::Command;

const WIDE: &str = include_str!("data/wide.yaml");

fn envoy() -> Option<PathBuf> {
    let path = std::env::var_os("ENVOY").map(PathBuf::from);
    let required = std::env::var_os("LATEEN_REQUIRE_PEERS").is_some();
    assert!(path.is_some() || !required, "ENVOY names no Envoy; run cargo xtask setup");
    path
}

/// What Envoy says of a bootstrap; `Ok` when it accepts it.
fn validate(envoy: &PathBuf, name: &str, text: &str) -> Result<(), String> {
    let file = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::write(&file, text).unwrap();
    let output = Command::new(envoy)
        .args(["--mode", "validate", "-l", "error", "-c"])
        .arg(&file)
        .output()
        .unwrap();
    match output.status.success() {
        true => Ok(()),
        false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
    }
}

/// The file again, with its resources as we write them.
fn rewritten(config: &Config) -> String {
    let json = |r: Resource| {
        let mut value = xds::to_json(&xds::type_url_of(r.key().kind), &xds::encode(&r)).unwrap();
        value.as_object_mut().unwrap().remove("@type");
        value
    };
    let listeners: Vec<Value> =
        config.listeners.iter().map(|l| json(Resource::Listener(l.clone()))).collect();
    let clusters: Vec<Value> =
        config.clusters.iter().map(|c| json(Resource::Cluster(c.clone()))).collect();
    json!({
        "node": {"id": "wide", "cluster": "wide"},
        "dynamic_resources": {"ads_config": {
            "api_type": "DELTA_GRPC",
            "transport_api_version": "V3",
            "grpc_services": [{"envoy_grpc": {"cluster_name": "xds-grpc"}}],
        }},
        "static_resources": {"listeners": listeners, "clusters": clusters},
    })
    .to_string()
}

#[test]
fn a_wide_configuration_survives_reading_and_writing() {
    let bootstrap = xds::bootstrap::read(WIDE).unwrap();
    assert_eq!(bootstrap.findings, []);
    let again = xds::bootstrap::read(&rewritten(&bootstrap.config)).unwrap();
    assert_eq!(again.config, bootstrap.config);
    for cluster in &bootstrap.config.clusters {
        let resource = Resource::Cluster(cluster.clone());
        let (read, _) =
            xds::decode(&xds::type_url_of(Kind::Cluster), &xds::encode(&resource)).unwrap();
        assert_eq!(read, resource);
    }
}

#[test]
fn envoy_accepts_what_we_read_and_what_we_write() {
    let Some(envoy) = envoy() else { return };
    let bootstrap = xds::bootstrap::read(WIDE).unwrap();
    validate(&envoy, "wide.yaml", WIDE).unwrap();
    validate(&envoy, "rewritten.json", &rewritten(&bootstrap.config)).unwrap();
    let broken = rewritten(&bootstrap.config).replace("use_remote_address", "no_such_field");
    validate(&envoy, "broken.json", &broken).unwrap_err();
}
