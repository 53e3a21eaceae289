//! The demo fits in the memory that it promises, and leaves nothing: taken down in order or after
//! everything was killed without a word, as root and as an ordinary user, the machine is as it was.

use e2e::machine::{Machine, Process, Programs, keepers};
use e2e::{eventually, programs};
use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::{MetadataExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// Resident memory of everything, counted process by process.
const MOST_MEMORY_KIB: u64 = 300 << 10;
const SOON: Duration = Duration::from_secs(60);
const ORDINARY: u32 = 65534;
const NAMES: [&str; 4] = ["lateen", "lateen-node", "lateen-proxy", "lateen-apps"];

#[test]
fn root_leaves_nothing() {
    if !is_root() {
        return println!("skip: this test is not run as root");
    }
    leaves_nothing("root", None);
}

#[test]
fn an_ordinary_user_leaves_nothing() {
    // Only root can become another; who is not is an ordinary user already.
    leaves_nothing("user", is_root().then_some(ORDINARY));
}

fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0)
}

fn leaves_nothing(name: &str, user: Option<u32>) {
    let Some(bin) = programs() else { return };
    let _turn = e2e::turn();
    let place = Place::make(name, user, &bin);
    let before = place.machine();
    place.demo();
    place.fits();
    let first = place.programs.namespaces();
    place.lateen(&["down", "--purge"]);
    place.is_as_before(&before, &first);
    place.lateen(&["up"]);
    let second = place.programs.namespaces();
    place.kill_everything();
    place.lateen(&["down", "--purge"]);
    place.is_as_before(&before, &second);
}

/// A home of its own for a user, with the programs in it.
struct Place {
    directory: PathBuf,
    user: Option<u32>,
    programs: Programs,
}

impl Place {
    fn make(name: &str, user: Option<u32>, bin: &Path) -> Place {
        let directory =
            std::env::temp_dir().join(format!("lateen-traces-{name}-{}", std::process::id()));
        // The folders in the home are those of the XDG specification, shared by all programs.
        for part in ["bin", "home", "home/.local", "home/.local/state", "tmp"] {
            std::fs::create_dir_all(directory.join(part)).expect("a place for the test");
            chown(directory.join(part), user, user).expect("only root gives things away");
        }
        for name in NAMES {
            std::fs::copy(bin.join(name), directory.join("bin").join(name))
                .expect("the programs are built");
        }
        let programs = Programs::of(&directory.join("bin"));
        Place { directory, user, programs }
    }

    fn machine(&self) -> Machine {
        Machine::now(&self.directory)
    }

    /// A command as this user types it, who has set nothing.
    fn lateen(&self, args: &[&str]) {
        let mut command = Command::new(self.directory.join("bin/lateen"));
        command.args(args).env_clear().env("PATH", "/usr/bin:/bin:/usr/sbin:/sbin");
        command.env("HOME", self.directory.join("home"));
        command.env("TMPDIR", self.directory.join("tmp")).current_dir(self.directory.join("home"));
        if let Some(user) = self.user {
            command.uid(user).gid(user);
        }
        let out = command.output().expect("lateen starts");
        let said = String::from_utf8_lossy(&[out.stdout, out.stderr].concat()).into_owned();
        assert!(out.status.success(), "lateen {args:?}: {said}");
    }

    fn demo(&self) {
        let started = Instant::now();
        self.lateen(&["demo"]);
        let took = started.elapsed();
        println!("demo: {} s", took.as_secs());
        assert!(took < SOON, "the page came after {took:?}");
    }

    fn fits(&self) {
        let all = self.programs.processes();
        let mut kinds: BTreeMap<&str, (u64, u64, u64)> = BTreeMap::new();
        for Process { what, rss_kib, pss_kib, .. } in &all {
            let kind = kinds.entry(what).or_default();
            *kind = (kind.0 + 1, kind.1 + rss_kib, kind.2 + pss_kib);
        }
        for (what, (count, rss, pss)) in &kinds {
            println!("{count:3} x {what}: {rss} KiB resident, {pss} KiB shared out");
        }
        let sum: u64 = all.iter().map(|p| p.rss_kib).sum();
        println!("{} processes, {sum} KiB", all.len());
        assert!(all.len() > 20, "{all:?}");
        assert!(sum <= MOST_MEMORY_KIB, "{sum} KiB are resident");
    }

    /// Without order, and again until nothing starts anything any more.
    fn kill_everything(&self) {
        eventually("everything is killed", Duration::from_secs(10), || {
            let all = self.programs.processes();
            let pids: Vec<String> = all.iter().map(|p| p.pid.to_string()).collect();
            if pids.is_empty() {
                return Ok(());
            }
            // One that has just ended is no failure.
            let _ = Command::new("kill").arg("-9").args(&pids).output();
            Err(format!("{pids:?}"))
        });
    }

    fn is_as_before(&self, before: &Machine, namespaces: &BTreeSet<String>) {
        assert!(namespaces.len() > 10, "too few namespaces were seen: {namespaces:?}");
        let left = self.programs.processes();
        assert!(left.is_empty(), "processes that are left: {left:?}");
        // One that has ended keeps its namespaces until its parent has taken note.
        eventually("nothing keeps a namespace", Duration::from_secs(5), || {
            match keepers(namespaces) {
                none if none.is_empty() => Ok(()),
                some => Err(format!("{some:?}")),
            }
        });
        self.machine().must_be(before);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.kill_everything();
        }
        // What cannot be removed is seen by the next comparison.
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}
