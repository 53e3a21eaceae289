//! `explain` of files, as it is typed.
#![allow(clippy::unwrap_used)] // a test that cannot go on may end there

mod typed;

use typed::Folder;

const MESH: &str = "\
apiVersion: v1
kind: Service
metadata: {name: reviews}
spec:
  selector: {app: reviews}
  ports: [{name: http, port: 9080}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: productpage-v1}
spec:
  template:
    metadata:
      labels: {app: productpage}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: reviews}
spec:
  hosts: [reviews]
  http:
  - match:
    - headers:
        end-user: {exact: jason}
    directResponse: {status: 418}
  - match:
    - sourceLabels: {app: productpage}
    redirect: {uri: /elsewhere}
";

#[test]
fn a_request_is_traced_to_the_line_of_a_file() {
    let folder = Folder::of("explain", MESH);
    let ask =
        |more: &[&str]| folder.ask(&[&["explain", "GET", "http://reviews:9080/x"], more].concat());
    let (code, told) = ask(&["-H", "end-user: jason"]);
    assert!(code == 0 && told.contains("verdict       418"), "{told}");
    assert!(
        told.contains("VirtualService default/reviews spec.http[0].match[0] (mesh.yaml:23)"),
        "{told}"
    );

    let (_, told) = ask(&["--from", "deploy/productpage-v1"]);
    assert!(told.contains("301 to http://reviews:9080/elsewhere"), "{told}");
    assert!(told.contains("header end-user is not exact \"jason\" (it is absent)"), "{told}");

    let (_, told) = ask(&[]);
    assert!(told.contains("404: no route matches"), "{told}");
    let (code, told) = ask(&["--from", "deploy/absent"]);
    assert!(code == 1 && told.contains("no deploy \"absent\""), "{told}");
}

const EDGE: &str = "\
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: edge}
spec:
  selector: {istio: ingressgateway}
  servers:
  - port: {number: 80, name: http, protocol: HTTP}
    hosts: ['*']
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  selector: {app: web}
  ports: [{name: http, port: 8000}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec: {template: {metadata: {labels: {app: web}}}}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: web}
spec:
  hosts: ['*']
  gateways: [edge]
  http:
  - match:
    - uri: {exact: /login}
    timeout: 3s
    route:
    - destination: {host: web}
";

#[test]
fn each_side_is_asked_by_its_name() {
    let folder = Folder::of("explain-sides", EDGE);
    let ask = |args: &[&str]| folder.ask(&[&["explain"], args].concat()).1;
    let expected = "\
GET http://shop.example.com/login
at            gateway a workload in istio-system
destination   the gateway at port 80
listener      0.0.0.0_80   Gateway default/edge spec.servers[0] (mesh.yaml:7)
filter chain  HTTP
routes        http.80
virtual host  *:80   Gateway default/edge spec.servers[0] (mesh.yaml:7)
route         number 0   VirtualService default/web spec.http[0].match[0] (mesh.yaml:30)
verdict       forwarded
cluster       outbound|8000||web.default.svc.cluster.local   Service default/web spec.ports (mesh.yaml:15)
  balancer    least request
  tls         mutual TLS with endpoints that take it, to outbound_.8000_._.web.default.svc.cluster.local
timeout       3s   VirtualService default/web spec.http[0].timeout (mesh.yaml:31)
retries       2 on connect-failure,refused-stream,unavailable,cancelled,retriable-status-codes
hint          outbound|8000||web.default.svc.cluster.local has no endpoint: the proxy answers 503   Service default/web spec.ports (mesh.yaml:15)
";
    for at in ["gateway", "gateway/edge"] {
        let told = ask(&["http://shop.example.com/login", "--at", at]);
        assert_eq!(told, expected, "{at}");
    }
    let told = ask(&["http://web:8000/", "--at", "server"]);
    assert!(told.contains("at            inbound sidecar of web.default\n"), "{told}");
    assert!(told.contains("cluster       inbound|8000||"), "{told}");
    let told = ask(&["http://shop.example.com/login", "--at", "gateway", "-o", "json"]);
    let json: serde_json::Value = serde_json::from_str(&told).unwrap();
    assert_eq!(json["verdict"]["kind"], "forwarded");
    assert_eq!(json["facts"][0]["reference"], "mesh.yaml:31");
}

const OUTSIDE: &str = "\
apiVersion: v1
kind: Service
metadata: {name: reviews}
spec:
  ports: [{name: http, port: 9080}]
