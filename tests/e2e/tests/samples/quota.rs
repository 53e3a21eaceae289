//! The global rate limit: one product page a minute, and a hundred of everything else, as the service says that
//! the gateway asks.

use super::stage::Scene;

pub fn play(scene: &Scene<'_>) {
    if scene.is(&["1.9.1"]) {
        return of_an_api_that_is_gone(scene);
    }
    scene.apply("bookinfo/platform/kube/bookinfo.yaml");
    // The filter names the service in this namespace, so one release comes after the other.
    let _alone = scene.gateway();
    let service = scene.file("ratelimit/rate-limit-service.yaml");
    let in_default = |args: &[&str]| scene.mesh().kubectl(&[&["-n", "default"], args].concat());
    scene.mesh().apply_text(LIMITS);
    in_default(&["apply", "-f", &service]);
    scene.ready();
    scene.mesh().wait_for_deployments("default");
    scene.apply("bookinfo/networking/bookinfo-gateway.yaml");
    scene.until_outside("the page", "/productpage", |a| a.status == 200);
    let filter = scene.file("bookinfo/policy/productpage_envoy_ratelimit.yaml");
    scene.mesh().kubectl(&["apply", "-f", &filter]);
    scene.until_outside("the limit", "/productpage", |a| {
        a.status == 429 && a.head.to_lowercase().contains("x-envoy-ratelimited: true")
    });
    let other = scene.mesh().curl("/api/v1/products", &[]);
    assert_eq!(other.status, 200, "other paths have a hundred: {other:?}");
    scene.mesh().kubectl(&["delete", "-f", &filter]);
    scene.until_outside("no limit", "/productpage", |a| a.status == 200);
    in_default(&["delete", "-f", &service]);
    scene.mesh().kubectl(&["-n", "default", "delete", "configmap", "ratelimit-config"]);
    scene.end();
}

/// Written for version 2 of Envoy's API, which Istio refuses, too.
fn of_an_api_that_is_gone(scene: &Scene<'_>) {
    let file = scene.file("bookinfo/policy/productpage_envoy_ratelimit.yaml");
    let said =
        scene.mesh().kubectl_command().args(["apply", "-f", &file]).output().expect("kubectl");
    let errors = String::from_utf8_lossy(&said.stderr).into_owned();
    let expected = "Envoy has no type \"type.googleapis.com/envoy.config.filter.http.rate_limit.v2.RateLimit\"";
    assert!(!said.status.success() && errors.contains(expected), "{errors}");
    let delete = ["delete", "--ignore-not-found", "-f", &file];
    scene.mesh().kubectl(&delete);
    scene.end();
}

const LIMITS: &str = "
apiVersion: v1
kind: ConfigMap
metadata: { name: ratelimit-config, namespace: default }
data:
  config.yaml: |
    domain: productpage-ratelimit
    descriptors:
      - key: PATH
        value: /productpage
        rate_limit: { unit: minute, requests_per_unit: 1 }
      - key: PATH
        rate_limit: { unit: minute, requests_per_unit: 100 }
";
