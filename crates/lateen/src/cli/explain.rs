//! `explain`: where a request of a workload goes, and which line of which object sends it there. Over the
//! objects of the cluster, or of files alone.

use super::sources::{self, Places};
use super::{Global, print};
use analyze::{Settings, World};
use anyhow::{Context, Result, bail};
use base::Origin;
use clap::{Args, ValueEnum};
use explain::{Asked, Client};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::time::Duration;

#[derive(Args)]
pub struct ExplainArgs {
    /// METHOD and URL, or the URL alone, as in GET http://reviews:9080/reviews/1
    #[arg(required = true, num_args = 1..=2, value_name = "REQUEST")]
    request: Vec<String>,
    /// Who asks: POD, POD.NAMESPACE, or deploy/NAME; without it, a workload without labels
    #[arg(long)]
    from: Option<String>,
    /// A header field, as in "end-user: jason"; may be repeated
    #[arg(short = 'H', long)]
    header: Vec<String>,
    /// Files and folders instead of the cluster; may be repeated
    #[arg(short, long)]
    filename: Vec<PathBuf>,
    #[arg(short, long, default_value = "text")]
    output: Format,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Text,
    Json,
}

const PATIENCE: Duration = Duration::from_secs(30);

pub async fn run(global: &Global, args: ExplainArgs) -> Result<()> {
    let asked = asked(&args)?;
    let files = sources::gather(&args.filename, true)?;
    if let Some((file, error)) = files.iter().find_map(|f| Some((&f.file, f.error.as_ref()?))) {
        bail!("{file}: {error}");
    }
    let (objects, namespace) = if args.filename.is_empty() {
        sources::of_cluster(global, PATIENCE).await?
    } else {
        let objects = files.iter().flat_map(|f| &f.documents).map(|d| d.object.clone());
        let namespace = global.namespace.clone().unwrap_or_else(|| "default".into());
        (with_addresses(objects), namespace)
    };
    let root = global.istio_namespace.clone();
    let settings = Settings { namespace: namespace.clone(), root, ..Settings::default() };
    let world = World::new(objects, &settings);
    let client = client(&world, args.from.as_deref(), &namespace)?;
    let told = explain::explain(&world.snapshot, &client, &asked);
    let places = Places::of(&files, &namespace);
    let place = |o: &Origin| {
        let place = places.find(&o.object, &o.path)?;
        Some(match place.line {
            Some(line) => format!("{}:{line}", place.file),
            None => place.file,
        })
    };
    match args.output {
        Format::Text => print!("{}", told.text(place)),
        Format::Json => print!("{}", print::json(&told.json(place))),
    }
    Ok(())
}

fn asked(args: &ExplainArgs) -> Result<Asked> {
    let asked = match &args.request[..] {
        [method, url] => Asked::parse(method, url)?,
        [url] => Asked::parse("GET", url)?,
        _ => bail!("say METHOD and URL"),
    };
    Ok(args.header.iter().try_fold(asked, |asked, field| asked.header(field))?)
}

/// Services in files have no addresses before a cluster gives them some: these stand in (class E).
fn with_addresses(objects: impl Iterator<Item = Value>) -> Vec<Value> {
    let mut next = 0u32;
    let mut all: Vec<Value> = objects.collect();
    for service in all.iter_mut().filter(|o| o["kind"] == "Service") {
        let spec = &mut service["spec"];
        if spec["clusterIP"].is_null() && spec["type"] != "ExternalName" {
            next += 1;
            spec["clusterIP"] = json!(format!("240.1.{}.{}", next >> 8 & 255, next & 255));
        }
    }
    all
}

fn client(world: &World, from: Option<&str>, namespace: &str) -> Result<Client> {
    let Some(from) = from else {
        return Ok(Client { namespace: namespace.to_owned(), ..Client::default() });
    };
    let (kind, name) = from.split_once('/').unwrap_or(("pod", from));
    let (name, namespace) = name.split_once('.').unwrap_or((name, namespace));
    let found = if kind.starts_with("po") {
        world.pods().find(|p| p.owner.name() == name && p.namespace() == namespace)
    } else {
        world.templates().find(|p| p.owner.name() == name && p.namespace() == namespace)
    };
    let pod = found.with_context(|| format!("no {kind} {name:?} in namespace {namespace:?}"))?;
    Ok(Client { namespace: namespace.to_owned(), labels: pod.labels })
}
