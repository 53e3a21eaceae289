//! One rule: who (`from`), what (`to`), and under which conditions (`when`).

use super::attribute::{Asked, Asks};
use super::condition::{Attribute, Condition, Never, Reading, effect, refuse, together};
use api::{
    AuthorizationFrom, AuthorizationOperation, AuthorizationRule, AuthorizationSource,
    AuthorizationTo, UnknownFields,
};
use base::Finding;
use ir::{RbacPolicy, Str};

/// The policy of a rule; `None`: it can match nothing.
pub(super) fn compile(
    namespace: &str,
    rule: &AuthorizationRule,
    index: usize,
    reading: Reading<'_>,
) -> (Option<RbacPolicy>, Vec<Finding>) {
    let path = format!("spec.rules[{index}]");
    let mut reader = Reader { namespace, reading, findings: Vec::new() };
    let policy = reader.policy(rule, &path).ok();
    (policy, reader.findings)
}

struct Reader<'a> {
    namespace: &'a str,
    reading: Reading<'a>,
    findings: Vec<Finding>,
}

impl Reader<'_> {
    fn policy(&mut self, rule: &AuthorizationRule, path: &str) -> Result<RbacPolicy, Never> {
        self.known(&rule.unknown, path)?;
        let (mut asked, mut asks) = (Vec::new(), Vec::new());
        for (i, when) in rule.when.iter().enumerate() {
            let path = format!("{path}.when[{i}]");
            self.known(&when.unknown, &path)?;
            let paths = [format!("{path}.values"), format!("{path}.notValues")];
            let (values, not_values) = (when.values.clone(), when.not_values.clone());
            if values.is_empty() && not_values.is_empty() {
                self.empty(&path)?;
            }
            if let Some(attribute) = Asked::of_key(&when.key) {
                asked.push(Condition { attribute, paths, values, not_values });
            } else if let Some(attribute) = Asks::of_key(&when.key, self.namespace) {
                asks.push(self.expanded(Condition { attribute, paths, values, not_values }));
            } else {
                let say = format!("{:?} is no attribute: {}", when.key, effect(self.reading));
                self.findings.push(Finding::error(format!("{path}.key"), say));
                refuse(self.reading)?;
            }
        }
        let operations = self.operations(&rule.to, path);
        let sources = self.sources(&rule.from, path);
        Ok(RbacPolicy {
            permissions: self.alternatives(operations, &asked)?,
            principals: self.alternatives(sources, &asks)?,
        })
    }

    /// Each alternative together with what holds for all; those that cannot match are left out.
    fn alternatives<A: Attribute + Clone>(
        &mut self,
        alternatives: Vec<Vec<Condition<A>>>,
        common: &[Condition<A>],
    ) -> Result<Vec<A::Expression>, Never> {
        let mut all = Vec::new();
        for mut conditions in alternatives {
            conditions.extend_from_slice(common);
            all.extend(together(&conditions, self.reading, &mut self.findings).ok());
        }
        if all.is_empty() { Err(Never) } else { Ok(all) }
    }

    fn operations(&mut self, to: &[AuthorizationTo], path: &str) -> Vec<Vec<Condition<Asked>>> {
        let mut all = Vec::new();
        for (i, to) in to.iter().enumerate() {
            let path = format!("{path}.to[{i}]");
            if self.known(&to.unknown, &path).is_err() {
                continue;
            }
            let path = format!("{path}.operation");
            all.extend(self.part(to.operation.as_ref(), &path, |o| &o.unknown, operation));
        }
        if to.is_empty() { vec![Vec::new()] } else { all }
    }

    fn sources(&mut self, from: &[AuthorizationFrom], path: &str) -> Vec<Vec<Condition<Asks>>> {
        let mut all = Vec::new();
        let namespace: Str = self.namespace.into();
        for (i, from) in from.iter().enumerate() {
            let path = format!("{path}.from[{i}]");
            if self.known(&from.unknown, &path).is_err() {
                continue;
            }
            let path = format!("{path}.source");
            let read = |s: &AuthorizationSource, path: &str| source(s, path, &namespace);
            let part = self.part(from.source.as_ref(), &path, |s| &s.unknown, read);
            let expand = |all: Vec<_>| all.into_iter().map(|c| self.expanded(c)).collect();
            all.extend(part.map(expand));
        }
        if from.is_empty() { vec![Vec::new()] } else { all }
    }

    /// What is empty was meant to say something: it must not allow everything.
    fn part<T, A>(
        &mut self,
        part: Option<&T>,
        path: &str,
        unknown: impl Fn(&T) -> &UnknownFields,
        read: impl Fn(&T, &str) -> Vec<Condition<A>>,
    ) -> Option<Vec<Condition<A>>> {
        let conditions = part.map(|p| read(p, path)).unwrap_or_default();
        if let Some(part) = part {
            self.known(unknown(part), path).ok()?;
        }
        if conditions.is_empty() {
            self.empty(path).ok()?;
        }
        Some(conditions)
    }

    fn empty(&mut self, path: &str) -> Result<(), Never> {
        let say = format!("is empty: {}", effect(self.reading));
        self.findings.push(Finding::error(path, say));
        refuse(self.reading)
    }

    fn known(&mut self, unknown: &UnknownFields, path: &str) -> Result<(), Never> {
        for name in unknown.keys() {
            let say = format!("unknown field: {}", effect(self.reading));
            self.findings.push(Finding::error(format!("{path}.{name}"), say));
        }
        if unknown.is_empty() { Ok(()) } else { refuse(self.reading) }
    }

    fn expanded(&self, condition: Condition<Asks>) -> Condition<Asks> {
        if !matches!(condition.attribute, Asks::Principal) {
            return condition;
        }
        let expand =
            |list: &[String]| list.iter().flat_map(|p| self.reading.trust.expand(p)).collect();
        let (values, not_values) = (expand(&condition.values), expand(&condition.not_values));
        Condition { values, not_values, ..condition }
    }
}

