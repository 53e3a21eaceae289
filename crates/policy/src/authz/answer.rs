//! What the answer of an authorization service means, and what it does to the request and its answer.

use super::{HttpService, is_of_hop};
use crate::matching::Matcher;
use ir::{AppendAction, Str, Value};
use std::collections::BTreeMap;
use wire::{Fields, Request, RequestHead, Response, is_token};

#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    Allowed(Box<Changes>),
    Denied(Box<Denial>),
    /// The service could not say.
    Failed,
}

/// One field that the service wants to be there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edit {
    pub name: Vec<u8>,
    pub value: Vec<u8>,
    pub action: AppendAction,
}

/// What is done to a request that may pass.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Changes {
    pub request: Vec<Edit>,
    /// Joined to fields that are there, and left out where there is none.
    pub join: Vec<(Vec<u8>, Vec<u8>)>,
    pub remove: Vec<Vec<u8>>,
    pub query_set: Vec<(String, String)>,
    pub query_remove: Vec<String>,
    /// Of the answer to the client.
    pub response: Vec<Edit>,
    pub metadata: BTreeMap<Str, Value>,
}

/// What the client is told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Denial {
    pub status: u16,
    pub headers: Vec<(Vec<u8>, Vec<u8>)>,
    pub body: Vec<u8>,
}

/// Names of request fields to be removed, by which an authorizer over HTTP asks for that.
const REMOVE: &[u8] = b"x-envoy-auth-headers-to-remove";

/// What a denial always takes along where the configuration names what it takes along.
const DENIAL: [&str; 4] = ["content-length", "content-type", "www-authenticate", "location"];

impl HttpService {
    /// The meaning of an answer over HTTP.
    pub fn answer(&self, response: &Response, body: Vec<u8>) -> Answer {
        let any = |list: &[Matcher], name: &[u8]| list.iter().any(|m| m.matches(name));
        let said = || response.fields.iter().filter(|(name, _)| !name.eq_ignore_ascii_case(REMOVE));
        match response.status {
            200 => Answer::Allowed(Box::new(self.changes(response))),
            500.. => Answer::Failed,
            status => {
                let passes = |name: &[u8]| match self.client.as_slice() {
                    [] => name != b"host",
                    list => any(list, name) || DENIAL[2..].iter().any(|n| n.as_bytes() == name),
                };
                let headers = said()
                    .map(|(name, value)| (name.to_ascii_lowercase(), value.to_vec()))
                    .filter(|(name, _)| passes(name) && !is_of_hop(name));
                Answer::Denied(Box::new(Denial { status, headers: headers.collect(), body }))
            }
        }
    }

    fn changes(&self, response: &Response) -> Changes {
        let mut changes = Changes::default();
        for (name, value) in response.fields.iter() {
            let name = name.to_ascii_lowercase();
            if name == REMOVE {
                let names =
                    value.split(|b| *b == b',').map(|n| n.trim_ascii().to_ascii_lowercase());
                changes.remove.extend(names.filter(|n| !n.is_empty()));
                continue;
            }
            let any = |list: &[Matcher]| list.iter().any(|m| m.matches(&name));
            let edit = |action| Edit { name: name.clone(), value: value.to_vec(), action };
            if any(&self.upstream) {
                changes.request.push(edit(AppendAction::OverwriteIfExistsOrAdd));
            }
            if any(&self.upstream_append) {
                changes.request.push(edit(AppendAction::AppendIfExistsOrAdd));
            }
            if any(&self.client_on_success) {
                changes.response.push(edit(AppendAction::AppendIfExistsOrAdd));
            }
            if any(&self.metadata) {
                let text = |b: &[u8]| Str::from(String::from_utf8_lossy(b));
                changes.metadata.insert(text(&name), Value::String(text(value)));
            }
        }
        changes
    }
}

impl Changes {
    /// A name or value that would break a head.
    pub fn invalid(&self) -> bool {
        let edits = self.request.iter().chain(&self.response).map(|e| (&e.name, &e.value));
        let joined = self.join.iter().map(|(name, value)| (name, value));
        edits.chain(joined).any(|(name, value)| !is_clean(name, value))
    }

    /// Changes the request; says whether anything is another now. What would break the head is left out.
    pub fn apply(&self, request: &mut Request) -> bool {
        for edit in &self.request {
            set(request, edit);
        }
        for (name, value) in self.join.iter().filter(|(name, value)| is_clean(name, value)) {
            if request.fields.contains(name) {
                request.fields.append(name, b",", value);
            }
        }
        for name in self.remove.iter().filter(|n| n.first() != Some(&b':') && *n != b"host") {
            request.fields.remove(name);
        }
        if !self.query_set.is_empty() || !self.query_remove.is_empty() {
            let path = self.path(request.path());
            request.set_path(&path);
        }
        !(self.request.is_empty()
            && self.join.is_empty()
            && self.remove.is_empty()
            && self.query_set.is_empty()
            && self.query_remove.is_empty())
    }

    /// Changes the answer to the client.
    pub fn answer(edits: &[Edit], response: &mut Response) {
        for edit in edits.iter().filter(|e| is_clean(&e.name, &e.value)) {
            put(&mut response.fields, edit);
        }
    }

    /// The path with its query as the service wants it, by name; as it is where nothing changes.
    fn path(&self, path: &[u8]) -> Vec<u8> {
        let (only, query) = crate::matching::split_query(path);
        let mut parameters: BTreeMap<&[u8], Vec<&[u8]>> = BTreeMap::new();
        for part in query.split(|b| *b == b'&').filter(|p| !p.is_empty()) {
            let end = part.iter().position(|b| *b == b'=').unwrap_or(part.len());
            let value = part.get(end + 1..).unwrap_or_default();
            parameters.entry(&part[..end]).or_default().push(value);
        }
        for (name, value) in &self.query_set {
            parameters.insert(name.as_bytes(), vec![value.as_bytes()]);
        }
        let mut gone = false;
        for name in &self.query_remove {
            gone |= parameters.remove(name.as_bytes()).is_some();
        }
        if self.query_set.is_empty() && !gone {
            return path.to_vec();
        }
        let parts = parameters.iter().flat_map(|(name, values)| {
            values.iter().map(move |value| [name, &b"="[..], value].concat())
        });
        let parts: Vec<Vec<u8>> = parts.collect();
        let question: &[u8] = if parts.is_empty() { b"" } else { b"?" };
        [only, question, &parts.join(&b'&')].concat()
    }
}

fn set(request: &mut Request, edit: &Edit) {
    match edit.name.as_slice() {
        b":path" if !edit.value.is_empty() => request.set_path(&edit.value),
        b":authority" | b"host" => request.set_authority(&edit.value),
        b":method" if is_token(&edit.value) => request.set_method(&edit.value),
        name if is_clean(name, &edit.value) => put(&mut request.fields, edit),
        _ => {}
    }
}

fn put(fields: &mut Fields, edit: &Edit) {
    let there = fields.contains(&edit.name);
    match edit.action {
        AppendAction::AppendIfExistsOrAdd => fields.push(&edit.name, &edit.value),
        AppendAction::AddIfAbsent if there => {}
        AppendAction::OverwriteIfExists if !there => {}
        _ => fields.set(&edit.name, &edit.value),
    }
}

fn is_clean(name: &[u8], value: &[u8]) -> bool {
    is_token(name) && !is_of_hop(name) && !value.iter().any(|b| matches!(b, b'\r' | b'\n' | 0))
}
