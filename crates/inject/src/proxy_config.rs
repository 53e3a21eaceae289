//! ProxyConfig objects: settings of proxies by namespace and by workload, laid over the mesh's own. They
//! take effect when a pod is made.

use base::Labels;
use serde_json::{Map, Value};

/// One object of the kind.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ProxyConfig {
    /// Oldest first.
    age: (String, String, String),
    /// Of the pods; empty for all of the namespace.
    selector: Labels,
    /// What it sets, under the names of the mesh's `defaultConfig`.
    settings: Map<String, Value>,
}

impl ProxyConfig {
    pub fn from_json(object: &Value) -> ProxyConfig {
        let (meta, spec) = (&object["metadata"], &object["spec"]);
        let text = |v: &Value| v.as_str().unwrap_or_default().to_owned();
        let labels = spec["selector"]["matchLabels"].as_object().into_iter().flatten();
        let mut settings = Map::new();
        let mut set = |key: &str, value: &Value| {
            if !value.is_null() {
                settings.insert(key.to_owned(), value.clone());
            }
        };
        set("concurrency", &spec["concurrency"]);
        set("proxyMetadata", &spec["environmentVariables"]);
        set("image", &spec["image"]);
        ProxyConfig {
            age: (text(&meta["creationTimestamp"]), text(&meta["name"]), text(&meta["namespace"])),
            selector: labels.map(|(k, v)| (k.clone(), text(v))).collect(),
            settings,
        }
    }

    pub fn name(&self) -> &str {
        &self.age.1
    }

    pub fn namespace(&self) -> &str {
        &self.age.2
    }
}

/// What holds for a pod: the root namespace's, its own namespace's, its own, each laid over the one
/// before. Of several of one kind the oldest counts.
pub(crate) fn of_pod<'a>(
    all: &'a [ProxyConfig],
    root: &str,
    namespace: &str,
    pod: &Value,
) -> Vec<&'a Map<String, Value>> {
    let labels = &pod["metadata"]["labels"];
    let takes = |c: &ProxyConfig| c.selector.iter().all(|(k, v)| labels[k] == v.as_str());
    let oldest = |fits: &dyn Fn(&ProxyConfig) -> bool| {
        let found = all.iter().filter(|c| fits(c)).min_by(|a, b| a.age.cmp(&b.age));
        found.map(|c| &c.settings)
    };
    let whole = |c: &ProxyConfig, of: &str| c.namespace() == of && c.selector.is_empty();
    [
        oldest(&|c| whole(c, root)),
        oldest(&|c| namespace != root && whole(c, namespace)),
        oldest(&|c| c.namespace() == namespace && !c.selector.is_empty() && takes(c)),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// The image in the variant that is asked for (`debug`, `distroless`); one that is pinned stays.
pub(crate) fn variant(image: &str, config: &Value) -> String {
    const VARIANTS: [&str; 2] = ["debug", "distroless"];
    let Some(wanted) = config["image"]["imageType"].as_str().filter(|t| !t.is_empty()) else {
        return image.to_owned();
    };
    let tagged = image.rsplit_once(':').filter(|(_, tag)| !tag.contains('/'));
    let Some((name, tag)) = tagged.filter(|_| !image.contains('@')) else {
        return image.to_owned();
    };
    let bare = VARIANTS.iter().find_map(|v| tag.strip_suffix(v)?.strip_suffix('-')).unwrap_or(tag);
    match wanted {
        "default" => format!("{name}:{bare}"),
        other => format!("{name}:{bare}-{other}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn images_have_variants() {
        let of = |image: &str, kind: &str| variant(image, &json!({"image": {"imageType": kind}}));
        assert_eq!(
            of("docker.io/istio/proxyv2:1.20.0", "distroless"),
            "docker.io/istio/proxyv2:1.20.0-distroless"
        );
        assert_eq!(of("istio/proxyv2:1.20.0-debug", "default"), "istio/proxyv2:1.20.0");
        assert_eq!(
            of("istio/proxyv2:1.20.0-debug", "distroless"),
            "istio/proxyv2:1.20.0-distroless"
        );
        assert_eq!(of("istio/proxyv2@sha256:00", "debug"), "istio/proxyv2@sha256:00");
        assert_eq!(of("localhost:5000/proxyv2", "debug"), "localhost:5000/proxyv2");
        assert_eq!(of("proxyv2:1", ""), "proxyv2:1");
    }
}
