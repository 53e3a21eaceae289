//! `cargo xtask test`: everything that must hold, in one command; the last line is the sum of all test
//! runners, in the form `N passed, N failed, N skipped`.

use crate::{fuzz, peers, setup, shell, tidy, tour};
use anyhow::{Context, Result, bail};
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

/// Counts of test functions, as the runners themselves report them.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
struct Counts {
    passed: u64,
    failed: u64,
    skipped: u64,
}

impl Counts {
    const ONE: Counts = Counts { passed: 1, failed: 0, skipped: 0 };

    fn add(&mut self, other: Counts) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }
}

/// What came of all steps.
#[derive(Default)]
struct Report {
    counts: Counts,
    failures: Vec<String>,
}

impl Report {
    fn step(&mut self, name: &str, outcome: Result<Counts>) {
        let counts = outcome.unwrap_or_else(|e| {
            println!("test: {name}: {e:#}");
            Counts { failed: 1, ..Counts::default() }
        });
        self.counts.add(counts);
        if counts.failed > 0 {
            self.failures.push(name.to_owned());
        }
    }

    /// Prints the sums; the last line is for machines.
    fn close(&self) -> Result<()> {
        let Counts { passed, failed, skipped } = self.counts;
        for name in &self.failures {
            println!("test: FAILED: {name}");
        }
        println!("{passed} passed, {failed} failed, {skipped} skipped");
        if !self.failures.is_empty() {
            bail!("{} of the steps failed", self.failures.len());
        }
        Ok(())
    }
}

pub fn run(args: &[String]) -> Result<()> {
    let fast = args.iter().any(|a| a == "--fast");
    if !fast {
        setup::tell(&setup::for_tests());
    }
    let started = Instant::now();
    let mut report = Report::default();
    report.step("format", check(shell::cargo(&["fmt", "--all", "--check"])));
    report.step("tidy", tidy::run().map(|()| Counts::ONE));
    report.step("peers", missing_peers(required()));
    if fast {
        lints(&mut report);
    }
    let bin = build_programs()?;
    let mut beside = None;
    let tests = cargo_tests(fast, &bin, || beside = (!fast).then(start_beside));
    report.step("tests", tests);
    if !fast {
        report.step("tour", tour::run(&bin).map(|()| Counts::ONE));
        // Where no test was begun nothing was started beside them.
        let child = beside.unwrap_or_else(start_beside);
        report.step("lints and fuzzing", child.and_then(end_beside));
    }
    println!("\ntest: {} s", started.elapsed().as_secs());
    report.close()
}

/// What needs the processor and no quiet machine. Tests wait most of the time, and this is done meanwhile
/// with what they leave idle.
pub fn beside() -> Result<()> {
    let mut report = Report::default();
    if let Err(e) = setup::cargo_deny() {
        println!("setup: not to be had: cargo-deny: {e:#}");
    }
    lints(&mut report);
    report.step("fuzz", fuzz::run(fuzz::Budget::of_test(), &[]).map(of_targets));
    report.close()
}

fn lints(report: &mut Report) {
    report.step("clippy", check(shell::cargo(&CLIPPY)));
    if setup::deny_binary().is_file() {
        let mut deny = Command::new(setup::deny_binary());
        report.step("licences", check(deny.args(DENY).current_dir(shell::root())));
    } else {
        println!("skip: cargo-deny is not there (cargo xtask setup)");
        report.step("licences", Ok(Counts { skipped: 1, ..Counts::default() }));
    }
}

/// A process of its own, which the scheduler serves when nobody else wants the processor.
fn start_beside() -> Result<Child> {
    let own = std::env::current_exe().context("where is xtask?")?;
    let mut command = match shell::which("chrt") {
        Some(chrt) => {
            let mut command = Command::new(chrt);
            command.args(["--idle", "0"]).arg(own);
            command
        }
        None => Command::new(own),
    };
    // Others watch what is left behind in /tmp.
    let scratch = shell::target_dir().join("beside");
    std::fs::create_dir_all(&scratch)?;
    command.arg("beside").env("TMPDIR", scratch).stdout(Stdio::piped());
    command.spawn().with_context(|| format!("cannot start {command:?}"))
}

fn end_beside(child: Child) -> Result<Counts> {
    let output = child.wait_with_output()?;
    let said = String::from_utf8_lossy(&output.stdout);
    print!("{said}");
    let counts = said.lines().last().and_then(closing_line).context("it ended early")?;
    Ok(closing(counts, output.status.success()))
}

fn of_targets(count: usize) -> Counts {
    Counts { passed: count as u64, ..Counts::default() }
}

const CLIPPY: [&str; 8] = [
    "clippy",
    "--quiet",
    "--workspace",
    "--all-targets",
    "--",
    "-D",
    "warnings",
    "-Aclippy::module_inception",
];
const DENY: [&str; 5] = ["check", "--hide-inclusion-graph", "licenses", "bans", "sources"];

fn check(mut command: impl std::borrow::BorrowMut<Command>) -> Result<Counts> {
    let command = command.borrow_mut();
    println!("test: {command:?}");
    shell::run(command)?;
    Ok(Counts::ONE)
}

/// In CI no peer may be missing: a suite that skips itself there would prove nothing.
fn required() -> bool {
    std::env::var_os("CI").is_some()
}

