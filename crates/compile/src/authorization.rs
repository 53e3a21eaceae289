//! AuthorizationPolicies of one workload -> the filters that enforce them, in the order in which they
//! ask: CUSTOM, DENY, AUDIT, ALLOW. Pure. What cannot be understood never lets more through than what
//! was written could mean: of ALLOW it matches nothing, of the others it narrows nothing.

mod attribute;
mod condition;
mod external;
mod guard;
mod rule;
mod trust;
mod value;

use crate::authorization::condition::Reading;
use api::{AuthorizationAction, AuthorizationPolicy};
use base::{Finding, ObjectRef, Origin};
pub use external::Authorizer;
pub(crate) use guard::Guard;
use ir::{Permission, Principal, Rbac, RbacAction, RbacPolicy, RbacRules, Str};
use registry::Item;
use std::collections::BTreeSet;
pub use trust::TrustDomains;

/// What filters are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carries {
    /// Requests, of which everything can be asked.
    Http,
    /// Connections, of which less is known.
    Tcp,
}

/// Of an extension provider that decides about access.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    Requests,
    RequestsAndConnections,
}

/// What the mesh says beside the policies.
#[derive(Clone, Copy)]
pub struct Setting<'a> {
    pub trust: &'a TrustDomains,
    /// The extension providers by name; of one that cannot be asked, why.
    pub provider: &'a dyn Fn(&str) -> Result<Reach, String>,
}

/// What stands before the other filters of a chain, to be asked in this order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Authorization {
    pub custom: Option<Custom>,
    /// DENY, AUDIT and ALLOW, as far as there are policies.
    pub filters: Vec<Rbac>,
    pub findings: Vec<Finding>,
}

/// Which requests somebody else decides about.
#[derive(Clone, Debug, PartialEq)]
pub struct Custom {
    /// Observes which requests are meant, or denies them where nobody can be asked.
    pub choice: Rbac,
    /// Who is to be asked; `None`: nobody can be.
    pub provider: Option<Asked>,
}

/// An extension provider, and the prefix of the names of the rules that lead to it, which the choice
/// leaves in the metadata [`CHOSEN`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    pub provider: String,
    pub rules: Str,
}

/// Where the filter before it says which rule has sent a request to an external authorizer.
pub const CHOSEN: &str = "istio_ext_authz_shadow_effective_policy_id";

const DRY_RUN: &str = "istio.io/dry-run";
const DRY_RUN_ALLOW: &str = "istio_dry_run_allow_";
const DRY_RUN_DENY: &str = "istio_dry_run_deny_";
pub(crate) const EXTERNAL: &str = "istio_ext_authz_";
const CUSTOM_RULE: &str = "istio-ext-authz-";
const NOBODY_TO_ASK: &str = "-deny-due-to-bad-CUSTOM-action";

/// The filters that the policies of a workload ask for.
pub fn authorize<'p>(
    policies: impl IntoIterator<Item = &'p Item<AuthorizationPolicy>>,
    setting: Setting<'_>,
    carries: Carries,
) -> Authorization {
    let policies: Vec<_> = policies.into_iter().collect();
    let of = |action| policies.iter().copied().filter(move |p| p.spec.action == action);
    let mut out = Authorization::default();
    let external: Vec<_> = of(AuthorizationAction::Custom).collect();
    out.custom = custom(&external, setting, carries, &mut out.findings);
    let order = [
        (AuthorizationAction::Deny, RbacAction::Deny),
        (AuthorizationAction::Audit, RbacAction::Log),
        (AuthorizationAction::Allow, RbacAction::Allow),
    ];
    for (written, action) in order {
        let reading = Reading { trust: setting.trust, carries, action, external: false };
        out.filters.extend(decided(of(written), reading, &mut out.findings));
    }
    out
}

/// The filter of all policies of one action.
fn decided<'p>(
    policies: impl Iterator<Item = &'p Item<AuthorizationPolicy>>,
    reading: Reading<'_>,
    findings: &mut Vec<Finding>,
) -> Option<Rbac> {
    let (mut rules, mut shadow) = (None, None);
    for policy in policies {
        let into = if is_dry_run(policy, findings) { &mut shadow } else { &mut rules };
        let into = into
            .get_or_insert_with(|| RbacRules { action: reading.action, ..RbacRules::default() });
        let name = |rule: usize| rule_name(policy, rule).into();
        add(into, policy, reading, name, findings);
    }
    if rules.is_none() && shadow.is_none() {
        return None;
    }
    let denies = shadow.as_ref().is_some_and(|s: &RbacRules| s.action == RbacAction::Deny);
    let shadow_prefix = if denies { DRY_RUN_DENY } else { DRY_RUN_ALLOW }.into();
    Some(Rbac { rules, shadow, shadow_prefix, ..filter(reading.carries) })
}

fn filter(carries: Carries) -> Rbac {
    let stat_prefix = match carries {
        Carries::Http => "",
        Carries::Tcp => "tcp.",
    };
    Rbac { stat_prefix: stat_prefix.into(), ..Rbac::default() }
}

/// As Istio names it, in logs and statistics.
fn rule_name(policy: &Item<AuthorizationPolicy>, rule: usize) -> String {
    format!("ns[{}]-policy[{}]-rule[{rule}]", policy.namespace(), policy.name())
}

