//! Tables of services, configuration, access and the cluster itself.

use serde_json::Value;

use super::{Printer, age, column, count, name, or_none, pairs, since, wide};
use crate::meta::{at, items, number, text};

/// Endpoints that are named in a row; of the rest only their number is.
const SHOWN_ENDPOINTS: usize = 3;

#[rustfmt::skip]
pub fn printer(group: &str, kind: &str) -> Option<Printer> {
    Some(match (group, kind) {
        ("", "Service") => Printer {
            columns: const { &[column("Name"), column("Type"), column("Cluster-IP"), column("External-IP"), column("Port(s)"), column("Age"), wide("Selector")] },
            row: service,
        },
        ("", "Node") => Printer {
            columns: const { &[column("Name"), column("Status"), column("Roles"), column("Age"), column("Version"), wide("Internal-IP"), wide("External-IP"), wide("OS-Image"), wide("Kernel-Version"), wide("Container-Runtime")] },
            row: node,
        },
        ("", "Namespace") => Printer { columns: const { &[column("Name"), column("Status"), column("Age")] }, row: |o, now| vec![name(o), field(o, &["status", "phase"]), age(o, now)] },
        ("", "ConfigMap") => Printer { columns: const { &[column("Name"), count("Data"), column("Age")] }, row: |o, now| vec![name(o), (size(o, "data") + size(o, "binaryData")).into(), age(o, now)] },
        ("", "Secret") => Printer { columns: const { &[column("Name"), column("Type"), count("Data"), column("Age")] }, row: |o, now| vec![name(o), field(o, &["type"]), size(o, "data").into(), age(o, now)] },
        ("", "ServiceAccount") => Printer { columns: const { &[column("Name"), count("Secrets"), column("Age")] }, row: |o, now| vec![name(o), items(o, &["secrets"]).len().into(), age(o, now)] },
        ("", "Endpoints") => Printer { columns: const { &[column("Name"), column("Endpoints"), column("Age")] }, row: |o, now| vec![name(o), endpoints(o), age(o, now)] },
        ("", "Event") => Printer {
            columns: const { &[column("Last Seen"), column("Type"), column("Reason"), column("Object"), wide("Subobject"), wide("Source"), column("Message"), wide("First Seen"), wide("Count"), wide("Name")] },
            row: event,
        },
        ("", "PersistentVolumeClaim") => Printer { columns: const { &[column("Name"), column("Status"), column("Volume"), column("Capacity"), column("Access Modes"), column("StorageClass"), column("Age"), wide("VolumeMode")] }, row: claim },
        ("", "PersistentVolume") => Printer { columns: const { &[column("Name"), column("Capacity"), column("Reclaim Policy"), column("Status"), column("StorageClass"), column("Age")] }, row: |o, now| vec![name(o), field(o, &["spec", "capacity", "storage"]), field(o, &["spec", "persistentVolumeReclaimPolicy"]), field(o, &["status", "phase"]), field(o, &["spec", "storageClassName"]), age(o, now)] },
        ("", "LimitRange") => Printer { columns: const { &[column("Name"), column("Created At")] }, row: created },
        ("", "ResourceQuota") => Printer { columns: const { &[column("Name"), column("Request"), column("Limit"), column("Age")] }, row: |o, now| vec![name(o), pairs(at(o, &["spec", "hard"])).into(), "".into(), age(o, now)] },
        ("discovery.k8s.io", "EndpointSlice") => Printer { columns: const { &[column("Name"), column("AddressType"), column("Ports"), column("Endpoints"), column("Age")] }, row: endpoint_slice },
        ("networking.k8s.io", "Ingress") => Printer { columns: const { &[column("Name"), column("Class"), column("Hosts"), column("Address"), column("Ports"), column("Age")] }, row: ingress },
        ("networking.k8s.io", "IngressClass") => Printer { columns: const { &[column("Name"), column("Controller"), column("Parameters"), column("Age")] }, row: |o, now| vec![name(o), field(o, &["spec", "controller"]), "<none>".into(), age(o, now)] },
        ("networking.k8s.io", "NetworkPolicy") => Printer { columns: const { &[column("Name"), column("Pod-Selector"), column("Age")] }, row: |o, now| vec![name(o), or_none(pairs(at(o, &["spec", "podSelector", "matchLabels"]))), age(o, now)] },
        ("apiextensions.k8s.io", "CustomResourceDefinition") | ("rbac.authorization.k8s.io", "Role" | "ClusterRole") => Printer { columns: const { &[column("Name"), column("Created At")] }, row: created },
        ("rbac.authorization.k8s.io", "RoleBinding" | "ClusterRoleBinding") => Printer { columns: const { &[column("Name"), column("Role"), column("Age"), wide("Users"), wide("Groups"), wide("ServiceAccounts")] }, row: binding },
        ("coordination.k8s.io", "Lease") => Printer { columns: const { &[column("Name"), column("Holder"), column("Age")] }, row: |o, now| vec![name(o), text(o, &["spec", "holderIdentity"]).unwrap_or_default().into(), age(o, now)] },
        ("policy", "PodDisruptionBudget") => Printer { columns: const { &[column("Name"), column("Min Available"), column("Max Unavailable"), count("Allowed Disruptions"), column("Age")] }, row: budget },
        ("admissionregistration.k8s.io", _) => Printer { columns: const { &[column("Name"), count("Webhooks"), column("Age")] }, row: |o, now| vec![name(o), items(o, &["webhooks"]).len().into(), age(o, now)] },
        ("storage.k8s.io", "StorageClass") => Printer { columns: const { &[column("Name"), column("Provisioner"), column("ReclaimPolicy"), column("VolumeBindingMode"), column("AllowVolumeExpansion"), column("Age")] }, row: |o, now| vec![name(o), field(o, &["provisioner"]), field(o, &["reclaimPolicy"]), field(o, &["volumeBindingMode"]), at(o, &["allowVolumeExpansion"]).cloned().unwrap_or(Value::Bool(false)), age(o, now)] },
        ("scheduling.k8s.io", "PriorityClass") => Printer { columns: const { &[column("Name"), count("Value"), column("Global-Default"), column("Age")] }, row: |o, now| vec![name(o), number(o, &["value"]).unwrap_or(0).into(), at(o, &["globalDefault"]).cloned().unwrap_or(Value::Bool(false)), age(o, now)] },
        _ => return None,
    })
}

