//! What a machine must have, asked before anything is started; each finding says what to do.

use std::path::Path;
use std::process::{Command, Stdio};

/// Something that is missing or in the way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Without this nothing works; otherwise it is a remark.
    pub fatal: bool,
    pub text: String,
}

/// Less than this is too little for databases and logs.
const LEAST_DISK: u64 = 200 << 20;

/// Looks at the machine. `probe_command` runs this program's own namespace probe.
pub fn preflight(state: &Path, probe_command: &[&str]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let fatal = |text: String| Finding { fatal: true, text };
    if let Err(why) = namespaces(probe_command) {
        findings.push(fatal(explain(&why)));
    }
    if let Some(free) = free_space(state).filter(|f| *f < LEAST_DISK) {
        let text = format!(
            "{} has {} MiB left, at least {} MiB are needed: free some, or choose another place with --state DIR",
            state.display(),
            free >> 20,
            LEAST_DISK >> 20
        );
        findings.push(fatal(text));
    }
    let threads = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    if threads.current.is_some_and(|n| n < 1024) {
        let text = "fewer than 1024 open files are allowed: run `ulimit -n 4096` first".to_owned();
        findings.push(Finding { fatal: false, text });
    }
    if !rustix::process::geteuid().is_root() {
        let text = "as an ordinary user there is one user id, so `runAsUser` has no effect, and \
                    services of type LoadBalancer get no address: use their node ports";
        findings.push(Finding { fatal: false, text: text.to_owned() });
    }
    findings
}

/// The probe makes the namespaces of a pod and a rule in them, then ends.
fn namespaces(command: &[&str]) -> Result<(), String> {
    let Some((program, args)) = command.split_first() else { return Ok(()) };
    let run = Command::new(program).args(args).stdin(Stdio::null()).output();
    let done = run.map_err(|e| e.to_string())?;
    if done.status.success() {
        return Ok(());
    }
    Err(String::from_utf8_lossy(&done.stderr).trim().to_owned())
}

fn explain(why: &str) -> String {
    let sysctl =
        |name: &str| std::fs::read_to_string(Path::new("/proc/sys").join(name)).unwrap_or_default();
    let hint = if sysctl("kernel/unprivileged_userns_clone").trim() == "0" {
        "run `sysctl kernel.unprivileged_userns_clone=1` as root, or run as root"
    } else if sysctl("kernel/apparmor_restrict_unprivileged_userns").trim() == "1" {
        "run `sysctl kernel.apparmor_restrict_unprivileged_userns=0` as root, or run as root"
    } else if sysctl("user/max_user_namespaces").trim() == "0" {
        "run `sysctl user.max_user_namespaces=10000` as root, or run as root"
    } else if why.contains("nftables") {
        "the kernel needs nf_tables (`modprobe nf_tables nft_chain_nat` as root)"
    } else {
        "this machine does not let us make namespaces; in a container, run it privileged"
    };
    format!("{why}: {hint}")
}

fn free_space(state: &Path) -> Option<u64> {
    let there = state.ancestors().find(|p| p.exists())?;
    let stat = rustix::fs::statvfs(there).ok()?;
    Some(stat.f_bavail.saturating_mul(stat.f_frsize))
}

/// What `probe_command` does: makes what a pod needs, and lets it go.
pub fn probe() -> Result<(), String> {
    use net::ns::{self, Leave};
    let say = |what: &'static str| move |e: std::io::Error| format!("{what}: {e}");
    if !rustix::process::geteuid().is_root() {
        ns::become_root_of_user_namespace().map_err(say("making a user namespace"))?;
    }
    let all = Leave { net: true, mount: true, pid: true, ipc: true, uts: true };
    ns::unshare(all).map_err(say("making namespaces"))?;
    let rules = net::capture::apply(&net::capture::CaptureSpec {
        exempt: net::capture::Exempt::Mark(net::sock::PROXY_MARK),
        ..Default::default()
    });
    rules.map_err(|e| format!("nftables: {e}"))
}
