//! Large bodies, and what they cost the proxies on their way.

use super::shell;
use e2e::Mesh;
use std::collections::BTreeMap;

/// KiB by which a proxy may grow while 100 MiB go up and down.
const GROWTH: u64 = 8 << 10;

pub fn large_bodies_arrive_whole(mesh: &Mesh) {
    let script = "head -c 104857600 /dev/urandom > /tmp/big && sha256sum < /tmp/big && \
                  curl -sf -T /tmp/big -H 'Content-Type: application/octet-stream' -X POST http://echo:8080/ | sha256sum; \
                  rm /tmp/big";
    let before = proxies(mesh);
    let hashes = shell(mesh, script);
    let (sent, received) = hashes.trim().split_once('\n').expect("two hashes");
    assert_eq!(sent, received, "100 MiB up and down");
    for (pod, after) in proxies(mesh) {
        // The most that it ever held, not what it holds now.
        let grown = after.most.saturating_sub(before[&pod].now);
        println!("{pod}: {} KiB, {grown} KiB more at most", before[&pod].now);
        assert!(grown <= GROWTH, "the proxy of {pod} grew by {grown} KiB");
    }
}

struct Memory {
    now: u64,
    most: u64,
}

/// Resident memory in KiB of the proxies that the body passes, by pod.
fn proxies(mesh: &Mesh) -> BTreeMap<String, Memory> {
    let pods = mesh.get(&["pods", "-l", "app in (client, echo)"]);
    let names = pods["items"].as_array().expect("a list").iter();
    names
        .map(|pod| {
            let name = pod["metadata"]["name"].as_str().expect("a name").to_owned();
            let memory = sidecar(mesh, &name);
            (name, memory)
        })
        .collect()
}

/// Of the sidecar's processes, be it one of ours or an agent and Envoy.
fn sidecar(mesh: &Mesh, pod: &str) -> Memory {
    let status = mesh.exec(pod, "istio-proxy", &["sh", "-c", "cat /proc/[0-9]*/status"]);
    let mut sum = Memory { now: 0, most: 0 };
    let mut is_proxy = false;
    for line in status.lines() {
        let (key, value) = line.split_once(':').unwrap_or_default();
        let kib = || value.split_whitespace().next().and_then(|n| n.parse().ok()).unwrap_or(0);
        match key {
            "Name" => is_proxy = ["lateen-proxy", "envoy"].contains(&value.trim()),
            "VmHWM" if is_proxy => sum.most += kib(),
            "VmRSS" if is_proxy => sum.now += kib(),
            _ => {}
        }
    }
    assert!(sum.now > 0, "no proxy in {pod}:\n{status}");
    sum
}
