//! Proxies for which the same patches are: what they hold is patched once for all of them, layer by
//! layer, and of a layer that changes only the resources that do.

use envoyfilter::{Patched, Resources, Selected};
use ir::{Kind, ResourceKey};
use std::collections::HashMap;
use std::sync::{Arc, Weak};
use xds::Refusal;
use xds::server::{Desired, Encoded, Layer, Needs};

pub(super) struct Alike {
    by: Selected,
    /// What patches add, in their order.
    added: Vec<(Resources, ResourceKey, Encoded, Option<Refusal>)>,
    /// Of all that is added.
    added_layer: Arc<Layer>,
    /// What is gone from the mesh is gone here, since only the mesh keeps it alive.
    wholes: Vec<(Weak<Desired>, Whole)>,
    layers: Vec<(Weak<Layer>, Arc<Layer>, Refused)>,
    done: Done,
    /// When it was last asked for.
    pub used: u64,
}

/// All that proxies are to hold.
#[derive(Clone)]
pub(super) struct Whole {
    pub patched: Arc<Desired>,
    /// What our own proxy will refuse, and of which kind it is.
    pub refused: Arc<[(Resources, Refusal)]>,
}

type Refused = Vec<(Resources, Refusal)>;

#[derive(Clone)]
enum Outcome {
    Same,
    Removed,
    Changed(Encoded, Option<Refusal>),
}

/// Wholes that are kept at the most.
const MAX_WHOLES: usize = 256;

impl Alike {
    pub fn new(by: Selected) -> Alike {
        let mut added: Vec<(Resources, ResourceKey, Encoded, Option<Refusal>)> = Vec::new();
        for (kind, of) in
            [(Kind::Cluster, Resources::Clusters), (Kind::Listener, Resources::Listeners)]
        {
            for (name, bytes) in by.added(of) {
                let key = ResourceKey::new(kind, name.as_str());
                let (encoded, refusal) = Encoded::of_bytes(kind, bytes, &Needs::default());
                if added.iter().all(|(_, known, ..)| *known != key) {
                    added.push((of, key, encoded, refusal));
                }
            }
        }
        let layer = added.iter().map(|(_, key, encoded, _)| (key.clone(), encoded.clone()));
        Alike {
            added_layer: Arc::new(layer.collect()),
            added,
            by,
            wholes: Vec::new(),
            layers: Vec::new(),
            done: Done::default(),
            used: 0,
        }
    }

    /// Whether some proxy may still be served what was patched.
    pub fn is_in_use(&self) -> bool {
        self.wholes.iter().any(|(input, _)| input.strong_count() > 0)
    }

    pub fn whole(&mut self, input: &Arc<Desired>) -> Whole {
        if let Some((_, known)) = self.wholes.iter().find(|(i, _)| i.as_ptr() == Arc::as_ptr(input))
        {
            return known.clone();
        }
        self.wholes.retain(|(input, _)| input.strong_count() > 0);
        self.wholes.drain(..self.wholes.len().saturating_sub(MAX_WHOLES - 1));
        let others = self.wholes.iter().map(|(_, whole)| whole.patched.len());
        self.done.live = input.len() + others.sum::<usize>();
        let mut refused = Refused::new();
        let layers = input.layers().iter().map(|layer| self.layer(layer, &mut refused)).collect();
        let mut patched = Desired::of(layers);
        if let Some(added) = self.added_to(&patched, &mut refused) {
            patched = patched.with(added);
        }
        let whole = Whole { patched: Arc::new(patched), refused: refused.into() };
        self.layers.retain(|(input, ..)| input.strong_count() > 0);
        self.wholes.push((Arc::downgrade(input), whole.clone()));
        whole
    }