---
apiVersion: v1
kind: Service
metadata: {name: far}
spec: {type: ExternalName, externalName: example.org}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: db}
spec:
  hosts: [db.example.com]
  resolution: DNS
  ports: [{number: 5432, name: tcp, protocol: TCP}]
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: fixed}
spec:
  hosts: ['*.example.net']
  addresses: [192.168.0.1]
  resolution: STATIC
  ports: [{number: 80, name: http, protocol: HTTP}]
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: hidden, namespace: other}
spec:
  hosts: [hidden.example.com]
  exportTo: ['.']
  resolution: DNS
  ports: [{number: 80, name: http, protocol: HTTP}]
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: none}
spec:
  hosts: [none.example.com]
  resolution: NONE
  ports: [{number: 80, name: http, protocol: HTTP}]
";

#[test]
fn a_name_is_traced_to_the_line_that_gives_it_an_address() {
    let folder = Folder::of("dns", OUTSIDE);
    let table: &[(&str, &[&str])] = &[
        (
            "reviews",
            &[
                "asked as reviews.default.svc.cluster.local",
                "the host itself",
                "Service default/reviews",
            ],
        ),
        (
            "db.example.com",
            &[
                "answer   240.240.",
                "alias of db.example.com",
                "automatic",
                "ServiceEntry default/db",
            ],
        ),
        (
            "a.example.net.",
            &[
                "answer   192.168.0.1",
                "the wildcard host *.example.net",
                "spec.addresses (mesh.yaml:25)",
            ],
        ),
        ("hidden.example.com", &["by the name servers", "not among the hosts", "other/hidden"]),
        ("none.example.com", &["by the name servers", "resolution NONE", "spec.resolution"]),
        ("far", &["by the name servers", "another name", "Service default/far"]),
        ("nobody.example.com", &["by the name servers", "no service has this host"]),
    ];
    for (name, expected) in table {
        let (code, told) = folder.ask(&["dns", name]);
        assert_eq!(code, 0, "{told}");
        expected.iter().for_each(|part| assert!(told.contains(part), "{part:?} in {told}"));
    }
}

const BROKEN: &str = "\
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {ports: [{name: http, port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: odd}
spec: nonsense
---
apiVersion: v1
kind: Service
metadata: {name: odder}
spec: []
---
apiVersion: v1
kind: Service
metadata: {name: empty}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: db}
spec:
  hosts: [db.example.com]
  resolution: DNS
  ports: [{number: 5432, name: tcp, protocol: TCP}]
status: []
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: nonsense
spec: 3
";

#[test]
fn what_is_broken_elsewhere_in_the_files_stops_no_question() {
    let folder = Folder::of("broken", BROKEN);
    let ask = |args: &[&str]| {
        let (code, told) = folder.ask(args);
        assert_eq!(code, 0, "{told}");
        told
    };
    let told = ask(&["explain", "http://web/"]);
    assert!(told.contains("verdict       forwarded"), "{told}");
    let told = ask(&["dns", "web"]);
    assert!(told.contains("answer   240.1.0.1"), "{told}");
    ask(&["dns", "db.example.com"]);
}

/// Two pods of one name, and two pods of Deployments; `true`: their queries pass the proxy.
const PODS: [(&str, &str, &str, bool); 4] = [
    ("a", "web-0", "web", true),
    ("b", "web-0", "web", false),
    ("a", "client-x1", "client", true),
    ("b", "client-x2", "client", false),
];

fn pods() -> String {
    let pod = |(namespace, name, app, captured): &(&str, &str, &str, bool)| {
        format!(
            "apiVersion: v1\nkind: Pod\n\
             metadata: {{name: {name}, namespace: {namespace}, labels: {{app: {app}}}}}\n\
             spec: {{containers: [{{name: app}}, {{name: istio-proxy, env: [{{name: \
             ISTIO_META_DNS_CAPTURE, value: '{captured}'}}]}}]}}\n---\n"
        )
    };
    let deployment = |(namespace, app): &(&str, &str)| {
        format!(
            "apiVersion: apps/v1\nkind: Deployment\n\
             metadata: {{name: {app}, namespace: {namespace}}}\n\
             spec: {{template: {{metadata: {{labels: {{app: {app}}}}}, \
             spec: {{containers: [{{name: app}}]}}}}}}\n---\n"
        )
    };
    let deployments = [("a", "client"), ("b", "client"), ("b", "idle")];
    PODS.iter().map(pod).chain(deployments.iter().map(deployment)).collect()
}

