//! Ways in: the samples' gateways, WebSocket through one, node ports. The gateways
//! all take every host of port 80, so they come one after another.

use super::stage::Scene;
use e2e::{Answer, curl};

pub fn play(scene: &Scene<'_>) {
    scene.start_client();
    scene.apply("bookinfo/platform/kube/bookinfo.yaml");
    scene.apply("httpbin/httpbin-nodeport.yaml");
    scene.apply("helloworld/helloworld.yaml");
    scene.apply("websockets/app.yaml");
    scene.ready();
    node_ports(scene);
    let _alone = scene.gateway();
    httpbin(scene);
    helloworld(scene);
    websocket(scene);
    scene.end();
}

fn node_ports(scene: &Scene<'_>) {
    let paths = [("httpbin", "/status/418", 418), ("productpage", "/productpage", 200)];
    scene.apply("bookinfo/platform/kube/productpage-nodeport.yaml");
    for (service, path, status) in paths {
        let port =
            scene.kubectl(&["get", "service", service, "-o", "jsonpath={.spec.ports[0].nodePort}"]);
        scene.eventually(&format!("{service} at node port {port}"), || {
            let answer = curl(&format!("http://127.0.0.1:{port}{path}"), &[]);
            if answer.status == status { Ok(()) } else { Err(format!("{answer:?}")) }
        });
    }
}

fn httpbin(scene: &Scene<'_>) {
    scene.apply("httpbin/httpbin-gateway.yaml");
    entered(scene, "httpbin", "/headers", |a| {
        a.status == 200 && a.body.contains("X-Forwarded-For")
    });
    assert_eq!(scene.enter("/status/200", &["-H", "host: httpbin.example.com"]).status, 200);
    scene.delete("httpbin/httpbin-gateway.yaml");
    gone(scene, "/headers");
}

fn helloworld(scene: &Scene<'_>) {
    scene.apply("helloworld/helloworld-gateway.yaml");
    for version in ["v1", "v2"] {
        let said = format!("Hello version: {version}, instance: helloworld-{version}-");
        entered(scene, &said, "/hello", |a| a.status == 200 && a.body.starts_with(&said));
    }
    assert_eq!(scene.enter("/hello/", &[]).status, 404, "it is an exact path");
    scene.delete("helloworld/helloworld-gateway.yaml");
    gone(scene, "/hello");
}

fn websocket(scene: &Scene<'_>) {
    scene.apply("websockets/route.yaml");
    entered(scene, "the page", "/", |a| a.status == 200 && a.body.contains("WebSocket"));
    let upgrade = [
        "-H",
        "connection: Upgrade",
        "-H",
        "upgrade: websocket",
        "-H",
        "sec-websocket-version: 13",
        "-H",
        "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==",
        "--max-time",
        "1",
    ];
    let answer = scene.enter("/ws", &upgrade);
    assert_eq!(answer.status, 101, "{answer:?}");
    let accepted = answer.head.lines().any(|l| l.ends_with("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    assert!(accepted, "{answer:?}");
    assert_eq!(super::websocket::say(&scene.mesh().ingress_address(), "/ws", "ahoy"), "ahoy");
    scene.delete("websockets/route.yaml");
    gone(scene, "/");
}

fn entered(scene: &Scene<'_>, what: &str, path: &str, right: impl Fn(&Answer) -> bool) {
    scene.eventually(what, || match scene.enter(path, &[]) {
        answer if right(&answer) => Ok(()),
        answer => Err(format!("{answer:?}")),
    });
}

fn gone(scene: &Scene<'_>, path: &str) {
    scene.eventually("the gateway is closed", || match scene.enter(path, &[]) {
        answer if [0, 404].contains(&answer.status) => Ok(()),
        answer => Err(format!("{answer:?}")),
    });
}