    fn layer(&mut self, input: &Arc<Layer>, refused: &mut Refused) -> Arc<Layer> {
        let by = &self.by;
        let concerned =
            |key: &ResourceKey| resources_of(key.kind).filter(|of| by.about(*of).next().is_some());
        if !input.keys().any(|key| concerned(key).is_some()) {
            return input.clone();
        }
        let known = self.layers.iter().find(|(i, ..)| i.as_ptr() == Arc::as_ptr(input));
        if let Some((_, output, own)) = known {
            refused.extend(own.iter().cloned());
            return output.clone();
        }
        // What is refused is told with the whole, so only what was patched without is built upon.
        let spotless = self.layers.iter().rev().filter(|(.., own)| own.is_empty());
        let live = spotless.filter_map(|(i, output, _)| Some((i.upgrade()?, output)));
        let near = live.max_by_key(|(i, _)| i.shared_with(input));
        let (mut output, keys): (Layer, Vec<&ResourceKey>) = match &near {
            Some((before, output)) => {
                let gone = before.keys_beside(input);
                (Layer::clone(output), input.keys_beside(before).chain(gone).collect())
            }
            None => (Layer::clone(input), input.keys().collect()),
        };
        let mut own = Refused::new();
        for key in keys {
            let now = input.get(key);
            let outcome = match (now, concerned(key)) {
                (None, _) => Outcome::Removed,
                (Some(_), None) => Outcome::Same,
                (Some(now), Some(of)) => self.done.outcome(by, of, key, now),
            };
            match (outcome, now) {
                (Outcome::Same, Some(now)) => output.insert(key.clone(), now.clone()),
                (Outcome::Same, None) | (Outcome::Removed, _) => drop(output.remove(key)),
                (Outcome::Changed(encoded, refusal), _) => {
                    own.extend(resources_of(key.kind).zip(refusal));
                    output.insert(key.clone(), encoded);
                }
            }
        }
        refused.extend(own.iter().cloned());
        let output = Arc::new(output);
        self.layers.push((Arc::downgrade(input), output.clone(), own));
        output
    }

    /// What is there already stays, as in Istio.
    fn added_to(&self, patched: &Desired, refused: &mut Refused) -> Option<Arc<Layer>> {
        let news = || self.added.iter().filter(|(_, key, ..)| !patched.contains_key(key));
        let told = |(of, _, _, refusal): &(Resources, _, _, Option<Refusal>)| {
            refusal.clone().map(|refusal| (*of, refusal))
        };
        refused.extend(news().filter_map(told));
        match news().count() {
            0 => None,
            all if all == self.added.len() => Some(self.added_layer.clone()),
            _ => Some(Arc::new(news().map(|(_, k, e, _)| (k.clone(), e.clone())).collect())),
        }
    }
}

/// What became of resources, by name and content. Those that nobody asked for while as many others were
/// asked for as are in use are forgotten.
#[derive(Default)]
struct Done {
    recent: HashMap<(ResourceKey, u64), Outcome>,
    older: HashMap<(ResourceKey, u64), Outcome>,
    /// How many resources are in use.
    live: usize,
}

/// Outcomes that are kept in any case.
const MIN_DONE: usize = 1024;

impl Done {
    fn outcome(
        &mut self,
        by: &Selected,
        of: Resources,
        key: &ResourceKey,
        now: &Encoded,
    ) -> Outcome {
        let at = (key.clone(), now.version);
        if let Some(known) = self.recent.get(&at) {
            return known.clone();
        }
        let outcome = self.older.remove(&at).unwrap_or_else(|| patched(by, of, key, now));
        if self.recent.len() >= self.live.max(MIN_DONE) {
            self.older = std::mem::take(&mut self.recent);
        }
        self.recent.insert(at, outcome.clone());
        outcome
    }
}

fn patched(by: &Selected, of: Resources, key: &ResourceKey, now: &Encoded) -> Outcome {
    match by.patch(of, &now.bytes) {
        Patched::Same => Outcome::Same,
        Patched::Removed => Outcome::Removed,
        Patched::Changed(bytes) => {
            let (encoded, refusal) = Encoded::of_bytes(key.kind, bytes, &now.needs);
            Outcome::Changed(encoded, refusal)
        }
    }
}

fn resources_of(kind: Kind) -> Option<Resources> {
    match kind {
        Kind::Cluster => Some(Resources::Clusters),
        Kind::Listener => Some(Resources::Listeners),
        Kind::Route => Some(Resources::Routes),
        _ => None,
    }
}
