//! Which crate may depend on which: dependencies point downwards, the pure core stays pure, the data
//! plane cannot reach the control plane, and the Kubernetes client has one user.

use crate::shell;
use anyhow::{Context, Result};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// Every crate and its layer. A crate may depend on lower layers and on its own.
const LAYERS: &[(u8, &[&str])] = &[
    (0, &["base", "api", "proto"]),
    (
        1,
        &[
            "registry",
            "ir",
            "jwt",
            "compile",
            "xds",
            "wire",
            "policy",
            "balance",
            "objects",
            "inject",
            "install",
            "controllers",
            "analyze",
            "explain",
            "envoyfilter",
        ],
    ),
    (2, &["net", "tls", "ca", "k8s", "telemetry"]),
    (3, &["dataplane", "agent", "control", "apiserver", "runner", "console"]),
    (
        4,
        &[
            "lateen",
            "lateen-proxy",
            "apps",
            "xtask",
            "differential",
            "e2e",
            "authority",
            "fuzz",
            "released",
        ],
    ),
];

/// What does I/O, reads clocks or draws random numbers: not in layers 0 and 1.
const IMPURE: &[&str] = &[
    "tokio",
    "tonic",
    "hyper",
    "hyper-util",
    "kube",
    "k8s-openapi",
    "rusqlite",
    "rand",
    "fastrand",
    "getrandom",
    "socket2",
    "rustix",
    "libc",
    "tokio-rustls",
    "mio",
    "reqwest",
];

/// What the data plane must never be able to reach, by whatever path.
const NOT_FROM_DATAPLANE: &[&str] = &["api", "registry", "compile", "ca", "k8s"];

/// The dependencies of each crate of the workspace, without those that only its tests use.
pub struct Workspace(pub BTreeMap<String, BTreeSet<String>>);

impl Workspace {
    pub fn read() -> Result<Workspace> {
        let text = shell::output(&mut shell::cargo(&[
            "metadata",
            "--no-deps",
            "--format-version=1",
            "--offline",
        ]))?;
        let metadata: Value = serde_json::from_str(&text).context("cargo metadata")?;
        let mut crates = BTreeMap::new();
        for package in metadata["packages"].as_array().into_iter().flatten() {
            let name = package["name"].as_str().unwrap_or_default().to_owned();
            let dependencies = package["dependencies"].as_array().into_iter().flatten();
            let names = dependencies
                .filter(|d| d["kind"].is_null())
                .filter_map(|d| d["name"].as_str().map(str::to_owned))
                .collect();
            crates.insert(name, names);
        }
        Ok(Workspace(crates))
    }

    /// Everything in the workspace that `from` can reach.
    fn reach(&self, from: &str) -> BTreeSet<String> {
        let mut seen = BTreeSet::new();
        let mut todo = vec![from.to_owned()];
        while let Some(name) = todo.pop() {
            for next in self.0.get(&name).into_iter().flatten() {
                if self.0.contains_key(next) && seen.insert(next.clone()) {
                    todo.push(next.clone());
                }
            }
        }
        seen
    }
}

fn layer(name: &str) -> Option<u8> {
    LAYERS.iter().find(|(_, names)| names.contains(&name)).map(|(layer, _)| *layer)
}

pub fn check(workspace: &Workspace) -> Vec<String> {
    let mut complaints = Vec::new();
    for (name, dependencies) in &workspace.0 {
        let Some(own) = layer(name) else {
            complaints
                .push(format!("crate {name} has no layer: add it to xtask/src/tidy/layers.rs"));
            continue;
        };
        for dependency in dependencies {
            if workspace.0.contains_key(dependency) && layer(dependency).is_some_and(|l| l > own) {
                complaints.push(format!("{name} (layer {own}) depends upwards on {dependency}"));
            }
            if own <= 1 && IMPURE.contains(&dependency.as_str()) {
                complaints
                    .push(format!("{name} belongs to the pure core and depends on {dependency}"));
            }
            if dependency == "kube" && name != "k8s" {
                complaints.push(format!("{name} depends on kube; only k8s may"));
            }
            if dependency == "envoy-types" && name != "proto" {
                complaints.push(format!("{name} depends on envoy-types; use proto's re-export"));
            }
        }
    }
    for reached in workspace.reach("dataplane") {
        if NOT_FROM_DATAPLANE.contains(&reached.as_str()) {
            complaints.push(format!("dataplane reaches {reached}"));
        }
    }
    complaints
}

#[cfg(test)]
mod tests {
    use super::*;

    type Edges<'a> = &'a [(&'a str, &'a [&'a str])];

    fn workspace(edges: Edges<'_>) -> Workspace {
        let set = |names: &[&str]| names.iter().map(|n| n.to_string()).collect();
        Workspace(edges.iter().map(|(name, deps)| (name.to_string(), set(deps))).collect())
    }

    #[test]
    fn dependencies_downwards_are_fine() {
        let good = workspace(&[
            ("base", &[]),
            ("ir", &["base", "bytes"]),
            ("dataplane", &["ir", "tokio"]),
        ]);
        assert_eq!(check(&good), Vec::<String>::new());
    }

    #[test]
    fn a_planted_forbidden_dependency_is_found() {
        let table: &[(Edges<'_>, &str)] = &[
            (&[("policy", &["tokio"])], "policy belongs to the pure core and depends on tokio"),
            (&[("base", &["ir"]), ("ir", &[])], "base (layer 0) depends upwards on ir"),
            (&[("control", &["kube"])], "control depends on kube; only k8s may"),
            (&[("xds", &["envoy-types"])], "xds depends on envoy-types; use proto's re-export"),
            (&[("novelty", &[])], "crate novelty has no layer: add it to xtask/src/tidy/layers.rs"),
            (
                &[("dataplane", &["telemetry"]), ("telemetry", &["registry"]), ("registry", &[])],
                "dataplane reaches registry",
            ),
        ];
        for (edges, complaint) in table {
            assert_eq!(check(&workspace(edges)), [complaint.to_string()]);
        }
    }

    #[test]
    fn the_workspace_as_it_is_keeps_the_rules() {
        assert_eq!(check(&Workspace::read().unwrap()), Vec::<String>::new());
    }
}
