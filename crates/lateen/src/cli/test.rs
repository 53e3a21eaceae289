//! `test`: unit tests of routing from files, without a cluster. What is expected is checked by crate
//! `explain`; here files are read, and words for workloads are understood.

use super::explain::{Given, pod, side_of, workload};
use super::sources::{self, Source};
use super::{Global, print};
use anyhow::{Context, Result, bail};
use base::Origin;
use clap::{Args, ValueEnum};
use explain::suite::{self, Case, Coverage, Outcome, Report, Suite, Who};
use explain::{Asked, Draws, Explainer, Side, Workload};
use serde_json::Value;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

#[derive(Args)]
pub struct TestArgs {
    /// Files and folders with documents of kind RoutingTest; what else is there is configuration
    #[arg(required = true, value_name = "DIR")]
    paths: Vec<PathBuf>,
    /// Only tests with this text in their names
    #[arg(long, value_name = "TEXT")]
    run: Option<String>,
    /// Fail, too, when fewer rules than this are reached, of a hundred
    #[arg(long, value_name = "PERCENT")]
    min_coverage: Option<f64>,
    #[arg(short, long, default_value = "text")]
    output: Format,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Text,
    Json,
    Junit,
}

/// The exit code when a test fails or too few rules are reached; 1 is for what could not be run.
const FAILED: u8 = 2;

pub fn run(global: &Global, args: &TestArgs) -> Result<ExitCode> {
    let files = sources::gather(&args.paths, true)?;
    let (mut reports, mut coverage) = (Vec::new(), Coverage::default());
    let mut places = HashMap::new();
    for file in &files {
        if let Some(error) = &file.error {
            bail!("{}: {error}", file.file);
        }
        for document in file.documents.iter().filter(|d| d.object["kind"] == suite::KIND) {
            let read = serde_json::from_value::<Suite>(document.object.clone());
            let suite = read.with_context(|| format!("{}: not a {}", file.file, suite::KIND))?;
            let given = given(global, &files, file, &suite)?;
            let mut reached = Coverage::of(&given.world.snapshot);
            let outcomes = outcomes(&given, &suite, args.run.as_deref(), &mut reached)
                .with_context(|| file.file.clone())?;
            let known = reached.rules_reached().filter_map(|(o, _)| {
                let place = given.place(&o)?;
                Some((o, place))
            });
            places.extend(known);
            coverage.add(reached);
            let name = match suite.metadata.name.as_str() {
                "" => file.file.clone(),
                name => name.to_owned(),
            };
            reports.push(Report { name, file: file.file.clone(), outcomes });
        }
    }
    if reports.is_empty() {
        bail!("there is no document of kind {}", suite::KIND);
    }
    if reports.iter().all(|r| r.outcomes.is_empty()) {
        match &args.run {
            Some(text) => bail!("no test has {text:?} in its name (--run)"),
            None => bail!("the documents of kind {} hold no tests", suite::KIND),
        }
    }
    let place = |o: &Origin| places.get(o).cloned();
    match args.output {
        Format::Text => print!("{}", suite::as_text(&reports, &coverage, place)),
        Format::Json => print!("{}", print::json(&suite::as_json(&reports, &coverage, place))),
        Format::Junit => print!("{}", suite::as_junit(&reports)),
    }
    let failed = reports.iter().flat_map(|r| &r.outcomes).any(|o| !o.failures.is_empty());
    let too_few = args.min_coverage.is_some_and(|least| coverage.percent() < least);
    if too_few {
        eprintln!("fewer rules are reached than --min-coverage wants");
    }
    Ok(if failed || too_few { ExitCode::from(FAILED) } else { ExitCode::SUCCESS })
}

/// The configuration that a document tests: what it names and holds; without either, whatever stands in
/// the files that were given.
fn given(global: &Global, all: &[Source], own: &Source, suite: &Suite) -> Result<Given> {
    let is_test = |o: &Value| o["kind"] == suite::KIND;
    let mut files = Vec::new();
    if suite.config.is_empty() && suite.objects.is_empty() {
        files.extend(all.iter().map(|f| f.without(is_test)));
    } else {
        let base = Path::new(&own.file).parent().unwrap_or(Path::new("."));
        let named: Vec<PathBuf> = suite.config.iter().map(|c| base.join(c)).collect();
        let found = sources::gather(&named, true)?;
        files.extend(found.iter().map(|f| f.without(is_test)));
        files.push(Source::of_objects(&own.file, suite.objects.clone()));
    }
    Given::files(global, &files)
}

fn outcomes(
    given: &Given,
    suite: &Suite,
    only: Option<&str>,
    coverage: &mut Coverage,
) -> Result<Vec<Outcome>> {
    let mut outcomes = Vec::new();
    // Most tests ask the same proxy, which is compiled once.
    let mut known: Vec<(Side, Explainer<'_>)> = Vec::new();
    for case in &suite.tests {
        let name = if case.name.is_empty() { &case.request } else { &case.name };
        if only.is_some_and(|text| !name.contains(text)) {
            continue;
        }
        let asked = asked(case).with_context(|| format!("test {name:?}"))?;
        let side = side(given, suite, case, &asked).with_context(|| format!("test {name:?}"))?;
        let found = known.iter().position(|(s, _)| *s == side);
        let found = found.unwrap_or_else(|| {
            known.push((side.clone(), Explainer::new(&given.world.snapshot, side)));
            known.len() - 1
        });
        let told = known[found].1.explain(&asked, Draws::All);
        coverage.note(&told);
        outcomes.push(Outcome {
            name: name.clone(),
            failures: suite::check(&case.expect, &told),
            told: told.text(|o| given.place(o)),
        });
    }
    Ok(outcomes)
}

fn asked(case: &Case) -> Result<Asked> {
    let (method, url) = case.request.split_once(' ').unwrap_or(("GET", &case.request));
    let mut asked = Asked::parse(method, url.trim())?;
    let own = case.headers.iter().map(|(n, v)| (n.to_ascii_lowercase(), v.clone()));
    asked.headers.extend(own);
    Ok(asked)
}

fn side(given: &Given, suite: &Suite, case: &Case, asked: &Asked) -> Result<Side> {
    let client = match case.from.as_ref().or(suite.from.as_ref()) {
        None => Workload { namespace: given.namespace.clone(), ..Workload::default() },
        Some(Who::Named(word)) => workload(pod(&given.world, word, &given.namespace)?),
        Some(Who::Like { namespace, labels }) => Workload {
            namespace: match namespace.as_str() {
                "" => given.namespace.clone(),
                own => own.to_owned(),
            },
            labels: labels.clone().into_iter().collect(),
            ..Workload::default()
        },
    };
    side_of(given, case.at.as_deref(), client, asked)
}
