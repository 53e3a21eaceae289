//! Bringing the embedded cluster up, looking at it, and taking it away again: what the command
//! line calls. Progress goes to a callback; nothing here prints.

mod preflight;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use net::process::ProcessId;

pub use preflight::{Finding, preflight, probe};

use crate::holder::{
    CLUSTER_PID_FILE, HolderClient, PID_FILE, Request, STATE_FILE, State, process_in, running,
};
use crate::shim::client::Shim;

/// A machine that is slower than this has something wrong with it.
const PATIENCE: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(50);
const SIGKILL: i32 = 9;

#[derive(Debug, thiserror::Error)]
pub enum UpError {
    #[error("{path}: {source}")]
    State { path: PathBuf, source: std::io::Error },
    #[error("starting {program}: {source}")]
    Spawn { program: PathBuf, source: std::io::Error },
    #[error("the cluster did not come up within {} s; its logs are {holder} and {cluster}\n{tail}", PATIENCE.as_secs())]
    Late { holder: String, cluster: String, tail: String },
    #[error("the holder ended at once: {0}")]
    Ended(String),
    #[error("process {0} does not end, though it was killed")]
    Survivor(u32),
}

/// Starts what does not run yet and waits until the API answers. A second call finds it all there.
pub async fn up(
    state: &Path,
    holder_command: &[PathBuf],
    progress: &mut dyn FnMut(&str),
) -> Result<State, UpError> {
    make_private(state).map_err(|source| UpError::State { path: state.to_owned(), source })?;
    let client = HolderClient::new(state);
    let mut child = None;
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE {
        if let Ok(found) = client.status().await
            && found.state == "running"
        {
            return Ok(found);
        }
        // Also one that was killed a moment ago may have been about to end at the first look.
        if child.is_none() && running(state).is_none() {
            progress("starting the cluster");
            child = Some(spawn(state, holder_command)?);
            progress("waiting for the API");
        }
        if let Some(Ok(Some(_))) = child.as_mut().map(std::process::Child::try_wait) {
            return Err(UpError::Ended(tail(&state.join("holder.log"))));
        }
        tokio::time::sleep(LOOK).await;
    }
    let log = |name: &str| state.join(name).display().to_string();
    Err(UpError::Late {
        holder: log("holder.log"),
        cluster: log("cluster.log"),
        tail: tail(&state.join("cluster.log")),
    })
}

/// What runs, if anything does.
pub async fn status(state: &Path) -> Option<State> {
    HolderClient::new(state).status().await.ok()
}

/// Ends everything; whoever was killed before is no obstacle. With `purge` the state goes too.
pub async fn down(state: &Path, purge: bool) -> Result<(), UpError> {
    // Asked first, so that it starts nothing again; if it cannot hear it is killed below.
    let _ = HolderClient::new(state).ask(&Request::Stop).await;
    for file in [PID_FILE, CLUSTER_PID_FILE] {
        if let Some(process) = process_in(&state.join(file)) {
            end(process).await?;
        }
    }
    let pods = std::fs::read_dir(state.join("pods")).into_iter().flatten().flatten();
    let shims: Vec<Shim> = pods.filter_map(|p| Shim::find(&p.path())).map(|(s, _)| s).collect();
    for shim in &shims {
        end(shim.process()).await?;
    }
    for file in [PID_FILE, CLUSTER_PID_FILE, STATE_FILE] {
        let _ = std::fs::remove_file(state.join(file));
    }
    if purge && state.join("holder.lock").exists() {
        let failed = |source| UpError::State { path: state.to_owned(), source };
        std::fs::remove_dir_all(state).map_err(failed)?;
    }
    Ok(())
}

async fn end(process: ProcessId) -> Result<(), UpError> {
    let begun = Instant::now();
    while process.alive() {
        if begun.elapsed() > Duration::from_secs(10) {
            return Err(UpError::Survivor(process.pid));
        }
        // It may end by itself in this moment.
        let _ = process.signal(SIGKILL);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Ok(())
}

fn spawn(state: &Path, command: &[PathBuf]) -> Result<std::process::Child, UpError> {
    let (program, args) = command.split_first().map_or((Path::new(""), &[][..]), |(p, a)| (p, a));
    let failed = |source| UpError::Spawn { program: program.to_owned(), source };
    let log = std::fs::File::create(state.join("holder.log")).map_err(failed)?;
    let errors = log.try_clone().map_err(failed)?;
    let mut holder = Command::new(program);
    holder.args(args).current_dir("/").stdin(Stdio::null()).stdout(log).stderr(errors);
    holder.spawn().map_err(failed)
}

/// Credentials lie in there.
fn make_private(state: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    std::fs::create_dir_all(state)?;
    std::fs::set_permissions(state, std::fs::Permissions::from_mode(0o700))
}

fn tail(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(10)..].join("\n")
}
