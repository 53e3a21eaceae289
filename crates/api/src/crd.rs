//! CRDs of all Istio kinds, made from one compact table of fields for each (folder `crd/fields`), which
//! decoding uses too.

mod fields;
mod schema;

pub(crate) use fields::{Field, Shape, spec_of};

use serde_json::{Value, json};

/// What a CRD says about its kind besides the fields of `spec`.
struct Definition {
    kind: &'static str,
    plural: &'static str,
    group: &'static str,
    /// Served; the first is stored.
    versions: &'static [&'static str],
    short_names: &'static [&'static str],
    /// Name, JSON path and type.
    columns: &'static [(&'static str, &'static str, &'static str)],
    spec_required: bool,
}

const AGE: (&str, &str, &str) = ("Age", ".metadata.creationTimestamp", "date");
const NETWORKING: &[&str] = &["v1", "v1alpha3", "v1beta1"];
const SECURITY: &[&str] = &["v1", "v1beta1"];

const DEFINITIONS: &[Definition] = &[
    Definition {
        kind: "VirtualService",
        plural: "virtualservices",
        group: "networking.istio.io",
        versions: NETWORKING,
        short_names: &["vs"],
        columns: &[
            ("Gateways", ".spec.gateways", "string"),
            ("Hosts", ".spec.hosts", "string"),
            AGE,
        ],
        spec_required: false,
    },
    Definition {
        kind: "DestinationRule",
        plural: "destinationrules",
        group: "networking.istio.io",
        versions: NETWORKING,
        short_names: &["dr"],
        columns: &[("Host", ".spec.host", "string"), AGE],
        spec_required: false,
    },
    Definition {
        kind: "Gateway",
        plural: "gateways",
        group: "networking.istio.io",
        versions: NETWORKING,
        short_names: &["gw"],
        columns: &[],
        spec_required: false,
    },
    Definition {
        kind: "ServiceEntry",
        plural: "serviceentries",
        group: "networking.istio.io",
        versions: NETWORKING,
        short_names: &["se"],
        columns: &[
            ("Hosts", ".spec.hosts", "string"),
            ("Location", ".spec.location", "string"),
            ("Resolution", ".spec.resolution", "string"),
            AGE,
        ],
        spec_required: true,
    },
    Definition {
        kind: "Sidecar",
        plural: "sidecars",
        group: "networking.istio.io",
        versions: NETWORKING,
        short_names: &[],
        columns: &[],
        spec_required: false,
    },
    Definition {
        kind: "WorkloadEntry",
        plural: "workloadentries",
        group: "networking.istio.io",
        versions: NETWORKING,
        short_names: &["we"],
        columns: &[AGE, ("Address", ".spec.address", "string")],
        spec_required: true,
    },
    Definition {
        kind: "WorkloadGroup",
        plural: "workloadgroups",
        group: "networking.istio.io",
        versions: NETWORKING,
        short_names: &["wg"],
        columns: &[AGE],
        spec_required: true,
    },
    Definition {
        kind: "EnvoyFilter",
        plural: "envoyfilters",
        group: "networking.istio.io",
        versions: &["v1alpha3"],
        short_names: &[],
        columns: &[],
        spec_required: false,
    },
    Definition {
        kind: "ProxyConfig",
        plural: "proxyconfigs",
        group: "networking.istio.io",
        versions: &["v1beta1"],
        short_names: &[],
        columns: &[],
        spec_required: false,
    },
    Definition {
        kind: "AuthorizationPolicy",
        plural: "authorizationpolicies",
        group: "security.istio.io",
        versions: SECURITY,
        short_names: &["ap"],
        columns: &[("Action", ".spec.action", "string"), AGE],
        spec_required: false,
    },
    Definition {
        kind: "PeerAuthentication",
        plural: "peerauthentications",
        group: "security.istio.io",
        versions: SECURITY,
        short_names: &["pa"],
        columns: &[("Mode", ".spec.mtls.mode", "string"), AGE],
        spec_required: false,
    },
    Definition {
        kind: "RequestAuthentication",
        plural: "requestauthentications",
        group: "security.istio.io",
        versions: SECURITY,
        short_names: &["ra"],
        columns: &[],
        spec_required: false,
    },
    Definition {
        kind: "Telemetry",
        plural: "telemetries",
        group: "telemetry.istio.io",
        versions: &["v1", "v1alpha1"],
        short_names: &["telemetry"],
        columns: &[AGE],
        spec_required: false,
    },
    Definition {
        kind: "WasmPlugin",
        plural: "wasmplugins",
        group: "extensions.istio.io",
        versions: &["v1alpha1"],
        short_names: &[],
        columns: &[AGE],
        spec_required: false,
    },
    Definition {
        kind: "TrafficExtension",
        plural: "trafficextensions",
        group: "extensions.istio.io",
        versions: &["v1alpha1"],
        short_names: &[],
        columns: &[AGE],
        spec_required: true,
    },
    Definition {
        kind: "IstioOperator",
        plural: "istiooperators",
        group: "install.istio.io",
        versions: &["v1alpha1"],
        short_names: &["iop", "io"],
        columns: &[
            ("Revision", ".spec.revision", "string"),
            ("Status", ".status.status", "string"),
            AGE,
        ],
        spec_required: false,
    },
];

