//! What a gateway does not read: TLS that is ended behind it, chosen by server name, and plain TCP.

use super::edge::{Edge, SOON};
use e2e::authority::of_mesh;
use e2e::eventually;
use e2e::secure::Secure;

/// The server of the tutorial about SNI routing, as it is written there.
const NGINX: &str = r#"
apiVersion: v1
kind: Service
metadata: { name: my-nginx, labels: { run: my-nginx } }
spec:
  ports: [{ port: 443, protocol: TCP, name: https }]
  selector: { run: my-nginx }
---
apiVersion: v1
kind: ConfigMap
metadata: { name: nginx-configmap }
data:
  nginx.conf: |
    events {
    }
    http {
      server {
        listen 443 ssl;
        root /usr/share/nginx/html;
        index index.html;
        server_name nginx.example.com;
        ssl_certificate /etc/nginx-server-certs/tls.crt;
        ssl_certificate_key /etc/nginx-server-certs/tls.key;
      }
    }
---
apiVersion: apps/v1
kind: Deployment
metadata: { name: my-nginx }
spec:
  replicas: 1
  selector: { matchLabels: { run: my-nginx } }
  template:
    metadata:
      labels: { run: my-nginx, sidecar.istio.io/inject: "true" }
    spec:
      containers:
      - name: my-nginx
        image: ymqytw/nginxhttps:1.5
        command: ["/home/auto-reload-nginx.sh"]
        ports: [{ containerPort: 443 }]
        readinessProbe: { tcpSocket: { port: 443 }, periodSeconds: 1 }
        volumeMounts:
        - { name: nginx-config, mountPath: /etc/nginx, readOnly: true }
        - { name: nginx-server-certs, mountPath: /etc/nginx-server-certs, readOnly: true }
      volumes:
      - { name: nginx-config, configMap: { name: nginx-configmap } }
      - { name: nginx-server-certs, secret: { secretName: nginx-server-certs } }
---
apiVersion: v1
kind: Service
metadata: { name: other }
spec:
  ports: [{ port: 8443, name: tls, targetPort: 443 }]
  selector: { run: my-nginx }
"#;

/// A host that is passed on beside one whose TLS the gateway ends.
const ROUTES: &str = r#"
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: { name: mygateway }
spec:
  selector: { istio: ingressgateway }
  servers:
  - port: { number: 443, name: https-pass, protocol: HTTPS }
    tls: { mode: PASSTHROUGH }
    hosts: [nginx.example.com, "*.wild.example.com"]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: nginx }
spec:
  hosts: [nginx.example.com, "*.wild.example.com"]
  gateways: [mygateway]
  tls:
  - match: [{ port: 443, sniHosts: [nginx.example.com] }]
    route: [{ destination: { host: my-nginx, port: { number: 443 } } }]
  - match: [{ sniHosts: ["*.wild.example.com"] }]
    route: [{ destination: { host: other, port: { number: 8443 } } }]
"#;

pub fn server_names_choose_who_ends_tls(edge: &Edge<'_>) {
    let of_the_mesh = "outbound_.443_._.my-nginx.default.svc.cluster.local";
    let leaf = edge.authority.leaf(&["nginx.example.com", "*.wild.example.com", of_the_mesh]);
    let pair = [("tls.crt", leaf.chain.as_str()), ("tls.key", &leaf.key)];
    edge.secret("default", "nginx-server-certs", &pair);
    edge.mesh.apply_text(NGINX);
    edge.mesh.apply_text(ROUTES);
    edge.mesh.wait_for_deployments("default");
    let client = edge.client();
    let page = edge.until(&client, "nginx.example.com", "/", 200);
    assert!(page.body.contains("<title>Welcome to nginx!</title>"), "{page:?}");
    let seen = edge.until(&client, "a.wild.example.com", "/seen", 200);
    let seen: serde_json::Value = serde_json::from_str(&seen.body).expect("JSON");
    assert_eq!(seen["tls"]["sni"], "a.wild.example.com", "{seen}");
    assert_eq!(seen["tls"]["alpn"], "h2", "what the client offers reaches the server: {seen}");
    assert_eq!(seen["headers"]["x-forwarded-for"], serde_json::Value::Null, "nobody has read it");
    // The gateway still ends TLS for its own hosts, and refuses what nobody has.
    edge.until(&client, "httpbin.example.com", "/status/200", 200);
    assert_eq!(edge.get(&client, "wild.example.com", "/").status, 0);
}

