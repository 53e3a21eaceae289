//! The nginx of the HTTPS tutorials: it ends TLS itself, and the mesh passes it through, from a sidecar
//! and from the ingress gateway by server name.

use super::stage::Scene;
use e2e::curl;
use std::process::Command;

const HOST: &str = "nginx.example.com";

pub fn play(scene: &Scene<'_>) {
    scene.start_client();
    certificate(scene);
    scene.apply("https/nginx-app.yaml");
    scene.eventually("nginx runs", || {
        let pods = scene.kubectl(&["get", "pods", "-l", "app=nginx", "--no-headers"]);
        if pods.contains("2/2") { Ok(()) } else { Err(pods) }
    });
    scene.until("nginx answers inside the mesh", "https://my-nginx/", "-k", |a| {
        a.status == 200 && a.body.contains("Welcome to nginx!")
    });
    let _alone = scene.gateway();
    scene.apply_text(PASSTHROUGH);
    let address = scene.mesh().ingress_address().replace(":80", "");
    let connect = format!("{HOST}:443:{address}:443");
    let roots = scene.mesh().state().join(format!("{}.crt", scene.namespace));
    let roots = roots.display().to_string();
    scene.eventually("nginx answers through the gateway", || {
        let answer =
            curl(&format!("https://{HOST}/"), &["--connect-to", &connect, "--cacert", &roots]);
        let right = answer.status == 200 && answer.body.contains("Welcome to nginx!");
        if right { Ok(()) } else { Err(format!("{answer:?}")) }
    });
    let other = format!("other.example.com:443:{address}:443");
    let answer = curl("https://other.example.com/", &["--connect-to", &other, "-k"]);
    assert_eq!(answer.status, 0, "another name is nobody's: {answer:?}");
    scene.end();
}

/// A certificate and nginx's configuration, which the tutorial has its reader make.
fn certificate(scene: &Scene<'_>) {
    let state = scene.mesh().state();
    let path =
        |suffix: &str| state.join(format!("{}.{suffix}", scene.namespace)).display().to_string();
    let (key, crt, conf) = (path("key"), path("crt"), path("conf"));
    let out = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-keyout", &key])
        .args([
            "-out",
            &crt,
            "-subj",
            &format!("/CN={HOST}"),
            "-addext",
            &format!("subjectAltName=DNS:{HOST}"),
        ])
        .output()
        .expect("openssl");
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    std::fs::write(&conf, CONFIGURATION).expect("the state directory is ours");
    scene.kubectl(&["create", "secret", "tls", "nginxsecret", "--key", &key, "--cert", &crt]);
    scene.kubectl(&[
        "create",
        "configmap",
        "nginxconfigmap",
        &format!("--from-file=default.conf={conf}"),
    ]);
}

const CONFIGURATION: &str = "server {
  listen 443 ssl;
  root /usr/share/nginx/html;
  index index.html;
  ssl_certificate /etc/nginx/ssl/tls.crt;
  ssl_certificate_key /etc/nginx/ssl/tls.key;
}
";

const PASSTHROUGH: &str = "
apiVersion: networking.istio.io/v1alpha3
kind: Gateway
metadata: { name: mygateway }
spec:
  selector: { istio: ingressgateway }
  servers:
  - port: { number: 443, name: https, protocol: HTTPS }
    tls: { mode: PASSTHROUGH }
    hosts: [nginx.example.com]
---
apiVersion: networking.istio.io/v1alpha3
kind: VirtualService
metadata: { name: nginx }
spec:
  hosts: [nginx.example.com]
  gateways: [mygateway]
  tls:
  - match: [{ port: 443, sniHosts: [nginx.example.com] }]
    route:
    - destination: { host: my-nginx, port: { number: 443 } }
";
