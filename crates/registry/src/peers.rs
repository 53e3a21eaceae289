//! PeerAuthentications, and what they mean for one workload: the mesh's policy, under it the
//! namespace's, under that the workload's own and its ports'; of each kind the oldest counts.

use crate::{Collection, Item};
use api::{MutualTlsMode, PeerAuthentication};
use base::{Labels, ObjectRef};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

#[derive(Clone, Debug, Default)]
pub struct PeerAuthentications {
    pub version: u64,
    mesh: Option<Arc<Item<PeerAuthentication>>>,
    by_namespace: HashMap<String, OfNamespace>,
}

#[derive(Clone, Debug, Default)]
struct OfNamespace {
    whole: Option<Arc<Item<PeerAuthentication>>>,
    /// Oldest first.
    selecting: Vec<Arc<Item<PeerAuthentication>>>,
}

/// Which connections a workload takes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Admits {
    whole: Decided,
    ports: BTreeMap<u16, Decided>,
}

/// A mode, and the policy that says so.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Decided {
    pub mode: Admission,
    /// `None`: nobody says anything.
    pub by: Option<(ObjectRef, String)>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Admission {
    /// Plaintext only, as far as the mesh is concerned.
    Plaintext,
    /// Mutual TLS, plaintext, and TLS that the application ends.
    #[default]
    Both,
    /// Mutual TLS only.
    Mutual,
}

impl PeerAuthentications {
    pub(crate) fn index(root: &str, all: &Collection<PeerAuthentication>) -> Self {
        let mut index = Self { version: all.version, ..Self::default() };
        for item in all.iter() {
            let plain = selector(item).is_none();
            if item.namespace() == root {
                // In the root namespace a selector has no meaning.
                if plain {
                    index.mesh.get_or_insert_with(|| item.clone());
                }
                continue;
            }
            let of = index.by_namespace.entry(item.namespace().to_owned()).or_default();
            match plain {
                true => drop(of.whole.get_or_insert_with(|| item.clone())),
                false => of.selecting.push(item.clone()),
            }
        }
        index
    }

    /// For a workload with these labels.
    pub fn of_workload(&self, namespace: &str, labels: &Labels) -> Admits {
        let of = self.by_namespace.get(namespace);
        let own = of.and_then(|of| of.selecting.iter().find(|i| selects(i, labels)));
        let whole = self.of_namespace(namespace);
        let Some(own) = own else { return Admits { whole, ports: BTreeMap::new() } };
        let whole = decided(own, own.spec.mtls.mode, "spec.mtls").unwrap_or(whole);
        let of_port = |(port, mtls): (&String, &api::MutualTls)| {
            let path = format!("spec.portLevelMtls[{port}]");
            let decided = decided(own, mtls.mode, &path).unwrap_or_else(|| whole.clone());
            Some((port.parse().ok()?, decided))
        };
        let ports = own.spec.port_level_mtls.iter().filter_map(of_port).collect();
        Admits { whole, ports }
    }

    fn of_namespace(&self, namespace: &str) -> Decided {
        let whole = self.by_namespace.get(namespace).and_then(|of| of.whole.as_ref());
        let wider = [whole, self.mesh.as_ref()];
        let mut decisions =
            wider.into_iter().flatten().filter_map(|i| decided(i, i.spec.mtls.mode, "spec.mtls"));
        decisions.next().unwrap_or_default()
    }
}

impl Admits {
    /// On a port of the workload.
    pub fn at(&self, port: u16) -> &Decided {
        self.ports.get(&port).unwrap_or(&self.whole)
    }

    /// On ports that no policy names.
    pub fn elsewhere(&self) -> &Decided {
        &self.whole
    }

    /// The ports that policies name.
    pub fn ports(&self) -> impl Iterator<Item = (u16, &Decided)> {
        self.ports.iter().map(|(port, decided)| (*port, decided))
    }
}

/// What a policy says; `None` where it leaves it to the wider one.
fn decided(item: &Item<PeerAuthentication>, mode: MutualTlsMode, path: &str) -> Option<Decided> {
    let mode = match mode {
        MutualTlsMode::Unset => return None,
        MutualTlsMode::Disable => Admission::Plaintext,
        MutualTlsMode::Permissive => Admission::Both,
        MutualTlsMode::Strict => Admission::Mutual,
    };
    Some(Decided { mode, by: Some((item.object.clone(), format!("{path}.mode"))) })
}

fn selector(item: &Item<PeerAuthentication>) -> Option<&Labels> {
    item.spec.selector.as_ref().map(|s| &s.match_labels).filter(|l| !l.is_empty())
}

fn selects(item: &Item<PeerAuthentication>, labels: &Labels) -> bool {
    selector(item).is_some_and(|s| s.iter().all(|(k, v)| labels.get(k) == Some(v)))
}
