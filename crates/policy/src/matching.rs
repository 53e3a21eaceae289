//! Compiled matchers of strings, headers and query parameters.

use base::Finding;
use ir::{HeaderCondition, HeaderMatch, Pattern, QueryMatch, StringMatch};
use regex::bytes::{Regex, RegexBuilder};
use wire::RequestHead;

/// A compiled [`StringMatch`].
#[derive(Clone, Debug)]
pub struct Matcher {
    kind: Kind,
    ignore_case: bool,
}

#[derive(Clone, Debug)]
enum Kind {
    Exact(Box<[u8]>),
    Prefix(Box<[u8]>),
    Suffix(Box<[u8]>),
    Contains(Box<[u8]>),
    Regex(Regex),
    /// A pattern that could not be compiled.
    Never,
}

impl Matcher {
    /// A pattern that cannot be compiled matches nothing and is reported under `path`.
    pub fn new(from: &StringMatch, path: &str, findings: &mut Vec<Finding>) -> Self {
        let bytes = |s: &str| -> Box<[u8]> {
            let lower = if from.ignore_case { s.to_ascii_lowercase() } else { s.to_owned() };
            lower.into_bytes().into()
        };
        let kind = match &from.pattern {
            Pattern::Exact(s) => Kind::Exact(bytes(s)),
            Pattern::Prefix(s) => Kind::Prefix(bytes(s)),
            Pattern::Suffix(s) => Kind::Suffix(bytes(s)),
            Pattern::Contains(s) => Kind::Contains(bytes(s)),
            Pattern::Regex(s) => match whole(s) {
                Ok(regex) => Kind::Regex(regex),
                Err(e) => {
                    findings.push(Finding::error(path, e));
                    Kind::Never
                }
            },
        };
        Self { kind, ignore_case: from.ignore_case }
    }

    pub fn matches(&self, value: &[u8]) -> bool {
        if self.ignore_case && !matches!(self.kind, Kind::Regex(_)) {
            return self.matches_as_is(&value.to_ascii_lowercase());
        }
        self.matches_as_is(value)
    }

    fn matches_as_is(&self, value: &[u8]) -> bool {
        match &self.kind {
            Kind::Exact(s) => value == &**s,
            Kind::Prefix(s) => value.starts_with(s),
            Kind::Suffix(s) => value.ends_with(s),
            Kind::Contains(s) => memchr::memmem::find(value, s).is_some(),
            Kind::Regex(regex) => regex.is_match(value),
            Kind::Never => false,
        }
    }
}

/// A regex in RE2's language that must match the whole value.
pub fn whole(pattern: &str) -> Result<Regex, String> {
    build(&format!(r"\A(?:{pattern})\z"), pattern)
}

/// A regex in RE2's language that may match anywhere.
pub fn anywhere(pattern: &str) -> Result<Regex, String> {
    build(pattern, pattern)
}

/// Classes such as `\d` are ASCII, as in RE2; a pattern that needs Unicode gets it.
fn build(regex: &str, shown: &str) -> Result<Regex, String> {
    let with = |unicode| RegexBuilder::new(regex).unicode(unicode).size_limit(1 << 20).build();
    with(false).or_else(|_| with(true)).map_err(|e| {
        let last = e.to_string().lines().last().unwrap_or_default().trim().to_owned();
        format!("regex '{shown}' cannot be used: {last}")
    })
}

/// A compiled [`HeaderMatch`].
#[derive(Clone, Debug)]
pub struct HeaderMatcher {
    name: Box<[u8]>,
    condition: Condition,
    invert: bool,
    missing_as_empty: bool,
}

#[derive(Clone, Debug)]
enum Condition {
    Present(bool),
    Value(Matcher),
    Range(i64, i64),
}

impl HeaderMatcher {
    pub fn new(from: &HeaderMatch, path: &str, findings: &mut Vec<Finding>) -> Self {
        let condition = match &from.condition {
            HeaderCondition::Present(wanted) => Condition::Present(*wanted),
            HeaderCondition::Value(m) => Condition::Value(Matcher::new(m, path, findings)),
            HeaderCondition::Range(start, end) => Condition::Range(*start, *end),
        };
        Self {
            name: from.name.as_bytes().into(),
            condition,
            invert: from.invert,
            missing_as_empty: from.missing_as_empty,
        }
    }

    /// Of the header.
    pub fn name(&self) -> &[u8] {
        &self.name
    }

    /// Of several values, each is looked at alone, and one that holds is enough.
    pub fn matches(&self, head: &(impl RequestHead + ?Sized)) -> bool {
        let mut there = false;
        let mut holds = false;
        let mut look = |value: &[u8]| {
            there = true;
            holds |= self.holds(value);
        };
        if matches!(self.name.first(), Some(b':')) || *self.name == *b"host" {
            head.field(&self.name).map(&mut look);
        } else {
            head.each_value(&self.name, &mut look);
        }
        if let Condition::Present(wanted) = self.condition {
            return ((there || self.missing_as_empty) == wanted) != self.invert;
        }
        match (there, self.missing_as_empty) {
            (true, _) => holds != self.invert,
            (false, true) => self.holds(b"") != self.invert,
            (false, false) => false,
        }
    }

