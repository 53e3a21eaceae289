//! `validate`: what admission would say of the objects in files, without a cluster.

use super::Global;
use super::sources::{self, Source};
use analyze::Document;
use anyhow::{Result, bail};
use base::{Finding, Level};
use clap::Args;
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(Args)]
pub struct ValidateArgs {
    /// File, folder, or - for standard input; may be repeated
    #[arg(short, long)]
    filename: Vec<PathBuf>,
    /// The same
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
}

/// What there is to say of one file.
#[derive(Default)]
struct Verdict {
    errors: Vec<String>,
    warnings: Vec<String>,
}

pub fn run(global: &Global, args: ValidateArgs) -> Result<ExitCode> {
    let names = [args.filename, args.files].concat();
    if names.is_empty() {
        bail!("say which files: validate -f FILE");
    }
    let namespace = global.namespace.as_deref().unwrap_or("default");
    let mut errors = Vec::new();
    for source in sources::gather(&names, true)? {
        let verdict = judge(&source, namespace);
        if !verdict.warnings.is_empty() {
            println!("{:?} has warnings:", source.file);
            verdict.warnings.iter().for_each(|w| println!("\t* {w}"));
        } else if verdict.errors.is_empty() {
            println!("{:?} is valid", source.file);
        }
        errors.extend(verdict.errors);
    }
    match errors.len() {
        0 => return Ok(ExitCode::SUCCESS),
        1 => eprintln!("Error: 1 error occurred:"),
        n => eprintln!("Error: {n} errors occurred:"),
    }
    errors.iter().for_each(|e| eprintln!("\t* {e}"));
    Ok(ExitCode::FAILURE)
}

fn judge(source: &Source, namespace: &str) -> Verdict {
    let mut verdict = Verdict::default();
    if let Some(error) = &source.error {
        verdict.errors.push(format!("{}: {error}", source.file));
    }
    for document in &source.documents {
        for finding in findings(document) {
            let line = say(source, document, &finding, namespace);
            match finding.level {
                Level::Error => verdict.errors.push(line),
                Level::Warning | Level::Info => verdict.warnings.push(line),
            }
        }
    }
    verdict
}

/// Of the mesh's own kinds what admission says; of others only that they say what they are.
fn findings(document: &Document) -> Vec<Finding> {
    let text = |key: &str| document.object[key].as_str().unwrap_or_default();
    let (version, kind) = (text("apiVersion"), text("kind"));
    if version.is_empty() || kind.is_empty() {
        return vec![Finding::error("", "a document needs apiVersion and kind")];
    }
    let group = version.split_once('/').map_or("", |(group, _)| group);
    let ours = group.ends_with(".istio.io") && group != "install.istio.io";
    if ours && analyze::kinds::KindName::of(version, kind).is_none() {
        let say =
            format!("kind {kind} of {version} is not known; is it misspelt, or was it removed?");
        return vec![Finding::error("kind", say)];
    }
    let mut all = if ours { api::validate(kind, &document.object) } else { Vec::new() };
    all.extend(envoyfilter::admission(&document.object));
    if document.object["metadata"]["name"].as_str().is_none_or(str::is_empty) {
        all.push(Finding::error("metadata.name", "a name is required"));
    }
    all
}

/// `VirtualService/default/reviews (a.yaml:12): spec.http[0]: ...`
fn say(source: &Source, document: &Document, finding: &Finding, namespace: &str) -> String {
    let object = sources::reference(&document.object, namespace);
    let line = document.lines.of(&finding.path).map(|l| format!(":{l}")).unwrap_or_default();
    let (kind, namespace, name) = (&object.kind, &object.namespace, &object.name);
    format!("{kind}/{namespace}/{name} ({}{line}): {finding}", source.file)
}
