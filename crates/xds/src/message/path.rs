//! Where in a message one stands, as a chain on the stack that is only spelled out when there is
//! something to say.

use base::Finding;
use std::cell::RefCell;
use std::fmt::Write;

/// Findings about one message beyond these are not kept; warnings leave room for errors.
const MAX_FINDINGS: usize = 1000;

/// One step down from the parent.
#[derive(Clone, Copy)]
enum Step<'a> {
    Root(&'a str),
    Field(&'a str),
    Index(usize),
    Key(&'a str),
}

/// A place, and where findings about it go.
#[derive(Clone, Copy)]
pub(crate) struct Path<'a> {
    parent: Option<&'a Path<'a>>,
    step: Step<'a>,
    out: &'a RefCell<Vec<Finding>>,
    pub depth: u32,
}

impl<'a> Path<'a> {
    /// The top; `prefix` stands before every path below, and may be empty.
    pub fn root(prefix: &'a str, out: &'a RefCell<Vec<Finding>>) -> Self {
        Self { parent: None, step: Step::Root(prefix), out, depth: 0 }
    }

    pub fn field<'b>(&'b self, name: &'b str) -> Path<'b> {
        self.step(Step::Field(name))
    }

    pub fn index(&self, i: usize) -> Path<'_> {
        self.step(Step::Index(i))
    }

    pub fn key<'b>(&'b self, key: &'b str) -> Path<'b> {
        self.step(Step::Key(key))
    }

    fn step<'b>(&'b self, step: Step<'b>) -> Path<'b> {
        Path { parent: Some(self), step, out: self.out, depth: self.depth + 1 }
    }

    pub fn error(&self, message: impl Into<String>) {
        self.push(MAX_FINDINGS, || Finding::error(self.spell(), message));
    }

    pub fn warn(&self, message: impl Into<String>) {
        self.push(MAX_FINDINGS / 2, || Finding::warning(self.spell(), message));
    }

    fn push(&self, limit: usize, finding: impl FnOnce() -> Finding) {
        if self.out.borrow().len() < limit {
            self.out.borrow_mut().push(finding());
        }
    }

    pub fn spell(&self) -> String {
        let mut text = self.parent.map(Path::spell).unwrap_or_default();
        // Writing to a string cannot fail.
        let _ = match self.step {
            Step::Root(prefix) => text.write_str(prefix),
            Step::Field(name) if text.is_empty() => text.write_str(name),
            Step::Field(name) => write!(text, ".{name}"),
            Step::Index(i) => write!(text, "[{i}]"),
            Step::Key(key) => write!(text, "[\"{key}\"]"),
        };
        text
    }
}
