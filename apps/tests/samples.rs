//! The manifests in `samples/` agree with one another and with the programs that they name.

#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;

struct Object {
    file: PathBuf,
    value: Value,
}

impl Object {
    fn text(&self, pointer: &str) -> &str {
        self.value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
    }
}

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, found);
        } else if path.extension().is_some_and(|ext| ext == "yaml") {
            found.push(path);
        }
    }
}

fn objects() -> Vec<Object> {
    let mut paths = Vec::new();
    files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../samples"), &mut paths);
    let read = |file: PathBuf| {
        let text = std::fs::read_to_string(&file).unwrap();
        let documents = serde_yaml_ng::Deserializer::from_str(&text);
        let values: Vec<Value> = documents
            .map(|document| {
                Value::deserialize(document).unwrap_or_else(|e| panic!("{file:?}: {e}"))
            })
            .collect();
        values.into_iter().map(move |value| Object { file: file.clone(), value })
    };
    let all: Vec<Object> = paths.into_iter().flat_map(read).collect();
    assert!(all.len() > 30, "only {} objects", all.len());
    all
}

fn of<'a>(all: &'a [Object], kind: &'a str) -> impl Iterator<Item = &'a Object> {
    all.iter().filter(move |object| object.value["kind"] == kind)
}

#[test]
fn every_image_is_a_program_of_ours_or_curl() {
    let all = objects();
    for deployment in of(&all, "Deployment") {
        for container in
            deployment.value["spec"]["template"]["spec"]["containers"].as_array().unwrap()
        {
            let image = container["image"].as_str().unwrap();
            assert!(apps::knows(image) || image.contains("/curl:"), "{image}");
        }
    }
}

#[test]
fn every_service_has_a_deployment_behind_it() {
    let all = objects();
    for service in of(&all, "Service") {
        let selector = service.value["spec"]["selector"].as_object().unwrap();
        let selected = of(&all, "Deployment").any(|deployment| {
            let labels = &deployment.value["spec"]["template"]["metadata"]["labels"];
            selector.iter().all(|(key, value)| &labels[key] == value)
        });
        assert!(selected, "{:?}: {}", service.file, service.text("/metadata/name"));
    }
}

#[test]
fn every_route_leads_to_a_service_and_a_subset_that_exist() {
    let all = objects();
    for route in of(&all, "VirtualService") {
        let http = route.value["spec"]["http"].as_array().unwrap();
        let destinations = http.iter().flat_map(|rule| rule["route"].as_array().unwrap());
        for destination in destinations.map(|route| &route["destination"]) {
            let host = destination["host"].as_str().unwrap();
            let known = of(&all, "Service").any(|s| s.text("/metadata/name") == host);
            assert!(known, "{:?}: {host}", route.file);
            let Some(subset) = destination["subset"].as_str() else { continue };
            let rule = of(&all, "DestinationRule").find(|r| r.text("/spec/host") == host).unwrap();
            let mut subsets = rule.value["spec"]["subsets"].as_array().unwrap().iter();
            assert!(subsets.any(|s| s["name"] == subset), "{:?}: {host} {subset}", route.file);
        }
    }
}
