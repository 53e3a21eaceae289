//! Services of two address families, and of IPv6 alone: each is called at each of its addresses, through the
//! sidecars of both sides, and Bookinfo's page is put together from services that prefer IPv6.

use super::stage::Scene;

/// As curl has them: an address of the other family is not tried.
const FAMILIES: [&str; 2] = ["-4", "-6"];

pub fn play(scene: &Scene<'_>) {
    scene.start_client();
    for file in ["tcp-echo/tcp-echo-dual-stack", "helloworld/helloworld-dual-stack"] {
        scene.apply(&format!("{file}.yaml"));
    }
    for part in ["details", "ratings", "ratings-discovery"] {
        scene.apply(&format!("bookinfo/platform/kube/bookinfo-{part}-dualstack.yaml"));
    }
    scene.ready();
    for (host, says) in [
        ("helloworld:5000/hello", "Hello version"),
        ("details:9080/details/0", "ISBN-13"),
        ("ratings:9080/ratings/0", "Reviewer1"),
    ] {
        both_answer(scene, host, says);
    }
    echoes(scene);
    scene.apply("bookinfo/platform/kube/bookinfo-dualstack.yaml");
    scene.ready();
    scene.until("the page", "http://productpage:9080/productpage", "-6", |a| {
        a.status == 200 && a.body.contains("Book Details") && a.body.contains("Reviews served by")
    });
    one_family(scene);
    scene.end();
}

/// The client's sidecar answers at both addresses.
fn both_answer(scene: &Scene<'_>, host: &str, says: &str) {
    for family in FAMILIES {
        let what = format!("{host} by {family}");
        scene.until(&what, &format!("http://{host}"), family, |a| {
            a.status == 200 && a.body.contains(says) && a.head.contains("server: envoy")
        });
    }
}

/// On the ports of the service, and on one that it does not name at the pod's own addresses.
fn echoes(scene: &Scene<'_>) {
    let list =
        ["get", "pods", "-l", "app=tcp-echo", "-o", "jsonpath={.items[0].status.podIPs[*].ip}"];
    let ips = scene.kubectl(&list);
    let ips: Vec<&str> = ips.split_whitespace().collect();
    let [v4, v6] = ips[..] else { panic!("the pod has the addresses {ips:?}") };
    for family in FAMILIES {
        for port in [9000, 9001] {
            echoed(scene, family, &format!("tcp-echo:{port}"));
        }
    }
    echoed(scene, "-4", &format!("{v4}:9002"));
    echoed(scene, "-6", &format!("[{v6}]:9002"));
    for family in ["10.244.", "fd00:10:244:"] {
        let endpoints = scene.endpoints_of("outbound|9000||tcp-echo");
        assert!(endpoints.contains(family), "{endpoints}");
    }
}

/// The service gives up IPv4.
fn one_family(scene: &Scene<'_>) {
    scene.apply("tcp-echo/tcp-echo-ipv6.yaml");
    scene.ready();
    let families = ["get", "service", "tcp-echo", "-o", "jsonpath={.spec.ipFamilies[*]}"];
    assert_eq!(scene.kubectl(&families).trim(), "IPv6");
    echoed(scene, "-6", "tcp-echo:9000");
    scene.eventually("no IPv4 address is left", || {
        let said =
            scene.shell("timeout 5 curl -4 -sN --max-time 2 telnet://tcp-echo:9000; echo $?");
        // What curl says of a name without an address.
        if said.trim() == "6" { Ok(()) } else { Err(said) }
    });
}

fn echoed(scene: &Scene<'_>, family: &str, target: &str) {
    scene.eventually(&format!("an echo from {target} by {family}"), || {
        let curl = format!("timeout 5 curl {family} -sN --max-time 1 telnet://{target}");
        let said = scene.shell(&format!("echo port | {curl}"));
        if said.contains("hello port") { Ok(()) } else { Err(said) }
    });
}
