//! Additions to and removals from heads, compiled: what a route, its virtual host, its weighted
//! cluster and the whole configuration ask for.

use crate::{Info, Stream, Template};
use base::Finding;
use ir::{AppendAction, HeaderAdd, HeaderOps, Str};
use wire::{Fields, Head, Request, Response};

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
        for add in &self.request.add {
            let mut value = Vec::new();
            let info = Info { request: Some(request), response: None, stream };
            add.value.write(&info, &mut value);
            match &*add.name {
                ":authority" | "host" => request.set_authority(&value),
                ":path" | ":method" | ":scheme" => {}
                _ => add.apply(&mut request.fields, &value),
            }
        }
    }

    pub fn apply_to_response(&self, response: &mut Response, request: &Request, stream: &Stream) {
        for name in &self.response.remove {
            response.fields.remove(name.as_bytes());
        }
        for add in &self.response.add {
            let mut value = Vec::new();
            let info = Info { request: Some(request), response: Some(response), stream };
            add.value.write(&info, &mut value);
            add.apply(&mut response.fields, &value);
        }
    }
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

    fn apply(&self, fields: &mut Fields, value: &[u8]) {
        if value.is_empty() && !self.keep_empty {
            return;
        }
        let name = self.name.as_bytes();
        match self.action {
            AppendAction::AppendIfExistsOrAdd => fields.push(name, value),
            AppendAction::OverwriteIfExistsOrAdd => fields.set(name, value),
            AppendAction::AddIfAbsent if fields.get(name).is_none() => fields.push(name, value),
            AppendAction::OverwriteIfExists if fields.get(name).is_some() => {
                fields.set(name, value);
            }
            AppendAction::AddIfAbsent | AppendAction::OverwriteIfExists => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn removal_first_then_additions_in_order() {
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
            [(b"b", b"first"), (b"a", b"new"), (b"b", b"second"), (b"c", b"first!")];
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
