//! What of a machine could have been changed: compared before and after, and the processes and
//! namespaces of one set of programs, whoever else uses the machine meanwhile.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The parts of a machine that a mesh must leave as they were.
#[derive(Debug, PartialEq, Eq)]
pub struct Machine {
    links: BTreeSet<String>,
    rules: Option<String>,
    mounts: String,
    parameters: BTreeMap<PathBuf, String>,
    files: BTreeSet<PathBuf>,
}

/// Where programs leave things, if they leave any.
const PLACES: [&str; 8] =
    ["/etc", "/run", "/var/lib", "/var/log", "/var/tmp", "/var/spool", "/dev/shm", "/opt"];
/// These change by themselves.
const RESTLESS: [&str; 6] =
    ["random", "ns_last_pid", "pty", "nf_conntrack_count", "nf_conntrack_buckets", "file-nr"];
const MOST_FILES: usize = 200_000;

impl Machine {
    /// As it is now; `own` is one more place to look at.
    pub fn now(own: &Path) -> Machine {
        let nft = Command::new("nft").args(["list", "ruleset"]).output().ok();
        let mut parameters = BTreeSet::new();
        for tree in ["/proc/sys/net", "/proc/sys/kernel", "/proc/sys/user"] {
            walk(Path::new(tree), &mut parameters);
        }
        let restless = |path: &Path| path.iter().any(|part| RESTLESS.iter().any(|r| part == *r));
        parameters.retain(|path| !restless(path));
        let mut files = BTreeSet::new();
        PLACES.iter().map(Path::new).chain([own]).for_each(|place| walk(place, &mut files));
        if std::env::var_os("CI").is_some() {
            // Elsewhere others may be at work beside us.
            files.extend(names("/tmp").into_iter().map(|name| Path::new("/tmp").join(name)));
        }
        Machine {
            links: names("/sys/class/net"),
            rules: nft.map(|out| String::from_utf8_lossy(&out.stdout).into_owned()),
            mounts: fs::read_to_string("/proc/self/mounts").unwrap_or_default(),
            parameters: parameters
                .into_iter()
                .map(|path| (path.clone(), fs::read_to_string(path).unwrap_or_default()))
                .collect(),
            files,
        }
    }

    /// Panics with what is different.
    pub fn must_be(&self, before: &Machine) {
        assert_eq!(self.links, before.links, "network links");
        assert_eq!(self.rules, before.rules, "nftables rules");
        assert_eq!(self.mounts, before.mounts, "mounts");
        let changed =
            |(path, text): &(&PathBuf, &String)| before.parameters.get(*path) != Some(*text);
        let changed: Vec<_> = self.parameters.iter().filter(changed).collect();
        assert!(changed.is_empty(), "kernel parameters: {changed:?}");
        let new: Vec<_> = self.files.difference(&before.files).take(20).collect();
        assert!(new.is_empty(), "files that are left: {new:?}");
    }
}

/// All that lies below, links not followed.
fn walk(directory: &Path, found: &mut BTreeSet<PathBuf>) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        if found.len() >= MOST_FILES {
            return;
        }
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            walk(&entry.path(), found);
        }
        found.insert(entry.path());
    }
}

fn names(directory: &str) -> BTreeSet<String> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.map(|e| e.file_name().to_string_lossy().into_owned()).collect()
}

/// A copy of the programs that nobody else runs, by which their processes are known.
pub struct Programs(BTreeSet<(u64, u64)>);

/// A process and what it keeps in memory.
#[derive(Debug)]
pub struct Process {
    pub pid: u32,
    /// Its program and first argument.
    pub what: String,
    pub rss_kib: u64,
    pub pss_kib: u64,
}

impl Programs {
    pub fn of(directory: &Path) -> Programs {
        let files = fs::read_dir(directory).into_iter().flatten().flatten();
        Programs(files.filter_map(|f| identity(&f.path())).collect())
    }

    /// Processes that run one of them, in whatever namespaces.
    pub fn processes(&self) -> Vec<Process> {
        let ours = |pid: &u32| {
            identity(Path::new(&format!("/proc/{pid}/exe"))).is_some_and(|id| self.0.contains(&id))
        };
        pids().filter(ours).map(Process::of).collect()
    }

    /// Their namespaces other than our own, by name as in `net:[4026531840]`.
    pub fn namespaces(&self) -> BTreeSet<String> {
        let own = links(Path::new("/proc/self/ns"));
        let each =
            self.processes().into_iter().map(|p| PathBuf::from(format!("/proc/{}/ns", p.pid)));
        each.flat_map(|directory| links(&directory)).filter(|name| !own.contains(name)).collect()
    }
}

impl Process {
    fn of(pid: u32) -> Process {
        let read =
            |file: &str| fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default();
        let memory = read("smaps_rollup");
        let kib = |key: &str| {
            let line = memory.lines().find_map(|line| line.strip_prefix(key));
            line.and_then(|l| l.split_whitespace().next()?.parse().ok()).unwrap_or(0)
        };
        let command = read("cmdline");
        let words: Vec<&str> = command.split('\0').take(2).collect();
        let program = words[0].rsplit('/').next().unwrap_or_default();
        let argument = words.get(1).copied().unwrap_or_default();
        let what = format!("{program} {argument}").trim().to_owned();
        Process { pid, what, rss_kib: kib("Rss:"), pss_kib: kib("Pss:") }
    }
}

/// What still keeps one of these namespaces: a process in it, an open file, a mount.
pub fn keepers(namespaces: &BTreeSet<String>) -> Vec<String> {
    let mut keepers = Vec::new();
    for pid in pids() {
        let process = PathBuf::from(format!("/proc/{pid}"));
        for part in ["ns", "fd"] {
            let kept = links(&process.join(part));
            keepers.extend(kept.intersection(namespaces).map(|n| format!("{pid}/{part}: {n}")));
        }
    }
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let kept = namespaces.iter().filter(|name| mounts.contains(name.as_str()));
    keepers.extend(kept.map(|name| format!("mount: {name}")));
    keepers
}

fn pids() -> impl Iterator<Item = u32> {
    names("/proc").into_iter().filter_map(|name| name.parse().ok())
}

fn identity(path: &Path) -> Option<(u64, u64)> {
    fs::metadata(path).ok().map(|m| (m.dev(), m.ino()))
}

/// What the links of a directory say.
fn links(directory: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let targets = entries.filter_map(|entry| fs::read_link(entry.path()).ok());
    targets.map(|target| target.display().to_string()).collect()
}
