//! What access rules decide, and that finding policies by an index decides the same as asking all of them.

use super::*;
use ir::{
    Cidr, HeaderCondition, HeaderMatch, MetadataMatch, Pattern, Permission, Principal, StringMatch,
    Value, ValueMatch,
};
use std::collections::BTreeMap;
use wire::Request;

fn text(pattern: Pattern) -> StringMatch {
    StringMatch { pattern, ignore_case: false }
}

fn header(name: &str, condition: HeaderCondition) -> HeaderMatch {
    HeaderMatch { name: name.into(), condition, invert: false, missing_as_empty: false }
}

fn host(value: &str) -> Permission {
    let value = StringMatch { pattern: Pattern::Exact(value.into()), ignore_case: true };
    Permission::Header(header(":authority", HeaderCondition::Value(value)))
}

fn path(value: &str) -> Permission {
    Permission::Path(StringMatch::exact(value))
}

fn named(value: &str) -> Principal {
    Principal::Authenticated(Some(StringMatch::exact(value)))
}

fn policy(permission: Permission, principal: Principal) -> RbacPolicy {
    RbacPolicy { permissions: vec![permission], principals: vec![principal] }
}

fn rules(action: RbacAction, policies: Vec<RbacPolicy>) -> Rules {
    let named = policies.into_iter().enumerate().map(|(i, p)| (format!("p{i:04}").into(), p));
    let mut findings = Vec::new();
    let rules = RbacRules { action, policies: named.collect() };
    let rules = Rules::new(&rules, "rules", &mut findings);
    assert_eq!(findings, []);
    rules
}

/// One request, as far as access rules look at it.
struct Asked {
    head: Request,
    peer: Option<Peer>,
    metadata: Metadata,
}

impl Asked {
    fn new(method: &str, authority: &str, path: &str) -> Self {
        let head = Request::new(method.as_bytes(), authority.as_bytes(), path.as_bytes());
        Self { head, peer: None, metadata: Metadata::new() }
    }

    fn by(mut self, name: &str) -> Self {
        let name = Some(name.to_owned());
        self.peer = Some(Peer { uri_san: name, tls_version: Some("TLSv1.3"), ..Peer::default() });
        self
    }

    fn access(&self) -> Access<'_, Request> {
        Access {
            head: Some(&self.head),
            peer: self.peer.as_ref(),
            direct: Some("10.1.2.3".parse().unwrap()),
            remote: Some("192.0.2.7".parse().unwrap()),
            local: Some("10.0.0.1:8080".parse().unwrap()),
            server_name: "outbound_.80_._.a",
            metadata: &self.metadata,
        }
    }
}

#[test]
fn conditions_hold_as_their_names_say() {
    let any = Principal::Any;
    let get = || header(":method", HeaderCondition::Value(StringMatch::exact("GET")));
    let cidr = |base: &str, bits| Cidr { base: base.parse().unwrap(), bits };
    let claim = MetadataMatch {
        filter: "jwt".into(),
        path: vec!["iss".into()],
        value: ValueMatch::Text(StringMatch::exact("me")),
        invert: false,
    };
    let spiffe = "spiffe://cluster.local/ns/a/sa/b";
    let with = |permission| policy(permission, any.clone());
    let by = |principal| policy(Permission::Any, principal);
    let table: Vec<(RbacPolicy, bool)> = vec![
        (with(Permission::Any), true),
        (with(path("/a/b")), true),
        (with(path("/a/b?x=1")), false),
        (with(Permission::Path(text(Pattern::Prefix("/a/".into())))), true),
        (with(Permission::Path(text(Pattern::Suffix("/b".into())))), true),
        (with(Permission::Path(text(Pattern::Suffix("=1".into())))), false),
        (with(Permission::PathTemplate("/a/*".into())), true),
        (with(Permission::PathTemplate("/*".into())), false),
        (with(Permission::PathTemplate("/**".into())), true),
        (with(Permission::PathTemplate("/**/b".into())), true),
        (with(host("Example.COM:80")), true),
        (with(host("example.com")), false),
        (with(Permission::Header(get())), true),
        (with(Permission::Not(Box::new(Permission::Header(get())))), false),
        (with(Permission::DestinationIp(cidr("10.0.0.0", 24))), true),
        (with(Permission::DestinationIp(cidr("10.0.1.0", 24))), false),
        (with(Permission::DestinationPort(8080)), true),
        (with(Permission::DestinationPort(80)), false),
        (with(Permission::DestinationPorts(8080, 8081)), true),
        (with(Permission::DestinationPorts(8000, 8080)), false),
        (with(Permission::ServerName(text(Pattern::Suffix("._.a".into())))), true),
        (with(Permission::Metadata(claim.clone())), true),
        (with(Permission::All(vec![path("/a/b"), host("example.com")])), false),
        (with(Permission::OneOf(vec![path("/a/b"), host("example.com")])), true),
        (by(named(spiffe)), true),
        (by(named("spiffe://cluster.local/ns/a/sa/c")), false),
        (by(Principal::Authenticated(None)), true),
        (by(Principal::Not(Box::new(named(spiffe)))), false),
        (by(Principal::Authenticated(Some(StringMatch::regex("spiffe://.*/ns/a/.*")))), true),
        (by(Principal::DirectRemoteIp(cidr("10.0.0.0", 8))), true),
        (by(Principal::RemoteIp(cidr("10.0.0.0", 8))), false),
        (by(Principal::RemoteIp(cidr("192.0.2.0", 24))), true),
        (by(Principal::Metadata(claim)), true),
        (RbacPolicy { permissions: vec![], principals: vec![any.clone()] }, false),
        (RbacPolicy { permissions: vec![Permission::Any], principals: vec![] }, false),
    ];
    let mut asked = Asked::new("GET", "eXample.com:80", "/a/b?x=1").by(spiffe);
    let said = BTreeMap::from([("iss".into(), Value::String("me".into()))]);
    asked.metadata.insert("jwt".into(), Value::Struct(said));
    for (policy, expected) in table {
        let shown = format!("{policy:?}");
        let rules = rules(RbacAction::Allow, vec![policy]);
        assert_eq!(rules.judge(&asked.access()).allowed, expected, "{shown}");
    }
}