/// Whether an object of this kind without a `spec` is refused.
pub(crate) fn spec_is_required(kind: &str) -> bool {
    DEFINITIONS.iter().any(|d| d.kind == kind && d.spec_required)
}

/// All CustomResourceDefinitions, as objects to apply.
pub fn crds() -> Vec<Value> {
    DEFINITIONS.iter().map(crd).collect()
}

fn crd(d: &Definition) -> Value {
    let group = d.group.replace('.', "-");
    let mut names = json!({
        "categories": ["istio-io", group],
        "kind": d.kind,
        "listKind": format!("{}List", d.kind),
        "plural": d.plural,
        "singular": d.kind.to_ascii_lowercase(),
    });
    if !d.short_names.is_empty() {
        names["shortNames"] = json!(d.short_names);
    }
    let versions: Vec<Value> =
        d.versions.iter().enumerate().map(|(i, v)| version(d, v, i == 0)).collect();
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": format!("{}.{}", d.plural, d.group),
            "labels": {"app": "istio-pilot", "chart": "istio", "release": "istio"},
        },
        "spec": {
            "group": d.group,
            "names": names,
            "scope": "Namespaced",
            "versions": versions,
        },
    })
}

fn version(d: &Definition, name: &str, storage: bool) -> Value {
    let columns: Vec<Value> = d
        .columns
        .iter()
        .map(|(name, path, kind)| json!({"name": name, "jsonPath": path, "type": kind}))
        .collect();
    let mut version = json!({
        "name": name,
        "served": true,
        "storage": storage,
        "subresources": {"status": {}},
        "schema": {"openAPIV3Schema": schema::of(d.kind, d.spec_required)},
    });
    if !columns.is_empty() {
        version["additionalPrinterColumns"] = Value::Array(columns);
    }
    version
}

#[cfg(test)]
mod tests {
    use super::*;

    fn walk(schema: &Value, path: &str, visit: &mut impl FnMut(&str, &Value)) {
        visit(path, schema);
        for (name, property) in schema["properties"].as_object().into_iter().flatten() {
            walk(property, &format!("{path}.{name}"), visit);
        }
        if let Some(items) = schema.get("items") {
            walk(items, &format!("{path}[]"), visit);
        }
        if let Some(values) = schema.get("additionalProperties") {
            walk(values, &format!("{path}{{}}"), visit);
        }
    }

    #[test]
    fn every_node_has_a_type_and_every_version_a_schema() {
        let crds = crds();
        assert_eq!(crds.len(), 16);
        for crd in crds {
            let kind = crd["spec"]["names"]["kind"].as_str().unwrap().to_owned();
            let stored = crd["spec"]["versions"].as_array().unwrap();
            assert_eq!(stored.iter().filter(|v| v["storage"] == true).count(), 1, "{kind}");
            for version in stored {
                let schema = &version["schema"]["openAPIV3Schema"];
                walk(schema, "", &mut |path, node| {
                    let open = node["x-kubernetes-preserve-unknown-fields"] == true;
                    assert!(node["type"].is_string() || open, "{kind}{path}: {node}");
                });
                assert_eq!(
                    schema["properties"]["status"]["x-kubernetes-preserve-unknown-fields"],
                    true
                );
            }
        }
    }

    #[test]
    fn a_schema_holds_the_fields_with_their_limits() {
        let crds = crds();
        let vs = &crds[0]["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"];
        let http = &vs["properties"]["http"]["items"]["properties"];
        assert_eq!(http["route"]["items"]["required"], json!(["destination"]));
        assert_eq!(
            http["match"]["items"]["properties"]["uri"]["properties"]["regex"]["type"],
            "string"
        );
        assert_eq!(
            http["match"]["items"]["properties"]["headers"]["additionalProperties"]["type"],
            "object"
        );
        assert_eq!(http["websocketUpgrade"]["type"], "boolean");
        assert_eq!(http["redirect"]["properties"]["derivePort"]["enum"][1], "FROM_REQUEST_PORT");
        assert_eq!(
            crds[0]["spec"]["names"]["categories"],
            json!(["istio-io", "networking-istio-io"])
        );
    }
}
