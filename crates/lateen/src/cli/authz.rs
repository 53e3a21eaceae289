//! `authz`: which AuthorizationPolicies are about a workload, and whether a client may ask a service for
//! something. Over the objects of the cluster, or of files alone.

use super::explain::{Format, Given, pod};
use super::{Global, print};
use analyze::PodView;
use anyhow::{Context, Result, bail};
use api::AuthorizationAction;
use base::{Origin, SpiffeId};
use clap::{Args, Subcommand};
use explain::{Outcome, Permission, Wish};
use registry::{Service, ServicePort, TargetPort};
use serde_json::json;
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(Args)]
pub struct AuthzArgs {
    #[command(subcommand)]
    command: AuthzCommand,
}

#[derive(Subcommand)]
enum AuthzCommand {
    /// The policies that are about a workload, in the order in which they are asked
    Check(CheckArgs),
    /// Whether a client may ask a service for something, and by which rule; exits with 1 if not, or if that
    /// cannot be told
    CanI(CanArgs),
}

#[derive(Args)]
struct CheckArgs {
    /// POD, POD.NAMESPACE, or deploy/NAME
    workload: String,
    /// Files and folders instead of the cluster; may be repeated
    #[arg(short, long)]
    filename: Vec<PathBuf>,
}

#[derive(Args)]
struct CanArgs {
    /// The client's service account, as ACCOUNT or NAMESPACE/ACCOUNT; without it the client is not of the
    /// mesh, and speaks plaintext
    #[arg(long, value_name = "ACCOUNT")]
    from: Option<String>,
    /// The service that is asked, as SERVICE or SERVICE.NAMESPACE
    #[arg(long, value_name = "SERVICE")]
    to: String,
    /// The service's port; without it, its first
    #[arg(long)]
    port: Option<u16>,
    /// The client's address, for rules about addresses
    #[arg(long, value_name = "IP")]
    ip: Option<IpAddr>,
    method: String,
    path: String,
    /// A header, as NAME:VALUE; may be repeated
    #[arg(short = 'H', long)]
    header: Vec<String>,
    /// Files and folders instead of the cluster; may be repeated
    #[arg(short, long)]
    filename: Vec<PathBuf>,
    #[arg(short, long, default_value = "text")]
    output: Format,
}

pub async fn run(global: &Global, args: AuthzArgs) -> Result<ExitCode> {
    match args.command {
        AuthzCommand::Check(args) => check(global, args).await.map(|()| ExitCode::SUCCESS),
        AuthzCommand::CanI(args) => can_i(global, args).await,
    }
}

async fn check(global: &Global, args: CheckArgs) -> Result<()> {
    let given = Given::of_args(global, &args.filename).await?;
    let pod = pod(&given.world, &args.workload, &given.namespace)?;
    let snapshot = &given.world.snapshot;
    let policies = snapshot.authorization_policies.of_workload(pod.namespace(), &pod.labels);
    let order = [
        (AuthorizationAction::Custom, "CUSTOM"),
        (AuthorizationAction::Deny, "DENY"),
        (AuthorizationAction::Audit, "AUDIT"),
        (AuthorizationAction::Allow, "ALLOW"),
    ];
    let mut rows = vec![["ACTION", "AuthorizationPolicy", "RULES"].map(str::to_owned).to_vec()];
    for (action, name) in order {
        for policy in policies.iter().filter(|p| p.spec.action == action) {
            let whose = format!("{}.{}", policy.name(), policy.namespace());
            rows.push(vec![name.to_owned(), whose, policy.spec.rules.len().to_string()]);
        }
    }
    if rows.len() == 1 {
        println!("No AuthorizationPolicy is about {}: every request is allowed.", args.workload);
        return Ok(());
    }
    print!("{}", print::table(&rows));
    Ok(())
}