/// The tutorial about shifting TCP, with its samples' images and words.
const TCP: &str = r#"
apiVersion: v1
kind: Service
metadata: { name: tcp-echo }
spec:
  selector: { app: tcp-echo }
  ports: [{ name: tcp, port: 9000 }]
---
apiVersion: apps/v1
kind: Deployment
metadata: { name: tcp-echo-v1 }
spec:
  selector: { matchLabels: { app: tcp-echo, version: v1 } }
  template:
    metadata: { labels: { app: tcp-echo, version: v1 } }
    spec: { containers: [{ name: tcp-echo, image: istio/tcp-echo-server:1.3, args: ["9000", one], readinessProbe: { tcpSocket: { port: 9000 }, periodSeconds: 1 } }] }
---
apiVersion: apps/v1
kind: Deployment
metadata: { name: tcp-echo-v2 }
spec:
  selector: { matchLabels: { app: tcp-echo, version: v2 } }
  template:
    metadata: { labels: { app: tcp-echo, version: v2 } }
    spec: { containers: [{ name: tcp-echo, image: istio/tcp-echo-server:1.3, args: ["9000", two], readinessProbe: { tcpSocket: { port: 9000 }, periodSeconds: 1 } }] }
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: { name: tcp-echo }
spec:
  host: tcp-echo
  subsets:
  - { name: v1, labels: { version: v1 } }
  - { name: v2, labels: { version: v2 } }
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: { name: tcp-echo }
spec:
  selector: { istio: ingressgateway }
  servers:
  - port: { number: 31400, name: tcp, protocol: TCP }
    hosts: ["*"]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: tcp-echo }
spec:
  hosts: ["*"]
  gateways: [tcp-echo, tcp-over-tls]
  tcp:
  - match: [{ port: 31400 }]
    route:
    - { destination: { host: tcp-echo, port: { number: 9000 }, subset: v1 }, weight: FIRST }
    - { destination: { host: tcp-echo, port: { number: 9000 }, subset: v2 }, weight: SECOND }
  - match: [{ port: 15443 }]
    route: [{ destination: { host: tcp-echo, port: { number: 9000 }, subset: v2 } }]
"#;

fn echoed(at: &str) -> std::io::Result<String> {
    e2e::say(at, "world\n")
}

fn tcp(first: u32) -> String {
    TCP.replace("FIRST", &first.to_string()).replace("SECOND", &(100 - first).to_string())
}

pub fn connections_are_split_by_weight(edge: &Edge<'_>) {
    edge.mesh.apply_text(&tcp(100));
    edge.mesh.wait_for_deployments("default");
    let (ip, port) = edge.way("tcp");
    let at = format!("{ip}:{port}");
    eventually("all to v1", SOON, || match echoed(&at) {
        Ok(text) if text == "one world\n" => Ok(()),
        other => Err(format!("{other:?}")),
    });
    edge.mesh.apply_text(&tcp(80));
    let until_two = || echoed(&at).map_err(|e| e.to_string());
    eventually("some to v2", SOON, || match until_two()?.as_str() {
        "two world\n" => Ok(()),
        other => Err(other.to_owned()),
    });
    let answers: Vec<String> = (0..200).map(|_| echoed(&at).expect("an echo")).collect();
    let second = answers.iter().filter(|a| *a == "two world\n").count();
    let first = answers.iter().filter(|a| *a == "one world\n").count();
    // 20% +- 14, which is five standard deviations.
    assert!(first + second == 200 && (12..=68).contains(&second), "{second} of {answers:?}");
}

const OVER_TLS: &str = r#"
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: { name: tcp-over-tls }
spec:
  selector: { istio: ingressgateway }
  servers:
  - port: { number: 15443, name: tls-echo, protocol: TLS }
    tls: { mode: SIMPLE, credentialName: of-echo }
    hosts: [echo.example.com]
"#;

