//! The pods of a Job: labelled with the Job, and numbered where it is `Indexed`.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::{pods, read};

const INDEX: &str = "batch.kubernetes.io/job-completion-index";

/// Up to `count` new pods, given those that exist.
pub fn new(job: &Value, owned: &[&Arc<Value>], count: usize) -> Vec<Value> {
    if read::text(job, "/spec/completionMode") != "Indexed" {
        return (0..count).map(|_| plain(job)).collect();
    }
    let completions = read::int(job, "/spec/completions").unwrap_or_default();
    let taken: Vec<i64> = owned
        .iter()
        .filter(|pod| pods::active(pod) || read::text(pod, "/status/phase") == "Succeeded")
        .filter_map(|pod| index(pod))
        .collect();
    let free = (0..completions).filter(|index| !taken.contains(index));
    free.take(count).map(|index| indexed(job, index)).collect()
}

/// The pod's completion index, if it has one.
pub fn index(pod: &Value) -> Option<i64> {
    read::annotation(pod, INDEX)?.parse().ok()
}

fn plain(job: &Value) -> Value {
    let template = job.pointer("/spec/template").unwrap_or(&Value::Null);
    let mut pod = pods::from_template(job, template);
    pod["metadata"]["generateName"] = json!(pods::name_prefix(job));
    let labels = &mut pod["metadata"]["labels"];
    for key in ["job-name", "batch.kubernetes.io/job-name"] {
        labels[key] = json!(read::name(job));
    }
    for key in ["controller-uid", "batch.kubernetes.io/controller-uid"] {
        labels[key] = json!(read::uid(job));
    }
    pod
}

fn indexed(job: &Value, index: i64) -> Value {
    let mut pod = plain(job);
    pod["metadata"]["annotations"][INDEX] = json!(index.to_string());
    pod["metadata"]["labels"][INDEX] = json!(index.to_string());
    pod["metadata"]["generateName"] = json!(format!("{}{index}-", pods::name_prefix(job)));
    pod["spec"]["hostname"] = json!(format!("{}-{index}", read::name(job)));
    for list in ["containers", "initContainers"] {
        let containers = pod["spec"].get_mut(list).and_then(Value::as_array_mut);
        for container in containers.into_iter().flatten() {
            let mut env = read::list(container, "/env").to_vec();
            env.push(json!({"name": "JOB_COMPLETION_INDEX", "value": index.to_string()}));
            container["env"] = json!(env);
        }
    }
    pod
}