async fn can_i(global: &Global, args: CanArgs) -> Result<ExitCode> {
    let given = Given::of_args(global, &args.filename).await?;
    let world = &given.world.snapshot;
    let (name, namespace) = args.to.split_once('.').unwrap_or((&args.to, &given.namespace));
    let service = explain::service(world, &args.to, &given.namespace)
        .with_context(|| format!("no service {name:?} in namespace {namespace:?}"))?;
    let selected: Vec<PodView<'_>> = given.behind(service).collect();
    if selected.is_empty() {
        bail!("service {} selects no workload whose policies could be asked", service.host);
    }
    let mut all = Vec::new();
    for pod in &selected {
        let wish = wish(&given, &args, service, pod)?;
        let told = explain::access(world, pod.namespace(), &pod.labels, &wish);
        if !all.iter().any(|(_, t)| *t == told) {
            all.push((pod.owner.name().to_owned(), told));
        }
    }
    let allowed = all.iter().all(|(_, told)| told.outcome == Outcome::Allowed);
    match args.output {
        Format::Text => all.iter().for_each(|(pod, told)| print!("{}", text(&given, pod, told))),
        Format::Json => {
            let each: Vec<_> = all.iter().map(|(pod, told)| as_json(&given, pod, told)).collect();
            print!("{}", print::json(&json!({ "allowed": allowed, "workloads": each })));
        }
    }
    Ok(if allowed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn wish(given: &Given, args: &CanArgs, service: &Service, pod: &PodView<'_>) -> Result<Wish> {
    let trust = &given.world.snapshot.mesh.config.trust_domain;
    let client = args.from.as_deref().map(|from| {
        let (namespace, account) = from.split_once('/').unwrap_or((&given.namespace, from));
        SpiffeId::new(trust, namespace, account)
    });
    let port = match args.port {
        Some(number) => service.port(number),
        None => service.ports.first(),
    };
    let port = port.with_context(|| format!("service {} has no such port", service.host))?;
    let target = listening(pod, port)
        .with_context(|| format!("{} has no port of this name", pod.owner.name()))?;
    let header = |field: &String| {
        let (name, value) = field.split_once(':').context("a header is written NAME:VALUE")?;
        Ok((name.trim().to_owned(), value.trim().to_owned()))
    };
    Ok(Wish {
        client,
        client_ip: args.ip,
        method: args.method.clone(),
        authority: format!("{}:{}", service.host, port.number),
        path: args.path.clone(),
        headers: args.header.iter().map(header).collect::<Result<_>>()?,
        protocol: port.protocol,
        address: pod.owner.value["status"]["podIP"].as_str().and_then(|ip| ip.parse().ok()),
        port: target,
    })
}

/// Where a pod listens for a port of a service that it is behind.
pub fn listening(pod: &PodView<'_>, port: &ServicePort) -> Option<u16> {
    match &port.target {
        TargetPort::Number(number) => Some(*number),
        TargetPort::Named(name) => named_port(pod, name),
    }
}

/// Whom a pod proves to be.
pub fn account(given: &Given, pod: &PodView<'_>) -> SpiffeId {
    let trust = &given.world.snapshot.mesh.config.trust_domain;
    let account = pod.spec["serviceAccountName"].as_str().filter(|a| !a.is_empty());
    SpiffeId::new(trust, pod.namespace(), account.unwrap_or("default"))
}

fn named_port(pod: &PodView<'_>, name: &str) -> Option<u16> {
    let ports = pod.containers().flat_map(|(_, c)| c["ports"].as_array().into_iter().flatten());
    let mut named = ports.filter(|p| p["name"] == name);
    named.find_map(|p| p["containerPort"].as_u64()?.try_into().ok())
}

fn text(given: &Given, pod: &str, told: &Permission) -> String {
    let said = match told.outcome {
        Outcome::Allowed => "yes",
        Outcome::Denied => "no",
        Outcome::Unknown => "cannot be told",
    };
    let mut out = format!("{said}: {pod}: {}\n", told.why);
    if let Some((rule, origin)) = &told.rule {
        out += &format!("  rule     {rule}{}\n", given.shown("  <- ", origin));
    }
    if let Some((rule, origin, missed)) = &told.nearest {
        out += &format!("  nearest  {rule}: {missed}{}\n", given.shown("  <- ", origin));
    }
    out
}

pub fn as_json(given: &Given, pod: &str, told: &Permission) -> serde_json::Value {
    let of = |rule: &str, origin: &Option<Origin>| {
        let origin = origin.as_ref();
        json!({
            "name": rule,
            "object": origin.map(|o| o.object.to_string()),
            "path": origin.map(|o| o.path.clone()),
            "place": origin.and_then(|o| given.place(o)),
        })
    };
    let nearest = told.nearest.as_ref().map(|(rule, origin, missed)| {
        let mut nearest = of(rule, origin);
        nearest["missed"] = json!(missed);
        nearest
    });
    let allowed = match told.outcome {
        Outcome::Allowed => json!(true),
        Outcome::Denied => json!(false),
        Outcome::Unknown => json!(null),
    };
    json!({
        "workload": pod, "allowed": allowed, "why": told.why,
        "rule": told.rule.as_ref().map(|(rule, origin)| of(rule, origin)), "nearest": nearest,
    })
}
