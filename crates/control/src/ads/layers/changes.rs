//! How one list of resources differs from another, by the addresses of what is in them.

use compile::{List, Shared};
use ir::Resource;
use std::sync::Arc;

/// What is gone, and what is new.
type Changes = (Vec<Resource>, Vec<Resource>);

pub(super) fn is_same(a: &List, b: &List) -> bool {
    match (a, b) {
        (List::Clusters(a), List::Clusters(b)) => Arc::ptr_eq(a, b),
        (List::Endpoints(a), List::Endpoints(b)) => Arc::ptr_eq(a, b),
        (List::Listeners(a), List::Listeners(b)) => Arc::ptr_eq(a, b),
        (List::Routes(a), List::Routes(b)) => Arc::ptr_eq(a, b),
        (List::Names(a), List::Names(b)) => Arc::ptr_eq(a, b),
        _ => false,
    }
}

/// From one list to another, if most of it stays.
pub(super) fn changes(old: &List, new: &List) -> Option<Changes> {
    match (old, new) {
        (List::Clusters(a), List::Clusters(b)) => beside(a, b, Resource::Cluster),
        (List::Endpoints(a), List::Endpoints(b)) => beside(a, b, Resource::Endpoints),
        (List::Listeners(a), List::Listeners(b)) => beside(a, b, Resource::Listener),
        (List::Routes(a), List::Routes(b)) => beside(a, b, Resource::Route),
        _ => None,
    }
}

fn beside<T>(old: &Shared<T>, new: &Shared<T>, of: fn(Arc<T>) -> Resource) -> Option<Changes> {
    let same = |(a, b): &(&Arc<T>, &Arc<T>)| Arc::ptr_eq(a, b);
    let (mut gone, mut fresh) = (Vec::new(), Vec::new());
    if old.len() == new.len() {
        for (a, b) in old.iter().zip(&**new).filter(|pair| !same(pair)) {
            gone.push(of(a.clone()));
            fresh.push(of(b.clone()));
            if 4 * gone.len() > new.len() {
                return None;
            }
        }
        return Some((gone, fresh));
    }
    let before = old.iter().zip(&**new).take_while(same).count();
    let (old, new) = (&old[before..], &new[before..]);
    let after = old.iter().rev().zip(new.iter().rev()).take_while(same).count();
    if 2 * (before + after) < old.len() + new.len() {
        return None;
    }
    gone.extend(old[..old.len() - after].iter().cloned().map(of));
    fresh.extend(new[..new.len() - after].iter().cloned().map(of));
    Some((gone, fresh))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ir::Endpoints;

    fn list(of: &[&Arc<Endpoints>]) -> List {
        List::Endpoints(of.iter().map(|e| Arc::clone(e)).collect())
    }

    fn names((gone, new): Changes) -> (Vec<String>, Vec<String>) {
        let names = |all: Vec<Resource>| all.iter().map(|r| r.key().name.to_string()).collect();
        (names(gone), names(new))
    }

    #[test]
    fn what_is_gone_and_what_is_new() {
        let make = |n: usize| Endpoints { cluster: format!("{n}").into(), ..Endpoints::default() };
        let all: Vec<Arc<Endpoints>> = (0..20).map(|n| Arc::new(make(n))).collect();
        let old: Vec<&Arc<Endpoints>> = all.iter().collect();
        let (other, more) = (Arc::new(make(7)), Arc::new(make(99)));
        let (mut replaced, mut added, mut removed) = (old.clone(), old.clone(), old.clone());
        replaced[7] = &other;
        added.insert(3, &more);
        removed.remove(5);
        for (new, gone, fresh) in [
            (replaced, vec!["7"], vec!["7"]),
            (added, vec![], vec!["99"]),
            (removed, vec!["5"], vec![]),
        ] {
            let (a, b) = names(changes(&list(&old), &list(&new)).expect("most stays"));
            assert_eq!(
                (a, b),
                (
                    gone.iter().map(|s| s.to_string()).collect(),
                    fresh.iter().map(|s| s.to_string()).collect()
                )
            );
        }
        assert!(changes(&list(&old), &list(&old[..2])).is_none(), "too little stays");
        assert!(changes(&list(&old), &List::Listeners(Arc::default())).is_none());
    }
}
