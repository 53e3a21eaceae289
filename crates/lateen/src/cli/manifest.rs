//! Commands that read or write manifests: `apply`, `delete`, `kube-inject`, `crds`.

use super::remote::Remote;
use super::{Global, objects, print};
use anyhow::{Context, Result, bail};
use clap::Args;
use k8s::connection::ConnectError;
use serde_json::{Value, json};
use std::io::Read;
use std::path::{Path, PathBuf};

#[derive(Args)]
pub struct ApplyArgs {
    /// File, folder, or - for standard input
    #[arg(short, long, required = true)]
    filename: Vec<PathBuf>,
    /// Take over fields that another manager owns
    #[arg(long)]
    force_conflicts: bool,
}

#[derive(Args)]
pub struct DeleteArgs {
    /// KIND NAME... or KIND/NAME
    what: Vec<String>,
    /// File, folder, or - for standard input
    #[arg(short, long)]
    filename: Vec<PathBuf>,
    /// Objects with these labels
    #[arg(short = 'l', long)]
    selector: Option<String>,
    /// An object that is not there is no error
    #[arg(long, num_args = 0..=1, default_missing_value = "true", default_value = "false")]
    ignore_not_found: bool,
}

#[derive(Args)]
pub struct KubeInjectArgs {
    /// File, or - for standard input
    #[arg(short, long)]
    filename: PathBuf,
    /// Where to write to instead of standard output
    #[arg(short, long)]
    output: Option<PathBuf>,
}

pub async fn apply(global: &Global, args: ApplyArgs) -> Result<()> {
    let documents = read_all(&args.filename)?;
    let mut remote = Remote::open(global).await?;
    let mut failed = 0;
    for (source, object) in documents {
        match apply_one(&mut remote, &object, args.force_conflicts).await {
            Ok(line) => println!("{line}"),
            Err(e) => {
                failed += 1;
                eprintln!("{}: {source}: {e:#}", print::red("error"));
            }
        }
    }
    if failed > 0 {
        bail!("{failed} of the objects were refused; the others were applied");
    }
    Ok(())
}

/// Applies every document of a text and prints a line for each.
pub async fn apply_text(remote: &mut Remote, text: &str) -> Result<()> {
    for object in parse_documents(text)? {
        println!("{}", apply_one(remote, &object, false).await?);
    }
    Ok(())
}

/// Applies one object of our own, whoever else owns fields of it.
pub async fn apply_object(remote: &mut Remote, object: &Value) -> Result<()> {
    apply_one(remote, object, true).await.map(drop)
}

async fn apply_one(remote: &mut Remote, object: &Value, force: bool) -> Result<String> {
    let kind = remote.kind_of(object).await?;
    let name = object["metadata"]["name"].as_str().context("metadata.name is missing")?;
    let namespace =
        object["metadata"]["namespace"].as_str().unwrap_or(&remote.namespace).to_owned();
    let path = format!("{}/{name}", kind.path(Some(&namespace)));
    let before = match remote.connection.get(&path).await {
        Ok(reply) => Some(reply.body),
        Err(ConnectError::Status { code: 404, .. }) => None,
        Err(e) => return Err(e.into()),
    };
    let reply = remote.connection.apply(&path, object, force).await?;
    for warning in &reply.warnings {
        eprintln!("Warning: {warning}");
    }
    let version =
        |v: &Value| v["metadata"]["resourceVersion"].as_str().unwrap_or_default().to_owned();
    let verb = match before {
        None => "created",
        Some(before) if version(&before) == version(&reply.body) => "unchanged",
        Some(_) => "configured",
    };
    Ok(format!("{} {verb}", label(&kind.kind, &kind.group, name)))
}

/// `deployment.apps/reviews-v1`
fn label(kind: &str, group: &str, name: &str) -> String {
    let kind = kind.to_lowercase();
    if group.is_empty() { format!("{kind}/{name}") } else { format!("{kind}.{group}/{name}") }
}

