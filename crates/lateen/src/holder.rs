//! The entry of the holder process; what it does is in `runner::holder`.

use std::path::Path;

/// Runs until it is told to stop. Called with one thread.
pub fn run(dir: &Path) -> anyhow::Result<()> {
    crate::cluster::log_to_stderr();
    let cluster_command = crate::small::big_command(&["cluster"], dir)?;
    let config = runner::holder::Config { state: dir.to_owned(), cluster_command };
    Ok(runner::holder::main(config)?)
}
