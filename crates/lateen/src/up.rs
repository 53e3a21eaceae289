//! `lateen up`, `down` and `status`: the embedded cluster as its user sees it. The work is done in
//! `runner::up`; here it is asked for and told about.

use std::future::Future;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, bail};
use runner::holder::State;

use crate::cluster_cli::Progress;
use crate::installation::{self, Wanted};

/// Brings the cluster up, unless it is, installs the mesh if it is wanted and not there, and says where
/// it is.
pub fn up(dir: &Path, mesh: Option<&Wanted>) -> anyhow::Result<()> {
    let mut state = wait(start(dir))??;
    if let Some(wanted) = mesh {
        let progress = Progress::start();
        wait(installation::install(&state.kubeconfig, wanted, &progress))??;
        // The gateway's way in is known only now.
        state = wait(runner::up::status(dir))?.unwrap_or(state);
    }
    println!("cluster: running at {}", state.api);
    if let Some(http) = &state.ingress.http {
        println!("ingress: {http}");
    }
    println!("export KUBECONFIG={}", state.kubeconfig.display());
    Ok(())
}

/// The same for other commands: checks the machine, starts what does not run, waits for it.
pub async fn start(dir: &Path) -> anyhow::Result<State> {
    let dir = std::path::absolute(dir).context("the state directory")?;
    let progress = Progress::start();
    if runner::up::status(&dir).await.is_none() {
        check(&dir, &progress)?;
    }
    let holder = crate::small::command(&["holder"], &dir)?;
    Ok(runner::up::up(&dir, &holder, &mut |what| progress.say(what)).await?)
}

fn check(dir: &Path, progress: &Progress) -> anyhow::Result<()> {
    progress.say("looking at this machine");
    let exe = std::env::current_exe().context("finding this program")?;
    let exe = exe.display().to_string();
    let findings = runner::up::preflight(dir, &[&exe, "probe"]);
    for remark in findings.iter().filter(|f| !f.fatal) {
        eprintln!("note: {}", remark.text);
    }
    let fatal: Vec<&str> = findings.iter().filter(|f| f.fatal).map(|f| f.text.as_str()).collect();
    if !fatal.is_empty() {
        bail!("this machine cannot run the cluster:\n  {}", fatal.join("\n  "));
    }
    Ok(())
}

/// Ends the cluster; with `purge` nothing of it is left.
pub fn down(dir: &Path, purge: bool) -> anyhow::Result<()> {
    let dir = std::path::absolute(dir).context("the state directory")?;
    wait(runner::up::down(&dir, purge))??;
    let kept = if purge { "" } else { "; its state is kept, `lateen up` goes on with it" };
    println!("cluster: stopped{kept}");
    Ok(())
}

/// What runs and where; exit code 3 when nothing does, as service managers have it.
pub fn status(dir: &Path, output: Option<&str>) -> anyhow::Result<ExitCode> {
    let found = wait(runner::up::status(dir))?;
    let code = if found.is_some() { ExitCode::SUCCESS } else { ExitCode::from(3) };
    match (output, found) {
        (Some("json"), Some(state)) => println!("{}", serde_json::to_string_pretty(&state)?),
        (Some("json"), None) => {
            println!("{}", serde_json::to_string_pretty(&runner::holder::stopped())?);
        }
        (Some(other), _) => bail!("unknown output format {other:?}: the only one is json"),
        (None, None) => println!("state: stopped (start it with `lateen up`)"),
        (None, Some(state)) => {
            println!("state: {}\napi: {}", state.state, state.api);
            println!("kubeconfig: {}", state.kubeconfig.display());
            for way in &state.relays {
                println!("{} {}: {} (port {} wanted)", way.key, way.name, way.host, way.wanted);
            }
        }
    }
    Ok(code)
}

fn wait<T>(work: impl Future<Output = T>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    Ok(runtime.context("starting")?.block_on(work))
}
