//! `analyze`: what would go wrong with the configuration of a cluster, of files, or of a cluster with
//! the files applied. What is said comes from crate `analyze`; here it is fetched, read and printed.

use super::sources::{self, Places, Source};
use super::{Global, print};
use analyze::{Analyzer, Entry, Filter, Settings, Suppression, World, catalogue::Message};
use anyhow::{Context, Result, bail};
use base::{Finding, Level};
use clap::{ArgAction, Args, ValueEnum};
use serde_json::Value;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

#[derive(Args)]
pub struct AnalyzeArgs {
    /// Files and folders to apply in thought before looking; - is standard input
    files: Vec<PathBuf>,
    /// Look at the cluster; =false looks at the files alone
    #[arg(short = 'k', long, action = ArgAction::Set, num_args = 0..=1, require_equals = true,
        default_missing_value = "true", default_value = "true")]
    use_kube: bool,
    /// All namespaces
    #[arg(short = 'A', long)]
    all_namespaces: bool,
    /// Folders with all that is below them
    #[arg(short = 'R', long)]
    recursive: bool,
    /// Do not say this code of this object: "IST0103=Pod *.testing"; may be repeated
    #[arg(short = 'S', long, value_name = "CODE=KIND NAME.NAMESPACE")]
    suppress: Vec<String>,
    /// From which level on the exit code is 79
    #[arg(long, ignore_case = true, default_value = "error")]
    failure_threshold: Threshold,
    /// From which level on a finding is printed
    #[arg(long, ignore_case = true, default_value = "info")]
    output_threshold: Threshold,
    #[arg(short, long, ignore_case = true, default_value = "log")]
    output: Format,
    /// Colour; by default on a terminal
    #[arg(long, action = ArgAction::Set, num_args = 0..=1, require_equals = true,
        default_missing_value = "true")]
    color: Option<bool>,
    /// Only these analyzers, by name; may be repeated
    #[arg(long, value_name = "NAME")]
    analyzer: Vec<String>,
    /// List the analyzers and end
    #[arg(short = 'L', long)]
    list_analyzers: bool,
    /// A mesh configuration that counts instead of the cluster's
    #[arg(long = "meshConfigFile", value_name = "FILE")]
    mesh_config_file: Option<PathBuf>,
    /// Documents that cannot be read are no failure
    #[arg(long)]
    ignore_unknown: bool,
    /// Say what was looked at
    #[arg(short, long)]
    verbose: bool,
    /// How many seconds the cluster has to answer
    #[arg(long, default_value = "30s", value_parser = seconds)]
    timeout: Duration,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Threshold {
    Info,
    Warning,
    Error,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Log,
    Json,
    Yaml,
    Sarif,
}

impl Threshold {
    fn level(self) -> Level {
        match self {
            Threshold::Info => Level::Info,
            Threshold::Warning => Level::Warning,
            Threshold::Error => Level::Error,
        }
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    text.parse::<api::Duration>().map(|d| d.0).map_err(|e| e.to_string())
}

/// What scripts know as "analyzers found something".
const FOUND: u8 = 79;

pub async fn run(global: &Global, args: AnalyzeArgs) -> Result<ExitCode> {
    if args.list_analyzers {
        for analyzer in analyze::ALL {
            println!("* {}:\n  {}", analyzer.name, analyzer.about);
        }
        return Ok(ExitCode::SUCCESS);
    }
    let analyzers = chosen(&args.analyzer)?;
    let files = sources::gather(&args.files, args.recursive)?;
    let (mut objects, namespace) = match args.use_kube {
        true => of_cluster(global, &args).await?,
        false => {
            let namespace = global.namespace.clone().unwrap_or_else(|| "default".into());
            (analyze::installed(&global.istio_namespace), namespace)
        }
    };
    objects.extend(files.iter().flat_map(|f| &f.documents).map(|d| d.object.clone()));
    let settings = Settings {
        namespace: namespace.clone(),
        root: global.istio_namespace.clone(),
        mesh: mesh_config(&args)?,
        ..Settings::default()
    };
    let filter = Filter {
        namespace: (!args.all_namespaces).then(|| namespace.clone()),
        suppressions: suppressions(&args.suppress)?,
    };
    let world = World::new(objects, &settings);
    let findings = filter.apply(&world, analyze::analyze(&world, analyzers.iter().copied()));
    let target = target(&args, &namespace);
    if args.verbose {
        eprintln!("Analyzed resources in {target}\nExecuted analyzers:");
        analyzers.iter().for_each(|a| eprintln!("\t{}", a.name));
    }
    let places = Places::of(&files, &namespace);
    print_findings(&args, &findings, &places);
    Ok(conclude(&args, &findings, &files, &target))
}

fn chosen(names: &[String]) -> Result<Vec<&'static Analyzer>> {
    if names.is_empty() {
        return Ok(analyze::ALL.iter().collect());
    }
    let find = |name: &String| {
        let found = analyze::ALL.iter().find(|a| a.name == name);
        found.with_context(|| format!("no analyzer is named {name:?}; --list-analyzers names them"))
    };
    names.iter().map(find).collect()
}

