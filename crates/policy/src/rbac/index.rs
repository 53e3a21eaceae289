//! Which policies a request could match at all. Most policies need the path, the peer's name, the host or the
//! port to be one of a few: by these they are found, so that a thousand cost little more than ten.

use super::Access;
use ir::{HeaderCondition, HeaderMatch, Pattern, Permission, Principal, RbacPolicy, StringMatch};
use std::borrow::Cow;
use std::collections::HashMap;
use wire::RequestHead;

/// What policies are found by; those before others say more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Dimension {
    Path,
    Name,
    ServerName,
    Host,
    Port,
    Method,
}

const DIMENSIONS: [Dimension; 6] = [
    Dimension::Path,
    Dimension::Name,
    Dimension::ServerName,
    Dimension::Host,
    Dimension::Port,
    Dimension::Method,
];

/// A value without which a policy does not match.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Anchor {
    Exact(Box<[u8]>),
    Prefix(Box<[u8]>),
}

/// A policy matches only where one of these is the request's.
type Anchors = (Dimension, Vec<Anchor>);

/// Policies by their number, in ascending order in each list.
#[derive(Debug, Default)]
pub(super) struct Index {
    by: Vec<(Dimension, Values)>,
    /// Those that nothing is known of.
    rest: Vec<usize>,
}

#[derive(Debug, Default)]
struct Values {
    exact: HashMap<Box<[u8]>, Vec<usize>>,
    prefixes: HashMap<Box<[u8]>, Vec<usize>>,
    /// Of the prefixes, each once.
    lengths: Vec<usize>,
}

impl Index {
    /// `policies` in their order; whether they are broken, of which nothing is known.
    pub fn new<'p>(policies: impl Iterator<Item = (&'p RbacPolicy, bool)>) -> Self {
        let mut by: HashMap<Dimension, Values> = HashMap::new();
        let mut rest = Vec::new();
        for (i, (policy, broken)) in policies.enumerate() {
            match anchors(policy).filter(|_| !broken) {
                Some((dimension, anchors)) => {
                    let values = by.entry(dimension).or_default();
                    anchors.into_iter().for_each(|anchor| values.add(anchor, i));
                }
                None => rest.push(i),
            }
        }
        let by = DIMENSIONS.into_iter().filter_map(|d| Some((d, by.remove(&d)?))).collect();
        Self { by, rest }
    }

    /// The first policy that matches.
    pub fn first<H: RequestHead + ?Sized>(
        &self,
        access: &Access<'_, H>,
        matches: impl Fn(usize) -> bool,
    ) -> Option<usize> {
        let mut found: Option<usize> = None;
        let mut look = |list: &[usize]| {
            let before = list.iter().take_while(|i| found.is_none_or(|f| **i < f));
            if let Some(i) = before.copied().find(|i| matches(*i)) {
                found = Some(i);
            }
        };
        look(&self.rest);
        for (dimension, values) in &self.by {
            dimension.values(access, |value| values.each(value, &mut look));
        }
        found
    }
}

impl Values {
    fn add(&mut self, anchor: Anchor, i: usize) {
        let list = match anchor {
            Anchor::Exact(value) => self.exact.entry(value).or_default(),
            Anchor::Prefix(value) => {
                if !self.lengths.contains(&value.len()) {
                    self.lengths.push(value.len());
                }
                self.prefixes.entry(value).or_default()
            }
        };
        if list.last() != Some(&i) {
            list.push(i);
        }
    }

    /// The lists of policies that a value may match.
    fn each(&self, value: &[u8], look: &mut impl FnMut(&[usize])) {
        if let Some(list) = self.exact.get(value) {
            look(list);
        }
        for length in &self.lengths {
            if let Some(list) = value.get(..*length).and_then(|start| self.prefixes.get(start)) {
                look(list);
            }
        }
    }
}

impl Dimension {
    fn values<H: RequestHead + ?Sized>(self, access: &Access<'_, H>, mut each: impl FnMut(&[u8])) {
        match self {
            Dimension::Path => access.path().into_iter().for_each(each),
            Dimension::Name => access.names().for_each(each),
            Dimension::ServerName => each(access.server_name.as_bytes()),
            Dimension::Host => {
                if let Some(head) = access.head {
                    each(&lower(head.authority()));
                }
            }
            Dimension::Port => {
                if let Some(local) = access.local {
                    each(&u32::from(local.port()).to_be_bytes());
                }
            }
            Dimension::Method => access.head.map(H::method).into_iter().for_each(each),
        }
    }
}