fn field(object: &Value, path: &[&str]) -> Value {
    text(object, path).unwrap_or_default().into()
}

fn size(object: &Value, key: &str) -> usize {
    object.get(key).and_then(Value::as_object).map_or(0, serde_json::Map::len)
}

fn created(o: &Value, _: i64) -> Vec<Value> {
    vec![name(o), field(o, &["metadata", "creationTimestamp"])]
}

fn join<'a>(list: impl Iterator<Item = &'a str>) -> String {
    list.collect::<Vec<_>>().join(",")
}

/// Addresses of a load balancer.
fn balancer(object: &Value) -> String {
    let ingress = items(object, &["status", "loadBalancer", "ingress"]).iter();
    join(ingress.filter_map(|i| text(i, &["ip"]).or(text(i, &["hostname"]))))
}

fn service(o: &Value, now: i64) -> Vec<Value> {
    let kind = text(o, &["spec", "type"]).unwrap_or_default();
    let external = join(items(o, &["spec", "externalIPs"]).iter().filter_map(Value::as_str));
    let external = match kind {
        "ExternalName" => text(o, &["spec", "externalName"]).unwrap_or_default().to_owned(),
        "LoadBalancer" => {
            let both: Vec<String> =
                [balancer(o), external].into_iter().filter(|s| !s.is_empty()).collect();
            if both.is_empty() { "<pending>".to_owned() } else { both.join(",") }
        }
        _ => external,
    };
    let ports = items(o, &["spec", "ports"]).iter().map(|p| {
        let port = number(p, &["port"]).unwrap_or(0);
        let protocol = text(p, &["protocol"]).unwrap_or("TCP");
        match number(p, &["nodePort"]).filter(|n| *n != 0) {
            Some(node) => format!("{port}:{node}/{protocol}"),
            None => format!("{port}/{protocol}"),
        }
    });
    let ports: Vec<String> = ports.collect();
    let address = text(o, &["spec", "clusterIP"]).unwrap_or_default();
    vec![
        name(o),
        kind.into(),
        or_none(address.to_owned()),
        or_none(external),
        or_none(ports.join(",")),
        age(o, now),
        or_none(pairs(at(o, &["spec", "selector"]))),
    ]
}

