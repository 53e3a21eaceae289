//! Messages as values: a tree that is read from the wire or from JSON under the schema, and written
//! to either. The codec between this tree and `ir` never sees bytes.

mod json_read;
mod json_write;
mod path;
mod wire_read;
mod wire_write;

pub(crate) use json_read::{read_json, struct_of, typed_struct};
pub(crate) use json_write::{json_of, write_json};
pub(crate) use path::Path;
pub(crate) use wire_read::read_wire;
pub(crate) use wire_write::write_wire;

use crate::schema::{Field, Message};
use bytes::Bytes;
use ir::{Str, Value};
use std::collections::BTreeMap;
use std::time::Duration;

/// The part of a type URL before the message's name.
pub(crate) const TYPE_HOST: &str = "type.googleapis.com/";

/// Nesting deeper than this is refused rather than followed.
pub(crate) const MAX_DEPTH: u32 = 64;

/// One message: its set fields in the order of their numbers.
#[derive(Clone, Debug)]
pub(crate) struct Msg {
    pub ty: &'static Message,
    /// Places in `ty.fields`, ascending.
    fields: Vec<(u16, Val)>,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Val {
    Bool(bool),
    /// Signed integers and enums.
    Int(i64),
    Uint(u64),
    Float(f64),
    Str(Str),
    Bytes(Bytes),
    Msg(Msg),
    Any(Any),
    Duration(Duration),
    Struct(BTreeMap<Str, Value>),
    List(Vec<Val>),
    Map(BTreeMap<Str, Val>),
}

/// What an `Any` holds.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Any {
    Known(Msg),
    /// A type that the schema does not have.
    Unknown {
        type_url: Str,
        value: Bytes,
    },
}

impl PartialEq for Msg {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self.ty, other.ty) && self.fields == other.fields
    }
}

impl Msg {
    pub fn new(ty: &'static Message) -> Self {
        Self { ty, fields: Vec::new() }
    }

    pub fn get(&self, name: &str) -> Option<&Val> {
        self.at(self.ty.own(name))
    }

    /// The value in the place `index` of the schema.
    pub fn at(&self, index: usize) -> Option<&Val> {
        let i = self.fields.binary_search_by_key(&index, |(i, _)| usize::from(*i)).ok()?;
        Some(&self.fields[i].1)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&'static Field, &Val)> {
        self.fields.iter().map(|(i, v)| (&self.ty.fields[usize::from(*i)], v))
    }

    /// Sets the place `index`, and unsets the others of its `oneof`.
    pub fn put(&mut self, index: usize, value: Val) {
        self.unset_rivals(index);
        match self.fields.binary_search_by_key(&index, |(i, _)| usize::from(*i)) {
            Ok(i) => self.fields[i].1 = value,
            Err(i) => self.fields.insert(i, (index as u16, value)),
        }
    }

    /// The value in the place `index`, made by `new` when it is not set yet.
    pub fn entry(&mut self, index: usize, new: impl FnOnce() -> Val) -> &mut Val {
        self.unset_rivals(index);
        let i = match self.fields.binary_search_by_key(&index, |(i, _)| usize::from(*i)) {
            Ok(i) => i,
            Err(i) => {
                self.fields.insert(i, (index as u16, new()));
                i
            }
        };
        &mut self.fields[i].1
    }

    fn unset_rivals(&mut self, index: usize) {
        let choice = self.ty.fields[index].choice;
        if choice != 0 {
            let ty = self.ty;
            self.fields.retain(|(i, _)| {
                usize::from(*i) == index || ty.fields[usize::from(*i)].choice != choice
            });
        }
    }

    /// Sets a field by the name that our own code spells. A default value of a field that does not
    /// tell it from absence is left out.
    pub fn set(mut self, name: &str, value: impl Into<Val>) -> Self {
        let index = self.ty.own(name);
        let value = value.into();
        if self.ty.fields[index].explicit() || !value.is_default() {
            self.put(index, value);
        }
        self
    }

    pub fn set_opt(self, name: &str, value: Option<impl Into<Val>>) -> Self {
        match value {
            Some(value) => self.set(name, value),
            None => self,
        }
    }

    /// Wraps the message in an `Any`.
    pub fn any(self) -> Val {
        Val::Any(Any::Known(self))
    }

    pub fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }
}

impl Val {
    pub fn is_default(&self) -> bool {
        match self {
            Val::Bool(b) => !b,
            Val::Int(i) => *i == 0,
            Val::Uint(u) => *u == 0,
            Val::Float(f) => *f == 0.0,
            Val::Str(s) => s.is_empty(),
            Val::Bytes(b) => b.is_empty(),
            Val::List(l) => l.is_empty(),
            Val::Map(m) => m.is_empty(),
            Val::Msg(_) | Val::Any(_) | Val::Duration(_) | Val::Struct(_) => false,
        }
    }

    /// A list of whatever `f` makes of each item.
    pub fn list<T, V: Into<Val>>(items: impl IntoIterator<Item = T>, f: impl Fn(T) -> V) -> Val {
        Val::List(items.into_iter().map(|t| f(t).into()).collect())
    }
}

macro_rules! val_from {
    ($($from:ty => $variant:ident($convert:expr)),* $(,)?) => {
        $(impl From<$from> for Val {
            fn from(v: $from) -> Val {
                #[allow(clippy::redundant_closure_call)]
                Val::$variant(($convert)(v))
            }
        })*
    };
}

val_from! {
    bool => Bool(|v| v),
    i32 => Int(i64::from),
    i64 => Int(|v| v),
    u16 => Uint(u64::from),
    u32 => Uint(u64::from),
    u64 => Uint(|v| v),
    f64 => Float(|v| v),
    &str => Str(Str::from),
    Str => Str(|v| v),
    &Str => Str(Str::clone),
    Bytes => Bytes(|v| v),
    Msg => Msg(|v| v),
    Duration => Duration(|v| v),
    Vec<Val> => List(|v| v),
}
