//! Names and what lies outside: what pods learn from DNS, ServiceEntries that simply resolve, and whether
//! unknown destinations are reached; with our data plane and with real Envoy.

use e2e::{Mesh, counter, eventually};
use std::time::Duration;

const WORKLOAD: &str = include_str!("names/workload.yaml");
const ENTRIES: &str = include_str!("names/entries.yaml");
const PATIENCE: Duration = Duration::from_secs(20);

#[test]
fn names_resolve_and_lead_where_they_should() {
    names("names", &[]);
}

#[test]
fn names_lead_through_real_envoys_too() {
    if e2e::envoy().is_some() {
        names("names-envoy", &["--data-plane", "envoy"]);
    }
}

fn names(name: &str, flags: &[&str]) {
    let Some(mesh) = Mesh::up(name, flags) else { return };
    mesh.kubectl(&["label", "namespace", "default", "istio-injection=enabled"]);
    mesh.apply_text(WORKLOAD);
    for namespace in ["default", "outside"] {
        let ready = ["wait", "--for=condition=Ready", "--timeout=60s", "pod", "--all"];
        mesh.kubectl(&[&["-n", namespace], &ready[..]].concat());
    }
    let mesh = &mesh;
    services_have_all_their_names(mesh);
    mesh.apply_text(ENTRIES);
    hosts_of_entries_resolve_where_dns_is_captured(mesh);
    an_answer_is_explained(mesh);
    two_databases_on_one_port_are_told_apart(mesh);
    a_host_may_be_its_own_endpoint(mesh);
    addresses_stay(mesh);
    // Stock Envoy counts nothing under Istio's names.
    unknown_destinations_pass_until_that_is_changed(mesh, flags.is_empty());
}

fn shell(mesh: &Mesh, pod: &str, script: &str) -> String {
    mesh.exec(pod, "client", &["sh", "-c", script])
}

/// The addresses of a name as a program learns them; empty when there are none.
fn look_up(mesh: &Mesh, pod: &[&str], name: &str) -> Vec<String> {
    let script = format!("getent ahostsv4 {name} | grep STREAM || true");
    let command = ["-c", "client", "--", "sh", "-c", &script];
    let text = mesh.kubectl(&[&["exec"], pod, &command[..]].concat());
    text.lines().filter_map(|l| l.split_whitespace().next().map(str::to_owned)).collect()
}

fn services_have_all_their_names(mesh: &Mesh) {
    let service = mesh.get(&["service", "web"]);
    let ip = service["spec"]["clusterIP"].as_str().expect("an address").to_owned();
    let full = "web.default.svc.cluster.local";
    for name in ["web", "web.default", "web.default.svc", full, "WEB.Default"] {
        assert_eq!(look_up(mesh, &["client"], name), [ip.as_str()], "{name}");
    }
    // What is not of the mesh is known to the cluster's DNS, and what is of nobody is of nobody.
    assert_eq!(look_up(mesh, &["client"], "one.outside.svc.cluster.local").len(), 1);
    assert_eq!(look_up(mesh, &["client"], "nobody.example.com"), [""; 0]);
    assert_eq!(
        shell(mesh, "client", "curl -s -o /dev/null -w '%{http_code}' http://web:8000/get"),
        "200"
    );
    let page = shell(mesh, "client", "curl -s http://127.0.0.1:15020/stats/prometheus");
    let asked = |name: &str| {
        let line = page.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix(' '));
        line.and_then(|n| n.parse::<u64>().ok()).unwrap_or_default()
    };
    assert!(asked("dns_requests_total") > asked("dns_upstream_requests_total"), "{page}");
    assert!(asked("dns_upstream_requests_total") > 0, "{page}");
}

fn hosts_of_entries_resolve_where_dns_is_captured(mesh: &Mesh) {
    eventually("an address", PATIENCE, || {
        let all = ["google.hhuge9.com", "one.hhuge9.com"].map(|n| look_up(mesh, &["client"], n));
        let automatic = all[1].iter().any(|ip| ip.starts_with("240.240."));
        if automatic && all[0] == ["192.168.0.1"] { Ok(()) } else { Err(format!("{all:?}")) }
    });
    for pod in [&["uncaptured"][..], &["-n", "outside", "plain"]] {
        assert_eq!(look_up(mesh, pod, "one.hhuge9.com"), [""; 0], "{pod:?}");
    }
}

/// `lateen dns` says what the pod would learn, and why.
fn an_answer_is_explained(mesh: &Mesh) {
    let [ip] = &look_up(mesh, &["client"], "one.hhuge9.com")[..] else { panic!("one address") };
    let told = mesh.lateen(&["dns", "one.hhuge9.com", "--from", "client"]);
    let parts = [format!("answer   {ip}"), "ServiceEntry default/one status.addresses".to_owned()];
    parts.iter().for_each(|part| assert!(told.contains(part), "{part} in {told}"));
    let told = mesh.lateen(&["dns", "web", "--from", "client"]);
    assert!(told.contains("host     web.default.svc.cluster.local"), "{told}");
}