pub async fn delete(global: &Global, args: DeleteArgs) -> Result<()> {
    let mut remote = Remote::open(global).await?;
    let mut paths = Vec::new();
    for (_, object) in read_all(&args.filename)? {
        let kind = remote.kind_of(&object).await?;
        let name = object["metadata"]["name"].as_str().context("metadata.name is missing")?;
        let namespace =
            object["metadata"]["namespace"].as_str().unwrap_or(&remote.namespace).to_owned();
        paths.push((
            label(&kind.kind, &kind.group, name),
            format!("{}/{name}", kind.path(Some(&namespace))),
        ));
    }
    if !args.what.is_empty() {
        for target in remote.targets(&args.what).await? {
            let collection = target.kind.path(Some(&remote.namespace));
            let names = match (&target.name, &args.selector) {
                (Some(name), _) => vec![name.clone()],
                (None, Some(selector)) => selected(&remote, &collection, selector).await?,
                (None, None) => bail!("say which: a name, or --selector"),
            };
            for name in names {
                paths.push((
                    label(&target.kind.kind, &target.kind.group, &name),
                    format!("{collection}/{name}"),
                ));
            }
        }
    }
    let mut missing = 0;
    for (label, path) in paths {
        match remote.connection.delete(&path).await {
            Ok(_) => println!("{label} deleted"),
            Err(ConnectError::Status { code: 404, .. }) if args.ignore_not_found => {}
            Err(e) => {
                missing += 1;
                eprintln!("{}: {label}: {e:#}", print::red("error"));
            }
        }
    }
    if missing > 0 {
        bail!("{missing} objects could not be deleted");
    }
    Ok(())
}

async fn selected(remote: &Remote, collection: &str, selector: &str) -> Result<Vec<String>> {
    let path = format!("{collection}?labelSelector={}", objects::percent_encoded(selector));
    let list = remote.connection.get(&path).await?.body;
    let name = |v: &Value| v["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    Ok(list["items"].as_array().into_iter().flatten().map(name).collect())
}

/// Every document of every file, with where it stands; items of a List one by one.
pub fn read_all(files: &[PathBuf]) -> Result<Vec<(String, Value)>> {
    let mut documents = Vec::new();
    for file in files {
        if file.is_dir() {
            let mut inside: Vec<PathBuf> =
                std::fs::read_dir(file)?.flatten().map(|e| e.path()).collect();
            inside.retain(|p| {
                p.extension().is_some_and(|x| x == "yaml" || x == "yml" || x == "json")
            });
            inside.sort();
            documents.extend(read_all(&inside)?);
            continue;
        }
        let text = read_text(file)?;
        for (i, value) in parse_documents(&text)
            .with_context(|| file.display().to_string())?
            .into_iter()
            .enumerate()
        {
            documents.push((format!("{} (document {})", file.display(), i + 1), value));
        }
    }
    Ok(documents)
}

fn read_text(file: &Path) -> Result<String> {
    if file == Path::new("-") {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text)?;
        return Ok(text);
    }
    std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))
}

pub fn parse_documents(text: &str) -> Result<Vec<Value>> {
    use serde::Deserialize;
    let mut documents = Vec::new();
    for document in serde_yaml_ng::Deserializer::from_str(text) {
        let mut value = Value::deserialize(document)?;
        if value.is_null() {
            continue;
        }
        if value["kind"] == "List" {
            documents.extend(value["items"].as_array_mut().into_iter().flatten().map(Value::take));
        } else {
            documents.push(value);
        }
    }
    Ok(documents)
}

pub async fn kube_inject(global: &Global, args: KubeInjectArgs) -> Result<()> {
    let documents = parse_documents(&read_text(&args.filename)?)?;
    let settings = crate::injection::settings(global).await?;
    let mut out = String::new();
    for document in documents {
        let injected = crate::injection::inject_document(document, &settings)?;
        out.push_str("---\n");
        out.push_str(&print::yaml(&injected));
    }
    match args.output {
        Some(path) => {
            std::fs::write(&path, out).with_context(|| format!("cannot write {}", path.display()))
        }
        None => {
            print!("{out}");
            Ok(())
        }
    }
}

pub fn crds() -> Result<()> {
    for crd in api::crds() {
        print!("---\n{}", print::yaml(&json!(crd)));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_and_lists_are_taken_apart() {
        let text = "---\nkind: A\n---\n---\nkind: List\nitems:\n- kind: B\n- kind: C\n";
        let kinds: Vec<String> = parse_documents(text)
            .unwrap()
            .iter()
            .map(|v| v["kind"].as_str().unwrap().to_owned())
            .collect();
        assert_eq!(kinds, ["A", "B", "C"]);
    }

    #[test]
    fn labels_are_kubectls() {
        assert_eq!(label("Pod", "", "a"), "pod/a");
        assert_eq!(
            label("VirtualService", "networking.istio.io", "r"),
            "virtualservice.networking.istio.io/r"
        );
    }
}
