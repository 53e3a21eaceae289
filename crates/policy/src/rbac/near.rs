//! What came nearest where nothing matched: a policy of which one half did.

use super::expression::{Permit, Who};
use super::{Access, Policy, Rules};
use ir::Str;
use wire::RequestHead;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Near<'r> {
    pub policy: &'r Str,
    pub missed: Half,
}

/// What a policy asks for, and of whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Half {
    /// The client may, but not this.
    What,
    /// This may be asked for, but not by this client.
    Who,
}

impl Rules {
    /// For those who explain: all policies are asked.
    pub fn nearest<H: RequestHead + ?Sized>(&self, access: &Access<'_, H>) -> Option<Near<'_>> {
        let all = self.policies.iter().filter(|policy| !policy.broken);
        // Of several, one whose other half says something; the first of those.
        let near = all.filter_map(|policy| near(policy, access));
        near.reduce(|a, b| if a.0 >= b.0 { a } else { b }).map(|(_, near)| near)
    }
}

/// Whether the half that holds says something, with what misses.
fn near<'r, H: RequestHead + ?Sized>(
    policy: &'r Policy,
    access: &Access<'_, H>,
) -> Option<(bool, Near<'r>)> {
    let what = policy.permissions.iter().any(|p| p.matches(access));
    let who = policy.principals.iter().any(|p| p.matches(access));
    let (says, missed) = match (what, who) {
        (true, false) => (!policy.permissions.iter().any(is_anything), Half::Who),
        (false, true) => (!policy.principals.iter().any(is_anybody), Half::What),
        _ => return None,
    };
    Some((says, Near { policy: &policy.name, missed }))
}

fn is_anything(permit: &Permit) -> bool {
    match permit {
        Permit::Any => true,
        Permit::All(list) => list.iter().all(is_anything),
        _ => false,
    }
}

fn is_anybody(who: &Who) -> bool {
    match who {
        Who::Any => true,
        Who::All(list) => list.iter().all(is_anybody),
        _ => false,
    }
}