fn two_databases_on_one_port_are_told_apart(mesh: &Mesh) {
    for name in ["one", "two"] {
        eventually("the right server", PATIENCE, || {
            // The server sends every line back, whatever it says.
            let url = format!("http://{name}.hhuge9.com:9000/");
            let script = format!("curl -s -m 2 --http0.9 {url} | head -1");
            let said = shell(mesh, "client", &script);
            if said.starts_with(&format!("{name} GET")) { Ok(()) } else { Err(said) }
        });
    }
}

fn a_host_may_be_its_own_endpoint(mesh: &Mesh) {
    let host = "httpbin.outside.svc.cluster.local";
    eventually("an answer", PATIENCE, || {
        let ips = look_up(mesh, &["client"], host);
        let script =
            format!("curl -s -o /dev/null -w '%{{http_code}}' http://{host}:8000/get || true");
        let said = shell(mesh, "client", &script);
        let automatic = ips.iter().any(|ip| ip.starts_with("240.240."));
        if automatic && said == "200" { Ok(()) } else { Err(format!("{ips:?} {said}")) }
    });
}

/// The control plane is made anew; what it gave stays.
fn addresses_stay(mesh: &Mesh) {
    let addresses = || {
        let entries = mesh.get(&["serviceentry"]);
        let items = entries["items"].as_array().expect("a list").clone();
        items.iter().map(|e| e["status"]["addresses"].to_string()).collect::<Vec<_>>()
    };
    let before = addresses();
    assert_eq!(before.iter().filter(|a| a.contains("240.240.")).count(), 3, "{before:?}");
    mesh.kubectl(&["-n", "istio-system", "rollout", "restart", "deployment/istiod"]);
    mesh.kubectl(&[
        "-n",
        "istio-system",
        "rollout",
        "status",
        "deployment/istiod",
        "--timeout=60s",
    ]);
    assert_eq!(addresses(), before);
}

fn unknown_destinations_pass_until_that_is_changed(mesh: &Mesh, counted: bool) {
    let pod = mesh.get(&["-n", "outside", "pod", "httpbin"]);
    let ip = pod["status"]["podIP"].as_str().expect("an address").to_owned();
    let status = || {
        let script =
            format!("curl -s -o /dev/null -w '%{{http_code}}' http://{ip}:8080/get || true");
        shell(mesh, "client", &script)
    };
    let metrics = || shell(mesh, "client", "curl -s http://127.0.0.1:15020/stats/prometheus");
    assert_eq!(status(), "200");
    let to = |cluster: &'static str| {
        counter(&metrics(), "istio_requests_total", &[("destination_service_name", cluster)])
            + counter(
                &metrics(),
                "istio_tcp_connections_opened_total",
                &[("destination_service_name", cluster)],
            )
    };
    assert!(!counted || to("PassthroughCluster") >= 1.0, "{}", metrics());
    set_policy(mesh, "REGISTRY_ONLY");
    eventually("unknown hosts are refused", PATIENCE, || match status().as_str() {
        // The listener of port 8080 is nobody's, so the connection is refused; 000 for curl.
        "000" | "502" => Ok(()),
        other => Err(other.to_owned()),
    });
    // On a port that has a listener for HTTP the proxy answers.
    let script = "curl -s -o /dev/null -w '%{http_code}' -H 'host: nobody.example.com' http://web:8000/get || true";
    assert_eq!(shell(mesh, "client", script), "502");
    assert!(!counted || to("BlackHoleCluster") >= 2.0, "{}", metrics());
    // What an entry describes is reached.
    let known =
        "curl -s -o /dev/null -w '%{http_code}' http://httpbin.outside.svc.cluster.local:8000/get";
    assert_eq!(shell(mesh, "client", known), "200");
    set_policy(mesh, "ALLOW_ANY");
    eventually("unknown hosts are reached again", PATIENCE, || match status().as_str() {
        "200" => Ok(()),
        other => Err(other.to_owned()),
    });
}

/// As users do: the ConfigMap is edited, and nothing is restarted.
fn set_policy(mesh: &Mesh, mode: &str) {
    let map = mesh.get(&["-n", "istio-system", "configmap", "istio"]);
    let text = map["data"]["mesh"].as_str().expect("the mesh configuration");
    let rest = text.split("outboundTrafficPolicy:").next().unwrap_or(text).trim_end();
    let changed = format!("{rest}\noutboundTrafficPolicy:\n  mode: {mode}\n");
    let patch = serde_json::json!({"data": {"mesh": changed}}).to_string();
    mesh.kubectl(&[
        "-n",
        "istio-system",
        "patch",
        "configmap",
        "istio",
        "--type=merge",
        "-p",
        &patch,
    ]);
}