fn lower(text: &[u8]) -> Cow<'_, [u8]> {
    match text.iter().any(u8::is_ascii_uppercase) {
        true => Cow::Owned(text.to_ascii_lowercase()),
        false => Cow::Borrowed(text),
    }
}

fn anchors(policy: &RbacPolicy) -> Option<Anchors> {
    let what = one_of(policy.permissions.iter().map(of_permission));
    let who = one_of(policy.principals.iter().map(of_principal));
    better(what, who)
}

/// All of them hold, so each alone is enough to find the policy by.
fn better(one: Option<Anchors>, other: Option<Anchors>) -> Option<Anchors> {
    let (Some(a), Some(b)) = (&one, &other) else { return one.or(other) };
    if (a.0, a.1.len()) <= (b.0, b.1.len()) { one } else { other }
}

/// One of them holds, so they must agree on what to look at.
fn one_of(list: impl Iterator<Item = Option<Anchors>>) -> Option<Anchors> {
    let mut all: Option<Anchors> = None;
    for anchors in list {
        let (dimension, mut more) = anchors?;
        match &mut all {
            None => all = Some((dimension, more)),
            Some((known, values)) if *known == dimension => values.append(&mut more),
            Some(_) => return None,
        }
    }
    all
}

fn of_permission(permission: &Permission) -> Option<Anchors> {
    match permission {
        Permission::All(list) => list.iter().map(of_permission).fold(None, better),
        Permission::OneOf(list) => one_of(list.iter().map(of_permission)),
        Permission::Header(header) => of_header(header),
        Permission::Path(path) => of_text(Dimension::Path, path),
        Permission::ServerName(name) => of_text(Dimension::ServerName, name),
        Permission::DestinationPort(port) => {
            Some((Dimension::Port, vec![Anchor::Exact(port.to_be_bytes().into())]))
        }
        Permission::Any
        | Permission::Not(_)
        | Permission::PathTemplate(_)
        | Permission::DestinationIp(_)
        | Permission::DestinationPorts(..)
        | Permission::Metadata(_) => None,
    }
}

fn of_principal(principal: &Principal) -> Option<Anchors> {
    match principal {
        Principal::All(list) => list.iter().map(of_principal).fold(None, better),
        Principal::OneOf(list) => one_of(list.iter().map(of_principal)),
        Principal::Authenticated(Some(name)) => of_text(Dimension::Name, name),
        Principal::Header(header) => of_header(header),
        Principal::Path(path) => of_text(Dimension::Path, path),
        Principal::Any
        | Principal::Not(_)
        | Principal::Authenticated(None)
        | Principal::SourceIp(_)
        | Principal::DirectRemoteIp(_)
        | Principal::RemoteIp(_)
        | Principal::Metadata(_) => None,
    }
}

fn of_header(header: &HeaderMatch) -> Option<Anchors> {
    let HeaderCondition::Value(text) = &header.condition else { return None };
    if header.invert || header.missing_as_empty {
        return None;
    }
    match (&*header.name, &text.pattern) {
        // Hosts are compared in lower case; what is exact in another case is among them.
        (":authority", Pattern::Exact(host)) => {
            let host = host.to_ascii_lowercase().into_bytes();
            Some((Dimension::Host, vec![Anchor::Exact(host.into())]))
        }
        (":method", _) => of_text(Dimension::Method, text),
        _ => None,
    }
}

fn of_text(dimension: Dimension, text: &StringMatch) -> Option<Anchors> {
    if text.ignore_case {
        return None;
    }
    let anchor = match &text.pattern {
        Pattern::Exact(value) => Anchor::Exact(value.as_bytes().into()),
        Pattern::Prefix(value) => Anchor::Prefix(value.as_bytes().into()),
        Pattern::Suffix(_) | Pattern::Contains(_) | Pattern::Regex(_) => return None,
    };
    Some((dimension, vec![anchor]))
}