#[test]
fn the_pod_that_is_named_says_whether_its_proxy_answers_its_queries() {
    let folder = Folder::of("dns-pods", &pods());
    let table = [
        ("web-0.a", None),
        ("web-0.b", Some("web-0.b")),
        ("deploy/client.a", None),
        ("deploy/client.b", Some("client-x2.b")),
        // Nothing runs that could say.
        ("deploy/idle.b", None),
    ];
    for (from, refused) in table {
        let (code, told) = folder.ask(&["dns", "nobody.example.com", "--from", from]);
        assert_eq!(code == 0, refused.is_none(), "{from}: {told}");
        if let Some(pod) = refused {
            let expected = format!("the DNS queries of pod {pod} do not pass its proxy");
            assert!(told.contains(&expected), "{from}: {told}");
        }
    }
}

const GUARDED: &str = "\
apiVersion: v1
kind: Service
metadata: {name: ratings}
spec:
  selector: {app: ratings}
  ports: [{name: http, port: 9080, targetPort: web}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: ratings-v1}
spec:
  template:
    metadata: {labels: {app: ratings}}
    spec: {containers: [{name: ratings, ports: [{name: web, containerPort: 9000}]}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: reviews-v1}
spec:
  template:
    metadata: {labels: {app: reviews}}
    spec: {serviceAccountName: reviews}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: ratings}
spec:
  hosts: [ratings]
  http:
  - match: [{uri: {prefix: /old}}]
    rewrite: {uri: /ratings}
    route: [{destination: {host: ratings}}]
  - route: [{destination: {host: ratings}}]
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: viewer}
spec:
  selector: {matchLabels: {app: ratings}}
  rules:
  - from: [{source: {principals: [cluster.local/ns/default/sa/reviews]}}]
    to: [{operation: {methods: [GET], paths: [/ratings/*], ports: ['9000']}}]
";

#[test]
fn who_is_asked_lets_in_or_refuses_by_a_rule() {
    let ask = |mesh: &str, args: &[&str]| {
        Folder::of("explain-entry", mesh).ask(&[&["explain"], args].concat()).1
    };
    let reviews = ["--from", "deploy/reviews-v1"];
    let get = |path: &str| format!("http://ratings:9080{path}");
    // What is judged is what arrives.
    let told = ask(GUARDED, &[&["GET", &get("/old/1")], &reviews[..]].concat());
    let rule = "AuthorizationPolicy default/viewer spec.rules[0] (mesh.yaml:41)";
    let said = format!("access        ratings-v1 lets it in: a rule allows it   {rule}\n");
    assert!(told.contains(&said), "{told}");
    let told = ask(GUARDED, &[&["DELETE", &get("/ratings/1")], &reviews[..]].concat());
    assert!(
        told.contains("access        ratings-v1 refuses it: there are ALLOW policies"),
        "{told}"
    );
    assert!(told.contains("it allows the client, not the operation"), "{told}");
    let told = ask(GUARDED, &["GET", &get("/ratings/1"), "--from", "deploy/ratings-v1"]);
    assert!(told.contains("it allows the operation, not the client"), "{told}");
    let told = ask(GUARDED, &["GET", &get("/ratings/1")]);
    assert!(!told.contains("access"), "nobody in particular asks: {told}");
    // Who does not prove who he is is nobody.
    let plaintext = "---\napiVersion: networking.istio.io/v1\nkind: DestinationRule\n\
        metadata: {name: ratings}\nspec: {host: ratings, trafficPolicy: {tls: {mode: DISABLE}}}\n\
        ---\napiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: strict}\n\
        spec: {mtls: {mode: STRICT}}\n";
    let url = get("/ratings/1");
    let args = [&["GET", &url, "-o", "json"], &reviews[..]].concat();
    let told = ask(&format!("{GUARDED}{plaintext}"), &args);
    let told: serde_json::Value = serde_json::from_str(&told).unwrap();
    let access = &told["access"][0];
    assert_eq!((&access["workload"], &access["allowed"]), (&"ratings-v1".into(), &false.into()));
    assert!(access["why"].as_str().unwrap().contains("STRICT"), "{access}");
    assert_eq!(access["rule"]["object"], "PeerAuthentication default/strict");
}