#[test]
fn the_action_says_what_a_match_means() {
    let asked = Asked::new("GET", "a", "/a");
    let name: Str = "p0001".into();
    for (action, at, expected) in [
        (RbacAction::Allow, "/a", (true, true)),
        (RbacAction::Allow, "/b", (false, false)),
        (RbacAction::Deny, "/a", (false, true)),
        (RbacAction::Deny, "/b", (true, false)),
        (RbacAction::Log, "/a", (true, true)),
        (RbacAction::Log, "/b", (true, false)),
    ] {
        let policies = vec![
            policy(path("/never"), Principal::Any),
            policy(path(at), Principal::Any),
            policy(path(at), Principal::Any),
        ];
        let rules = rules(action, policies);
        let policy = expected.1.then_some(&name);
        assert_eq!(rules.judge(&asked.access()), Judgement { allowed: expected.0, policy });
    }
    let none = rules(RbacAction::Allow, vec![]);
    assert!(!none.judge(&asked.access()).allowed, "nobody was allowed");
}

/// Who has no certificate has no name, whatever is asked of it.
#[test]
fn plaintext_has_no_name() {
    let any_name = Principal::Authenticated(Some(StringMatch::regex(".*")));
    let asked = Asked::new("GET", "a", "/a");
    for (principal, expected) in [
        (any_name.clone(), false),
        (Principal::Authenticated(None), false),
        (Principal::Not(Box::new(any_name)), true),
    ] {
        let rules = rules(RbacAction::Allow, vec![policy(Permission::Any, principal)]);
        assert_eq!(rules.judge(&asked.access()).allowed, expected);
    }
}

#[test]
fn of_a_connection_no_condition_on_requests_holds() {
    let asked = Asked::new("GET", "a", "/a").by("spiffe://a");
    let connection = Access { head: None, ..asked.access() };
    for (permission, expected) in [
        (path("/a"), false),
        (host("a"), false),
        (Permission::PathTemplate("/**".into()), false),
        (Permission::DestinationPort(8080), true),
    ] {
        let rules = rules(RbacAction::Allow, vec![policy(permission, named("spiffe://a"))]);
        assert_eq!(rules.judge(&connection).allowed, expected);
    }
}

/// What cannot be compiled allows nobody, and denies everybody.
#[test]
fn broken_policies_fail_closed() {
    let broken = Permission::Path(StringMatch::regex("("));
    let negated = Permission::Not(Box::new(broken.clone()));
    let asked = Asked::new("GET", "a", "/a");
    for permission in [broken, negated] {
        for action in [RbacAction::Allow, RbacAction::Deny] {
            let policies =
                BTreeMap::from([("p".into(), policy(permission.clone(), Principal::Any))]);
            let mut findings = Vec::new();
            let rules = Rules::new(&RbacRules { action, policies }, "r", &mut findings);
            assert_eq!(findings.len(), 1, "{findings:?}");
            assert!(!rules.judge(&asked.access()).allowed, "{action:?} {permission:?}");
        }
    }
}

/// A source of numbers that is the same each time.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 33) % n
    }

    fn one<T: Clone>(&mut self, of: &[T]) -> T {
        of[self.below(of.len() as u64) as usize].clone()
    }
}

const PATHS: [&str; 6] = ["/", "/a", "/a/b", "/a/b/c", "/b", "/bb"];
const HOSTS: [&str; 4] = ["a.com", "A.com", "b.com:80", "c"];
const NAMES: [&str; 4] = ["spiffe://a", "spiffe://ab", "spiffe://b", ""];
const METHODS: [&str; 3] = ["GET", "POST", "PUT"];

fn any_text(dice: &mut Dice, of: &[&str]) -> StringMatch {
    let value: Str = dice.one(of).into();
    let pattern = match dice.below(5) {
        0 | 1 => Pattern::Exact(value),
        2 => Pattern::Prefix(value),
        3 => Pattern::Suffix(value),
        _ => Pattern::Regex(format!("{}.*", regex::escape(&value)).into()),
    };
    StringMatch { pattern, ignore_case: dice.below(4) == 0 }
}

