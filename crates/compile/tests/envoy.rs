//! What is compiled can be carried and run: our own codec gives it back unchanged, and upstream Envoy
//! accepts it.

mod support;

use compile::{Compiled, Proxy, compile};
use ir::Resource;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::process::Command;
use support::{apply, bookinfo, ingress, sidecar};

const EVERYTHING: &str = include_str!("inputs/everything.yaml");

fn proxies() -> Vec<Proxy> {
    let mut dual = sidecar("default", "reviews", "v1", "10.1.0.4");
    dual.ips.push("fd00::4".parse().expect("an address"));
    vec![sidecar("default", "productpage", "v1", "10.1.0.1"), dual, ingress()]
}

fn compiled(proxy: &Proxy) -> Compiled {
    let mut store = bookinfo();
    apply(&mut store, EVERYTHING);
    let compiled = compile(&store.snapshot(), proxy);
    assert!(compiled.findings.is_empty(), "{:?}", compiled.findings);
    compiled
}

fn resources(compiled: &Compiled) -> Vec<Resource> {
    let config = &compiled.config;
    let clusters = config.clusters.iter().cloned().map(Resource::Cluster);
    let endpoints = config.endpoints.iter().cloned().map(Resource::Endpoints);
    let listeners = config.listeners.iter().cloned().map(Resource::Listener);
    let routes = config.routes.iter().cloned().map(Resource::Route);
    clusters.chain(endpoints).chain(listeners).chain(routes).collect()
}

#[test]
fn the_codec_gives_back_what_was_compiled() {
    for proxy in proxies() {
        for resource in resources(&compiled(&proxy)) {
            let url = xds::codec::type_url_of(resource.key().kind);
            let bytes = xds::codec::encode(&resource);
            let (back, findings) = xds::codec::decode(&url, &bytes)
                .unwrap_or_else(|e| panic!("{:?}: {e:?}", resource.key()));
            if back != resource {
                let (a, b) = (format!("{resource:#?}"), format!("{back:#?}"));
                let differ =
                    |(a, b): &(&str, &str)| a != b && !a.trim().starts_with(char::is_numeric);
                let at = a.lines().zip(b.lines()).find(differ);
                panic!("{:?} does not come back: {at:?}", resource.key());
            }
            let errors = findings.iter().filter(|f| f.level == base::Level::Error);
            assert_eq!(errors.count(), 0, "{findings:?}");
        }
    }
}

#[test]
fn envoy_accepts_what_was_compiled() {
    let Some(envoy) = envoy() else {
        let required = std::env::var_os("LATEEN_REQUIRE_PEERS").is_some();
        assert!(!required, "envoy is not installed; set ENVOY to its path");
        println!("skipped: envoy is not installed; set ENVOY to its path");
        return;
    };
    for (index, mut proxy) in proxies().into_iter().enumerate() {
        proxy.stock_envoy = true;
        let bootstrap = bootstrap(&resources(&compiled(&proxy)));
        let file = std::env::temp_dir()
            .join(format!("lateen-compile-{}-{index}.json", std::process::id()));
        std::fs::write(&file, bootstrap.to_string()).expect("written");
        let out = Command::new(&envoy)
            .args(["--mode", "validate", "-l", "error", "--use-dynamic-base-id", "-c"])
            .arg(&file)
            .output()
            .expect("envoy runs");
        let said = String::from_utf8_lossy(&out.stderr).into_owned();
        assert!(out.status.success(), "{} (bootstrap in {}): {said}", proxy.id, file.display());
        std::fs::remove_file(&file).expect("removed");
    }
}

fn envoy() -> Option<PathBuf> {
    if let Some(path) = std::env::var_os("ENVOY") {
        return Some(PathBuf::from(path)).filter(|p| p.exists());
    }
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|d| d.join("envoy")).find(|p| p.exists())
}

/// All resources as static ones, routes in place of their names.
fn bootstrap(resources: &[Resource]) -> Value {
    let json = |resource: &Resource| {
        let url = xds::codec::type_url_of(resource.key().kind);
        let bytes = xds::codec::encode(resource);
        let mut json = xds::codec::to_json(&url, &bytes).expect("JSON");
        json.as_object_mut().expect("an object").remove("@type");
        json
    };
    let of_kind = |kind| resources.iter().filter(move |r| r.key().kind == kind);
    let routes: Vec<Value> = of_kind(ir::Kind::Route).map(json).collect();
    let mut listeners: Vec<Value> = of_kind(ir::Kind::Listener).map(json).collect();
    listeners.iter_mut().for_each(|l| inline_routes(l, &routes));
    let mut clusters: Vec<Value> = of_kind(ir::Kind::Cluster).map(json).collect();
    clusters.push(json!({"name": "xds", "type": "STATIC", "http2_protocol_options": {},
        "load_assignment": {"cluster_name": "xds", "endpoints": []}}));
    json!({
        "node": {"id": "test", "cluster": "test"},
        "dynamic_resources": {"ads_config": {"api_type": "GRPC", "transport_api_version": "V3",
            "grpc_services": [{"envoy_grpc": {"cluster_name": "xds"}}]}},
        "static_resources": {"listeners": listeners, "clusters": clusters},
    })
}

fn inline_routes(value: &mut Value, routes: &[Value]) {
    match value {
        Value::Object(fields) => {
            if let Some(rds) = fields.remove("rds") {
                let name = rds["route_config_name"].as_str().or(rds["routeConfigName"].as_str());
                let config = routes.iter().find(|r| r["name"].as_str() == name);
                fields.insert("route_config".into(), config.expect("a route").clone());
            }
            fields.values_mut().for_each(|v| inline_routes(v, routes));
        }
        Value::Array(items) => items.iter_mut().for_each(|v| inline_routes(v, routes)),
        _ => {}
    }
}