/// Where a rule stands that bears such a name, whatever is before and behind that.
pub fn rule_of(name: &str) -> Option<Origin> {
    let (_, rest) = name.split_once("ns[")?;
    let (namespace, rest) = rest.split_once("]-policy[")?;
    let (policy, rest) = rest.split_once("]-rule[")?;
    let (rule, _) = rest.split_once(']')?;
    let object = ObjectRef::new("AuthorizationPolicy", namespace, policy);
    Some(Origin { object, path: format!("spec.rules[{rule}]"), line: None })
}

/// The rules of a policy. One without rules is there, and matches nothing.
fn add(
    into: &mut RbacRules,
    policy: &Item<AuthorizationPolicy>,
    reading: Reading<'_>,
    name: impl Fn(usize) -> Str,
    findings: &mut Vec<Finding>,
) {
    if policy.spec.rules.is_empty() {
        into.policies.insert(name(0), never());
    }
    for (index, rule) in policy.spec.rules.iter().enumerate() {
        let (compiled, said) = rule::compile(policy.namespace(), rule, index, reading);
        findings.extend(said.into_iter().map(|f| f.about(policy.object.clone())));
        into.policies.extend(compiled.map(|c| (name(index), c)));
    }
}

fn never() -> RbacPolicy {
    RbacPolicy {
        permissions: vec![Permission::Not(Box::new(Permission::Any))],
        principals: vec![Principal::Not(Box::new(Principal::Any))],
    }
}

/// Whether a policy is only to be observed. Where that cannot be, it is enforced.
fn is_dry_run(policy: &Item<AuthorizationPolicy>, findings: &mut Vec<Finding>) -> bool {
    let Some(written) = policy.metadata.annotations.get(DRY_RUN) else { return false };
    let path = format!("metadata.annotations[{DRY_RUN}]");
    let say = match (written.as_str(), policy.spec.action) {
        ("0" | "f" | "F" | "false" | "FALSE" | "False", _) => return false,
        ("1" | "t" | "T" | "true" | "TRUE" | "True", action) => match action {
            AuthorizationAction::Allow | AuthorizationAction::Deny => return true,
            AuthorizationAction::Audit => "AUDIT has no dry run: the policy is enforced".to_owned(),
            AuthorizationAction::Custom => {
                "CUSTOM has no dry run: the policy is enforced".to_owned()
            }
        },
        (other, _) => format!("{other:?} is neither true nor false: the policy is enforced"),
    };
    findings.push(Finding::warning(path, say).about(policy.object.clone()));
    false
}

fn custom(
    policies: &[&Item<AuthorizationPolicy>],
    setting: Setting<'_>,
    carries: Carries,
    findings: &mut Vec<Finding>,
) -> Option<Custom> {
    let first = policies.first()?;
    let names: BTreeSet<&str> = policies.iter().map(|p| &*p.spec.provider.name).collect();
    let name = &first.spec.provider.name;
    let reach = match names.len() {
        1 => (setting.provider)(name),
        _ => Err(format!("one workload cannot have several providers ({names:?})")),
    };
    let finding = match &reach {
        Err(why) => Some(Finding::error(PROVIDER, format!("{why}: {DENIED}"))),
        Ok(Reach::Requests) if carries == Carries::Tcp => Some(Finding::warning(
            PROVIDER,
            "an HTTP provider is not asked about connections to TCP ports, which pass, as in Istio",
        )),
        Ok(_) => None,
    };
    if let Some(finding) = finding {
        findings.extend(policies.iter().map(|p| finding.clone().about(p.object.clone())));
    }
    if reach == Ok(Reach::Requests) && carries == Carries::Tcp {
        return None;
    }
    Some(choice(policies, reach.is_ok(), setting, carries, findings))
}

const PROVIDER: &str = "spec.provider.name";
const DENIED: &str = "what the rules match is denied";

/// Observes what is to be asked about, or denies it.
fn choice(
    policies: &[&Item<AuthorizationPolicy>],
    known: bool,
    setting: Setting<'_>,
    carries: Carries,
    findings: &mut Vec<Finding>,
) -> Custom {
    let reading =
        Reading { trust: setting.trust, carries, action: RbacAction::Deny, external: true };
    let mut rules = RbacRules { action: RbacAction::Deny, ..RbacRules::default() };
    for policy in policies {
        is_dry_run(policy, findings);
        let prefix = rules_of(&policy.spec.provider.name);
        let end = if known { "" } else { NOBODY_TO_ASK };
        let name = |rule| format!("{prefix}-{}{end}", rule_name(policy, rule)).into();
        add(&mut rules, policy, reading, name, findings);
    }
    if !known {
        let choice = Rbac { rules: Some(rules), ..filter(carries) };
        return Custom { choice, provider: None };
    }
    let provider = policies[0].spec.provider.name.clone();
    let asked = Asked { rules: rules_of(&provider).into(), provider };
    let choice = Rbac { shadow: Some(rules), shadow_prefix: EXTERNAL.into(), ..filter(carries) };
    Custom { choice, provider: Some(asked) }
}

fn rules_of(provider: &str) -> String {
    format!("{CUSTOM_RULE}{provider}")
}