fn any_permission(dice: &mut Dice, depth: u64) -> Permission {
    let list = |dice: &mut Dice| {
        (0..1 + dice.below(3)).map(|_| any_permission(dice, depth - 1)).collect::<Vec<_>>()
    };
    match dice.below(if depth == 0 { 6 } else { 9 }) {
        0 => Permission::Any,
        1 => Permission::Path(any_text(dice, &PATHS)),
        2 => {
            let value = HeaderCondition::Value(any_text(dice, &HOSTS));
            Permission::Header(HeaderMatch {
                invert: dice.below(5) == 0,
                ..header(":authority", value)
            })
        }
        3 => {
            Permission::Header(header(":method", HeaderCondition::Value(any_text(dice, &METHODS))))
        }
        4 => Permission::DestinationPort(dice.one(&[80, 8080])),
        5 => Permission::ServerName(any_text(dice, &["outbound_.80_._.a", "a"])),
        6 => Permission::All(list(dice)),
        7 => Permission::OneOf(list(dice)),
        _ => Permission::Not(Box::new(any_permission(dice, depth - 1))),
    }
}

fn any_principal(dice: &mut Dice, depth: u64) -> Principal {
    let list = |dice: &mut Dice| {
        (0..1 + dice.below(3)).map(|_| any_principal(dice, depth - 1)).collect::<Vec<_>>()
    };
    match dice.below(if depth == 0 { 3 } else { 6 }) {
        0 => Principal::Any,
        1 | 2 => Principal::Authenticated(Some(any_text(dice, &NAMES))),
        3 => Principal::All(list(dice)),
        4 => Principal::OneOf(list(dice)),
        _ => Principal::Not(Box::new(any_principal(dice, depth - 1))),
    }
}

#[test]
fn the_index_finds_what_asking_all_finds() {
    let mut dice = Dice(7);
    let mut matched = 0;
    for _ in 0..300 {
        let policies = (0..1 + dice.below(12))
            .map(|_| policy(any_permission(&mut dice, 2), any_principal(&mut dice, 2)))
            .collect();
        let rules = rules(RbacAction::Allow, policies);
        for _ in 0..20 {
            let mut asked = Asked::new(dice.one(&METHODS), dice.one(&HOSTS), dice.one(&PATHS));
            if dice.below(4) != 0 {
                asked = asked.by(dice.one(&NAMES));
            }
            let access = asked.access();
            let all = rules.policies.iter().find(|p| p.matches(&access)).map(|p| &p.name);
            assert_eq!(rules.judge(&access).policy, all);
            matched += usize::from(all.is_some());
        }
    }
    assert!((1500..4500).contains(&matched), "{matched} of 6000 matched: the dice are loaded");
}

/// Of a thousand policies by path, host or name no more are looked at than of ten.
#[test]
fn of_many_policies_few_are_looked_at() {
    let asked = Asked::new("GET", "host5.com", "/path5").by("spiffe://name5");
    for make in [
        (|i: usize| policy(path(&format!("/path{i}")), Principal::Any)) as fn(usize) -> RbacPolicy,
        |i| policy(host(&format!("host{i}.com")), Principal::Any),
        |i| policy(Permission::Any, named(&format!("spiffe://name{i}"))),
    ] {
        let rules = rules(RbacAction::Allow, (0..1000).map(make).collect());
        let looked = std::cell::Cell::new(0);
        let access = asked.access();
        let found = rules.index.first(&access, |i| {
            looked.set(looked.get() + 1);
            rules.policies[i].matches(&access)
        });
        assert_eq!((found, looked.get()), (Some(5), 1));
    }
}

/// What a request costs, as the least of many rounds in turn: what disturbs one disturbs no least.
#[test]
fn a_thousand_rules_cost_little_more_than_ten() {
    let some = |i: usize| match i % 3 {
        0 => policy(path(&format!("/path{i}")), Principal::Any),
        1 => policy(host(&format!("host{i}.com")), Principal::Any),
        _ => policy(Permission::Any, named(&format!("spiffe://name{i}"))),
    };
    let made = [10, 1000].map(|n| rules(RbacAction::Allow, (0..n).map(some).collect()));
    let asked = ["/path3", "/path9", "/nowhere"]
        .map(|path| Asked::new("GET", "host4.com", path).by("spiffe://name8"));
    let mut least = [std::time::Duration::MAX; 2];
    for _ in 0..200 {
        for (rules, least) in made.iter().zip(&mut least) {
            let began = std::time::Instant::now();
            for _ in 0..100 {
                for asked in &asked {
                    std::hint::black_box(rules.judge(&asked.access()));
                }
            }
            *least = began.elapsed().min(*least);
        }
    }
    let ratio = least[1].as_secs_f64() / least[0].as_secs_f64();
    println!("{:?} of 10 rules, {:?} of 1000: {ratio:.3}", least[0], least[1]);
    assert!(ratio <= 1.2, "{ratio}: {least:?}");
}
