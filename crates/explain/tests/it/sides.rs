//! What is told at gateways, on the server's side, and of connections that are not plain HTTP.

use super::support;
use super::support::{ask, says, workload};
use explain::{Answer, Side, Verdict, Workload};

const WORLD: &str = "
apiVersion: v1
kind: Service
metadata: {name: ingress, namespace: istio-system}
spec:
  clusterIP: 10.96.0.1
  selector: {istio: ingressgateway}
  ports:
  - {name: http, port: 80, targetPort: 8080}
  - {name: https, port: 443, targetPort: 8443}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: default}
spec:
  clusterIP: 10.96.0.2
  selector: {app: web}
  ports:
  - {name: http, port: 80, targetPort: 8000}
  - {name: tls, port: 8443}
  - {name: mysql, port: 3306}
---
apiVersion: v1
kind: Pod
metadata: {name: web-1, namespace: default, labels: {app: web}}
status: {phase: Running, podIP: 10.1.0.1}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: web-1, namespace: default, labels: {kubernetes.io/service-name: web}}
addressType: IPv4
ports: [{name: http, port: 8000}, {name: tls, port: 8443}, {name: mysql, port: 3306}]
endpoints:
- {addresses: [10.1.0.1], conditions: {ready: true}}
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: edge, namespace: default}
spec:
  selector: {istio: ingressgateway}
  servers:
  - port: {number: 80, name: http, protocol: HTTP}
    hosts: [web.example.com, secure.example.com]
  - port: {number: 443, name: https, protocol: HTTPS}
    hosts: [web.example.com]
    tls: {mode: SIMPLE, credentialName: web-cert}
  - port: {number: 443, name: pass, protocol: TLS}
    hosts: [pass.example.com]
    tls: {mode: PASSTHROUGH}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: web, namespace: default}
spec:
  hosts: [web.example.com]
  gateways: [edge]
  http:
  - match: [{uri: {prefix: /api}}]
    fault:
      abort: {httpStatus: 555, percentage: {value: 100}}
    route: [{destination: {host: web, port: {number: 80}}}]
  - match: [{uri: {prefix: /slow}}]
    fault:
      delay: {fixedDelay: 2s, percentage: {value: 50}}
    rewrite: {uri: /fast, authority: fast.example.com}
    headers:
      request: {set: {x-a: '1'}, remove: [x-b]}
      response: {add: {x-c: '2'}}
    retries: {attempts: 3, perTryTimeout: 2s, retryOn: '5xx,409'}
    mirror: {host: web, port: {number: 80}}
    mirrorPercentage: {value: 12.5}
    corsPolicy: {allowOrigins: [{exact: 'http://a'}], allowMethods: [GET]}
    route: [{destination: {host: web, port: {number: 80}}}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: pass, namespace: default}
spec:
  hosts: [pass.example.com]
  gateways: [edge]
  tls:
  - match: [{sniHosts: [pass.example.com]}]
    route: [{destination: {host: web, port: {number: 8443}}}]
";

fn gateway() -> Side {
    Side::Gateway(workload("istio-system", &[("istio", "ingressgateway")]))
}

fn server() -> Side {
    let mut server = workload("default", &[("app", "web")]);
    server.ip = Some("10.1.0.1".parse().unwrap());
    Side::Server(server)
}

#[test]
fn a_gateway_is_asked_at_the_port_behind_its_service() {
    let world = support::world(WORLD);
    let told = ask(&world, gateway(), "GET", "http://web.example.com/api/1", &[]);
    says(
        &told,
        &[
            "at            gateway a workload in istio-system",
            "the gateway at port 8080, where port 80 of its Service leads",
            "listener      0.0.0.0_8080   Gateway default/edge spec.servers[0]",
            "routes        http.8080",
            "route         number 0   VirtualService default/web spec.http[0].match[0]",
            "verdict       555: a fault is injected: an abort with 555",
            "fault         an abort with 555   VirtualService default/web spec.http[0].fault",
        ],
    );
    let Verdict::Answered { by, .. } = told.verdict else { panic!() };
    assert_eq!(by, Answer::Fault);
}

#[test]
fn every_filter_and_rewrite_is_told_with_its_field() {
    let world = support::world(WORLD);
    let headers = ["x-b: gone", "origin: http://a"];
    let told = ask(&world, gateway(), "GET", "http://web.example.com/slow/1", &headers);
    says(
        &told,
        &[
            "not         number 0: path /slow/1 is not prefix \"/api\"",
            "fault         a delay of 2s, for 50% of requests   VirtualService default/web spec.http[1].fault",
            "rewrite       path /slow/1 to /fast/1   VirtualService default/web spec.http[1].rewrite",
            "rewrite       host web.example.com to fast.example.com",
            "request       gets x-a: 1   VirtualService default/web spec.http[1].headers",
            "request       loses x-b",
            "response      gets x-c: 2",
            "retries       3 on 5xx,retriable-status-codes (409), 2s for each try",
            "mirror        outbound|80||web.default.svc.cluster.local for 12.5% of requests",
            "cors          the origin may read the answer",
            "  endpoint    10.1.0.1:8000 web-1.default",
        ],
    );
    let sent = told.sent.unwrap();
    assert_eq!((sent.authority.as_str(), sent.path.as_str()), ("fast.example.com", "/fast/1"));
    let asks = ["origin: http://a", "access-control-request-method: GET"];
    let told = ask(&world, gateway(), "OPTIONS", "http://web.example.com/slow", &asks);
    says(&told, &["verdict       200: a preflight is answered by the proxy"]);
}

