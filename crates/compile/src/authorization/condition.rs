//! One condition: an attribute, the values it must have one of, and those it must have none of.

use super::{Carries, TrustDomains, value::Unread};
use base::Finding;
use ir::{Permission, Principal, RbacAction};

/// How rules are read.
#[derive(Clone, Copy)]
pub(super) struct Reading<'a> {
    pub trust: &'a TrustDomains,
    pub carries: Carries,
    pub action: RbacAction,
    /// The rules choose what somebody else decides about, before it is known who asks.
    pub external: bool,
}

/// What a condition is about.
pub(super) trait Attribute {
    type Expression: Expression;

    /// Whether connections do not have it.
    fn is_http(&self) -> bool;
    /// Whether it says who the client is.
    fn is_identity(&self) -> bool;
    /// One of which must match for one of the values to be there.
    fn expressions(&self, values: &[String]) -> Result<Vec<Self::Expression>, Unread>;
}

pub(super) trait Expression: Sized {
    fn any() -> Self;
    fn all(of: Vec<Self>) -> Self;
    fn one_of(of: Vec<Self>) -> Self;
    fn not(of: Self) -> Self;
}

#[derive(Clone, Debug)]
pub(super) struct Condition<A> {
    pub attribute: A,
    /// The field of the values, and that of those that must not be.
    pub paths: [String; 2],
    pub values: Vec<String>,
    pub not_values: Vec<String>,
}

/// Nothing may match: what was written was not understood, or cannot be asked here.
pub(super) struct Never;

/// Where rules allow, what is not understood matches nothing; else it is left out, and the rule wider.
pub(super) fn refuse(reading: Reading<'_>) -> Result<(), Never> {
    match reading.action {
        RbacAction::Allow => Err(Never),
        RbacAction::Deny | RbacAction::Log => Ok(()),
    }
}

/// One alternative: all conditions together.
pub(super) fn together<A: Attribute>(
    conditions: &[Condition<A>],
    reading: Reading<'_>,
    findings: &mut Vec<Finding>,
) -> Result<A::Expression, Never> {
    let mut all = Vec::new();
    for condition in conditions {
        let [is, is_not] = &condition.paths;
        if let Some(wanted) = condition.expression(&condition.values, is, reading, findings)? {
            all.push(wanted);
        }
        let refused = condition.expression(&condition.not_values, is_not, reading, findings)?;
        all.extend(refused.map(Expression::not));
    }
    if all.is_empty() {
        all.push(A::Expression::any());
    }
    Ok(A::Expression::all(all))
}

impl<A: Attribute> Condition<A> {
    fn expression(
        &self,
        values: &[String],
        path: &str,
        reading: Reading<'_>,
        findings: &mut Vec<Finding>,
    ) -> Result<Option<A::Expression>, Never> {
        if values.is_empty() {
            return Ok(None);
        }
        if let Some(finding) = self.misplaced(path, reading) {
            findings.push(finding);
            return refuse(reading).map(|()| None);
        }
        match self.attribute.expressions(values) {
            Ok(expressions) => Ok(Some(A::Expression::one_of(expressions))),
            Err(Unread(say)) => {
                findings.push(Finding::error(path, format!("{say}: {}", effect(reading))));
                refuse(reading).map(|()| None)
            }
        }
    }

    /// What to say where the attribute cannot be asked.
    fn misplaced(&self, path: &str, reading: Reading<'_>) -> Option<Finding> {
        if reading.carries == Carries::Tcp && self.attribute.is_http() {
            let say = format!("is known of HTTP only: at TCP ports {}", effect(reading));
            return Some(Finding::warning(path, say));
        }
        if reading.external && self.attribute.is_identity() {
            let say = format!("is not supported with CUSTOM: {}", effect(reading));
            return Some(Finding::error(path, say));
        }
        None
    }
}

/// What becomes of a rule in which something cannot be used.
pub(super) fn effect(reading: Reading<'_>) -> &'static str {
    match reading.action {
        RbacAction::Allow => "what it stands in allows nothing",
        RbacAction::Deny | RbacAction::Log => "the rule is without it, and so matches more",
    }
}

impl Expression for Permission {
    fn any() -> Self {
        Permission::Any
    }
    fn all(of: Vec<Self>) -> Self {
        Permission::All(of)
    }
    fn one_of(of: Vec<Self>) -> Self {
        Permission::OneOf(of)
    }
    fn not(of: Self) -> Self {
        Permission::Not(Box::new(of))
    }
}

impl Expression for Principal {
    fn any() -> Self {
        Principal::Any
    }
    fn all(of: Vec<Self>) -> Self {
        Principal::All(of)
    }
    fn one_of(of: Vec<Self>) -> Self {
        Principal::OneOf(of)
    }
    fn not(of: Self) -> Self {
        Principal::Not(Box::new(of))
    }
}
