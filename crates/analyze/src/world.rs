//! What is analyzed: objects as they were written, and the [`Snapshot`] that the control plane would
//! compile from them.

use crate::kinds::{self, KindName};
use api::{Kind, MeshConfig};
use base::{Finding, Labels, ObjectRef};
use registry::{Snapshot, Store};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

pub struct World {
    pub snapshot: Arc<Snapshot>,
    /// The namespace of the control plane.
    pub root: String,
    /// The whole mesh configuration, also what the registry does not use of it.
    pub mesh: Value,
    /// What could not be read at all.
    pub unread: Vec<Finding>,
    objects: BTreeMap<KindName, BTreeMap<(String, String), Resource>>,
}

/// One object as it was written.
#[derive(Clone, Debug)]
pub struct Resource {
    pub reference: ObjectRef,
    pub value: Value,
}

/// How objects are to be understood.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The namespace of objects that name none.
    pub namespace: String,
    /// The namespace of the control plane.
    pub root: String,
    pub domain: String,
    /// YAML of a mesh configuration that counts instead of the one among the objects.
    pub mesh: Option<String>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            namespace: "default".into(),
            root: "istio-system".into(),
            domain: "cluster.local".into(),
            mesh: None,
        }
    }
}

impl World {
    /// Of two objects with the same name the later counts. Kinds that nobody reads are passed over.
    pub fn new(objects: impl IntoIterator<Item = Value>, settings: &Settings) -> World {
        let mut known: BTreeMap<KindName, BTreeMap<_, Resource>> = BTreeMap::new();
        for value in objects {
            let Some((kind, resource)) = Resource::read(value, &settings.namespace) else {
                continue;
            };
            let reference = &resource.reference;
            let key = (reference.namespace.clone(), reference.name.clone());
            known.entry(kind).or_default().insert(key, resource);
        }
        if let Some(yaml) = &settings.mesh {
            let map = mesh_config_map(yaml, &settings.root);
            known.entry(kinds::CONFIG_MAP).or_default().insert(mesh_key(&settings.root), map);
        }
        let mesh_map = known.get(&kinds::CONFIG_MAP).and_then(|m| m.get(&mesh_key(&settings.root)));
        let mesh = mesh_map.and_then(|m| m.value["data"]["mesh"].as_str()).map(parse_mesh);
        let (snapshot, unread) = snapshot(&known, settings);
        World {
            snapshot,
            root: settings.root.clone(),
            mesh: mesh.unwrap_or_default(),
            unread,
            objects: known,
        }
    }

    /// The objects of a kind, by namespace and name.
    pub fn all(&self, kind: KindName) -> impl Iterator<Item = &Resource> {
        self.objects.get(&kind).into_iter().flat_map(BTreeMap::values)
    }

    pub fn get(&self, kind: KindName, namespace: &str, name: &str) -> Option<&Resource> {
        self.objects.get(&kind)?.get(&(namespace.to_owned(), name.to_owned()))
    }

    pub fn find(&self, reference: &ObjectRef) -> Option<&Resource> {
        let key = (reference.namespace.clone(), reference.name.clone());
        let of_name = self.objects.iter().filter(|(kind, _)| kind.name == reference.kind);
        of_name.into_iter().find_map(|(_, all)| all.get(&key))
    }

    /// Every object of every kind.
    pub fn everything(&self) -> impl Iterator<Item = (KindName, &Resource)> {
        self.objects.iter().flat_map(|(kind, all)| all.values().map(move |r| (*kind, r)))
    }

    pub fn namespace_labels(&self, namespace: &str) -> Option<Labels> {
        self.get(kinds::NAMESPACE, "", namespace).map(Resource::labels)
    }
}

impl Resource {
    fn read(mut value: Value, namespace: &str) -> Option<(KindName, Resource)> {
        let kind = KindName::of(value["apiVersion"].as_str()?, value["kind"].as_str()?)?;
        let name = value["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        let own = value["metadata"]["namespace"].as_str().filter(|n| !n.is_empty());
        let namespace = match kind.namespaced {
            true => own.unwrap_or(namespace).to_owned(),
            false => String::new(),
        };
        if let (true, Some(metadata)) = (kind.namespaced, value["metadata"].as_object_mut()) {
            metadata.insert("namespace".into(), namespace.as_str().into());
        }
        Some((kind, Resource { reference: ObjectRef::new(kind.name, namespace, name), value }))
    }

    pub fn namespace(&self) -> &str {
        &self.reference.namespace
    }

    pub fn name(&self) -> &str {
        &self.reference.name
    }

    pub fn spec(&self) -> &Value {
        &self.value["spec"]
    }

    pub fn labels(&self) -> Labels {
        labels(&self.value["metadata"]["labels"])
    }

    pub fn annotations(&self) -> Labels {
        labels(&self.value["metadata"]["annotations"])
    }

    /// `namespace/name`, or the name alone of what has no namespace.
    pub fn full_name(&self) -> String {
        match self.namespace() {
            "" => self.name().to_owned(),
            namespace => format!("{namespace}/{}", self.name()),
        }
    }
}

/// A map of texts; anything else in it is left out.
pub fn labels(value: &Value) -> Labels {
    let pairs = value.as_object().into_iter().flatten();
    pairs.filter_map(|(k, v)| Some((k.clone(), v.as_str()?.to_owned()))).collect()
}

fn mesh_key(root: &str) -> (String, String) {
    (root.to_owned(), "istio".to_owned())
}

fn mesh_config_map(yaml: &str, root: &str) -> Resource {
    let value = json!({"apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "istio", "namespace": root}, "data": {"mesh": yaml}});
    Resource { reference: ObjectRef::new("ConfigMap", root, "istio"), value }
}

fn parse_mesh(yaml: &str) -> Value {
    serde_yaml_ng::from_str(yaml).unwrap_or_default()
}

fn snapshot(
    known: &BTreeMap<KindName, BTreeMap<(String, String), Resource>>,
    settings: &Settings,
) -> (Arc<Snapshot>, Vec<Finding>) {
    let mut store = Store::new(&settings.domain, &settings.root);
    let mut unread = Vec::new();
    // Services before what refers to them, as the control plane reads them.
    for kind in Kind::ALL {
        let same = |k: &&KindName| k.name == kind.name() && k.group == kind.group();
        for resource in known.keys().find(same).into_iter().flat_map(|k| known[k].values()) {
            let applied = store.apply(kind, &resource.value);
            unread.extend(applied.findings.into_iter().filter(|f| f.level == base::Level::Error));
        }
    }
    (store.snapshot(), unread)
}

/// What of the mesh configuration the registry reads as well.
impl World {
    pub fn mesh_config(&self) -> &MeshConfig {
        &self.snapshot.mesh.config
    }
}
