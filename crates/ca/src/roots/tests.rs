//! What leaves are worth while roots change: every leaf that is valid must be believed by everybody who
//! holds a valid one.

use super::*;
use crate::{IssueError, Lifetimes, Names};
use base::SpiffeId;
use futures::FutureExt;
use rcgen::KeyPair;
use tls::{PeerRules, Role, Trust};

const NOW: WallTime = WallTime(1_800_000_000_000_000_000);
const DOMAIN: &str = "cluster.local";
pub(crate) const MINUTE: Duration = Duration::from_secs(60);

pub(crate) fn at(seconds: u64) -> WallTime {
    WallTime(NOW.0 + seconds * 1_000_000_000)
}

fn ratings() -> SpiffeId {
    SpiffeId::new(DOMAIN, "default", "ratings")
}

pub(crate) fn first() -> Roots {
    Roots::Steady(Arc::new(SelfSigned::generate(DOMAIN, NOW).unwrap()))
}

fn try_order(csr: &str, ttl: Duration, now: WallTime) -> Result<Order, IssueError> {
    Order::new(csr, Names::Workload(ratings()), ttl, Lifetimes::default(), now)
}

/// A leaf and the roots that came with it.
pub(crate) struct Holder {
    pub leaf: tls::Credential,
    roots: Trust,
}

pub(crate) fn holder(roots: &dyn Signer, ttl: Duration, now: WallTime) -> Holder {
    let (csr, key) = tls::request(&SpiffeId::new(DOMAIN, "kube-system", "admin")).unwrap();
    let order = try_order(&csr, ttl, now).unwrap();
    let mut chain = roots.issue(&order).now_or_never().unwrap().unwrap().chain;
    let trusted = Trust::from_pem(&chain.pop().unwrap()).unwrap();
    let leaf = tls::Credential::from_pem(&chain.concat(), &key).unwrap();
    Holder { leaf, roots: trusted }
}

impl Holder {
    pub fn believes(&self, other: &Holder, now: WallTime) -> bool {
        let rules = PeerRules { trust: Some(self.roots.clone()), ..PeerRules::default() };
        let now = rustls_pki_types::UnixTime::since_unix_epoch(Duration::from_nanos(now.0));
        let chain = other.leaf.chain();
        rules.check(&chain[0], &chain[1..], None, Role::Client, now).is_ok()
    }
}

#[test]
fn whoever_holds_a_valid_leaf_is_believed_all_the_time_and_the_old_root_goes() {
    let pace = Pace::of(MINUTE);
    let mut roots = first();
    let old = roots.signer().pem().to_owned();
    let mut holders: Vec<Holder> = Vec::new();
    let mut phases = vec![roots.phase()];
    for second in (0..300).step_by(5) {
        let now = at(second);
        let asked = second == 10;
        if let Some(next) = roots.advance(now, pace, asked, DOMAIN).unwrap() {
            // Another control plane reads what this one has written.
            roots = Roots::from_secret(&next.to_secret()).unwrap();
            phases.push(roots.phase());
        }
        holders.retain(|h| h.leaf.facts.not_after > now);
        holders.push(holder(&roots, MINUTE, now));
        let newest = &holders[holders.len() - 1];
        for other in &holders {
            assert!(newest.believes(other, now) && other.believes(newest, now), "{second}");
        }
    }
    assert_eq!(phases, ["steady", "prepare", "overlap", "steady"]);
    assert!(!roots.roots().contains(&old), "the old root is gone");
    let kept = roots.to_secret();
    assert!(kept[LAST].is_null() && kept[NEXT[1]].is_null());
}

#[test]
fn a_rotation_begins_by_itself_when_a_fifth_of_the_roots_life_is_left() {
    let roots = first();
    let pace = Pace::of(MINUTE);
    let day = 24 * 3600;
    assert!(roots.advance(at(2900 * day), pace, false, DOMAIN).unwrap().is_none());
    let next = roots.advance(at(2921 * day), pace, false, DOMAIN).unwrap().unwrap();
    assert_eq!(next.phase(), "prepare");
    assert_eq!(next.signer().pem(), roots.signer().pem(), "it does not sign yet");
    let again = next.advance(at(2921 * day + 5), pace, true, DOMAIN).unwrap();
    assert!(again.is_none(), "one rotation at a time");
}

