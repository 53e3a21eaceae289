//! Suites of others that check protocols: h2spec, which is built by Go, Autobahn, which runs on Python 2
//! only, and sslyze; and gRPC's own library, whose clients and servers speak xDS.

use super::Packages;
use crate::{peers, shell};
use anyhow::{Context, Result, anyhow, bail};
use std::path::PathBuf;
use std::process::{Command, Stdio};

const H2SPEC: &str = "github.com/summerwind/h2spec/cmd/h2spec@v2.2.1+incompatible";

pub fn h2spec() -> Result<()> {
    if peers::h2spec().is_some() {
        return Ok(());
    }
    let go = peers::go().context("it is built by Go, which is not there")?;
    let dir = peers::suites();
    println!("setup: building h2spec");
    shell::run(
        Command::new(go)
            .args(["install", H2SPEC])
            .env("GOBIN", dir.join("bin"))
            .env("GOPATH", dir.join("go"))
            .env("GOFLAGS", "-modcacherw")
            .stdin(Stdio::null()),
    )?;
    // What it was built from is needed no more.
    std::fs::remove_dir_all(dir.join("go"))?;
    peers::h2spec().map(drop).ok_or_else(|| anyhow!("Go has built no h2spec"))
}

/// The last release for Python 2, and the last virtualenv that knows Python 2.
const AUTOBAHN: &str = "autobahntestsuite==25.10.1";
const VIRTUALENV: &str = "virtualenv==20.21.1";

pub fn autobahn() -> Result<()> {
    if peers::wstest().is_some() {
        return Ok(());
    }
    let python = match peers::python2() {
        Some(python) => python,
        None => debian_python2()?,
    };
    let tool = peers::suites().join("virtualenv");
    shell::run(Command::new("python3").args(["-m", "venv"]).arg(&tool))?;
    shell::run(Command::new(tool.join("bin/pip")).args(["install", "--quiet", VIRTUALENV]))?;
    let dir = peers::suites().join("autobahn");
    println!("setup: installing Autobahn's test suite");
    shell::run(
        Command::new(tool.join("bin/virtualenv")).args(["--quiet", "-p"]).arg(python).arg(&dir),
    )?;
    // It warns of Python 2 being old, which is known.
    shell::run(
        Command::new(dir.join("bin/pip"))
            .args(["install", "--quiet", AUTOBAHN])
            .env("LD_LIBRARY_PATH", libraries())
            .env("CPATH", headers())
            .stderr(Stdio::null()),
    )?;
    peers::wstest().map(drop).ok_or_else(|| anyhow!("the package holds no wstest"))
}

const SSLYZE: &str = "sslyze==6.3.1";

pub fn sslyze() -> Result<()> {
    if peers::sslyze().is_some() {
        return Ok(());
    }
    let venv = peers::suites().join("sslyze");
    shell::run(Command::new("python3").args(["-m", "venv"]).arg(&venv))?;
    shell::run(Command::new(venv.join("bin/pip")).args(["install", "--quiet", SSLYZE]))?;
    peers::sslyze().map(drop).ok_or_else(|| anyhow!("the package holds no sslyze"))
}

const GRPCIO: &str = "grpcio==1.85.1";

pub fn grpc() -> Result<()> {
    if peers::grpc().is_some() {
        return Ok(());
    }
    let venv = peers::suites().join("grpcio");
    // The one that pods of the embedded cluster have, too.
    shell::run(Command::new("/usr/bin/python3").args(["-m", "venv"]).arg(&venv))?;
    shell::run(Command::new(venv.join("bin/pip")).args(["install", "--quiet", GRPCIO]))?;
    peers::grpc().map(drop).ok_or_else(|| anyhow!("the environment holds no python"))
}

/// Debian's last Python 2, unpacked.
fn debian_python2() -> Result<PathBuf> {
    let dir = unpacked();
    let names = [
        "python2.7-minimal",
        "libpython2.7-minimal",
        "libpython2.7-stdlib",
        "libpython2.7-dev",
        "libssl1.1",
        "libffi7",
    ];
    Packages::of("bullseye", &dir)?.download(&names)?;
    let python = dir.join("usr/bin/python2.7");
    if !peers::runs(&python) {
        bail!("Debian's Python 2 does not run on this machine");
    }
    Ok(python)
}

fn unpacked() -> PathBuf {
    peers::suites().join("python2")
}

/// Where the unpacked Python finds OpenSSL, without which it cannot install anything.
fn libraries() -> PathBuf {
    unpacked().join(format!("usr/lib/{}-linux-gnu", std::env::consts::ARCH))
}

/// And its headers, since one of Autobahn's packages is compiled.
fn headers() -> std::ffi::OsString {
    let include = unpacked().join("usr/include");
    std::env::join_paths([include.join("python2.7"), include]).unwrap_or_default()
}