#[test]
fn tls_at_a_gateway_is_ended_or_passed_on_by_its_server_name() {
    let world = support::world(WORLD);
    let told = ask(&world, gateway(), "GET", "https://web.example.com/api", &[]);
    says(&told, &["routes        https.443.https.edge.default", "verdict       555"]);
    let told = ask(&world, gateway(), "GET", "tls://pass.example.com", &[]);
    says(
        &told,
        &[
            "not         chain HTTP: server name is not web.example.com",
            "verdict       forwarded as bytes",
            "cluster       outbound|8443||web.default.svc.cluster.local",
        ],
    );
    let told = ask(&world, gateway(), "GET", "https://other.example.com", &[]);
    says(&told, &["verdict       no filter chain takes the connection"]);
}

#[test]
fn a_gateway_tells_what_it_serves_instead() {
    let world = support::world(WORLD);
    let told = ask(&world, gateway(), "GET", "http://web.example.com:9999/", &[]);
    says(&told, &["verdict       nothing listens there", "the gateway listens at 0.0.0.0_8080"]);
    let told = ask(&world, gateway(), "GET", "http://other.example.com/", &[]);
    says(
        &told,
        &["404: no virtual host matches", "hint          there are routes for web.example.com"],
    );
    let told = ask(&world, gateway(), "GET", "http://web.example.com/nothing", &[]);
    says(
        &told,
        &["404: no route matches", "nearest miss  number 1: path /nothing is not prefix \"/slow\""],
    );
}

#[test]
fn the_servers_side_leads_to_the_application() {
    let world = support::world(WORLD);
    let told = ask(&world, server(), "GET", "http://web/", &[]);
    says(
        &told,
        &[
            "at            inbound sidecar of a workload in default",
            "the server at port 8000, where port 80 of its Service leads",
            "listener      virtualInbound",
            "cluster       inbound|8000||   Service default/web spec.ports",
            "retries       2 on reset-before-request",
        ],
    );
    let told = ask(&world, server(), "GET", "tcp://web:3306", &[]);
    says(&told, &["forwarded as bytes", "cluster       inbound|3306||"]);
    let told = ask(&world, server(), "GET", "http://web:9999/", &[]);
    says(&told, &["cluster       InboundPassthroughCluster"]);
}

#[test]
fn a_sidecar_does_not_look_into_tls_and_tcp() {
    let world = support::world(WORLD);
    let client = || Side::Client(workload("default", &[]));
    let told = ask(&world, client(), "GET", "tcp://web:3306", &[]);
    says(&told, &["listener      10.96.0.2_3306", "cluster       outbound|3306||web.default"]);
    let told = ask(&world, client(), "GET", "https://web:8443/", &[]);
    says(&told, &["forwarded as bytes", "cluster       outbound|8443||web.default"]);
    let told = ask(&world, client(), "GET", "https://web:80/", &[]);
    says(&told, &["not         chain HTTP", "forwarded as bytes", "PassthroughCluster"]);
}

const STRICT: &str = "
---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: strict, namespace: default}
spec: {mtls: {mode: STRICT}}
";

/// Servers are mostly called by other proxies, so mutual TLS is what is explained, with who asks for it.
#[test]
fn mutual_tls_is_told_on_both_sides() {
    let permissive = support::world(WORLD);
    let told = ask(&permissive, server(), "GET", "http://web/", &[]);
    says(&told, &["tls           mutual TLS of the mesh ends here"]);
    let strict = support::world(&format!("{WORLD}{STRICT}"));
    for url in ["http://web/", "tcp://web:3306"] {
        let told = ask(&strict, server(), "GET", url, &[]);
        let by = "PeerAuthentication default/strict spec.mtls.mode";
        says(&told, &[&format!("tls           mutual TLS of the mesh ends here   {by}")]);
    }
    let client = Side::Client(workload("default", &[]));
    let told = ask(&strict, client, "GET", "http://web/", &[]);
    let to = "outbound_.80_._.web.default.svc.cluster.local";
    says(&told, &[&format!("mutual TLS with endpoints that take it, to {to}")]);
}

/// It decides by itself what a sidecar would decide for it, and begins TLS only where it is told to.
#[test]
fn a_client_without_a_proxy_is_told_apart() {
    let client = || Workload { proxyless: true, ..workload("default", &[]) };
    const RULE: &str = "
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: { name: web, namespace: default }
spec: { host: web, trafficPolicy: { tls: { mode: ISTIO_MUTUAL } } }
---
";
    let plain = "none; without a proxy only a DestinationRule of mode ISTIO_MUTUAL begins it";
    let mutual = "to outbound_.80_._.web.default.svc.cluster.local";
    for (more, tls) in [("", plain), (RULE, mutual)] {
        let world = support::world(&format!("{more}{WORLD}"));
        let told = ask(&world, Side::Client(client()), "GET", "http://web/", &[]);
        let expected = ["itself, without a proxy", "balancer    round robin"];
        says(&told, &expected);
        says(&told, &[&format!("tls         {tls}")]);
    }
}
