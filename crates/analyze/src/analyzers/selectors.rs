//! Policies of which one counts per workload: which of them select the same, and which select nothing.
//! Shared by the analyzers of Sidecars and Telemetries.

use crate::catalogue::{self, Message};
use crate::kinds::KindName;
use crate::pods::{PodView, list, selector_text};
use crate::report::Report;
use crate::world::{Resource, World, labels};
use base::Labels;

/// A kind of policy with a selector.
pub struct Policies {
    pub kind: KindName,
    /// The selector, as a path below `spec`.
    pub selector: &'static [&'static str],
    /// Said of each of those that select the same workload.
    pub conflict: &'static Message,
    /// Said of each of those in one namespace that select all of it.
    pub several: &'static Message,
}

impl Policies {
    /// `None`: it is for its whole namespace.
    pub fn selector_of(&self, policy: &Resource) -> Option<Labels> {
        let written = self.selector.iter().fold(policy.spec(), |v, key| &v[*key]);
        Some(labels(written)).filter(|l| !l.is_empty())
    }

    fn path(&self) -> String {
        format!("spec.{}", self.selector.join("."))
    }

    /// Selectors that select nothing, and those that select what another selects.
    pub fn check_selectors(&self, world: &World, report: &mut Report) {
        let pods: Vec<PodView<'_>> = world.workloads().collect();
        let selecting: Vec<(&Resource, Labels)> =
            world.all(self.kind).filter_map(|p| Some((p, self.selector_of(p)?))).collect();
        for (policy, selector) in &selecting {
            let here = |p: &&PodView<'_>| p.namespace() == policy.namespace();
            let mut selected = pods.iter().filter(here).filter(|p| p.matches(selector)).peekable();
            if selected.peek().is_none() {
                let arguments = ["selector", &selector_text(selector)];
                report.say(catalogue::NOT_FOUND, &policy.reference, self.path(), &arguments);
            }
            for pod in selected {
                let rivals: Vec<&str> = selecting
                    .iter()
                    .filter(|(o, s)| o.namespace() == policy.namespace() && pod.matches(s))
                    .map(|(o, _)| o.name())
                    .collect();
                if rivals.len() > 1 {
                    let arguments = [&list(rivals), policy.namespace(), pod.owner.name()];
                    report.say(self.conflict, &policy.reference, self.path(), &arguments);
                }
            }
        }
    }

    /// Several for the whole of one namespace.
    pub fn check_defaults(&self, world: &World, report: &mut Report) {
        let whole: Vec<&Resource> = world
            .all(self.kind)
            .filter(|p| self.selector_of(p).is_none() && !has_target(p))
            .collect();
        for policy in &whole {
            let here = whole.iter().filter(|o| o.namespace() == policy.namespace());
            let names: Vec<&str> = here.map(|o| o.name()).collect();
            if names.len() > 1 {
                let arguments = [&list(names), policy.namespace()];
                report.say(self.several, &policy.reference, "spec", &arguments);
            }
        }
    }
}

/// It is attached to a Gateway or Service instead.
fn has_target(policy: &Resource) -> bool {
    let spec = policy.spec();
    spec.get("targetRef").is_some() || spec["targetRefs"].as_array().is_some_and(|t| !t.is_empty())
}
