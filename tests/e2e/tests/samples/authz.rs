//! The external authorizer that policies will ask: it answers over HTTP and gRPC, and the variant that
//! runs beside its application is reached by the name of a ServiceEntry, at 127.0.0.1.

use super::stage::Scene;

const ALLOW: &str = "-H 'x-ext-authz: allow'";

pub fn play(scene: &Scene<'_>) {
    scene.start_client();
    scene.apply("extauthz/ext-authz.yaml");
    if scene.is(&["1.9.1", "1.14.3"]) {
        scene.apply("extauthz/local-ext-authz.yaml");
    }
    scene.ready();
    scene.until("it refuses", "http://ext-authz:8000/", "", |a| {
        a.status == 403 && a.body.contains("x-ext-authz: allow")
    });
    assert_eq!(scene.ask("http://ext-authz:8000/", ALLOW).status, 200);
    // A CheckRequest whose one header is that.
    let asked = scene.shell(
        "printf '\\0\\0\\0\\0\\034\\012\\032\\042\\030\\022\\026\\032\\024\\012\\013x-ext-authz\\022\\005allow' |
         curl -s --max-time 5 --http2-prior-knowledge -X POST --data-binary @- -D - \
         -H 'content-type: application/grpc' -H 'te: trailers' \
         http://ext-authz:9000/envoy.service.auth.v3.Authorization/Check | tr -cd '[:print:]\\n'",
    );
    assert!(asked.contains("grpc-status: 0") && asked.contains("allowed"), "{asked}");
    if scene.is(&["1.9.1", "1.14.3"]) {
        beside_its_application(scene);
    }
    scene.end();
}

fn beside_its_application(scene: &Scene<'_>) {
    scene.until("httpbin answers", "http://httpbin:8000/get", "", |a| a.status == 200);
    for (args, status) in [("", "403"), ("-H x-ext-authz:allow", "200")] {
        scene.eventually("the neighbour is asked by its name", || {
            let script = format!(
                "curl -s -o /dev/null -w '%{{http_code}}' --max-time 5 {args} http://ext-authz-http.local:8000/ || true"
            );
            let said = scene.kubectl(&["exec", "deploy/httpbin", "-c", "httpbin", "--", "sh", "-c", &script]);
            if said == status { Ok(()) } else { Err(said) }
        });
    }
}
