//! A released file that no cluster takes.

use super::stage::Scene;

pub fn play(scene: &Scene<'_>) {
    // It mounts a volume that it does not declare.
    let said = scene.refused(&["apply", "-f", &scene.file("mtls-echo/mtls-echo.yaml")]);
    let expected = "spec.template.spec.containers[0].volumeMounts[1].name: Not found: \"ca-certs\"";
    assert!(said.contains(expected), "{said}");
    scene.end();
}
