//! The command line: what is typed, and which file answers it. Under the name `istioctl` it is the
//! same program.

pub mod analyze;
mod authz;
mod ca;
pub mod dns;
mod explain;
pub mod jsonpath;
pub mod manifest;
pub mod mesh;
pub mod objects;
mod observed;
pub mod pods;
mod policy;
pub mod print;
mod proxies;
mod readiness;
pub mod remote;
pub mod sources;
pub mod test;
pub mod validate;
pub mod why;

use clap::{Args, CommandFactory, Parser, Subcommand};
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(Parser)]
#[command(
    name = "lateen",
    version,
    about = "A service mesh: data plane, control plane and a cluster of its own"
)]
pub struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

/// Flags that every command that talks to a cluster takes.
#[derive(Args, Clone, Default)]
pub struct Global {
    /// Kubernetes configuration file; else $KUBECONFIG, the mesh of `lateen up`, or ~/.kube/config
    #[arg(long, global = true, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// The kubeconfig context to use
    #[arg(long, global = true)]
    pub context: Option<String>,
    /// Namespace
    #[arg(short, long, global = true)]
    pub namespace: Option<String>,
    /// Namespace of the control plane
    #[arg(long, global = true, default_value = "istio-system", value_name = "NAMESPACE")]
    pub istio_namespace: String,
    /// State directory of `lateen up`
    #[arg(long, global = true, env = "LATEEN_STATE", value_name = "DIR")]
    pub state: Option<PathBuf>,
}

#[derive(Subcommand)]
pub enum Command {
    /// Apply manifests from files, URLs of files (`-f -` is standard input) or folders
    Apply(manifest::ApplyArgs),
    /// Print objects
    Get(objects::GetArgs),
    /// Show one object with its events
    Describe(objects::DescribeArgs),
    /// Delete objects by name, selector or manifest
    Delete(manifest::DeleteArgs),
    /// Print the log of a container
    Logs(pods::LogsArgs),
    /// Run a command in a container
    Exec(pods::ExecArgs),
    /// Forward local ports to a pod or Service
    PortForward(pods::PortForwardArgs),
    /// Whether each proxy has the configuration it should have
    #[command(visible_alias = "ps")]
    ProxyStatus(mesh::ProxyStatusArgs),
    /// The configuration that one proxy runs
    #[command(visible_alias = "pc")]
    ProxyConfig(mesh::ProxyConfigArgs),
    /// What would go wrong: look for mistakes in a cluster, in files, or in a cluster with files applied
    Analyze(analyze::AnalyzeArgs),
    /// Where a request of a workload goes, and which line sends it there
    Explain(explain::ExplainArgs),
    /// What a workload's DNS answers to a name, and why
    Dns(dns::DnsArgs),
    /// Who may ask a workload for what: its AuthorizationPolicies, and what they decide
    Authz(authz::AuthzArgs),
    /// Which workloads are still called in plaintext, and by whom; exits with 1 if some are
    StrictReadiness(readiness::ReadinessArgs),
    /// Policies from what has been seen
    Policy(policy::PolicyArgs),
    /// What became of a request that has passed, at every proxy on its way, and why
    Why(why::WhyArgs),
    /// The certificate authority: what it is, and how its root is replaced
    Ca(ca::CaArgs),
    /// Unit tests of routing, from files alone
    Test(test::TestArgs),
    /// What admission would say of the objects in files
    #[command(visible_alias = "v")]
    Validate(validate::ValidateArgs),
    /// Add the sidecar to workloads in manifests
    KubeInject(manifest::KubeInjectArgs),
    /// Print the CustomResourceDefinitions of the mesh's kinds
    Crds,
    /// Print the versions of client, control plane and data plane
    Version(mesh::VersionArgs),
    /// Print a completion script for a shell
    Completion {
        /// bash, zsh, fish, elvish or powershell
        shell: clap_complete::Shell,
    },
    /// Bring up the mesh with Bookinfo, and leave it running
    Demo {
        /// Which parts of the mesh are installed, as with `lateen up`
        #[arg(long)]
        profile: Option<install::Profile>,
    },
    #[command(flatten)]
    Cluster(crate::cluster_cli::ClusterCommand),
}

