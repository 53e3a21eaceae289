//! Conditions on the request.

use super::claims;
use api::{HttpMatchRequest, StringMatch};
use ir::{HeaderCondition, HeaderMatch, PathMatch, QueryMatch, RouteMatch};

pub(super) fn of(m: &HttpMatchRequest) -> RouteMatch {
    let mut out = RouteMatch::path(path(m.uri.as_ref()));
    out.ignore_case = m.ignore_uri_case;
    for (name, value) in &m.headers {
        match claims::path(name) {
            Some(path) => out.metadata.push(claims::condition(path, value, false)),
            None => out.headers.push(header(name, value)),
        }
    }
    for (name, value) in &m.without_headers {
        if let Some(path) = claims::path(name) {
            out.metadata.push(claims::condition(path, value, true));
            continue;
        }
        let header = header(name, value);
        // An absent header does not have the value either.
        let missing_as_empty = !value.is_presence();
        out.headers.push(HeaderMatch { invert: true, missing_as_empty, ..header });
    }
    let pseudo = [(":method", &m.method), (":authority", &m.authority), (":scheme", &m.scheme)];
    for (name, value) in pseudo {
        out.headers.extend(value.as_ref().map(|v| header(name, v)));
    }
    out.query = m.query_params.iter().map(|(name, value)| query(name, value)).collect();
    out
}

fn path(uri: Option<&StringMatch>) -> PathMatch {
    let Some(uri) = uri else { return PathMatch::Prefix("/".into()) };
    match (&uri.exact, &uri.prefix, &uri.regex) {
        (Some(exact), _, _) => PathMatch::Exact(exact.as_str().into()),
        (_, Some(prefix), _) => PathMatch::Prefix(prefix.as_str().into()),
        (_, _, Some(regex)) if regex == "*" => PathMatch::Regex(".*".into()),
        (_, _, Some(regex)) => PathMatch::Regex(regex.as_str().into()),
        _ => PathMatch::Prefix("/".into()),
    }
}

fn header(name: &str, value: &StringMatch) -> HeaderMatch {
    let condition = match string(value) {
        Some(value) => HeaderCondition::Value(value),
        None => HeaderCondition::Present(true),
    };
    let name = name.to_ascii_lowercase().into();
    HeaderMatch { name, condition, invert: false, missing_as_empty: false }
}

fn query(name: &str, value: &StringMatch) -> QueryMatch {
    QueryMatch { name: name.into(), value: string(value) }
}

/// `None` when only presence counts.
pub(super) fn string(m: &StringMatch) -> Option<ir::StringMatch> {
    if m.is_presence() {
        return None;
    }
    match (&m.exact, &m.prefix, &m.regex) {
        (Some(exact), _, _) => Some(ir::StringMatch::exact(exact.as_str())),
        (_, Some(prefix), _) => Some(ir::StringMatch::prefix(prefix.as_str())),
        (_, _, Some(regex)) => Some(ir::StringMatch::regex(regex.as_str())),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ir::ValueMatch;
    use serde_json::json;

    fn matched(m: serde_json::Value) -> RouteMatch {
        of(&api::decode("", &m).unwrap().object)
    }

    #[test]
    fn presence_absence_and_values_of_headers() {
        let m = matched(json!({"headers": {"End-User": {"exact": "jason"}, "x-any": {}},
            "withoutHeaders": {"x-no": {}, "x-not": {"prefix": "a"}}}));
        let jason = HeaderCondition::Value(ir::StringMatch::exact("jason"));
        let expected = [
            ("end-user", jason, false, false),
            ("x-any", HeaderCondition::Present(true), false, false),
            ("x-no", HeaderCondition::Present(true), true, false),
            ("x-not", HeaderCondition::Value(ir::StringMatch::prefix("a")), true, true),
        ];
        let got: Vec<_> = m
            .headers
            .into_iter()
            .map(|h| (h.name.to_string(), h.condition, h.invert, h.missing_as_empty))
            .collect();
        assert_eq!(got, expected.map(|(n, c, i, e)| (n.to_owned(), c, i, e)));
    }

    #[test]
    fn claims_are_looked_for_in_what_the_token_filter_says() {
        let m = matched(json!({
            "headers": { "@request.auth.claims.group": { "exact": "dev" } },
            "withoutHeaders": { "@request.auth.claims[a.b]": {} },
        }));
        assert!(m.headers.is_empty());
        let dev = ValueMatch::Text(ir::StringMatch::exact("dev"));
        let seen: Vec<_> =
            m.metadata.iter().map(|m| (m.path.join("/"), &m.value, m.invert)).collect();
        let text_or_list = ValueMatch::Any(vec![ValueMatch::OneOf(Box::new(dev.clone())), dev]);
        let expected = [
            ("payload/group".to_owned(), &text_or_list, false),
            ("payload/a.b".to_owned(), &ValueMatch::Present(true), true),
        ];
        assert_eq!(seen, expected);
        assert!(m.metadata.iter().all(|m| &*m.filter == "envoy.filters.http.jwt_authn"));
    }

    #[test]
    fn paths() {
        assert_eq!(matched(json!({})).path, PathMatch::Prefix("/".into()));
        assert_eq!(matched(json!({"uri": {"exact": "/a"}})).path, PathMatch::Exact("/a".into()));
        assert_eq!(matched(json!({"uri": {"regex": "*"}})).path, PathMatch::Regex(".*".into()));
    }
}
