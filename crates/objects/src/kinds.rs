//! The registry of kinds: built-in ones from a table, custom ones from CRDs. Everything that a
//! request path or an `apiVersion` and `kind` must be translated to is looked up here.

mod builtin;
mod custom;

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::Value;

pub use custom::{CrdProblem, from_crd, names_conflict};

use crate::meta::split_api_version;
use crate::schema::Shape;

/// One stored kind with all the versions it is served under.
#[derive(Debug, Clone)]
pub struct Kind {
    pub group: String,
    pub kind: String,
    pub list_kind: String,
    pub plural: String,
    pub singular: String,
    pub short_names: Vec<String>,
    pub categories: Vec<String>,
    pub namespaced: bool,
    /// The version that objects are stored in.
    pub storage_version: String,
    /// Preferred version first; legacy groups last.
    pub served: Vec<Served>,
    pub status: bool,
    pub scale: Option<ScalePaths>,
    /// Defined by a CRD.
    pub custom: bool,
    /// False for reviews and the like, which are answered and forgotten.
    pub stored: bool,
}

/// One group and version under which a kind is served.
#[derive(Debug, Clone)]
pub struct Served {
    pub group: String,
    pub version: String,
    /// The warning that a use of this version earns.
    pub deprecation: Option<String>,
    pub shape: Shape,
    /// A CRD's `openAPIV3Schema`.
    pub schema: Option<Arc<Value>>,
    /// A CRD's `additionalPrinterColumns`.
    pub columns: Arc<Vec<Value>>,
}

/// Where a kind keeps what the scale subresource shows (paths of keys).
#[derive(Debug, Clone)]
pub struct ScalePaths {
    pub replicas: Vec<String>,
    pub status_replicas: Vec<String>,
    pub selector: Vec<String>,
}

impl Kind {
    pub fn served(&self, group: &str, version: &str) -> Option<&Served> {
        self.served.iter().find(|s| s.group == group && s.version == version)
    }

    /// The entry of the stored version.
    pub fn storage(&self) -> &Served {
        self.served(&self.group, &self.storage_version).unwrap_or(&self.served[0])
    }

    pub fn storage_api_version(&self) -> String {
        crate::meta::join_api_version(&self.group, &self.storage_version)
    }

    /// `deployments.apps`, as messages name a resource.
    pub fn qualified(&self) -> String {
        if self.group.is_empty() {
            self.plural.clone()
        } else {
            format!("{}.{}", self.plural, self.group)
        }
    }
}

/// All kinds known at one moment.
#[derive(Debug, Clone, Default)]
pub struct Registry {
    kinds: Vec<Arc<Kind>>,
    by_plural: HashMap<(String, String), Arc<Kind>>,
    by_kind: HashMap<(String, String), Arc<Kind>>,
}

impl Registry {
    /// The built-in kinds alone.
    pub fn builtin() -> Registry {
        let mut registry = Registry::default();
        builtin::kinds().into_iter().for_each(|kind| registry.add(kind));
        registry
    }

    /// The same registry with these custom kinds beside the built-in ones.
    pub fn with_custom(&self, custom: impl IntoIterator<Item = Kind>) -> Registry {
        let mut registry = Registry::default();
        for kind in self.kinds.iter().filter(|k| !k.custom) {
            registry.add_shared(kind.clone());
        }
        custom.into_iter().for_each(|kind| registry.add(kind));
        registry
    }

    fn add(&mut self, kind: Kind) {
        self.add_shared(Arc::new(kind));
    }

    fn add_shared(&mut self, kind: Arc<Kind>) {
        for served in &kind.served {
            let plural = (served.group.clone(), kind.plural.clone());
            self.by_plural.entry(plural).or_insert_with(|| kind.clone());
            let name = (served.group.clone(), kind.kind.clone());
            self.by_kind.entry(name).or_insert_with(|| kind.clone());
        }
        self.kinds.push(kind);
    }

