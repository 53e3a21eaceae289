//! Ways in: the samples' gateways, WebSocket through one, node ports. The gateways
//! all take every host of port 80, so they come one after another.

use super::stage::Scene;
use e2e::{Answer, curl};

/// Gateways and routes are the same bytes from 1.7.3 to 1.14.3.
const WITH_GATEWAYS: [&str; 3] = ["1.1.2", "1.14.3", "master"];

pub fn play(scene: &Scene<'_>) {
    scene.start_client();
    scene.apply("httpbin/httpbin-nodeport.yaml");
    scene.apply("helloworld/helloworld.yaml");
    scene.apply("websockets/app.yaml");
    let whole = scene.is(&WITH_GATEWAYS);
    if whole {
        scene.apply("bookinfo/platform/kube/bookinfo.yaml");
    }
    scene.ready();
    inside(scene);
    node_port(scene, "httpbin", "/status/418", 418);
    if !whole {
        return scene.end();
    }
    scene.apply("bookinfo/platform/kube/productpage-nodeport.yaml");
    node_port(scene, "productpage", "/productpage", 200);
    let _alone = scene.gateway();
    helloworld(scene);
    websocket(scene);
    httpbin(scene);
    scene.end();
}

/// Without any gateway: both versions of helloworld share, and the page of the WebSocket sample is there.
fn inside(scene: &Scene<'_>) {
    let hello = "http://helloworld:5000/hello";
    for version in ["v1", "v2"] {
        let said = format!("Hello version: {version}, instance: helloworld-{version}-");
        scene.until(&said, hello, "", |a| a.status == 200 && a.body.starts_with(&said));
    }
    scene.until("the WebSocket's page", "http://tornado:8888/", "", |a| {
        a.status == 200 && a.body.contains("WebSocket")
    });
}

fn node_port(scene: &Scene<'_>, service: &str, path: &str, status: u16) {
    let port =
        scene.kubectl(&["get", "service", service, "-o", "jsonpath={.spec.ports[0].nodePort}"]);
    scene.eventually(&format!("{service} at node port {port}"), || {
        let answer = curl(&format!("http://127.0.0.1:{port}{path}"), &[]);
        if answer.status == status { Ok(()) } else { Err(format!("{answer:?}")) }
    });
}

fn httpbin(scene: &Scene<'_>) {
    scene.apply("httpbin/httpbin-gateway.yaml");
    entered(scene, "httpbin", "/headers", |a| {
        a.status == 200 && a.body.contains("X-Forwarded-For")
    });
    assert_eq!(scene.mesh().curl("/status/200", &["-H", "host: httpbin.example.com"]).status, 200);
    scene.delete("httpbin/httpbin-gateway.yaml");
}

fn helloworld(scene: &Scene<'_>) {
    scene.apply("helloworld/helloworld-gateway.yaml");
    for version in ["v1", "v2"] {
        let said = format!("Hello version: {version}, instance: helloworld-{version}-");
        entered(scene, &said, "/hello", |a| a.status == 200 && a.body.starts_with(&said));
    }
    assert_eq!(scene.mesh().curl("/hello/", &[]).status, 404, "it is an exact path");
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
    let answer = scene.mesh().curl("/ws", &upgrade);
    assert_eq!(answer.status, 101, "{answer:?}");
    let accepted = answer.head.lines().any(|l| l.ends_with("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    assert!(accepted, "{answer:?}");
    assert_eq!(super::websocket::say(&scene.mesh().ingress_address(), "/ws", "ahoy"), "ahoy");
    scene.delete("helloworld/helloworld-gateway.yaml");
    scene.delete("websockets/route.yaml");
}

fn entered(scene: &Scene<'_>, what: &str, path: &str, right: impl Fn(&Answer) -> bool) {
    scene.eventually(what, || match scene.mesh().curl(path, &[]) {
        answer if right(&answer) => Ok(()),
        answer => Err(format!("{answer:?}")),
    });
}