/// Reads the arguments of this process and answers.
pub fn main() -> ExitCode {
    let cli = Cli::parse_from(istio_habits(std::env::args_os().collect()));
    if let Command::Cluster(command) = cli.command {
        return crate::cluster_cli::run(command, &cli.global);
    }
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(e) => return fail(&anyhow::Error::new(e)),
    };
    match runtime.block_on(answer(cli)) {
        Ok(code) => code,
        // Whoever reads us (`| head`) has seen enough.
        Err(e) if is_broken_pipe(&e) => ExitCode::SUCCESS,
        Err(e) => fail(&e),
    }
}

/// `-c` and `-i` are istioctl's short forms of `--kubeconfig` and `--istio-namespace`, but kubectl's
/// of `--container` and `--stdin`: they are what the command's own ancestor means by them.
fn istio_habits(mut args: Vec<OsString>) -> Vec<OsString> {
    let end = args.iter().position(|a| a == "--").unwrap_or(args.len());
    let of_pods = args[..end].iter().any(|a| a == "logs" || a == "exec");
    if !of_pods {
        for arg in &mut args[..end] {
            match arg.to_str() {
                Some("-c") => *arg = "--kubeconfig".into(),
                Some("-i") => *arg = "--istio-namespace".into(),
                _ => {}
            }
        }
    }
    args
}

/// Seconds since 1970.
fn now() -> u64 {
    u64::try_from(jiff::Timestamp::now().as_second()).unwrap_or_default()
}

async fn answer(cli: Cli) -> anyhow::Result<ExitCode> {
    let global = cli.global;
    match cli.command {
        Command::Apply(args) => manifest::apply(&global, args).await?,
        Command::Delete(args) => manifest::delete(&global, args).await?,
        Command::KubeInject(args) => manifest::kube_inject(&global, args).await?,
        Command::Get(args) => objects::get(&global, args).await?,
        Command::Describe(args) => objects::describe(&global, args).await?,
        Command::Logs(args) => pods::logs(&global, args).await?,
        Command::Exec(args) => return pods::exec(&global, args).await,
        Command::PortForward(args) => pods::port_forward(&global, args).await?,
        Command::ProxyStatus(args) => mesh::proxy_status(&global, args).await?,
        Command::Ca(args) => ca::run(&global, args).await?,
        Command::ProxyConfig(args) => mesh::proxy_config(&global, args).await?,
        Command::Version(args) => mesh::version(&global, args).await?,
        Command::Analyze(args) => return analyze::run(&global, args).await,
        Command::Explain(args) => explain::run(&global, args).await?,
        Command::Dns(args) => dns::run(&global, args).await?,
        Command::Authz(args) => return authz::run(&global, args).await,
        Command::StrictReadiness(args) => return readiness::run(&global, args).await,
        Command::Policy(args) => policy::run(&global, args).await?,
        Command::Why(args) => why::run(&global, args).await?,
        Command::Test(args) => return test::run(&global, &args),
        Command::Validate(args) => return validate::run(&global, args),
        Command::Crds => manifest::crds()?,
        Command::Demo { profile } => crate::demo::run(&global, profile).await?,
        Command::Completion { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "lateen", &mut std::io::stdout());
        }
        Command::Cluster(command) => return Ok(crate::cluster_cli::run(command, &global)),
    }
    Ok(ExitCode::SUCCESS)
}

fn is_broken_pipe(e: &anyhow::Error) -> bool {
    let io = e.downcast_ref::<std::io::Error>();
    io.is_some_and(|e| e.kind() == std::io::ErrorKind::BrokenPipe)
}

/// Errors go to standard error with all their causes; the exit code is 1.
pub fn fail(e: &anyhow::Error) -> ExitCode {
    eprintln!("{}: {e:#}", print::red("error"));
    ExitCode::FAILURE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_form_means_what_the_ancestor_of_the_command_means() {
        let parse = |line: &str| {
            let args = line.split(' ').map(OsString::from).collect();
            Cli::try_parse_from(istio_habits(args)).map_err(|e| e.to_string())
        };
        let cli = parse("lateen proxy-status -c some/file -i mesh").unwrap();
        assert_eq!(cli.global.kubeconfig, Some("some/file".into()));
        assert_eq!(cli.global.istio_namespace, "mesh");
        let cli = parse("lateen exec -i deploy/a -c app -- sh -c true").unwrap();
        assert_eq!(cli.global.kubeconfig, None);
        assert_eq!(cli.global.istio_namespace, "istio-system");
        assert!(matches!(cli.command, Command::Exec(_)));
        assert!(parse("lateen logs deploy/a -c istio-proxy").is_ok());
    }
}