    pub fn all(&self) -> &[Arc<Kind>] {
        &self.kinds
    }

    /// By group (a legacy one too) and plural name.
    pub fn by_plural(&self, group: &str, plural: &str) -> Option<&Arc<Kind>> {
        self.by_plural.get(&(group.to_owned(), plural.to_owned()))
    }

    /// By group (a legacy one too) and kind.
    pub fn by_kind(&self, group: &str, kind: &str) -> Option<&Arc<Kind>> {
        self.by_kind.get(&(group.to_owned(), kind.to_owned()))
    }

    /// The kind of an object, if it is served under the object's version.
    pub fn of_object(&self, object: &Value) -> Option<&Arc<Kind>> {
        let (group, version) = split_api_version(crate::meta::api_version(object));
        let kind = self.by_kind(group, crate::meta::kind(object))?;
        kind.served(group, version).map(|_| kind)
    }

    /// Groups in discovery's order, each with its versions, preferred first.
    pub fn groups(&self) -> Vec<(String, Vec<String>)> {
        let mut groups: Vec<(String, Vec<String>)> = Vec::new();
        let main = self.kinds.iter().flat_map(|k| k.served.iter().filter(|s| s.group == k.group));
        let legacy = self.kinds.iter().flat_map(|k| k.served.iter().filter(|s| s.group != k.group));
        for served in main.chain(legacy) {
            let index = groups.iter().position(|(g, _)| *g == served.group).unwrap_or_else(|| {
                groups.push((served.group.clone(), Vec::new()));
                groups.len() - 1
            });
            let versions = &mut groups[index].1;
            if !versions.contains(&served.version) {
                versions.push(served.version.clone());
            }
        }
        for (_, versions) in &mut groups {
            versions.sort_by_key(|v| std::cmp::Reverse(version_order(v)));
        }
        groups
    }
}

/// Kubernetes' order of versions: stable before beta before alpha, then by number.
pub fn version_order(version: &str) -> (u8, u32, u32) {
    let digits = |text: &str| text.chars().take_while(char::is_ascii_digit).collect::<String>();
    let Some(rest) = version.strip_prefix('v') else { return (0, 0, 0) };
    let major = digits(rest);
    let tail = &rest[major.len()..];
    let major = major.parse().unwrap_or(0);
    match (tail.strip_prefix("beta"), tail.strip_prefix("alpha")) {
        _ if tail.is_empty() => (3, major, 0),
        (Some(n), _) => (2, major, n.parse().unwrap_or(0)),
        (_, Some(n)) => (1, major, n.parse().unwrap_or(0)),
        _ => (0, 0, 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_legacy_deployment_is_the_same_kind() {
        let registry = Registry::builtin();
        let old = registry.by_kind("extensions", "Deployment").unwrap();
        assert_eq!((old.group.as_str(), old.storage_version.as_str()), ("apps", "v1"));
        assert!(old.served("extensions", "v1beta1").unwrap().deprecation.is_some());
        assert!(old.served("apps", "v1").unwrap().deprecation.is_none());
    }

    #[test]
    fn every_stored_builtin_kind_has_a_shape() {
        for kind in Registry::builtin().all() {
            assert_ne!(kind.storage().shape, Shape::Any, "{}", kind.qualified());
        }
    }

    #[test]
    fn versions_are_ordered_as_kubernetes_does() {
        let mut versions = ["v1alpha1", "v1", "v2beta1", "v2", "v1beta2", "v1beta1"];
        versions.sort_by_key(|v| std::cmp::Reverse(version_order(v)));
        assert_eq!(versions, ["v2", "v1", "v2beta1", "v1beta2", "v1beta1", "v1alpha1"]);
    }

    #[test]
    fn apps_is_listed_before_extensions() {
        let groups = Registry::builtin().groups();
        let place = |name: &str| groups.iter().position(|(g, _)| g == name).unwrap();
        assert!(place("apps") < place("extensions"));
        assert_eq!(groups[place("apps")].1[0], "v1");
    }
}