    fn holds(&self, value: &[u8]) -> bool {
        match &self.condition {
            Condition::Present(_) => true,
            Condition::Value(matcher) => matcher.matches(value),
            Condition::Range(start, end) => {
                let number = std::str::from_utf8(value).ok().and_then(|s| s.parse::<i64>().ok());
                number.is_some_and(|n| (*start..*end).contains(&n))
            }
        }
    }
}

/// A compiled [`QueryMatch`].
#[derive(Clone, Debug)]
pub struct QueryMatcher {
    name: Box<[u8]>,
    value: Option<Matcher>,
}

impl QueryMatcher {
    pub fn new(from: &QueryMatch, path: &str, findings: &mut Vec<Finding>) -> Self {
        let value = from.value.as_ref().map(|m| Matcher::new(m, path, findings));
        Self { name: from.name.as_bytes().into(), value }
    }

    /// Of the parameter.
    pub fn name(&self) -> &[u8] {
        &self.name
    }

    /// On the first parameter of this name.
    pub fn matches(&self, query: &[u8]) -> bool {
        match query_parameter(query, &self.name) {
            None => false,
            Some(value) => self.value.as_ref().is_none_or(|m| m.matches(value)),
        }
    }
}

/// The first value of a query parameter, as it stands in the query.
pub fn query_parameter<'a>(query: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    query.split(|b| *b == b'&').find_map(|pair| {
        let cut = memchr::memchr(b'=', pair).unwrap_or(pair.len());
        (&pair[..cut] == name).then(|| pair.get(cut + 1..).unwrap_or_default())
    })
}

/// Path and query of a request target.
pub fn split_query(path: &[u8]) -> (&[u8], &[u8]) {
    match memchr::memchr(b'?', path) {
        Some(i) => (&path[..i], &path[i + 1..]),
        None => (path, b""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ir::Str;
    use wire::Request;

    fn matcher(pattern: Pattern, ignore_case: bool) -> Matcher {
        Matcher::new(&StringMatch { pattern, ignore_case }, "", &mut Vec::new())
    }

    #[test]
    fn strings() {
        let s = |s: &str| -> Str { s.into() };
        let table = [
            (Pattern::Exact(s("ab")), false, "ab", true),
            (Pattern::Exact(s("ab")), false, "AB", false),
            (Pattern::Exact(s("Ab")), true, "aB", true),
            (Pattern::Prefix(s("ab")), false, "abc", true),
            (Pattern::Suffix(s("bc")), false, "abc", true),
            (Pattern::Contains(s("b")), false, "abc", true),
            (Pattern::Regex(s("a.*")), false, "abc", true),
            (Pattern::Regex(s("b")), false, "abc", false),
            (Pattern::Regex(s("a|abc")), false, "abc", true),
            (Pattern::Regex(s(r"\d+")), false, "\u{0663}", false),
            (Pattern::Regex(s("(?i)ABC")), false, "abc", true),
        ];
        for (pattern, ignore_case, value, expected) in table {
            let shown = format!("{pattern:?} {value}");
            assert_eq!(
                matcher(pattern, ignore_case).matches(value.as_bytes()),
                expected,
                "{shown}"
            );
        }
    }

    #[test]
    fn a_bad_regex_matches_nothing_and_is_reported() {
        let mut findings = Vec::new();
        let bad = StringMatch::regex("(");
        assert!(!Matcher::new(&bad, "a.b", &mut findings).matches(b"("));
        assert_eq!(findings.len(), 1);
        assert!(findings[0].to_string().starts_with("a.b: regex '(' cannot be used"));
    }

    #[test]
    fn headers() {
        let mut request = Request::new(b"GET", b"h", b"/p");
        request.fields.push(b"A", b"1");
        request.fields.push(b"a", b"2");
        let exact = |s: &str| HeaderCondition::Value(StringMatch::exact(s));
        let table = [
            ("a", exact("1,2"), false, false, false),
            ("a", exact("1"), false, false, true),
            ("a", exact("2"), false, false, true),
            ("a", exact("1"), true, false, false),
            ("a", exact("3"), true, false, true),
            ("b", exact("x"), true, false, false),
            ("b", exact("x"), true, true, true),
            ("b", HeaderCondition::Present(true), false, false, false),
            ("b", HeaderCondition::Present(true), true, false, true),
            ("b", HeaderCondition::Present(false), false, false, true),
            ("b", HeaderCondition::Present(true), false, true, true),
            (":method", exact("GET"), false, false, true),
            (":authority", exact("h"), false, false, true),
            ("a", HeaderCondition::Range(0, 2), false, false, true),
            ("a", HeaderCondition::Range(3, 5), false, false, false),
        ];
        for (name, condition, invert, missing_as_empty, expected) in table {
            let from = HeaderMatch { name: name.into(), condition, invert, missing_as_empty };
            let compiled = HeaderMatcher::new(&from, "", &mut Vec::new());
            assert_eq!(compiled.matches(&request), expected, "{from:?}");
        }
    }

    #[test]
    fn query() {
        let table = [
            ("a=1&b=2", "b", Some("2"), true),
            ("a=1&a=2", "a", Some("2"), false),
            ("a", "a", None, true),
            ("", "a", None, false),
        ];
        for (query, name, value, expected) in table {
            let from = QueryMatch { name: name.into(), value: value.map(StringMatch::exact) };
            let compiled = QueryMatcher::new(&from, "", &mut Vec::new());
            assert_eq!(compiled.matches(query.as_bytes()), expected, "{query}");
        }
    }
}
