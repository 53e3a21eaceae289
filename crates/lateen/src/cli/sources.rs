//! Files that objects are read from, with the lines that they stand on.

use super::Global;
use super::remote::Remote;
use analyze::{Document, Lines, Place, kinds};
use anyhow::{Context, Result};
use base::ObjectRef;
use k8s::connection::{ConnectError, KindInfo};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// One file, or standard input.
pub struct Source {
    pub file: String,
    pub documents: Vec<Document>,
    /// Why it could not be read to its end.
    pub error: Option<String>,
}

impl Source {
    /// Without the documents that this holds for.
    pub fn without(&self, is: impl Fn(&Value) -> bool) -> Source {
        let rest = self.documents.iter().filter(|d| !is(&d.object));
        Source { file: self.file.clone(), documents: rest.cloned().collect(), error: None }
    }

    /// Objects that stand inside of another document; their lines are not known.
    pub fn of_objects(file: &str, objects: Vec<Value>) -> Source {
        let document = |object| Document { object, lines: Lines::default() };
        let documents = objects.into_iter().map(document).collect();
        Source { file: file.to_owned(), documents, error: None }
    }
}

/// Where objects stand, by name.
#[derive(Default)]
pub struct Places(HashMap<ObjectRef, (String, Lines)>);

const EXTENSIONS: [&str; 3] = ["json", "yaml", "yml"];

/// Files, `-`, and folders: what is directly in them, or all below with `recursive`.
pub fn gather(names: &[PathBuf], recursive: bool) -> Result<Vec<Source>> {
    let mut files = Vec::new();
    for name in names {
        if name.is_dir() {
            files.extend(inside(name, recursive)?);
        } else {
            files.push(name.clone());
        }
    }
    files.iter().map(|f| read(f)).collect()
}

fn inside(folder: &Path, recursive: bool) -> Result<Vec<PathBuf>> {
    let refused = || format!("cannot read the folder {}", folder.display());
    let mut entries = Vec::new();
    for entry in std::fs::read_dir(folder).with_context(refused)? {
        entries.push(entry.with_context(refused)?);
    }
    entries.sort_by_key(std::fs::DirEntry::path);
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.path();
        // A link to a folder is not followed: it may lead back here.
        if entry.file_type()?.is_dir() {
            if recursive {
                files.extend(inside(&path, true)?);
            }
        } else if path.extension().is_some_and(|x| EXTENSIONS.iter().any(|e| x == *e)) {
            files.push(path);
        }
    }
    Ok(files)
}

fn read(file: &Path) -> Result<Source> {
    let mut text = String::new();
    let name = if file == Path::new("-") {
        std::io::stdin().read_to_string(&mut text)?;
        "-".to_owned()
    } else {
        let refused = || format!("cannot read {}", file.display());
        text = std::fs::read_to_string(file).with_context(refused)?;
        file.display().to_string()
    };
    let read = analyze::read(&text);
    Ok(Source { file: name, documents: read.documents, error: read.error })
}

/// What an object is called; what names no namespace belongs to `namespace`.
pub fn reference(object: &Value, namespace: &str) -> ObjectRef {
    let text = |v: &Value| v.as_str().unwrap_or_default().to_owned();
    let kind = text(&object["kind"]);
    let version = object["apiVersion"].as_str().unwrap_or_default();
    let cluster_wide = analyze::kinds::KindName::of(version, &kind).is_some_and(|k| !k.namespaced);
    let own = text(&object["metadata"]["namespace"]);
    let namespace = match cluster_wide {
        true => String::new(),
        false if own.is_empty() => namespace.to_owned(),
        false => own,
    };
    ObjectRef::new(kind, namespace, text(&object["metadata"]["name"]))
}

impl Places {
    pub fn of(sources: &[Source], namespace: &str) -> Places {
        let mut places = HashMap::new();
        for source in sources {
            for document in &source.documents {
                let place = (source.file.clone(), document.lines.clone());
                places.insert(reference(&document.object, namespace), place);
            }
        }
        Places(places)
    }

    /// File and line of a field of an object that came from a file.
    pub fn find(&self, object: &ObjectRef, path: &str) -> Option<Place> {
        let (file, lines) = self.0.get(object)?;
        Some(Place { file: file.clone(), line: lines.of(path) })
    }
}

/// Every object in the cluster of a kind that analyzers read, and the namespace that was asked for.
pub async fn of_cluster(global: &Global, patience: Duration) -> Result<(Vec<Value>, String)> {
    let fetched = async {
        let mut remote = Remote::open(global).await?;
        let mut objects = Vec::new();
        let offered = remote.kinds().await?.to_vec();
        for kind in kinds::ALL {
            let same = |k: &&KindInfo| k.kind == kind.name && k.group == kind.group;
            let Some(info) = offered.iter().find(same) else { continue };
            match remote.connection.get(&info.path(None)).await {
                Ok(mut reply) => {
                    let items = reply.body["items"].as_array_mut().into_iter().flatten();
                    objects.extend(items.map(|i| typed(i.take(), &info.api_version(), kind.name)));
                }
                Err(ConnectError::Status { code: 403, .. }) => {
                    eprintln!(
                        "Warning: {} may not be read; what depends on them is not known",
                        info.plural
                    );
                }
                Err(e) => return Err(anyhow::Error::new(e).context(info.plural.clone())),
            }
        }
        anyhow::Ok((objects, remote.namespace))
    };
    tokio::time::timeout(patience, fetched)
        .await
        .with_context(|| format!("the cluster did not answer within {} s", patience.as_secs()))?
}

/// Items of a list do not say what they are.
fn typed(mut item: Value, version: &str, kind: &str) -> Value {
    item["apiVersion"] = json!(version);
    item["kind"] = json!(kind);
    item
}
