//! Whether a pod has the shape of one. The API server sees to that before it asks a webhook; a file and a
//! hostile caller do not, and whatever is written into a pod relies on it.

use base::Finding;
use serde_json::Value;

const LISTS: [&str; 4] = ["containers", "initContainers", "volumes", "imagePullSecrets"];

/// What is not what Kubernetes says it is, of all that injection changes.
pub(crate) fn faults(pod: &Value) -> Vec<Finding> {
    let mut faults = Vec::new();
    if !pod.is_object() {
        faults.push(fault("", "an object"));
    }
    for path in ["metadata", "metadata.labels", "metadata.annotations", "spec"] {
        let value = pod.pointer(&format!("/{}", path.replace('.', "/"))).unwrap_or(&Value::Null);
        if !value.is_object() && !value.is_null() {
            faults.push(fault(path, "an object"));
        }
    }
    for list in LISTS {
        let path = format!("spec.{list}");
        match &pod["spec"][list] {
            Value::Null => {}
            Value::Array(items) => {
                let wrong = items.iter().enumerate().filter(|(_, item)| !item.is_object());
                faults.extend(wrong.map(|(at, _)| fault(&format!("{path}[{at}]"), "an object")));
            }
            _ => faults.push(fault(&path, "a list")),
        }
    }
    faults
}

fn fault(path: &str, wanted: &str) -> Finding {
    Finding::error(path, format!("this is not {wanted}, as it is in every pod"))
}
