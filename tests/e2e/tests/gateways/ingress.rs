//! Secure ingress, as the tutorial has it: certificates from Secrets, one for each host.

use super::edge::{Client, Edge, SOON};
use e2e::{curl, eventually};
use std::time::{Duration, Instant};

const GATEWAY: &str = r#"
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: { name: secure }
spec:
  selector: { istio: ingressgateway }
  servers:
  - port: { number: 443, name: https-httpbin, protocol: HTTPS }
    tls: { mode: SIMPLE, credentialName: httpbin-credential }
    hosts: [httpbin.example.com]
  - port: { number: 443, name: https-helloworld, protocol: HTTPS }
    tls: { mode: SIMPLE, credentialName: helloworld-credential }
    hosts: [helloworld.example.com]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: httpbin }
spec:
  hosts: [httpbin.example.com]
  gateways: [secure, mistaken, plain]
  http:
  - match: [{ uri: { prefix: /status } }, { uri: { prefix: /headers } }]
    route: [{ destination: { host: httpbin, port: { number: 8000 } } }]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: helloworld }
spec:
  hosts: [helloworld.example.com]
  gateways: [secure]
  http: [{ route: [{ destination: { host: helloworld, port: { number: 5000 } } }] }]
"#;

pub fn hosts_share_a_port_each_with_its_own_certificate(edge: &Edge<'_>) {
    edge.tls_secret("httpbin-credential", &edge.authority.leaf(&["httpbin.example.com"]));
    // The same as a generic Secret, under the names that such have.
    let leaf = edge.authority.leaf(&["helloworld.example.com"]);
    let entries = [("cert", leaf.chain.as_str()), ("key", &leaf.key)];
    edge.secret("istio-system", "helloworld-credential", &entries);
    edge.mesh.apply_text(GATEWAY);
    let client = edge.client();
    let teapot = edge.until(&client, "httpbin.example.com", "/status/418", 418);
    assert!(teapot.head.starts_with("HTTP/2 418"), "{teapot:?}");
    let hello = edge.until(&client, "helloworld.example.com", "/hello", 200);
    assert!(hello.body.contains("Hello version: v1"), "{hello:?}");
    let one = edge.get(&client.with(&["--http1.1"]), "httpbin.example.com", "/headers");
    assert!(one.head.starts_with("HTTP/1.1 200"), "{one:?}");
    assert!(one.body.contains("X-Forwarded-Proto") && one.body.contains("https"), "{one:?}");
    // A name for which there is no server, and one that is no name.
    for host in ["nobody.example.com", "127.0.0.1"] {
        assert_eq!(edge.get(&client, host, "/status/200").status, 0, "{host}");
    }
    // What the host's VirtualService does not route is not found, and the other host's is not reached.
    assert_eq!(edge.get(&client, "httpbin.example.com", "/hello").status, 404);
    edge.until_status_says(
        "gateway",
        "secure",
        &["applied to", r#""status":"True","type":"Accepted"#],
    );
}

/// 400 requests, 25 in a second.
const LOAD: Duration = Duration::from_secs(16);

/// Requests go on over kept and over new connections while the Secret is replaced twice.
pub fn a_new_certificate_is_served_within_seconds_and_no_request_fails(edge: &Edge<'_>) {
    let host = "httpbin.example.com";
    let (ip, port) = edge.way("https");
    let (resolve, url) =
        (format!("{host}:{port}:{ip}"), format!("https://{host}:{port}/status/200"));
    let next = e2e::authority::Authority::new("the next authority");
    let both = edge.files.write("both.pem", &format!("{}{}", edge.authority.root, next.root));
    let trusting = Client::default().with(&["--cacert", &both, "--resolve", &resolve]);
    let many = format!("{url}?[1-400]");
    let begun = Instant::now();
    std::thread::scope(|scope| {
        let kept = scope.spawn(|| {
            let args = ["--max-time", "60", "--rate", "25/s", "-o", "/dev/null"];
            trusting.curl(&[&args[..], &["-w", "%{http_code} %{num_connects}\n", &many]].concat())
        });
        let fresh = scope.spawn(|| {
            let mut results = Vec::new();
            while begun.elapsed() < LOAD {
                let format = ["-o", "/dev/null", "-w", "%{http_code}"];
                let out = trusting.curl(&[&format[..], &[&url]].concat());
                results.push(String::from_utf8_lossy(&out.stdout).into_owned());
            }
            results
        });
        replace_and_see(edge, &next, "next.pem");
        replace_and_see(edge, &edge.authority, "root-again.pem");
        assert!(begun.elapsed() < LOAD, "{:?}", begun.elapsed());
        let kept = kept.join().expect("kept connections");
        let fresh = fresh.join().expect("new connections");
        let text = String::from_utf8_lossy(&kept.stdout).into_owned();
        let failed = text.lines().filter(|line| !line.starts_with("200 ")).count();
        assert_eq!((text.lines().count(), failed), (400, 0), "{text}");
        let bad: Vec<_> = fresh.iter().filter(|code| *code != "200").collect();
        assert!(fresh.len() >= 10 && bad.is_empty(), "{bad:?} of {}", fresh.len());
    });
}

/// Replaces the Secret by a certificate of this authority, and waits until clients see it.
fn replace_and_see(edge: &Edge<'_>, authority: &e2e::authority::Authority, file: &str) {
    let host = "httpbin.example.com";
    edge.tls_secret("httpbin-credential", &authority.leaf(&[host]));
    let root = edge.files.write(file, &authority.root);
    edge.until(&Client::default().with(&["--cacert", &root]), host, "/status/200", 200);
}

const MISTAKEN: &str = r#"
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: { name: mistaken }
spec:
  selector: { istio: ingressgateway }
  servers:
  - port: { number: 443, name: https-missing, protocol: HTTPS }
    tls: { mode: SIMPLE, credentialName: not-there }
    hosts: [missing.example.com]
  - port: { number: 443, name: https-elsewhere, protocol: HTTPS }
    tls: { mode: SIMPLE, credentialName: of-default }
    hosts: [elsewhere.example.com]
  - port: { number: 443, name: https-mixed, protocol: HTTPS }
    tls: { mode: SIMPLE, credentialName: mixed-up }
    hosts: [mixed.example.com]
"#;

pub fn what_is_wrong_with_a_secret_is_said_and_harms_nobody_else(edge: &Edge<'_>) {
    let (one, other) = (edge.authority.leaf(&["a.example"]), edge.authority.leaf(&["a.example"]));
    let pair = [("tls.crt", one.chain.as_str()), ("tls.key", &one.key)];
    edge.secret("default", "of-default", &pair);
    let mixed = [("tls.crt", one.chain.as_str()), ("tls.key", &other.key)];
    edge.secret("istio-system", "mixed-up", &mixed);
    edge.mesh.apply_text(MISTAKEN);
    edge.until_status_says(
        "gateway",
        "mistaken",
        &[
            "spec.servers[0].tls.credentialName: there is no Secret not-there",
            "spec.servers[1].tls.credentialName: there is no Secret of-default",
            "spec.servers[2].tls.credentialName: Secret istio-system/mixed-up cannot be used",
            r#""status":"False","type":"Accepted"#,
        ],
    );
    let client = edge.client();
    edge.until(&client, "httpbin.example.com", "/status/200", 200);
    for host in ["missing.example.com", "elsewhere.example.com", "mixed.example.com"] {
        assert_eq!(edge.get(&client, host, "/status/200").status, 0, "{host}");
    }
    // Once it is there it is served, with nothing else done: no VirtualService, so 404.
    edge.tls_secret("not-there", &edge.authority.leaf(&["missing.example.com"]));
    edge.until(&client, "missing.example.com", "/status/200", 404);
    edge.delete(&["gateway", "mistaken"]);
}

const PLAIN: &str = r#"
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: { name: plain }
spec:
  selector: { istio: ingressgateway }
  servers:
  - port: { number: 80, name: http-redirect, protocol: HTTP }
    tls: { httpsRedirect: true }
    hosts: [httpbin.example.com]
"#;

pub fn plaintext_is_redirected(edge: &Edge<'_>) {
    edge.mesh.apply_text(PLAIN);
    let url = format!("{}/status/200?q=1", edge.mesh.ingress());
    eventually("a redirect", SOON, || {
        let answer = curl(&url, &["-H", "Host: httpbin.example.com"]);
        let to = answer.head.lines().find_map(|line| line.strip_prefix("location: "));
        match (answer.status, to) {
            (301, Some("https://httpbin.example.com/status/200?q=1")) => Ok(()),
            _ => Err(format!("{answer:?}")),
        }
    });
    edge.delete(&["gateway", "plain"]);
}
