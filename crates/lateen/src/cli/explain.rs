//! `explain`: what becomes of a request of a workload, and which line of which object sees to it. Over the
//! objects of the cluster, or of files alone.

mod entry;
mod side;

use super::sources::{self, Places, Source};
use super::{Global, print};
use analyze::{PodView, Settings, World};
use anyhow::{Result, bail};
use base::Origin;
use clap::{Args, ValueEnum};
use explain::{Asked, Draws, Explainer};
use registry::Service;
use serde_json::{Map, Value, json};
use std::path::PathBuf;
use std::time::Duration;

pub use entry::Entry;
pub use side::{client, is_gateway, pod, side_of, workload};

#[derive(Args)]
pub struct ExplainArgs {
    /// METHOD and URL, or the URL alone, as in GET http://reviews:9080/reviews/1; https://, tls:// and
    /// tcp:// too
    #[arg(required = true, num_args = 1..=2, value_name = "REQUEST")]
    request: Vec<String>,
    /// Who asks: POD, POD.NAMESPACE, or deploy/NAME; without it, a workload without labels
    #[arg(long, value_name = "WORKLOAD")]
    from: Option<String>,
    /// Which proxy is asked, instead of the client's: gateway, gateway/NAME (a Gateway object), server,
    /// or POD or deploy/NAME as the server
    #[arg(long, value_name = "PROXY")]
    at: Option<String>,
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
pub enum Format {
    Text,
    Json,
}

const PATIENCE: Duration = Duration::from_secs(30);

/// Objects, and where they stand.
pub struct Given {
    pub world: World,
    pub namespace: String,
    places: Places,
}

impl Given {
    /// Of the files that are named; where none is, of the cluster.
    pub async fn of_args(global: &Global, filenames: &[PathBuf]) -> Result<Given> {
        if filenames.is_empty() {
            Given::live(global).await
        } else {
            Given::files(global, &sources::gather(filenames, true)?)
        }
    }

    /// Of the cluster.
    pub async fn live(global: &Global) -> Result<Given> {
        let (objects, namespace) = sources::of_cluster(global, PATIENCE).await?;
        Ok(Given::of(global, objects, namespace, Places::default()))
    }

    /// Of files alone.
    pub fn files(global: &Global, files: &[Source]) -> Result<Given> {
        if let Some((file, error)) = files.iter().find_map(|f| Some((&f.file, f.error.as_ref()?))) {
            bail!("{file}: {error}");
        }
        let objects = files.iter().flat_map(|f| &f.documents).map(|d| d.object.clone());
        let namespace = global.namespace.clone().unwrap_or_else(|| "default".into());
        let places = Places::of(files, &namespace);
        Ok(Given::of(global, with_automatic(with_addresses(objects)), namespace, places))
    }

    fn of(global: &Global, objects: Vec<Value>, namespace: String, places: Places) -> Given {
        let root = global.istio_namespace.clone();
        let settings = Settings { namespace: namespace.clone(), root, ..Settings::default() };
        Given { world: World::new(objects, &settings), namespace, places }
    }

    /// `file.yaml:7`
    pub fn place(&self, origin: &Origin) -> Option<String> {
        let place = self.places.find(&origin.object, &origin.path)?;
        Some(match place.line {
            Some(line) => format!("{}:{line}", place.file),
            None => place.file,
        })
    }

    /// An object, its field and its line, as explanations show them; nothing where there is no such place.
    pub fn shown(&self, before: &str, origin: &Option<Origin>) -> String {
        let Some(origin) = origin else { return String::new() };
        let line = self.place(origin).map(|p| format!(" ({p})")).unwrap_or_default();
        format!("{before}{} {}{line}", origin.object, origin.path)
    }

    /// The workloads that a service selects.
    pub fn behind<'a>(&'a self, service: &'a Service) -> impl Iterator<Item = PodView<'a>> {
        self.world.workloads().filter(|p| {
            p.namespace() == &*service.namespace
                && !service.selector.is_empty()
                && p.matches(&service.selector)
        })
    }
}

pub async fn run(global: &Global, args: ExplainArgs) -> Result<()> {
    let asked = asked(&args)?;
    let given = Given::of_args(global, &args.filename).await?;
    let client = client(&given, args.from.as_deref())?;
    let side = side_of(&given, args.at.as_deref(), client, &asked)?;
    let told = Explainer::new(&given.world.snapshot, side.clone()).explain(&asked, Draws::All);
    let entries = entry::entries(&given, &side, &told);
    let place = |o: &Origin| given.place(o);
    match args.output {
        Format::Text => {
            print!("{}", told.text(place));
            entries.iter().for_each(|e| print!("{}", e.text(&given)));
        }
        Format::Json => {
            let mut json = told.json(place);
            json["access"] = entries.iter().map(|e| e.json(&given)).collect();
            print!("{}", print::json(&json));
        }
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
        let Some(spec) = part(service, "spec") else { continue };
        let given = spec.get("clusterIP").is_some_and(|ip| !ip.is_null());
        if !given && spec.get("type").is_none_or(|t| t != "ExternalName") {
            next += 1;
            let ip = format!("240.1.{}.{}", next >> 8 & 255, next & 255);
            spec.insert("clusterIP".into(), json!(ip));
        }
    }
    all
}

/// Hosts of ServiceEntries in files get the automatic addresses that a new cluster would give them.
fn with_automatic(mut all: Vec<Value>) -> Vec<Value> {
    let mut store = registry::Store::new("cluster.local", "istio-system");
    for entry in all.iter().filter(|o| o["kind"] == "ServiceEntry") {
        store.apply(api::Kind::ServiceEntry, entry);
    }
    for allocation in store.allocations() {
        let own = |o: &&mut Value| {
            let meta = &o["metadata"];
            o["kind"] == "ServiceEntry"
                && meta["name"] == allocation.name.as_str()
                && meta["namespace"].as_str().unwrap_or_default() == allocation.namespace
        };
        let addresses = allocation.addresses.iter();
        let list: Value =
            addresses.map(|(host, ip)| json!({"value": ip, "host": host.as_str()})).collect();
        if let Some(status) = all.iter_mut().find(own).and_then(|e| part(e, "status")) {
            status.insert("addresses".into(), list);
        }
    }
    all
}

/// A part of an object, made where it is absent; none where the file says something else there, which is for
/// whoever reads the object to refuse.
fn part<'a>(object: &'a mut Value, key: &str) -> Option<&'a mut Map<String, Value>> {
    let part = object.as_object_mut()?.entry(key).or_insert(Value::Null);
    if part.is_null() {
        *part = json!({});
    }
    part.as_object_mut()
}