pub fn tls_is_ended_before_what_is_not_http(edge: &Edge<'_>) {
    edge.tls_secret("of-echo", &edge.authority.leaf(&["echo.example.com"]));
    edge.mesh.apply_text(OVER_TLS);
    let (ip, port) = edge.way("tls");
    let client = Secure {
        at: &format!("{ip}:{port}"),
        server_name: "echo.example.com",
        alpn: &[],
        root: &edge.authority.root,
        own: None,
    };
    eventually("an echo over TLS", SOON, || match client.say("world\n", "\n") {
        Ok(text) if text == "two world\n" => Ok(()),
        other => Err(format!("{other:?}")),
    });
    let other = Secure { server_name: "nobody.example.com", ..client };
    assert!(other.say("world\n", "\n").is_err());
    edge.delete(&["gateway", "tcp-over-tls"]);
}

const ACROSS: &str = r#"
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: { name: cross-network }
spec:
  selector: { istio: ingressgateway }
  servers:
  - port: { number: 15443, name: tls, protocol: TLS }
    tls: { mode: AUTO_PASSTHROUGH }
    hosts: ["*.local"]
---
apiVersion: v1
kind: Service
metadata: { name: across }
spec:
  selector: { app: across }
  ports: [{ name: http, port: 8000, targetPort: 8080 }]
---
apiVersion: apps/v1
kind: Deployment
metadata: { name: across }
spec:
  selector: { matchLabels: { app: across } }
  template:
    metadata: { labels: { app: across, sidecar.istio.io/inject: "true" } }
    spec: { containers: [{ name: httpbin, image: docker.io/mccutchen/go-httpbin }] }
"#;

/// As sidecars of another network would ask.
pub fn the_mesh_names_its_destinations_itself(edge: &Edge<'_>) {
    edge.mesh.apply_text(ACROSS);
    edge.mesh.wait_for_deployments("default");
    let mesh = of_mesh(edge.mesh);
    let friend = "spiffe://cluster.local/ns/elsewhere/sa/friend";
    let own = mesh.leaf(&[friend]);
    let (ip, port) = edge.way("tls");
    let at = format!("{ip}:{port}");
    let client = Secure {
        at: &at,
        server_name: "outbound_.8000_._.across.default.svc.cluster.local",
        alpn: &["istio-http/1.1", "istio", "http/1.1"],
        root: &mesh.root,
        own: Some(&own),
    };
    let request = "GET /headers HTTP/1.1\r\nHost: across\r\nConnection: close\r\n\r\n";
    eventually("the destination that is named", SOON, || match client.say(request, "}\n") {
        Ok(text) if text.contains(&format!("URI={friend}")) => Ok(()),
        other => Err(format!("{other:?}")),
    });
    for (name, alpn) in [
        // What the mesh does not speak, a service without a sidecar, a host that is not named so.
        ("outbound_.8000_._.across.default.svc.cluster.local", "http/1.1"),
        ("outbound_.9000_._.tcp-echo.default.svc.cluster.local", "istio"),
        ("nginx.example.com", "istio"),
    ] {
        let stranger = Secure { server_name: name, alpn: &[alpn], ..client };
        assert!(stranger.say(request, "\n").is_err(), "{name} {alpn}");
    }
    edge.delete(&["gateway", "cross-network"]);
    edge.delete(&["service,deployment", "across"]);
}

const CONFLICT: &str = r#"
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: { name: zz-latecomer }
spec:
  selector: { istio: ingressgateway }
  servers:
  - port: { number: 31400, name: http, protocol: HTTP }
    hosts: [late.example.com]
  - port: { number: 443, name: https-late, protocol: HTTPS }
    tls: { mode: SIMPLE, credentialName: httpbin-credential }
    hosts: [httpbin.example.com, nginx.example.com]
"#;

pub fn what_does_not_go_together_is_said(edge: &Edge<'_>) {
    edge.mesh.apply_text(CONFLICT);
    edge.until_status_says(
        "gateway",
        "zz-latecomer",
        &[
            "spec.servers[0].port: port 31400 is served as TCP by Gateway default/tcp-echo",
            "spec.servers[1].hosts: TLS for host httpbin.example.com on port 443 is served by Gateway \
             default/secure",
            "IST0145",
        ],
    );
    let (ip, port) = edge.way("tcp");
    let echo = echoed(&format!("{ip}:{port}")).expect("the older one serves on");
    assert!(echo.ends_with(" world\n"), "{echo}");
    edge.until(&edge.client(), "httpbin.example.com", "/status/200", 200);
    edge.delete(&["gateway", "zz-latecomer", "mygateway", "tcp-echo"]);
}