/// Said here since the output of a test that passes by skipping itself is not shown.
fn missing_peers(required: bool) -> Result<Counts> {
    let missing = peers::missing();
    if required && !missing.is_empty() {
        bail!("missing: {}", missing.join(", "));
    }
    for peer in &missing {
        println!("skip: {peer} is not there; what compares us with it skips itself");
    }
    Ok(Counts { skipped: missing.len() as u64, ..Counts::default() })
}

/// Builds the programs of the demo; end-to-end tests run these too. Cargo shows how far it is: the first
/// build takes minutes, and whoever waits for it wants to see that something happens.
pub fn build_programs() -> Result<PathBuf> {
    println!("building the programs (some minutes the first time)");
    shell::run(&mut shell::cargo(&[
        "build",
        "--profile",
        "demo",
        "-p",
        "lateen",
        "-p",
        "lateen-proxy",
        "-p",
        "apps",
    ]))?;
    Ok(shell::target_dir().join("demo"))
}

/// `begun` is called when all is built and the first test runs.
fn cargo_tests(fast: bool, bin: &std::path::Path, begun: impl FnOnce()) -> Result<Counts> {
    // All there is to run: examples in comments, which rustdoc would look for in each crate, are none.
    // Libraries, programs and tests, but for the fuzzer: `--bins` would run that, too.
    let targets = ["--tests"];
    let mut command = shell::cargo(&["test", "--workspace", "--no-fail-fast"]);
    command.args(targets);
    if fast {
        command.args(["--exclude", "e2e", "--exclude", "differential"]);
    }
    command.env("LATEEN_BIN_DIR", bin);
    if required() {
        command.env("LATEEN_REQUIRE_PEERS", "1");
    }
    peers::point_to(&mut command);
    println!("test: {command:?}");
    let mut child = command.stdout(Stdio::piped()).spawn().context("cannot start cargo test")?;
    let mut counts = Counts::default();
    let mut begun = Some(begun);
    if let Some(out) = child.stdout.take() {
        for line in BufReader::new(out).lines() {
            let line = line?;
            if let Some(begun) = begun.take() {
                begun();
            }
            counts.add(counts_of(&line).unwrap_or_default());
            if worth_showing(&line) {
                println!("{line}");
            }
        }
    }
    Ok(closing(counts, child.wait()?.success()))
}

/// Programs that are tests without a harness write no closing line: when they fail, cargo alone says so.
fn closing(counts: Counts, success: bool) -> Counts {
    let failed = if success { counts.failed } else { counts.failed.max(1) };
    Counts { failed, ..counts }
}

/// Each passing test on a line of its own tells nobody anything.
fn worth_showing(line: &str) -> bool {
    !(line.is_empty()
        || line.ends_with("... ok")
        || line.starts_with("running 0 tests")
        || line.contains(" 0 passed; 0 failed"))
}

/// Reads `test result: ok. 11 passed; 0 failed; 1 ignored; ...` and a test's own `skip: reason`.
fn counts_of(line: &str) -> Option<Counts> {
    if line.starts_with("skip: ") || line.starts_with("skipped: ") {
        return Some(Counts { skipped: 1, ..Counts::default() });
    }
    let rest = line.strip_prefix("test result: ")?;
    let number = |word| number_before(rest, word).unwrap_or(0);
    Some(Counts { passed: number("passed"), failed: number("failed"), skipped: number("ignored") })
}

/// Reads what [`Report::close`] writes.
fn closing_line(line: &str) -> Option<Counts> {
    let number = |word| number_before(line, word);
    Some(Counts {
        passed: number("passed")?,
        failed: number("failed")?,
        skipped: number("skipped")?,
    })
}

/// `12 passed; 3 failed, ...`
fn number_before(text: &str, word: &str) -> Option<u64> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let at = words.iter().position(|w| w.trim_end_matches([';', ',']) == word)?;
    words.get(at.checked_sub(1)?)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_runners_closing_line_is_read() {
        let line =
            "test result: FAILED. 11 passed; 2 failed; 1 ignored; 0 measured; 0 filtered out";
        assert_eq!(counts_of(line), Some(Counts { passed: 11, failed: 2, skipped: 1 }));
        assert_eq!(counts_of("test base::x ... ok"), None);
        assert_eq!(counts_of("skip: no Envoy").map(|c| c.skipped), Some(1));
        assert_eq!(counts_of("skipped: no namespaces").map(|c| c.skipped), Some(1));
    }

    #[test]
    fn the_sum_of_what_ran_beside_is_read() {
        let counts = Counts { passed: 12, failed: 0, skipped: 3 };
        assert_eq!(closing_line("12 passed, 0 failed, 3 skipped"), Some(counts));
        assert_eq!(closing_line("xtask: something broke"), None);
    }

    #[test]
    fn a_failure_that_no_runner_counted_is_one_and_takes_no_count_away() {
        let counts = Counts { passed: 900, failed: 0, skipped: 1 };
        assert_eq!(closing(counts, true), counts);
        assert_eq!(closing(counts, false), Counts { failed: 1, ..counts });
        assert_eq!(closing(Counts { failed: 3, ..counts }, false).failed, 3);
    }
}
