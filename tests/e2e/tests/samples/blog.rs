//! The blog post about Istio for Kubernetes users: Bookinfo without ratings, then ratings and a second
//! version of reviews beside the first.

use super::stage::Scene;

const PAGE: &str = "http://productpage:9080/productpage";

pub fn play(scene: &Scene<'_>) {
    scene.start_client();
    scene.apply("kubernetes-blog/bookinfo-v1.yaml");
    scene.ready();
    scene.until("the page without stars", PAGE, "", |a| {
        a.body.contains("reviews-v1")
            && a.body.contains("Book Details")
            && !a.body.contains("class=\"stars")
    });
    if !scene.is(&["1.1.2"]) {
        // Made for an API that no longer exists and never finished for the next one.
        let said =
            scene.refused(&["apply", "-f", &scene.file("kubernetes-blog/bookinfo-ratings.yaml")]);
        assert!(said.contains("spec.selector: Required value"), "{said}");
        scene.apply_text(RATINGS);
    } else {
        scene.apply("kubernetes-blog/bookinfo-ratings.yaml");
    }
    scene.apply("kubernetes-blog/bookinfo-reviews-v2.yaml");
    scene.ready();
    scene.until("pages with stars", PAGE, "", |a| {
        a.body.contains("reviews-v2") && a.body.contains("stars-black")
    });
    let seen = scene
        .count(200, "http://reviews:9080/reviews/0", &["v1=reviews-v1", "v2=reviews-v2"], &[])
        .unwrap_or_else(|why| panic!("{why}"));
    assert!(seen.keys().eq(["v1", "v2"]), "both versions share: {seen:?}");
    scene.end();
}

const RATINGS: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: { name: ratings-v1 }
spec:
  replicas: 1
  selector: { matchLabels: { app: ratings, version: v1 } }
  template:
    metadata: { labels: { app: ratings, version: v1 } }
    spec:
      containers:
      - name: ratings
        image: docker.io/istio/examples-bookinfo-ratings-v1:0.2.3
        ports: [{ containerPort: 9080 }]
";
