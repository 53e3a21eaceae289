//! Commands of the embedded cluster, and the hidden ones that its own processes are started with.
//! Those must begin with one thread, so nothing here starts a runtime before it is needed.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::Context;
use clap::Subcommand;

use crate::cli::Global;
use crate::installation::Wanted;
use crate::{holder, state, up};

#[derive(Subcommand)]
pub enum ClusterCommand {
    /// Start the cluster on this machine, or go on with the one that was there
    Up {
        /// What runs in sidecars and gateways; else what is installed, or ours
        #[arg(long, value_parser = ["lateen", "envoy"])]
        data_plane: Option<String>,
        /// Which parts of the mesh: `demo` has an egress gateway, and more ports at the ingress
        /// gateway; what another profile has installed stays
        #[arg(long)]
        profile: Option<install::Profile>,
        /// An IstioOperator that says what is installed: profile, gateways, mesh configuration, values;
        /// a gateway that is there stays
        #[arg(short, long)]
        file: Option<PathBuf>,
        /// The cluster alone, without the mesh
        #[arg(long)]
        bare: bool,
    },
    /// End the cluster on this machine
    Down {
        /// Remove its state as well: objects, logs, credentials
        #[arg(long)]
        purge: bool,
    },
    /// Whether the mesh on this machine runs, and where to reach it
    Status {
        /// Print JSON
        #[arg(short, long)]
        output: Option<String>,
    },
    /// Which local programs stand for container images
    Image {
        #[command(subcommand)]
        command: ImageCommand,
    },
    /// Run the control plane, as the pod istiod does
    #[command(hide = true)]
    ControlPlane {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Holds the node's namespaces and the host's sockets
    #[command(hide = true)]
    Holder,
    /// Runs the API server, the controllers and the pod runner
    #[command(hide = true)]
    Cluster { api_url: String },
    /// Holds the namespaces of a pod and starts its containers
    #[command(hide = true)]
    Shim { directory: PathBuf },
    /// Tries whether this machine lets us make what a pod needs
    #[command(hide = true)]
    Probe,
}

#[derive(Subcommand)]
pub enum ImageCommand {
    /// Run PROGRAM wherever a pod names IMAGE
    Map {
        image: String,
        #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
        program: Vec<String>,
    },
    /// Forget the program for IMAGE
    Unmap { image: String },
    /// List the programs that were named with `image map`
    List,
}

pub fn run(command: ClusterCommand, global: &Global) -> ExitCode {
    match answer(command, global) {
        Ok(code) => code,
        Err(e) => crate::cli::fail(&e),
    }
}

fn answer(command: ClusterCommand, global: &Global) -> anyhow::Result<ExitCode> {
    let dir = state::directory(global.state.as_deref());
    match command {
        ClusterCommand::Up { data_plane, profile, file, bare } => {
            let wishes = file.as_deref().map(wishes_of).transpose()?;
            let wanted = Wanted { data_plane, profile, wishes };
            up::up(&dir, (!bare).then_some(&wanted))?;
        }
        ClusterCommand::Down { purge } => up::down(&dir, purge)?,
        ClusterCommand::Status { output } => return up::status(&dir, output.as_deref()),
        ClusterCommand::Image { command } => image(&dir, command)?,
        ClusterCommand::ControlPlane { args } => crate::control_plane::run(&args)?,
        ClusterCommand::Holder => holder::run(&dir)?,
        ClusterCommand::Cluster { api_url } => crate::cluster::run(&dir, api_url)?,
        ClusterCommand::Shim { directory } => runner::shim::main(&directory)?,
        ClusterCommand::Probe => runner::up::probe().map_err(anyhow::Error::msg)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn wishes_of(file: &Path) -> anyhow::Result<install::Wishes> {
    let name = || file.display().to_string();
    let text = std::fs::read_to_string(file).with_context(name)?;
    let object: serde_json::Value = serde_yaml_ng::from_str(&text).with_context(name)?;
    install::Wishes::read(&object).with_context(name)
}

fn image(dir: &Path, command: ImageCommand) -> anyhow::Result<()> {
    let file = dir.join("images.json");
    let text = std::fs::read(&file).unwrap_or_else(|_| b"{}".to_vec());
    let mut images: runner::images::UserImages =
        serde_json::from_slice(&text).with_context(|| file.display().to_string())?;
    match command {
        ImageCommand::Map { image, program } => {
            images.0.insert(runner::images::short_name(&image).to_owned(), program);
        }
        ImageCommand::Unmap { image } => {
            images.0.remove(runner::images::short_name(&image));
        }
        ImageCommand::List => {
            for (image, program) in &images.0 {
                println!("{image}\t{}", program.join(" "));
            }
            return Ok(());
        }
    }
    std::fs::create_dir_all(dir).with_context(|| dir.display().to_string())?;
    std::fs::write(&file, serde_json::to_vec_pretty(&images)?)
        .with_context(|| file.display().to_string())
}

/// A line for each long step, with the time since the beginning.
pub struct Progress(Instant);

impl Progress {
    pub fn start() -> Self {
        Progress(Instant::now())
    }

    pub fn say(&self, what: &str) {
        eprintln!("[{:5.1} s] {what}", self.0.elapsed().as_secs_f64());
    }
}
