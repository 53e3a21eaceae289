//! The command line: Envoy's flags, so that one command drives either.

use clap::{Parser, ValueEnum};
use std::path::PathBuf;

/// Runs the data plane from an Envoy bootstrap.
#[derive(Debug, Parser)]
#[command(name = "lateen-proxy", version, about)]
pub struct Args {
    /// The bootstrap, JSON or YAML
    #[arg(short = 'c', long, value_name = "FILE")]
    pub config_path: Option<PathBuf>,

    /// A bootstrap that is laid over that of --config-path
    #[arg(long, value_name = "YAML")]
    pub config_yaml: Option<String>,

    /// Serve, or only check the bootstrap
    #[arg(long, value_enum, default_value_t = Mode::Serve)]
    pub mode: Mode,

    /// Worker threads; the number of processors where it is not given
    #[arg(long, value_name = "N")]
    pub concurrency: Option<usize>,

    /// Overrides the node's id
    #[arg(long, value_name = "ID")]
    pub service_node: Option<String>,

    /// Overrides the node's cluster
    #[arg(long, value_name = "NAME")]
    pub service_cluster: Option<String>,

    /// trace, debug, info, warning, error, critical or off
    #[arg(short = 'l', long, default_value = "info", value_name = "LEVEL")]
    pub log_level: String,

    /// Seconds that connections have to finish after SIGTERM
    #[arg(long, default_value_t = 5, value_name = "SECONDS")]
    pub drain_time_s: u64,

    #[command(flatten)]
    pub accepted: Accepted,
}

/// Flags that Envoy needs and this proxy does not: they are accepted and change nothing.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Accepted for compatibility, without effect")]
pub struct Accepted {
    #[arg(long, value_name = "ID")]
    base_id: Option<u32>,
    #[arg(long)]
    use_dynamic_base_id: bool,
    #[arg(long, value_name = "FILE")]
    base_id_path: Option<PathBuf>,
    #[arg(long)]
    disable_hot_restart: bool,
    #[arg(long, value_name = "N")]
    restart_epoch: Option<u32>,
    #[arg(long, value_name = "SECONDS")]
    parent_shutdown_time_s: Option<u64>,
    #[arg(long, value_name = "STRATEGY")]
    drain_strategy: Option<String>,
    #[arg(long, value_name = "FORMAT")]
    log_format: Option<String>,
    #[arg(long)]
    log_format_escaped: bool,
    #[arg(long, value_name = "LEVELS")]
    component_log_level: Option<String>,
    #[arg(long)]
    enable_fine_grain_logging: bool,
    #[arg(long, value_name = "ZONE")]
    service_zone: Option<String>,
    #[arg(long, value_name = "V")]
    local_address_ip_version: Option<String>,
    #[arg(long, value_name = "MS")]
    file_flush_interval_msec: Option<u64>,
    #[arg(long)]
    cpuset_threads: bool,
    #[arg(long)]
    allow_unknown_static_fields: bool,
    #[arg(long)]
    reject_unknown_dynamic_fields: bool,
    #[arg(long)]
    ignore_unknown_dynamic_fields: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Mode {
    Serve,
    Validate,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn envoys_command_lines_are_understood() {
        let line = "lateen-proxy -c f.json --concurrency 1 --base-id 3 -l error \
                    --disable-hot-restart --service-node n --service-cluster c \
                    --use-dynamic-base-id --log-format %v --drain-time-s 45 --mode validate";
        let args = Args::try_parse_from(line.split_whitespace()).unwrap();
        assert_eq!(args.concurrency, Some(1));
        assert_eq!(args.mode, Mode::Validate);
        assert_eq!(args.log_level, "error");
    }
}
