//! YAML with line numbers: the documents of a file, and for each field the line it stands on.

use base::Finding;
use granit_parser::{Event, Parser};
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;

/// One object of a file; items of a List are objects of their own.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    pub object: Value,
    pub lines: Lines,
}

/// Where a value and what is in it stand, counted from 1.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lines {
    line: u32,
    inside: BTreeMap<String, Lines>,
}

/// What a file holds, and why it could not be read to its end.
#[derive(Clone, Debug, Default)]
pub struct Read {
    pub documents: Vec<Document>,
    pub error: Option<String>,
}

/// Aliases are expanded by the reader of values; a file with more nodes than this gets no lines.
const MOST_NODES: usize = 2_000_000;

pub fn read(text: &str) -> Read {
    let mut lines = lines_of(text).into_iter();
    let mut read = Read::default();
    for document in serde_yaml_ng::Deserializer::from_str(text) {
        let lines = lines.next().unwrap_or_default();
        match Value::deserialize(document) {
            Err(e) => {
                read.error = Some(format!("not YAML: {e}"));
                break;
            }
            Ok(Value::Null) => {}
            Ok(object) => read.documents.extend(items(object, lines)),
        }
    }
    read
}

fn items(mut object: Value, lines: Lines) -> Vec<Document> {
    let is_list = object["kind"].as_str().is_some_and(|k| k.ends_with("List"));
    match object.get_mut("items").and_then(Value::as_array_mut).filter(|_| is_list) {
        None => vec![Document { object, lines }],
        Some(items) => {
            let inside = |i: usize| lines.inside.get("items")?.inside.get(&i.to_string()).cloned();
            let item = |(i, v): (usize, &mut Value)| Document {
                object: v.take(),
                lines: inside(i).unwrap_or_default(),
            };
            items.iter_mut().enumerate().map(item).collect()
        }
    }
}

impl Lines {
    /// The line of a field such as `spec.http[0].route`; of the nearest around it that is written.
    pub fn of(&self, path: &str) -> Option<u32> {
        let mut here = self;
        for segment in segments(path) {
            match here.inside.get(segment) {
                Some(next) => here = next,
                None => break,
            }
        }
        Some(here.line).filter(|l| *l > 0)
    }

    /// The line of what a finding is about.
    pub fn of_finding(&self, finding: &Finding) -> Option<u32> {
        self.of(&finding.path)
    }
}

/// `a.b[c.d][0]` is a, b, c.d, 0.
fn segments(path: &str) -> impl Iterator<Item = &str> {
    let mut rest = path;
    std::iter::from_fn(move || {
        rest = rest.trim_start_matches('.');
        let (segment, after) = match rest.strip_prefix('[') {
            Some(inside) => inside.split_once(']')?,
            None => {
                let end = rest.find(['.', '[']).unwrap_or(rest.len());
                rest.split_at(end)
            }
        };
        rest = after;
        (!segment.is_empty()).then_some(segment)
    })
}

/// What is open while the events of a document come.
enum Open {
    List { next: usize, lines: Lines },
    Map { key: Option<(String, u32)>, lines: Lines },
}

/// The lines of each document; empty where the file is no YAML.
fn lines_of(text: &str) -> Vec<Lines> {
    let mut documents = Vec::new();
    let mut open: Vec<Open> = Vec::new();
    let mut root = Lines::default();
    for next in Parser::new_from_str(text).take(MOST_NODES) {
        let Ok((event, span)) = next else { break };
        let line = u32::try_from(span.start.line()).unwrap_or(0);
        let done = match event {
            Event::DocumentStart(..) => {
                root = Lines::default();
                None
            }
            Event::DocumentEnd => {
                documents.push(std::mem::take(&mut root));
                None
            }
            Event::SequenceStart(..) => {
                open.push(Open::List { next: 0, lines: at(line) });
                None
            }
            Event::MappingStart(..) => {
                open.push(Open::Map { key: None, lines: at(line) });
                None
            }
            Event::SequenceEnd | Event::MappingEnd => {
                open.pop().map(|o| (String::new(), o.lines()))
            }
            Event::Scalar(value, ..) => Some((value.into_owned(), at(line))),
            Event::Alias(..) => Some((String::new(), at(line))),
            _ => None,
        };
        if let Some((text, lines)) = done {
            match open.last_mut() {
                None => root = lines,
                Some(parent) => parent.take(text, lines),
            }
        }
    }
    documents
}

fn at(line: u32) -> Lines {
    Lines { line, inside: BTreeMap::new() }
}

impl Open {
    fn lines(self) -> Lines {
        match self {
            Open::List { lines, .. } | Open::Map { lines, .. } => lines,
        }
    }

    /// The next node inside, complete. A field stands where its name stands.
    fn take(&mut self, text: String, node: Lines) {
        match self {
            Open::List { next, lines } => {
                lines.inside.insert(next.to_string(), node);
                *next += 1;
            }
            Open::Map { key, lines } => match key.take() {
                None => *key = Some((text, node.line)),
                Some((name, line)) => {
                    lines.inside.insert(name, Lines { line, ..node });
                }
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
# a comment
kind: VirtualService
spec:
  hosts:
  - a
  http:
  - match:
    - headers:
        end.user: {exact: x}
    route:
      - destination:
          host: a
---
---
kind: List
items:
- kind: Pod
  spec:
    containers: [{name: a}]
- kind: Service
";

    #[test]
    fn a_field_is_on_the_line_of_its_name() {
        let read = read(TEXT);
        assert_eq!(read.error, None);
        let kinds: Vec<&str> =
            read.documents.iter().map(|d| d.object["kind"].as_str().unwrap()).collect();
        assert_eq!(kinds, ["VirtualService", "Pod", "Service"]);
        assert_eq!(read.documents[0].object.get("items"), None, "nothing is added");
        let line = |path: &str| read.documents[0].lines.of(path);
        let table = [
            ("spec", 3),
            ("spec.hosts[0]", 5),
            ("spec.http[0].match[0].headers[end.user]", 9),
            ("spec.http[0].route[0].destination.host", 12),
            ("spec.http[0].route[0].destination.subset", 11),
            ("spec.http[3]", 6),
            ("", 2),
        ];
        for (path, expected) in table {
            assert_eq!(line(path), Some(expected), "{path}");
        }
        assert_eq!(read.documents[1].lines.of("spec.containers[0].name"), Some(19));
        assert_eq!(read.documents[2].lines.of(""), Some(20));
    }

    #[test]
    fn what_is_no_yaml_says_so_and_keeps_what_came_before() {
        let read = read("kind: A\n---\nkind: [\n---\nkind: B\n");
        assert_eq!(read.documents.len(), 1);
        assert!(read.error.unwrap().contains("line"));
    }
}
