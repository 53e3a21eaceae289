//! Small values that several messages share.

use std::collections::BTreeMap;
use std::sync::Arc;

/// Names are shared and never change.
pub type Str = Arc<str>;

/// `type.matcher.v3.StringMatcher`. Regexes are RE2's language and match the whole value.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct StringMatch {
    pub pattern: Pattern,
    pub ignore_case: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Pattern {
    Exact(Str),
    Prefix(Str),
    Suffix(Str),
    Contains(Str),
    Regex(Str),
}

impl StringMatch {
    pub fn exact(s: impl Into<Str>) -> Self {
        Self { pattern: Pattern::Exact(s.into()), ignore_case: false }
    }
    pub fn prefix(s: impl Into<Str>) -> Self {
        Self { pattern: Pattern::Prefix(s.into()), ignore_case: false }
    }
    pub fn regex(s: impl Into<Str>) -> Self {
        Self { pattern: Pattern::Regex(s.into()), ignore_case: false }
    }
}

/// `type.v3.FractionalPercent`, in parts of a million.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Fraction {
    pub numerator: u32,
    pub denominator: Denominator,
    /// `RuntimeFractionalPercent.runtime_key`; runtime is not read, so only the default counts.
    pub runtime_key: Option<RuntimeKey>,
}

/// A runtime key is carried so that encoding gives back what was decoded; it never decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RuntimeKey;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Denominator {
    #[default]
    Hundred,
    TenThousand,
    Million,
}

impl Fraction {
    pub fn percent(numerator: u32) -> Self {
        Self { numerator, denominator: Denominator::Hundred, runtime_key: None }
    }

    /// In parts of a million, at most a million.
    pub fn per_million(&self) -> u32 {
        let scale = match self.denominator {
            Denominator::Hundred => 10_000,
            Denominator::TenThousand => 100,
            Denominator::Million => 1,
        };
        self.numerator.saturating_mul(scale).min(1_000_000)
    }
}

/// One entry of `request_headers_to_add` and its kin. Values may hold `%COMMAND%` operators.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HeaderAdd {
    /// Lower case.
    pub name: Str,
    pub value: Str,
    pub action: AppendAction,
    pub keep_empty_value: bool,
}

/// `HeaderValueOption.HeaderAppendAction`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum AppendAction {
    #[default]
    AppendIfExistsOrAdd,
    AddIfAbsent,
    OverwriteIfExistsOrAdd,
    OverwriteIfExists,
}

/// Additions and removals at one level (destination, route, virtual host, route configuration).
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct HeaderOps {
    pub request_add: Vec<HeaderAdd>,
    /// Lower case.
    pub request_remove: Vec<Str>,
    pub response_add: Vec<HeaderAdd>,
    pub response_remove: Vec<Str>,
}

impl HeaderOps {
    pub fn is_empty(&self) -> bool {
        self.request_add.is_empty()
            && self.request_remove.is_empty()
            && self.response_add.is_empty()
            && self.response_remove.is_empty()
    }
}

/// A protobuf `Struct` or `Value`, with sorted keys so that equal metadata are equal bytes.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Null,
    Bool(bool),
    Number(f64),
    String(Str),
    List(Vec<Value>),
    Struct(BTreeMap<Str, Value>),
}

impl Value {
    pub fn as_str(&self) -> Option<&str> {
        if let Value::String(s) = self { Some(s) } else { None }
    }
    pub fn get(&self, key: &str) -> Option<&Value> {
        if let Value::Struct(m) = self { m.get(key) } else { None }
    }
}

/// `core.v3.Metadata.filter_metadata`: filter name to struct.
pub type Metadata = BTreeMap<Str, Value>;
