//! An installation without gateways, as a file of kind IstioOperator says: a mesh of its own, since the one that
//! the other scenes share has them.

use super::stage::Scene;
use std::path::PathBuf;
use std::process::Command;

pub fn play(scene: &Scene<'_>) {
    let file = scene.file("bookinfo/demo-profile-no-gateways.yaml");
    let mesh = Own {
        program: scene.mesh().program("lateen"),
        state: scene.mesh().state().join("operator"),
    };
    mesh.lateen(&["up", "-f", &file]);
    assert_eq!(mesh.deployments(), ["istiod"]);
    // It stays so when nothing is said, and what is named comes.
    mesh.lateen(&["up"]);
    assert_eq!(mesh.deployments(), ["istiod"]);
    mesh.lateen(&["up", "--profile", "demo"]);
    assert_eq!(mesh.deployments(), ["istio-egressgateway", "istio-ingressgateway", "istiod"]);
    scene.end();
}

struct Own {
    program: PathBuf,
    state: PathBuf,
}

impl Own {
    fn lateen(&self, args: &[&str]) -> String {
        let mut command = Command::new(&self.program);
        let out = command.arg("--state").arg(&self.state).args(args).output().expect("lateen");
        let said = String::from_utf8_lossy(&out.stderr);
        assert!(out.status.success(), "{args:?}: {said}");
        String::from_utf8_lossy(&out.stdout).into_owned()
    }

    fn deployments(&self) -> Vec<String> {
        let all = self.lateen(&["-n", "istio-system", "get", "deployments", "-o", "name"]);
        let names = all.lines().map(|l| l.rsplit('/').next().unwrap_or(l).to_owned());
        let mut names: Vec<String> = names.collect();
        names.sort();
        names
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        let down = ["--state", &self.state.display().to_string(), "down", "--purge"];
        let _ = Command::new(&self.program).args(down).output();
    }
}
