//! `cargo xtask fuzz`: every target of crate `fuzz` under libFuzzer, two at a time. The crates of the
//! workspace are compiled with its counters by the pinned compiler (`fuzz/instrument`), so it is our own
//! code that guides it; dependencies are those of all other tests. `test` gives each target 20 seconds and
//! always begins alike; `soak` gives it 5 minutes and begins elsewhere each time.

use crate::shell;
use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, channel};
use std::time::{SystemTime, UNIX_EPOCH};

const AT_ONCE: usize = 2;

/// What each is given: seconds, and where its random numbers begin.
#[derive(Clone, Copy)]
pub struct Budget {
    pub seconds: u64,
    pub seed: u32,
}

impl Budget {
    pub fn of_test() -> Budget {
        Budget { seconds: 20, seed: 1 }
    }

    pub fn of_soak() -> Budget {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Budget { seconds: 300, seed: now.subsec_nanos() | 1 }
    }
}

/// `[--seconds N] [TARGET ...]`
pub fn command(args: &[String]) -> Result<()> {
    let (mut budget, mut only) = (Budget::of_soak(), Vec::new());
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--seconds" => {
                budget.seconds = args.next().context("--seconds wants a number")?.parse()?;
            }
            name if !name.starts_with('-') => only.push(name.to_owned()),
            other => bail!("unknown option {other:?}"),
        }
    }
    run(budget, &only).map(drop)
}

/// Gives every target its time, or those that are named; says how many there were. What one finds makes
/// an error, when all have had their time.
pub fn run(budget: Budget, only: &[String]) -> Result<usize> {
    let program = build()?;
    let targets = targets(&program)?;
    let known = |name: &&String| !targets.contains(name);
    if let Some(unknown) = only.iter().find(known) {
        bail!("there is no target {unknown:?}; there are {}", targets.join(", "));
    }
    let chosen = targets.into_iter().filter(|t| only.is_empty() || only.contains(t));
    let (hand_out, rest) = channel();
    let count = chosen.map(|target| hand_out.send(target)).filter(Result::is_ok).count();
    drop(hand_out);
    println!("fuzz: {count} targets, {} s each, from {}", budget.seconds, budget.seed);
    let rest = Mutex::new(rest);
    let found: Vec<String> = std::thread::scope(|scope| {
        let workers: Vec<_> =
            (0..AT_ONCE).map(|_| scope.spawn(|| work(&program, &rest, budget))).collect();
        workers.into_iter().flat_map(|w| w.join().unwrap_or_default()).collect()
    });
    if !found.is_empty() {
        bail!("{}", found.join("\n"));
    }
    Ok(count)
}

fn work(program: &Path, rest: &Mutex<Receiver<String>>, budget: Budget) -> Vec<String> {
    let next = || rest.lock().ok()?.try_recv().ok();
    let one = |target: String| give(program, &target, budget).err().map(|e| format!("{e:#}"));
    std::iter::from_fn(next).filter_map(one).collect()
}

fn build() -> Result<PathBuf> {
    println!("fuzz: building (a minute or two the first time)");
    // Chosen from the whole workspace, so that dependencies have the features that all tests give them.
    let mut build = shell::cargo(&["build", "--quiet", "--workspace", "--bin", "fuzz"]);
    shell::run(build.env("RUSTC_WORKSPACE_WRAPPER", shell::root().join("fuzz/instrument")))?;
    Ok(shell::target_dir().join("debug/fuzz"))
}

/// The program names its targets when it is asked for one that it does not have.
fn targets(program: &Path) -> Result<Vec<String>> {
    let out = Command::new(program).env("FUZZ_TARGET", "").output()?;
    let said = String::from_utf8_lossy(&out.stderr);
    let (_, names) = said.trim().split_once("one of ").context("the fuzzer names no targets")?;
    Ok(names.split(", ").map(str::to_owned).collect())
}

fn give(program: &Path, target: &str, budget: Budget) -> Result<()> {
    let dir = shell::target_dir().join("fuzz").join(target);
    let corpus = dir.join("corpus");
    // Each run begins with the seeds alone: it takes what time it is given to get elsewhere.
    let _ = std::fs::remove_dir_all(&corpus);
    std::fs::create_dir_all(&corpus)?;
    let log = dir.join("log");
    let status = Command::new(program)
        .arg(&corpus)
        .args([
            format!("-max_total_time={}", budget.seconds),
            format!("-seed={}", budget.seed),
            format!("-artifact_prefix={}/", dir.display()),
            "-timeout=10".to_owned(),
            "-rss_limit_mb=1024".to_owned(),
            "-max_len=16384".to_owned(),
        ])
        .env("FUZZ_TARGET", target)
        .env("FUZZ_SEEDS", &corpus)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(std::fs::File::create(&log)?)
        .status()?;
    let said = std::fs::read(&log)?;
    let said = String::from_utf8_lossy(&said);
    println!("fuzz: {target}: {}", summary(&said));
    if !status.success() {
        bail!("{target}: {}; all of it is in {}", finding(&said), log.display());
    }
    Ok(())
}

/// Of `#32168 DONE cov: 238 ft: 351 corp: 35/1320b ...` and `Done 32168 runs in 7 second(s)`.
fn summary(log: &str) -> String {
    let last = log.lines().rev().find(|l| l.contains(" cov: ")).unwrap_or("no run");
    let words: Vec<&str> = last.split_whitespace().collect();
    let after = |name: &str| {
        let at = words.iter().position(|w| *w == name);
        at.and_then(|at| words.get(at + 1)).copied().unwrap_or("?")
    };
    let runs = words.first().unwrap_or(&"?").trim_start_matches('#');
    format!("{runs} inputs, {} places reached", after("cov:"))
}

/// What was wrong, and which file brings it back.
fn finding(log: &str) -> String {
    let panic = log.lines().skip_while(|l| !l.contains("panicked at")).take(4);
    let said: Vec<&str> = panic.take_while(|l| !l.starts_with("stack backtrace")).collect();
    let summary = log.lines().find(|l| l.starts_with("SUMMARY: ")).unwrap_or("it ended early");
    let file = log.lines().find_map(|l| l.split_once("Test unit written to ").map(|(_, f)| f));
    format!("{} {} {}", summary, said.join(" "), file.unwrap_or("(no input was kept)"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = "#5\tINITED cov: 197 ft: 253 corp: 4/137b exec/s: 0 rss: 37Mb\n\
        #32168\tNEW    cov: 238 ft: 351 corp: 35/1320b lim: 257 exec/s: 4595 rss: 40Mb\n\
        thread '<unnamed>' (9) panicked at fuzz/src/dns.rs:32:5:\nwrong\nstack backtrace:\n  0: x\n\
        SUMMARY: libFuzzer: deadly signal\nartifact_prefix='x'; Test unit written to x/crash-1\n";

    #[test]
    fn what_the_fuzzer_says_is_read() {
        assert_eq!(summary(LOG), "32168 inputs, 238 places reached");
        let found = finding(LOG);
        assert!(found.contains("deadly signal") && found.contains("dns.rs:32:5: wrong"), "{found}");
        assert!(found.ends_with("x/crash-1"), "{found}");
    }
}
