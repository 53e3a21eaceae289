//! Additions to and removals from heads, compiled: what a route, its virtual host, its weighted
//! cluster and the whole configuration ask for.

use crate::{Info, Stream, Template};
use base::Finding;
use ir::{AppendAction, HeaderAdd, HeaderOps, Str};
use wire::{Fields, Request, Response};

/// Compiled [`HeaderOps`].
#[derive(Clone, Debug, Default)]
pub struct HeaderRules {
    request: Edits,
    response: Edits,
}

#[derive(Clone, Debug, Default)]
struct Edits {
    remove: Vec<Str>,
    add: Vec<Add>,
}

#[derive(Clone, Debug)]
struct Add {
    name: Str,
    value: Template,
    action: AppendAction,
    keep_empty: bool,
}

impl HeaderRules {
    pub fn new(from: &HeaderOps, path: &str, findings: &mut Vec<Finding>) -> Self {
        let mut edits = |add: &[HeaderAdd], remove: &[Str], what: &str| Edits {
            remove: remove.to_vec(),
            add: add
                .iter()
                .enumerate()
                .map(|(i, a)| Add::new(a, &format!("{path}.{what}_headers_to_add[{i}]"), findings))
                .collect(),
        };
        Self {
            request: edits(&from.request_add, &from.request_remove, "request"),
            response: edits(&from.response_add, &from.response_remove, "response"),
        }
    }

    pub fn apply_to_request(&self, request: &mut Request, stream: &Stream) {
        for name in &self.request.remove {
            request.fields.remove(name.as_bytes());
        }
        let info = Info { request: Some(request), response: None, stream };
        let values = self.request.values(&info, &request.fields);
        for (add, value) in in_order(&values) {
            match &*add.name {
                ":authority" | "host" => request.set_authority(value),
                ":path" | ":method" | ":scheme" => {}
                _ => add.apply(&mut request.fields, value, &JOINED_IN_REQUESTS),
            }
        }
    }

    pub fn apply_to_response(&self, response: &mut Response, request: &Request, stream: &Stream) {
        for name in &self.response.remove {
            response.fields.remove(name.as_bytes());
        }
        let info = Info { request: Some(request), response: Some(response), stream };
        let values = self.response.values(&info, &response.fields);
        for (add, value) in in_order(&values) {
            add.apply(&mut response.fields, value, &JOINED_IN_RESPONSES);
        }
    }
}

/// Fields that are one line each: what is added to them is joined by a comma.
const JOINED_IN_REQUESTS: [&str; 9] = [
    "user-agent",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-request-id",
    "content-type",
    "te",
    "via",
    "accept-encoding",
];
const JOINED_IN_RESPONSES: [&str; 5] = ["server", "date", "content-type", "via", "location"];

type Valued<'a> = (&'a Add, Vec<u8>);

impl Edits {
    /// What is to be added, with values and conditions taken from the head as it is now, so that one
    /// addition does not see another.
    fn values(&self, info: &Info<'_>, fields: &Fields) -> Vec<Valued<'_>> {
        let mut out = Vec::with_capacity(self.add.len());
        for add in &self.add {
            let there = fields.contains(add.name.as_bytes());
            let wanted = match add.action {
                AppendAction::AddIfAbsent => !there,
                AppendAction::OverwriteIfExists => there,
                _ => true,
            };
            if !wanted {
                continue;
            }
            let mut value = Vec::new();
            add.value.write(info, &mut value);
            if add.keep_empty || !value.is_empty() {
                out.push((add, value));
            }
        }
        out
    }
}

/// First what overwrites, then what is added.
fn in_order<'v>(values: &'v [Valued<'v>]) -> impl Iterator<Item = (&'v Add, &'v [u8])> {
    let of = |overwrites| values.iter().filter(move |(add, _)| add.overwrites() == overwrites);
    of(true).chain(of(false)).map(|(add, value)| (*add, value.as_slice()))
}

impl Add {
    /// A line break in a value would end the header, so a value that has one is refused.
    fn new(from: &HeaderAdd, path: &str, findings: &mut Vec<Finding>) -> Self {
        let broken = from.value.bytes().any(|b| matches!(b, b'\r' | b'\n' | 0));
        let text = if broken {
            findings.push(Finding::error(path, "a header value cannot hold a line break or NUL"));
            ""
        } else {
            &from.value
        };
        Self {
            name: from.name.clone(),
            value: Template::header(text, path, findings),
            action: from.action,
            keep_empty: from.keep_empty_value,
        }
    }

    fn overwrites(&self) -> bool {
        matches!(
            self.action,
            AppendAction::OverwriteIfExistsOrAdd | AppendAction::OverwriteIfExists
        )
    }

    fn apply(&self, fields: &mut Fields, value: &[u8], joined: &[&str]) {
        let name = self.name.as_bytes();
        if self.overwrites() {
            fields.set(name, value);
        } else if joined.contains(&&*self.name) {
            fields.append(name, b",", value);
        } else {
            fields.push(name, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn removal_first_then_overwriting_then_additions() {
        let add = |name: &str, value: &str, action| HeaderAdd {
            name: name.into(),
            value: value.into(),
            action,
            keep_empty_value: false,
        };
        let ops = HeaderOps {
            request_remove: vec!["a".into()],
            request_add: vec![
                add("a", "new", AppendAction::AppendIfExistsOrAdd),
                add("b", "second", AppendAction::AppendIfExistsOrAdd),
                add("c", "%REQ(b)%!", AppendAction::OverwriteIfExistsOrAdd),
                add("d", "x", AppendAction::OverwriteIfExists),
                add("b", "x", AppendAction::AddIfAbsent),
                add("e", "%REQ(nothing)%", AppendAction::AppendIfExistsOrAdd),
            ],
            ..Default::default()
        };
        let mut request = Request::new(b"GET", b"h", b"/");
        request.fields.push(b"A", b"old");
        request.fields.push(b"b", b"first");
        let rules = HeaderRules::new(&ops, "", &mut Vec::new());
        rules.apply_to_request(&mut request, &Stream::default());
        let got: Vec<(&[u8], &[u8])> = request.fields.iter().collect();
        let expected: [(&[u8], &[u8]); 4] =
            [(b"b", b"first"), (b"c", b"first!"), (b"a", b"new"), (b"b", b"second")];
        assert_eq!(got, expected);
    }

    #[test]
    fn a_line_break_in_a_value_is_refused() {
        let ops = HeaderOps {
            response_add: vec![HeaderAdd {
                name: "a".into(),
                value: "x\r\nset-cookie: y".into(),
                action: AppendAction::default(),
                keep_empty_value: false,
            }],
            ..Default::default()
        };
        let mut findings = Vec::new();
        let rules = HeaderRules::new(&ops, "route", &mut findings);
        assert_eq!(findings.len(), 1);
        let mut response = Response::new(200);
        rules.apply_to_response(&mut response, &Request::default(), &Stream::default());
        assert!(response.fields.is_empty());
    }
}