fn node(o: &Value, now: i64) -> Vec<Value> {
    let ready =
        items(o, &["status", "conditions"]).iter().find(|c| text(c, &["type"]) == Some("Ready"));
    let mut word = match ready.and_then(|c| text(c, &["status"])) {
        Some("True") => "Ready".to_owned(),
        Some(_) => "NotReady".to_owned(),
        None => "Unknown".to_owned(),
    };
    if at(o, &["spec", "unschedulable"]) == Some(&Value::Bool(true)) {
        word.push_str(",SchedulingDisabled");
    }
    let labels = crate::meta::labels(o).into_iter().flatten();
    let roles = join(labels.filter_map(|(k, _)| k.strip_prefix("node-role.kubernetes.io/")));
    let address = |kind: &str| {
        let list = items(o, &["status", "addresses"]).iter();
        let found =
            list.filter(|a| text(a, &["type"]) == Some(kind)).find_map(|a| text(a, &["address"]));
        or_none(found.unwrap_or_default().to_owned())
    };
    let info = |key: &str| {
        let text = text(o, &["status", "nodeInfo", key]).filter(|t| !t.is_empty());
        Value::from(text.unwrap_or("<unknown>"))
    };
    vec![
        name(o),
        word.into(),
        or_none(roles),
        age(o, now),
        field(o, &["status", "nodeInfo", "kubeletVersion"]),
        address("InternalIP"),
        address("ExternalIP"),
        info("osImage"),
        info("kernelVersion"),
        info("containerRuntimeVersion"),
    ]
}

fn host_port(ip: &str, port: i64) -> String {
    if ip.contains(':') { format!("[{ip}]:{port}") } else { format!("{ip}:{port}") }
}

/// The first few of a list, and how many more there are.
fn first_few(list: &[String]) -> Value {
    if list.len() <= SHOWN_ENDPOINTS {
        return or_none(list.join(","));
    }
    let more = list.len() - SHOWN_ENDPOINTS;
    format!("{} + {more} more...", list[..SHOWN_ENDPOINTS].join(",")).into()
}

fn endpoints(o: &Value) -> Value {
    let mut list = Vec::new();
    for subset in items(o, &["subsets"]) {
        let ports = items(subset, &["ports"]);
        for address in items(subset, &["addresses"]).iter().filter_map(|a| text(a, &["ip"])) {
            if ports.is_empty() {
                list.push(address.to_owned());
            }
            let numbers = ports.iter().filter_map(|p| number(p, &["port"]));
            list.extend(numbers.map(|port| host_port(address, port)));
        }
    }
    first_few(&list)
}

fn endpoint_slice(o: &Value, now: i64) -> Vec<Value> {
    let ports: Vec<String> = items(o, &["ports"])
        .iter()
        .map(|p| number(p, &["port"]).map_or_else(|| "*".to_owned(), |n| n.to_string()))
        .collect();
    let ports = if ports.is_empty() { "<unset>".into() } else { first_few(&ports) };
    let addresses: Vec<String> = items(o, &["endpoints"])
        .iter()
        .flat_map(|e| items(e, &["addresses"]))
        .filter_map(|a| a.as_str().map(str::to_owned))
        .collect();
    let addresses = if addresses.is_empty() { "<unset>".into() } else { first_few(&addresses) };
    vec![name(o), field(o, &["addressType"]), ports, addresses, age(o, now)]
}

