//! The local rate limit: ten pages a minute. The released filter speaks of port 8000, which Bookinfo does
//! not use, so the page is offered on that port here.

use super::stage::Scene;

const PAGE: &str = "http://limited:8000/productpage";

pub fn play(scene: &Scene<'_>) {
    scene.start_client();
    scene.apply_text(ON_8000);
    scene.ready();
    scene.until("the page", PAGE, "", |a| a.status == 200);
    // It lies in the mesh's own namespace, and selects by label.
    let file = scene.file("ratelimit/local-rate-limit-service.yaml");
    scene.mesh().kubectl(&["apply", "-f", &file]);
    // One token comes back every six seconds: of two answers the second may be a page again.
    scene.until("the limit, which says what it is", PAGE, "", |a| {
        let has = |name: &str| a.head.to_lowercase().lines().any(|l| l.starts_with(name));
        a.status == 429 && has("x-local-rate-limit: true") && has("x-ratelimit-limit: 10")
    });
    let other = scene.ask("http://limited:8000/health", "");
    assert_eq!(other.status, 200, "other paths have a hundred: {other:?}");
    scene.mesh().kubectl(&["delete", "-f", &file]);
    scene.until("no limit", PAGE, "", |a| a.status == 200);
    scene.end();
}

const ON_8000: &str = "
apiVersion: v1
kind: Service
metadata: { name: limited }
spec:
  ports: [{ port: 8000, targetPort: 9080, name: http }]
  selector: { app: productpage }
---
apiVersion: apps/v1
kind: Deployment
metadata: { name: limited }
spec:
  replicas: 1
  selector: { matchLabels: { app: productpage } }
  template:
    metadata: { labels: { app: productpage } }
    spec:
      containers:
      - name: productpage
        image: docker.io/istio/examples-bookinfo-productpage-v1:1.20.3
        ports: [{ containerPort: 9080 }]
";
