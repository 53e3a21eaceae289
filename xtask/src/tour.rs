//! Executes the five-minute tour of README.md: every fenced block marked `console` whose lines begin
//! with `$` is run in one shell, and what stands below a command must appear in its output.

use crate::shell;
use anyhow::{Context, Result, bail};
use std::fs;
use std::path::Path;
use std::process::Command;

/// One command and the lines that its output must hold, in order; `...` stands for anything.
#[derive(Debug, PartialEq, Eq)]
struct Step {
    command: String,
    expected: Vec<String>,
}

pub fn run(bin: &Path) -> Result<()> {
    let text = fs::read_to_string(shell::root().join("README.md")).context("README.md")?;
    let steps = steps(&text);
    if steps.is_empty() {
        bail!("README.md holds no tour: no ```console block with a `$ ` line");
    }
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap_or_default());
    // Short, wherever the workspace lies: the cluster's sockets are below it.
    let state = std::env::temp_dir().join(format!("lateen-tour-{}", std::process::id()));
    let outcome = steps.iter().try_for_each(|step| run_step(step, &path, &state));
    // Whatever happened, nothing of the tour may keep running.
    let down = Command::new(bin.join("lateen"))
        .args(["down", "--purge"])
        .env("LATEEN_STATE", &state)
        .status();
    outcome?;
    if !down.is_ok_and(|s| s.success()) {
        bail!("the tour could not be undone");
    }
    println!("tour: {} commands did what README.md says", steps.len());
    Ok(())
}

fn run_step(step: &Step, path: &str, state: &Path) -> Result<()> {
    println!("tour: $ {}", step.command);
    let out = Command::new("bash")
        .args(["-e", "-o", "pipefail", "-c", &step.command])
        .current_dir(shell::root())
        .env("PATH", path)
        .env("LATEEN_STATE", state)
        .env("KUBECONFIG", state.join("kubeconfig"))
        .output()?;
    let text =
        String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr);
    if !out.status.success() {
        bail!("{:?} ended with {}\n{text}", step.command, out.status);
    }
    if let Some(line) = first_missing(&step.expected, &text) {
        bail!("{:?}: README.md promises {line:?}, the output was\n{text}", step.command);
    }
    Ok(())
}

/// The first promised line that does not follow the ones before it.
fn first_missing<'a>(expected: &'a [String], text: &str) -> Option<&'a str> {
    let squeeze = |s: &str| s.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut lines = text.lines().map(squeeze);
    expected.iter().map(String::as_str).find(|want| {
        let want = squeeze(want);
        want != "..." && !lines.any(|line| line.contains(&want))
    })
}

fn steps(text: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut inside = false;
    for line in text.lines() {
        match line.trim_end() {
            "```console" => inside = true,
            "```" => inside = false,
            line if inside => match (line.strip_prefix("$ "), steps.last_mut()) {
                (Some(command), _) => {
                    steps.push(Step { command: command.into(), expected: Vec::new() })
                }
                (None, Some(step)) if !line.is_empty() => step.expected.push(line.into()),
                _ => {}
            },
            _ => {}
        }
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_read_and_held_against_the_output() {
        let text = "# T\n```console\n$ echo a; echo b\na\n$ true\n```\n```sh\n$ not this\n```\n";
        let found = steps(text);
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].expected, ["a"]);
        assert_eq!(first_missing(&found[0].expected, "a\nb\n"), None);
        assert_eq!(first_missing(&["b".into(), "a".into()], "a\nb\n"), Some("a"));
    }
}
