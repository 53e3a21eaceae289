//! EnvoyFilters in a mesh: what they patch takes effect in running proxies, with our data plane and with
//! real Envoy; what our data plane cannot carry out is said in their status and breaks nothing.

use e2e::{Mesh, eventually, workspace};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(30);
const LIMIT: &str = include_str!("patches/limit.yaml");
const SERVICE: &str = include_str!("patches/service.yaml");
const LUA: &str = include_str!("patches/lua.yaml");

#[test]
fn patches_take_effect_and_go_away() {
    play("patches", &[], |mesh| {
        mesh.apply_text(LUA);
        eventually("the refusal is said", PATIENCE, || {
            let filter = mesh.get(&["envoyfilter", "lua"]);
            let status = filter["status"].to_string();
            match status.contains("envoy.extensions.filters.http.lua.v3.Lua") {
                true => Ok(()),
                false => Err(status),
            }
        });
        let (head, body) = ask(mesh);
        assert!(head.starts_with("HTTP/1.1 200"), "{head}{body}");
        assert!(!head.contains("x-lua"), "{head}");
    });
}

#[test]
fn patches_take_effect_in_real_envoy() {
    if e2e::envoy().is_none() {
        return;
    }
    play("patches-envoy", &["--data-plane", "envoy"], |mesh| {
        mesh.apply_text(LUA);
        eventually("the script runs", PATIENCE, || match ask(mesh) {
            (head, _) if head.contains("x-lua: ran") => Ok(()),
            (head, _) => Err(head),
        });
    });
}

fn play(name: &str, flags: &[&str], then: fn(&Mesh)) {
    let Some(mesh) = Mesh::up(name, flags) else { return };
    mesh.kubectl(&["label", "namespace", "default", "istio-injection=enabled"]);
    for sample in ["httpbin/httpbin.yaml", "curl/curl.yaml"] {
        mesh.apply(&workspace().join("samples").join(sample));
    }
    mesh.wait_for_deployments("default");
    a_limit_holds_until_it_is_deleted(&mesh);
    a_service_says_who_is_over_its_limit(&mesh);
    then(&mesh);
}

/// Head and body of one answer, as a pod sees it.
fn ask(mesh: &Mesh) -> (String, String) {
    ask_for(mesh, "/get")
}

fn ask_for(mesh: &Mesh, path: &str) -> (String, String) {
    let url = format!("http://httpbin:8000{path}");
    let command = ["curl", "-s", "-i", "--max-time", "10", &url];
    let text = mesh.exec("deploy/curl", "curl", &command);
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    (head.to_lowercase().replace("http/1.1", "HTTP/1.1"), body.to_owned())
}

fn a_limit_holds_until_it_is_deleted(mesh: &Mesh) {
    eventually("an answer", PATIENCE, || match ask(mesh) {
        (head, _) if head.starts_with("HTTP/1.1 200") => Ok(()),
        (head, _) => Err(head),
    });
    mesh.apply_text(LIMIT);
    // More than the bucket holds, though it takes a moment to be there.
    eventually("the limit", PATIENCE, || match ask(mesh) {
        (head, _) if head.starts_with("HTTP/1.1 429") => Ok(()),
        (head, _) => Err(head),
    });
    let (head, body) = ask(mesh);
    assert!(head.contains("x-local-rate-limit: true"), "{head}");
    assert_eq!(body, "local_rate_limited");
    let stats = mesh.proxy_says("default", "deploy/httpbin", "stats");
    let name = "http_local_rate_limiter.http_local_rate_limit.enforced: ";
    let enforced = stats.lines().find_map(|l| l.strip_prefix(name)?.parse::<u64>().ok());
    assert!(enforced.is_some_and(|n| n >= 2), "{enforced:?}");
    mesh.kubectl(&["delete", "envoyfilter", "limit"]);
    // Envoy's old listener serves its connections until they have drained.
    eventually("no limit any more", 2 * PATIENCE, || {
        let heads: Vec<String> = (0..6).map(|_| ask(mesh).0).collect();
        match heads.into_iter().find(|head| !head.starts_with("HTTP/1.1 200")) {
            None => Ok(()),
            Some(head) => Err(head),
        }
    });
}

/// Two requests a day for one path, any number for others; without the service everything passes, since the
/// filter does not say that it should not.
fn a_service_says_who_is_over_its_limit(mesh: &Mesh) {
    mesh.apply_text(SERVICE);
    mesh.wait_for_deployments("default");
    eventually("the limit of the service", PATIENCE, || match ask_for(mesh, "/anything/few") {
        (head, _)
            if head.starts_with("HTTP/1.1 429") && head.contains("x-envoy-ratelimited: true") =>
        {
            Ok(())
        }
        (head, _) => Err(head),
    });
    for _ in 0..5 {
        let (head, _) = ask_for(mesh, "/anything/many");
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    }
    mesh.kubectl(&["scale", "deployment", "ratelimit", "--replicas=0"]);
    eventually("nobody is asked any more", PATIENCE, || match ask_for(mesh, "/anything/few") {
        (head, _) if head.starts_with("HTTP/1.1 200") => Ok(()),
        (head, _) => Err(head),
    });
    mesh.kubectl(&["delete", "envoyfilter", "ask"]);
}