fn suppressions(written: &[String]) -> Result<Vec<Suppression>> {
    let mut all = Vec::new();
    for text in written {
        let Some(suppression) = Suppression::parse(text) else {
            bail!("{text:?} is not of the form CODE=KIND NAME.NAMESPACE");
        };
        if Message::by_code(&suppression.code).is_none() {
            eprintln!("Warning: no message has the code {:?}", suppression.code);
        }
        all.push(suppression);
    }
    Ok(all)
}

fn mesh_config(args: &AnalyzeArgs) -> Result<Option<String>> {
    let Some(file) = &args.mesh_config_file else { return Ok(None) };
    let text = std::fs::read_to_string(file);
    Ok(Some(text.with_context(|| format!("cannot read {}", file.display()))?))
}

async fn of_cluster(global: &Global, args: &AnalyzeArgs) -> Result<(Vec<Value>, String)> {
    let (objects, namespace) = sources::of_cluster(global, args.timeout).await?;
    let exists = |o: &Value| o["kind"] == "Namespace" && o["metadata"]["name"] == *namespace;
    if !args.all_namespaces && !objects.iter().any(exists) {
        bail!("namespace {namespace:?} not found");
    }
    Ok((objects, namespace))
}

fn target(args: &AnalyzeArgs, namespace: &str) -> String {
    match args.all_namespaces {
        true => "all namespaces".to_owned(),
        false => format!("namespace: {namespace}"),
    }
}

fn print_findings(args: &AnalyzeArgs, findings: &[Finding], places: &Places) {
    let shown = findings.iter().filter(|f| f.level >= args.output_threshold.level());
    let place = |f: &Finding| places.find(f.object.as_ref()?, &f.path);
    let entries: Vec<Entry> =
        shown.map(|f| Entry { finding: f.clone(), place: place(f) }).collect();
    match args.output {
        Format::Log => {
            let terminal =
                std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
            print!("{}", analyze::as_log(&entries, args.color.unwrap_or(terminal)));
        }
        Format::Json => print!("{}", print::json(&analyze::as_json(&entries))),
        Format::Yaml => print!("{}", analyze::as_yaml(&entries)),
        Format::Sarif => print!("{}", print::json(&analyze::as_sarif(&entries))),
    }
}

/// The exit code, and what is said to people beside the findings.
fn conclude(args: &AnalyzeArgs, findings: &[Finding], files: &[Source], target: &str) -> ExitCode {
    let broken = files.iter().filter(|f| f.error.is_some()).count();
    for file in files {
        if let Some(error) = &file.error {
            eprintln!("{}: {}: {error}", print::red("error"), file.file);
        }
    }
    if findings.iter().all(|f| f.level < args.output_threshold.level()) {
        let names: Vec<&str> = files.iter().map(|f| f.file.as_str()).collect();
        let what = if names.is_empty() { target.to_owned() } else { names.join("\n") };
        match broken {
            0 => eprintln!("\u{2714} No validation issues found when analyzing {what}."),
            n => eprintln!(
                "No validation issues found when analyzing {what} (but {n} could not be parsed)."
            ),
        }
    }
    if analyze::worst(findings).is_some_and(|w| w >= args.failure_threshold.level()) {
        if args.output == Format::Log {
            eprintln!(
                "Error: Analyzers found issues when analyzing {target}.\nSee \
                 https://istio.io/latest/docs/reference/config/analysis for more information about \
                 causes and resolutions."
            );
        }
        return ExitCode::from(FOUND);
    }
    if broken > 0 && !args.ignore_unknown { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
