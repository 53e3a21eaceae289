//! From the command line to a running proxy, and to its end.

use crate::args::{Args, Mode};
use crate::process::Running;
use anyhow::{Context, bail};
use base::{Finding, Level};
use clap::Parser;
use dataplane::{Node, Options, Proxy, admin};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use xds::bootstrap::{self, Bootstrap};

/// Connections are looked at this often while they drain.
const LOOK: Duration = Duration::from_millis(20);

pub fn main() -> ExitCode {
    // The allocator asks for huge pages, of which a small process would use little.
    let _ = rustix::thread::disable_transparent_huge_pages(true);
    let words: Vec<String> = std::env::args().skip(1).collect();
    if words.first().is_some_and(|word| word == "proxy") {
        log_for_agent();
    }
    if let Some(code) = agent::command(&words) {
        return code;
    }
    match run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("error: {e:#}");
            ExitCode::FAILURE
        }
    }
}

/// The agent's own level; `LATEEN_LOG` changes it.
fn log_for_agent() {
    let filter = EnvFilter::try_from_env("LATEEN_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let layer = tracing_subscriber::fmt::layer().with_ansi(false).with_writer(std::io::stderr);
    tracing_subscriber::registry().with(filter).with(layer).init();
}

fn run(args: &Args) -> anyhow::Result<()> {
    let mut bootstrap = read(args)?;
    if let Some(id) = &args.service_node {
        bootstrap.node.id = id.as_str().into();
    }
    if let Some(cluster) = &args.service_cluster {
        bootstrap.node.cluster = cluster.as_str().into();
    }
    if args.mode == Mode::Validate {
        let shown = args.config_path.as_ref().map(|p| p.display().to_string()).unwrap_or_default();
        println!("configuration '{shown}' OK");
        return Ok(());
    }
    let source = crate::dynamic::source(&bootstrap)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(serve(args, bootstrap, source))
}

fn read(args: &Args) -> anyhow::Result<Bootstrap> {
    let file = match &args.config_path {
        Some(path) => Some(
            std::fs::read_to_string(path)
                .with_context(|| format!("cannot read the bootstrap {}", path.display()))?,
        ),
        None => None,
    };
    let read = match (&file, &args.config_yaml) {
        (Some(file), Some(over)) => bootstrap::read_merged(file, over),
        (Some(text), None) | (None, Some(text)) => bootstrap::read(text),
        (None, None) => bail!("no configuration: give --config-path (-c) or --config-yaml"),
    };
    match read {
        Ok(bootstrap) => {
            tell(&bootstrap.findings);
            Ok(bootstrap)
        }
        Err(findings) => {
            tell(&findings);
            bail!("the bootstrap cannot be used; see the {} finding(s) above", findings.len());
        }
    }
}

fn tell(findings: &[Finding]) {
    for finding in findings {
        let level = match finding.level {
            Level::Error => "error",
            Level::Warning => "warning",
            Level::Info => "info",
        };
        eprintln!("{level}: {finding}");
    }
}

/// Envoy's names of levels in the logger's language.
pub fn level(name: &str) -> Option<&'static str> {
    Some(match name {
        "trace" => "trace",
        "debug" => "debug",
        "info" => "info",
        "warn" | "warning" => "warn",
        "error" | "critical" => "error",
        "off" => "off",
        _ => return None,
    })
}

async fn serve(
    args: &Args,
    bootstrap: Bootstrap,
    source: Option<agent::Source>,
) -> anyhow::Result<()> {
    let Some(wanted) = level(&args.log_level) else {
        bail!("--log-level {}: use trace, debug, info, warning, error or off", args.log_level);
    };
    let (filter, reload) = tracing_subscriber::reload::Layer::new(EnvFilter::new(wanted));
    let layer = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    tracing_subscriber::registry().with(filter).with(layer).init();

    let workers = args
        .concurrency
        .filter(|n| *n > 0)
        .or_else(|| std::thread::available_parallelism().ok().map(Into::into))
        .unwrap_or(1);
    let node = Node::from_json(&bootstrap.node.id, &bootstrap.node.metadata);
    let proxy = Proxy::start(Options { workers, node: Some(node), ..Default::default() })?;
    let findings = proxy.publish(&bootstrap.config);
    tell(&findings);
    if findings.iter().any(|f| f.level == Level::Error) {
        bail!("the configuration cannot be run as it is");
    }
    let admin_address = bootstrap.admin;
    let running = Arc::new(Running::new(proxy, bootstrap, reload, wanted));
    if let Some(address) = admin_address {
        let socket = tokio::net::TcpListener::bind(address)
            .await
            .with_context(|| format!("admin: cannot listen on {address}"))?;
        tokio::spawn(admin::serve(socket, running.clone()));
    }
    if let Some(source) = source {
        let heeding = running.clone();
        tokio::spawn(agent::follow_source(source, move |news| heeding.heed(news)));
    }
    net::memory::give_back();
    if let Err(error) = net::memory::forget_startup() {
        tracing::debug!(%error, "the pages that starting needed stay");
    }
    until_told(&running).await?;
    running.drain_now();
    let deadline = tokio::time::Instant::now() + Duration::from_secs(args.drain_time_s);
    while running.is_busy() && tokio::time::Instant::now() < deadline {
        tokio::time::sleep(LOOK).await;
    }
    Ok(())
}

/// Serves until a signal or the admin port says to stop.
async fn until_told(running: &Running) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut reopen = signal(SignalKind::user_defined1())?;
    loop {
        tokio::select! {
            _ = terminate.recv() => return Ok(()),
            _ = interrupt.recv() => return Ok(()),
            () = running.told_to_quit() => return Ok(()),
            _ = reopen.recv() => running.reopen(),
        }
    }
}