#[test]
fn a_root_is_replaced_in_time_however_long_leaves_live() {
    let root = first();
    let end = root.signer().facts.not_after;
    // Leaves that live longer than a fifth of the root's life.
    let pace = Pace::of(Duration::from_secs(1000 * 24 * 3600));
    let begin = root.next_at(pace);
    assert!(end.0 - begin.0 >= 2 * nanos(pace.step()), "both steps fit into what is left");
    // Asked for so late that the signer ends within the step: nothing that it signed lives on.
    let late = WallTime(end.0 - nanos(MINUTE));
    let prepare = root.advance(late, pace, true, DOMAIN).unwrap().unwrap();
    assert_eq!(prepare.phase(), "prepare");
    assert_eq!(prepare.next_at(pace), end);
    assert!(prepare.advance(WallTime(end.0 - 1), pace, false, DOMAIN).unwrap().is_none());
    let overlap = prepare.advance(end, pace, false, DOMAIN).unwrap().unwrap();
    assert_eq!(overlap.phase(), "overlap");
    assert_eq!(overlap.next_at(pace), WallTime(end.0 + nanos(pace.step())));
}

#[test]
fn a_root_survives_its_secret_and_a_broken_one_is_refused() {
    let roots = first();
    let again = Roots::from_secret(&roots.to_secret()).unwrap();
    assert_eq!(again.roots(), roots.roots());
    // As Istio keeps it.
    let mut plain = roots.to_secret();
    plain["root-cert.pem"] = "".into();
    assert_eq!(Roots::from_secret(&plain).unwrap().roots(), roots.roots());
    let mut broken = roots.to_secret();
    broken["ca-key.pem"] = STANDARD.encode(KeyPair::generate().unwrap().serialize_pem()).into();
    assert!(Roots::from_secret(&broken).is_err(), "a key of another root");
    assert!(Roots::from_secret(&Value::Null).is_err());
}

#[test]
fn names_come_from_the_caller_and_not_from_the_request() {
    let leaf = holder(&first(), Duration::ZERO, NOW).leaf;
    assert_eq!(tls::spiffe_ids(&leaf.chain()[0]), vec![ratings()]);
    assert_eq!(leaf.facts.not_after, at(24 * 3600));
    assert!(leaf.facts.not_before < NOW);
}

#[test]
fn a_leaf_does_not_outlive_who_signs_it() {
    let roots = first();
    let end = roots.signer().facts.not_after;
    let late = WallTime(end.0 - nanos(MINUTE));
    assert_eq!(holder(&roots, Duration::ZERO, late).leaf.facts.not_after, end);
    let (csr, _) = tls::request(&ratings()).unwrap();
    let after = try_order(&csr, MINUTE, WallTime(end.0 + 1)).unwrap();
    assert!(roots.issue(&after).now_or_never().unwrap().is_err());
}

#[test]
fn too_long_a_life_and_a_forged_request_are_refused() {
    let (csr, _) = tls::request(&ratings()).unwrap();
    let long = Duration::from_secs(91 * 24 * 3600);
    assert!(matches!(try_order(&csr, long, NOW), Err(IssueError::TooLong { .. })));
    assert!(matches!(try_order("", Duration::ZERO, NOW), Err(IssueError::Request(_))));
    // One bit of the signature, which ends the request.
    let mut lines: Vec<String> = csr.lines().map(str::to_owned).collect();
    let body: String = lines[1..lines.len() - 1].concat();
    let mut der = STANDARD.decode(body).unwrap();
    *der.last_mut().unwrap() ^= 1;
    let end = lines.pop().unwrap();
    let forged = format!("{}\n{}\n{end}\n", lines[0], STANDARD.encode(der));
    assert!(matches!(try_order(&forged, Duration::ZERO, NOW), Err(IssueError::Request(_))));
}

#[test]
fn steps_of_a_rotation_get_along_and_strangers_do_not() {
    let pace = Pace::of(MINUTE);
    let step = pace.step().as_secs();
    let steady = first();
    let advance = |roots: &Roots, seconds, asked| {
        roots.advance(at(seconds), pace, asked, DOMAIN).unwrap().unwrap()
    };
    let prepare = advance(&steady, 0, true);
    let overlap = advance(&prepare, step, false);
    let after = advance(&overlap, 2 * step, false);
    for (before, next) in [(&steady, &prepare), (&prepare, &overlap), (&overlap, &after)] {
        assert!(next.gets_along_with(before) && before.gets_along_with(next));
        assert!(next.gets_along_with(next));
    }
    assert!(!after.gets_along_with(&steady));
    assert!(!first().gets_along_with(&steady));
}
