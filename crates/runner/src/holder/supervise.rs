//! Keeps the cluster process running: takes over one that lives, starts another when it ends.

use std::fs::File;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use net::process::ProcessId;
use tokio::time::Instant;

use super::{CLUSTER_PID_FILE, Config, process_in, write_atomically};

const FIRST_DELAY: Duration = Duration::from_millis(50);
const MOST_DELAY: Duration = Duration::from_secs(5);
/// Whoever ran this long starts again without delay.
const STEADY: Duration = Duration::from_secs(20);
/// A process that is not our child is looked at this often.
const LOOK: Duration = Duration::from_millis(100);
const MOST_LOG: u64 = 16 << 20;
const SIGKILL: i32 = 9;

/// The cluster process of a state directory.
#[derive(Clone)]
pub struct Cluster {
    state: PathBuf,
    command: Vec<PathBuf>,
    url: String,
}

impl Cluster {
    pub fn new(config: &Config, url: String) -> Self {
        Cluster { state: config.state.clone(), command: config.cluster_command.clone(), url }
    }

    /// Runs for ever; drop it and call `kill` to end.
    pub async fn keep_running(&self) {
        let mut delay = FIRST_DELAY;
        loop {
            let started = Instant::now();
            match process_in(&self.state.join(CLUSTER_PID_FILE)) {
                Some(living) => wait_for(living).await,
                None => self.run_once().await,
            }
            delay =
                if started.elapsed() > STEADY { FIRST_DELAY } else { (delay * 2).min(MOST_DELAY) };
            tracing::warn!("the cluster process has ended; it starts again in {delay:?}");
            tokio::time::sleep(delay).await;
        }
    }

    async fn run_once(&self) {
        let Some((program, args)) = self.command.split_first() else { return };
        let log = match self.log() {
            Ok(log) => log,
            Err(e) => return tracing::error!("the cluster's log: {e}"),
        };
        let mut command = tokio::process::Command::new(program);
        command.args(args).arg(&self.url).stdin(Stdio::null());
        command.stdout(log.0).stderr(log.1);
        match command.spawn() {
            Ok(mut child) => {
                if let Some(id) = child.id().and_then(ProcessId::of) {
                    let file = self.state.join(CLUSTER_PID_FILE);
                    if let Err(e) = write_atomically(&file, id.to_string().as_bytes()) {
                        tracing::error!("{e}");
                    }
                }
                // How it ended is in its log; that it ended is what matters here.
                let _ = child.wait().await;
            }
            Err(e) => tracing::error!("starting {}: {e}", program.display()),
        }
    }

    fn log(&self) -> std::io::Result<(File, File)> {
        let path = self.state.join("cluster.log");
        if std::fs::metadata(&path).is_ok_and(|m| m.len() > MOST_LOG) {
            std::fs::rename(&path, path.with_extension("log.1"))?;
        }
        let file = File::options().create(true).append(true).open(path)?;
        Ok((file.try_clone()?, file))
    }

    pub fn kill(&self) {
        if let Some(living) = process_in(&self.state.join(CLUSTER_PID_FILE)) {
            // If it ends by itself in this moment, so much the better.
            let _ = living.signal(SIGKILL);
        }
    }
}

async fn wait_for(process: ProcessId) {
    while process.alive() {
        tokio::time::sleep(LOOK).await;
    }
}
