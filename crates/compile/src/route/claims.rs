//! Conditions on what a request's token claims: `@request.auth.claims.a.b`, or `[a][b]` where names hold dots.
//! They are written like headers and read from what the token filter says. Istio knows them at gateways only.

use super::matches;
use crate::authentication::{JWT_AUTHN, PAYLOAD};
use api::StringMatch;
use ir::{MetadataMatch, Str, ValueMatch};

const CLAIMS: &str = "@request.auth.claims";

/// What can be said of such a condition, where it is one.
pub(crate) fn complaint(header: &str, in_mesh: bool) -> Option<&'static str> {
    if !header.starts_with('@') {
        return None;
    }
    if path(header).is_none() {
        return Some(
            "names no claim: write @request.auth.claims.a.b or @request.auth.claims[a][b]; the rule never applies",
        );
    }
    in_mesh.then_some("claims are known at gateways alone: no request in the mesh has this one")
}

/// Into the payload of the token; `None`: that is a header.
pub(super) fn path(header: &str) -> Option<Vec<Str>> {
    let (head, rest) = header.split_at_checked(CLAIMS.len())?;
    if !head.eq_ignore_ascii_case(CLAIMS) {
        return None;
    }
    let names: Vec<&str> = match rest.strip_prefix('.') {
        Some(dotted) => dotted.split('.').collect(),
        None => rest.strip_prefix('[')?.strip_suffix(']')?.split("][").collect(),
    };
    let filled = names.iter().all(|name| !name.is_empty());
    filled.then(|| names.into_iter().map(Str::from).collect())
}

/// A claim is a text or a list of texts.
pub(super) fn condition(path: Vec<Str>, value: &StringMatch, invert: bool) -> MetadataMatch {
    let value = match matches::string(value) {
        None => ValueMatch::Present(true),
        Some(text) => {
            let text = ValueMatch::Text(text);
            ValueMatch::Any(vec![ValueMatch::OneOf(Box::new(text.clone())), text])
        }
    };
    let path = std::iter::once(PAYLOAD.into()).chain(path).collect();
    MetadataMatch { filter: JWT_AUTHN.into(), path, value, invert }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claims_are_named_with_dots_or_in_brackets() {
        let path = |name| path(name).map(|p| p.join("/"));
        for (name, expected) in [
            ("@request.auth.claims.a", Some("a")),
            ("@request.auth.claims.a.b", Some("a/b")),
            ("@Request.Auth.Claims[a.b][c]", Some("a.b/c")),
            ("@request.auth.claims", None),
            ("@request.auth.claims.", None),
            ("@request.auth.claims.a..b", None),
            ("@request.auth.claims[]", None),
            ("@request.auth.claims[a", None),
            ("@request.auth.claimsa", None),
            ("request.auth.claims.a", None),
        ] {
            assert_eq!(path(name).as_deref(), expected, "{name}");
            assert_eq!(
                complaint(name, false).is_none(),
                expected.is_some() || name.starts_with('r')
            );
        }
        assert!(complaint("@request.auth.claims.a", true).is_some());
    }
}