fn operation(o: &AuthorizationOperation, path: &str) -> Vec<Condition<Asked>> {
    present(
        path,
        [
            (Asked::Host, ["hosts", "notHosts"], &o.hosts, &o.not_hosts),
            (Asked::Method, ["methods", "notMethods"], &o.methods, &o.not_methods),
            (Asked::Path, ["paths", "notPaths"], &o.paths, &o.not_paths),
            (Asked::DestinationPort, ["ports", "notPorts"], &o.ports, &o.not_ports),
        ],
    )
}

fn source(s: &AuthorizationSource, path: &str, namespace: &Str) -> Vec<Condition<Asks>> {
    let account = Asks::Account(namespace.clone());
    let (accounts, not_accounts) = (&s.service_accounts, &s.not_service_accounts);
    let (remote, not_remote) = (&s.remote_ip_blocks, &s.not_remote_ip_blocks);
    let (request, not_request) = (&s.request_principals, &s.not_request_principals);
    present(
        path,
        [
            (Asks::Principal, ["principals", "notPrincipals"], &s.principals, &s.not_principals),
            (
                Asks::RequestPrincipal,
                ["requestPrincipals", "notRequestPrincipals"],
                request,
                not_request,
            ),
            (account, ["serviceAccounts", "notServiceAccounts"], accounts, not_accounts),
            (
                Asks::TrustDomain,
                ["trustDomains", "notTrustDomains"],
                &s.trust_domains,
                &s.not_trust_domains,
            ),
            (Asks::Namespace, ["namespaces", "notNamespaces"], &s.namespaces, &s.not_namespaces),
            (Asks::RemoteIp, ["remoteIpBlocks", "notRemoteIpBlocks"], remote, not_remote),
            (Asks::SourceIp, ["ipBlocks", "notIpBlocks"], &s.ip_blocks, &s.not_ip_blocks),
        ],
    )
}

/// A field and its negation, with their values.
type Field<'a, A> = (A, [&'a str; 2], &'a Vec<String>, &'a Vec<String>);

/// Of the fields those that say something.
fn present<'a, A>(path: &str, fields: impl IntoIterator<Item = Field<'a, A>>) -> Vec<Condition<A>> {
    let says = |(_, _, is, is_not): &Field<'a, A>| !is.is_empty() || !is_not.is_empty();
    let condition = |(attribute, names, is, is_not): Field<'a, A>| Condition {
        attribute,
        paths: names.map(|name| format!("{path}.{name}")),
        values: is.clone(),
        not_values: is_not.clone(),
    };
    fields.into_iter().filter(says).map(condition).collect()
}
