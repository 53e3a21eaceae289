//! Unit tests of routing: requests, what is expected of each, and which rules they reach. Whoever runs
//! them (`lateen test`) reads the files and says which workload a word means.
//!
//! Flow: a [`Suite`] from a file -> each [`Case`] explained -> [`check`] -> [`Outcome`]s and [`Coverage`] ->
//! a report as text, JSON or JUnit XML.

mod check;
mod coverage;
mod report;

pub use check::check;
pub use coverage::Coverage;
pub use report::{Report, as_json, as_junit, as_text};

use serde::Deserialize;
use std::collections::BTreeMap;

/// `kind` of the documents that hold tests.
pub const KIND: &str = "RoutingTest";

/// One document of tests.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Suite {
    #[serde(default)]
    pub api_version: String,
    pub kind: String,
    #[serde(default)]
    pub metadata: Metadata,
    /// Files and folders of configuration, from where the document stands.
    #[serde(default)]
    pub config: Vec<String>,
    /// Objects that are given here.
    #[serde(default)]
    pub objects: Vec<serde_json::Value>,
    /// The client of those tests that name none.
    pub from: Option<Who>,
    pub tests: Vec<Case>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Metadata {
    #[serde(default)]
    pub name: String,
}

/// A workload by name (`deploy/NAME`), or by what it is.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub enum Who {
    Named(String),
    Like {
        #[serde(default)]
        namespace: String,
        #[serde(default)]
        labels: BTreeMap<String, String>,
    },
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// Absent, the request stands for it.
    #[serde(default)]
    pub name: String,
    /// `GET http://reviews:9080/reviews/1`
    pub request: String,
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    pub from: Option<Who>,
    /// As `--at` of `lateen explain`.
    pub at: Option<String>,
    pub expect: Expect,
}

/// What is not said is not looked at.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Expect {
    /// `forwarded`, `bytes`, `redirected`, `answered` or `closed`.
    pub verdict: Option<String>,
    /// Of an answer by the proxy.
    pub status: Option<u16>,
    pub location: Option<String>,
    /// The route's name, or the field it comes from: `VirtualService default/reviews spec.http[0]`.
    pub route: Option<String>,
    /// All clusters that the request may go to.
    pub destinations: Option<Vec<Destination>>,
    /// Path and host as the upstream gets them.
    pub path: Option<String>,
    pub host: Option<String>,
    #[serde(default)]
    pub request_headers: BTreeMap<String, Option<String>>,
    #[serde(default)]
    pub response_headers: BTreeMap<String, Option<String>>,
    /// Texts that facts of these names hold: `timeout: 2s`, `fault: 503`.
    #[serde(default)]
    pub facts: BTreeMap<String, String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Destination {
    /// The service's host, or the part of it that stands before the namespace.
    pub host: String,
    pub subset: Option<String>,
    pub port: Option<u16>,
    /// Of a hundred.
    pub weight: Option<f64>,
}

/// One test that was run.
#[derive(Clone, Debug)]
pub struct Outcome {
    pub name: String,
    /// Nothing: it passed.
    pub failures: Vec<String>,
    /// The explanation, shown where it failed.
    pub told: String,
}
