//! Kubernetes Ingress of class istio: the bookshop by the paths that it names, and no others.

use super::stage::Scene;

pub fn play(scene: &Scene<'_>) {
    scene.apply("bookinfo/platform/kube/bookinfo.yaml");
    scene.ready();
    let _alone = scene.gateway();
    scene.apply("bookinfo/platform/kube/bookinfo-ingress.yaml");
    scene.eventually("the page by Ingress", || match scene.mesh().curl("/productpage", &[]) {
        a if a.status == 200 && a.body.contains("Simple Bookstore App") => Ok(()),
        a => Err(format!("{a:?}")),
    });
    scene.eventually("products by Ingress", || match scene.mesh().curl("/api/v1/products", &[]) {
        a if a.status == 200 && a.body.contains("The Comedy of Errors") => Ok(()),
        a => Err(format!("{a:?}")),
    });
    assert_eq!(scene.mesh().curl("/health", &[]).status, 404, "what is not routed is not found");
    scene.delete("bookinfo/platform/kube/bookinfo-ingress.yaml");
    scene.end();
}
