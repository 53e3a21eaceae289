//! Commands of the embedded cluster and of the control plane, and the hidden ones that its own
//! processes are started with.

use crate::cli::Global;
use crate::state;
use clap::Subcommand;
use std::process::ExitCode;

#[derive(Subcommand)]
pub enum ClusterCommand {
    /// Whether the mesh on this machine runs, and where to reach it
    Status {
        /// Print JSON
        #[arg(short, long)]
        output: Option<String>,
    },
}

pub fn run(command: ClusterCommand, global: &Global) -> ExitCode {
    let dir = state::directory(global.state.as_deref());
    match command {
        ClusterCommand::Status { output } => status(&dir, output.as_deref()),
    }
}

fn status(dir: &std::path::Path, output: Option<&str>) -> ExitCode {
    let text = std::fs::read_to_string(dir.join("state.json"))
        .unwrap_or_else(|_| "{\"state\":\"down\"}".into());
    if output == Some("json") {
        println!("{}", text.trim());
        return ExitCode::SUCCESS;
    }
    let value: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
    println!("state: {}", value["state"].as_str().unwrap_or("unknown"));
    ExitCode::SUCCESS
}