fn event(o: &Value, now: i64) -> Vec<Value> {
    let involved = |key| {
        text(o, &["involvedObject", key]).or(text(o, &["regarding", key])).unwrap_or_default()
    };
    let first = text(o, &["firstTimestamp"])
        .or(text(o, &["eventTime"]))
        .or(text(o, &["deprecatedFirstTimestamp"]));
    let last = text(o, &["lastTimestamp"]).or(text(o, &["deprecatedLastTimestamp"])).or(first);
    let source = text(o, &["source", "component"])
        .or(text(o, &["reportingComponent"]))
        .or(text(o, &["reportingController"]));
    let object = format!("{}/{}", involved("kind").to_lowercase(), involved("name"));
    let message = text(o, &["message"]).or(text(o, &["note"])).unwrap_or_default().trim();
    let count = number(o, &["count"]).or(number(o, &["deprecatedCount"])).unwrap_or(1);
    vec![
        since(last, now),
        field(o, &["type"]),
        field(o, &["reason"]),
        object.into(),
        involved("fieldPath").into(),
        source.unwrap_or_default().into(),
        message.into(),
        since(first, now),
        count.into(),
        name(o),
    ]
}

fn claim(o: &Value, now: i64) -> Vec<Value> {
    let modes = join(items(o, &["spec", "accessModes"]).iter().filter_map(|m| match m.as_str() {
        Some("ReadWriteOnce") => Some("RWO"),
        Some("ReadOnlyMany") => Some("ROX"),
        Some("ReadWriteMany") => Some("RWX"),
        Some("ReadWriteOncePod") => Some("RWOP"),
        _ => None,
    }));
    vec![
        name(o),
        field(o, &["status", "phase"]),
        field(o, &["spec", "volumeName"]),
        field(o, &["status", "capacity", "storage"]),
        modes.into(),
        field(o, &["spec", "storageClassName"]),
        age(o, now),
        field(o, &["spec", "volumeMode"]),
    ]
}

fn ingress(o: &Value, now: i64) -> Vec<Value> {
    let class = text(o, &["spec", "ingressClassName"])
        .or(crate::meta::annotation(o, "kubernetes.io/ingress.class"));
    let hosts = join(items(o, &["spec", "rules"]).iter().filter_map(|r| text(r, &["host"])));
    let hosts = if hosts.is_empty() { "*".to_owned() } else { hosts };
    let tls = !items(o, &["spec", "tls"]).is_empty();
    let ports = if tls { "80, 443" } else { "80" };
    vec![
        name(o),
        or_none(class.unwrap_or_default().to_owned()),
        hosts.into(),
        balancer(o).into(),
        ports.into(),
        age(o, now),
    ]
}

fn binding(o: &Value, now: i64) -> Vec<Value> {
    let role = |key| text(o, &["roleRef", key]).unwrap_or_default();
    let subjects = |kind: &str| {
        let list = items(o, &["subjects"]).iter().filter(|s| text(s, &["kind"]) == Some(kind));
        let list = list.map(|s| {
            let name = text(s, &["name"]).unwrap_or_default();
            match text(s, &["namespace"]) {
                Some(namespace) => format!("{namespace}/{name}"),
                None => name.to_owned(),
            }
        });
        Value::from(list.collect::<Vec<_>>().join(", "))
    };
    vec![
        name(o),
        format!("{}/{}", role("kind"), role("name")).into(),
        age(o, now),
        subjects("User"),
        subjects("Group"),
        subjects("ServiceAccount"),
    ]
}

fn budget(o: &Value, now: i64) -> Vec<Value> {
    let bound = |key: &str| match at(o, &["spec", key]) {
        Some(Value::String(text)) => text.clone().into(),
        Some(Value::Number(n)) => n.to_string().into(),
        _ => Value::from("N/A"),
    };
    vec![
        name(o),
        bound("minAvailable"),
        bound("maxUnavailable"),
        number(o, &["status", "disruptionsAllowed"]).unwrap_or(0).into(),
        age(o, now),
    ]
}
