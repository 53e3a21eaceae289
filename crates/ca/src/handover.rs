//! From roots of our own to an authority that the operator plugs into a running mesh: in the same steps as from
//! one root to the next, so that no two workloads ever meet of which one does not trust the other.

use crate::issue::{Answer, Order, Signer, State};
use crate::plug_in::PlugIn;
use crate::roots::{Pace, Roots, after};
use base::WallTime;
use std::sync::Arc;

/// How far it is.
#[derive(Clone, Debug)]
pub struct Handover {
    old: Roots,
    new: Arc<PlugIn>,
    step: Step,
    since: WallTime,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// The new roots are trusted, and nothing is signed under them yet.
    Prepare,
    /// What the old root has signed is still believed.
    Overlap,
    Done,
}

const STEPS: [(&str, Step); 3] =
    [("prepare", Step::Prepare), ("overlap", Step::Overlap), ("done", Step::Done)];

impl Handover {
    /// `note`: what was noted when the last step began. Of another authority than `new` it says nothing, but that
    /// the old roots are no longer those of the mesh counts for every other.
    pub fn of(old: Roots, new: Arc<PlugIn>, note: Option<&str>, now: WallTime) -> Handover {
        let known = note.and_then(|note| read(note, &new));
        let (step, since) = known.unwrap_or((Step::Prepare, now));
        Handover { old, new, step, since }
    }

    /// To be kept until the next step.
    pub fn note(&self) -> String {
        let (name, _) = STEPS.iter().find(|(_, step)| *step == self.step).unwrap_or(&STEPS[0]);
        format!("{name} {} {}", self.since.0, self.new.fingerprint())
    }

    pub fn is_done(&self) -> bool {
        self.step == Step::Done
    }

    /// The next step, if it is time.
    pub fn advance(&self, now: WallTime, pace: Pace) -> Option<Handover> {
        let step = match self.step {
            Step::Prepare => Step::Overlap,
            Step::Overlap => Step::Done,
            Step::Done => return None,
        };
        (now >= self.next_at(pace)).then(|| Handover { step, since: now, ..self.clone() })
    }

    /// A root that has ended holds nobody up: nothing of it is left.
    fn next_at(&self, pace: Pace) -> WallTime {
        after(self.since, pace).min(self.old.signer().facts.not_after)
    }

    fn phase(&self) -> &'static str {
        match self.step {
            Step::Prepare => "prepare",
            Step::Overlap => "overlap",
            Step::Done => "of the operator",
        }
    }
}

fn read(note: &str, new: &PlugIn) -> Option<(Step, WallTime)> {
    let mut words = note.split(' ');
    let (name, since, of) = (words.next()?, words.next()?, words.next()?);
    let (_, step) = STEPS.iter().find(|(known, _)| *known == name)?;
    let same = of == new.fingerprint() || *step == Step::Done;
    same.then_some((*step, WallTime(since.parse().ok()?)))
}

impl Signer for Handover {
    fn issue<'a>(&'a self, order: &'a Order) -> Answer<'a> {
        let signed = match self.step {
            Step::Prepare => self.old.signer().sign(order, &[], self.roots()),
            Step::Overlap | Step::Done => self.new.sign(order, self.roots()),
        };
        Box::pin(std::future::ready(signed))
    }

    fn roots(&self) -> String {
        match self.step {
            Step::Done => self.new.roots(),
            Step::Prepare | Step::Overlap => self.old.roots() + &self.new.roots(),
        }
    }

    fn state(&self, pace: Pace) -> State {
        let new = self.new.state(pace);
        if self.is_done() {
            return new;
        }
        let old = self.old.state(pace).certificates.into_iter();
        let role = match self.step {
            Step::Prepare => "signs and is trusted",
            _ => "is trusted and signed before",
        };
        let old = old.map(|(_, pem)| (role, pem));
        let coming = new.certificates.into_iter().map(|(role, pem)| match (self.step, role) {
            (Step::Prepare, "signs") => ("signs next", pem),
            _ => (role, pem),
        });
        // Who signs is told of first.
        let certificates = match self.step {
            Step::Prepare => old.chain(coming).collect(),
            _ => coming.chain(old).collect(),
        };
        State {
            source: "from Secret istio-ca-secret to Secret cacerts",
            phase: self.phase(),
            next_at: Some(self.next_at(pace)),
            certificates,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::roots::tests::{Holder, MINUTE, at, first, holder};
    use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
    use std::io::ErrorKind;

    /// An authority under a root of its own.
    fn plugged() -> Arc<PlugIn> {
        let params = |name: &str| {
            let mut params = CertificateParams::default();
            params.distinguished_name.push(DnType::CommonName, name);
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            params
        };
        let (root_key, key) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
        let root = params("root").self_signed(&root_key).unwrap().pem();
        let above = Issuer::new(params("root"), root_key);
        let cert = params("signer").signed_by(&key, &above).unwrap().pem();
        let file = |name: &str| match name {
            "ca-cert.pem" => Ok(cert.clone()),
            "ca-key.pem" => Ok(key.serialize_pem()),
            "root-cert.pem" => Ok(root.clone()),
            _ => Err(ErrorKind::NotFound.into()),
        };
        Arc::new(PlugIn::read(file, at(0)).unwrap().unwrap())
    }

    #[test]
    fn whoever_holds_a_valid_leaf_is_believed_while_another_authority_takes_over() {
        let (pace, old, new) = (Pace::of(MINUTE), first(), plugged());
        let gone = old.signer().pem().to_owned();
        let mut holders: Vec<Holder> = vec![holder(&old, MINUTE, at(0))];
        let mut handover = Handover::of(old.clone(), new.clone(), None, at(5));
        let mut phases = vec![handover.phase()];
        for second in (5..300).step_by(5) {
            let now = at(second);
            if let Some(next) = handover.advance(now, pace) {
                // Another control plane, or this one started again, reads what was noted.
                let note = next.note();
                handover = Handover::of(old.clone(), new.clone(), Some(&note), at(9_999));
                phases.push(handover.phase());
            }
            holders.retain(|h| h.leaf.facts.not_after > now);
            holders.push(holder(&handover, MINUTE, now));
            let newest = &holders[holders.len() - 1];
            for other in &holders {
                assert!(newest.believes(other, now) && other.believes(newest, now), "{second}");
            }
        }
        assert_eq!(phases, ["prepare", "overlap", "of the operator"]);
        assert!(handover.is_done() && !handover.roots().contains(gone.trim()));
        assert_eq!(handover.state(pace), new.state(pace));
    }

    #[test]
    fn a_note_counts_for_the_authority_that_it_names() {
        let (pace, new, other) = (Pace::of(MINUTE), plugged(), plugged());
        let begun = Handover::of(first(), new.clone(), None, at(0));
        let overlap = begun.advance(at(100), pace).unwrap();
        let again =
            |new: &Arc<PlugIn>, note: &str| Handover::of(first(), new.clone(), Some(note), at(200));
        assert_eq!(again(&new, &overlap.note()).phase(), "overlap");
        assert_eq!(again(&other, &overlap.note()).phase(), "prepare", "it begins anew");
        let done = overlap.advance(at(200), pace).unwrap();
        assert!(again(&other, &done.note()).is_done(), "the old root is nobody's any more");
        assert_eq!(again(&new, "nonsense").phase(), "prepare");
        assert!(begun.advance(at(60), pace).is_none() && done.advance(at(9_999), pace).is_none());
    }
}
