//! The reader's hand: one message of the tree, where it stands, and typed access to its fields.

use crate::message::{Any, Msg, Path, Val};
use bytes::Bytes;
use ir::{Str, Value};
use std::collections::BTreeMap;
use std::time::Duration;

pub(crate) struct At<'a> {
    msg: &'a Msg,
    pub path: Path<'a>,
}

/// What stands in an `Any`.
pub(crate) enum Typed<'a> {
    Known(At<'a>),
    /// The URL of a type that the schema does not have.
    Unknown(&'a str),
}

impl<'a> At<'a> {
    pub fn new(msg: &'a Msg, path: Path<'a>) -> Self {
        Self { msg, path }
    }

    /// The full name of the message's type.
    pub fn ty(&self) -> &'static str {
        self.msg.ty.name
    }

    pub fn is(&self, ty: &'static crate::schema::Message) -> bool {
        std::ptr::eq(self.msg.ty, ty)
    }

    pub fn tree(&self) -> &'a Msg {
        self.msg
    }

    fn get(&self, name: &str) -> Option<&'a Val> {
        #[cfg(test)]
        super::tests::note_read(self.msg.ty.name, name);
        self.msg.get(name)
    }

    pub fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    pub fn error(&self, message: impl Into<String>) {
        self.path.error(message);
    }

    pub fn error_in(&self, name: &str, message: impl Into<String>) {
        self.path.field(name).error(message);
    }

    pub fn opt_str(&self, name: &str) -> Option<Str> {
        match self.get(name) {
            Some(Val::Str(s)) => Some(s.clone()),
            _ => None,
        }
    }

    pub fn str(&self, name: &str) -> Str {
        self.opt_str(name).unwrap_or_else(|| "".into())
    }

    pub fn opt_bool(&self, name: &str) -> Option<bool> {
        match self.get(name) {
            Some(Val::Bool(b)) => Some(*b),
            _ => None,
        }
    }

    pub fn bool(&self, name: &str) -> bool {
        self.opt_bool(name).unwrap_or(false)
    }

    pub fn opt_u64(&self, name: &str) -> Option<u64> {
        match self.get(name) {
            Some(Val::Uint(u)) => Some(*u),
            _ => None,
        }
    }

    pub fn opt_u32(&self, name: &str) -> Option<u32> {
        self.opt_u64(name).and_then(|u| u32::try_from(u).ok())
    }

    pub fn u32(&self, name: &str) -> u32 {
        self.opt_u32(name).unwrap_or(0)
    }

    /// A number that must fit 16 bits, as ports and status codes do.
    pub fn opt_u16(&self, name: &str) -> Option<u16> {
        let wide = self.opt_u64(name)?;
        let narrow = u16::try_from(wide).ok();
        if narrow.is_none() {
            self.error_in(name, format!("{wide} is more than 65535"));
        }
        narrow
    }

    pub fn i64(&self, name: &str) -> i64 {
        match self.get(name) {
            Some(Val::Int(i)) => *i,
            _ => 0,
        }
    }

    pub fn opt_f64(&self, name: &str) -> Option<f64> {
        match self.get(name) {
            Some(Val::Float(f)) => Some(*f),
            _ => None,
        }
    }

    pub fn duration(&self, name: &str) -> Option<Duration> {
        match self.get(name) {
            Some(Val::Duration(d)) => Some(*d),
            _ => None,
        }
    }

    pub fn bytes(&self, name: &str) -> Option<Bytes> {
        match self.get(name) {
            Some(Val::Bytes(b)) => Some(b.clone()),
            _ => None,
        }
    }

    pub fn structure(&self, name: &str) -> Option<&'a BTreeMap<Str, Value>> {
        match self.get(name) {
            Some(Val::Struct(s)) => Some(s),
            _ => None,
        }
    }

    pub fn map(&self, name: &str) -> Option<&'a BTreeMap<Str, Val>> {
        match self.get(name) {
            Some(Val::Map(m)) => Some(m),
            _ => None,
        }
    }

    fn items(&self, name: &str) -> &'a [Val] {
        match self.get(name) {
            Some(Val::List(l)) => l,
            _ => &[],
        }
    }

    pub fn strs(&self, name: &str) -> Vec<Str> {
        let text = |v: &Val| if let Val::Str(s) = v { Some(s.clone()) } else { None };
        exact(self.items(name).iter().filter_map(text))
    }

    pub fn u32s(&self, name: &str) -> Vec<u32> {
        let number = |v: &Val| if let Val::Uint(u) = v { u32::try_from(*u).ok() } else { None };
        exact(self.items(name).iter().filter_map(number))
    }

    /// The value of an enumeration under a table of those that are supported.
    pub fn pick<T: Copy>(&self, name: &str, table: &[(i32, T)]) -> Option<T> {
        let number = self.i64(name);
        let found = table.iter().find(|(n, _)| i64::from(*n) == number);
        if found.is_none() {
            self.error_in(name, format!("the value {number} is not supported"));
        }
        found.map(|(_, t)| *t)
    }

    pub fn msg<'b>(&'b self, name: &'b str) -> Option<At<'b>> {
        match self.get(name) {
            Some(Val::Msg(m)) => Some(At { msg: m, path: self.path.field(name) }),
            _ => None,
        }
    }

    /// Every message of a repeated field.
    pub fn each<T>(&self, name: &str, mut f: impl FnMut(&At) -> T) -> Vec<T> {
        let path = self.path.field(name);
        let read = |(i, v): (usize, &Val)| match v {
            Val::Msg(m) => Some(f(&At { msg: m, path: path.index(i) })),
            _ => None,
        };
        exact(self.items(name).iter().enumerate().filter_map(read))
    }

    /// Every message of a map, with its key.
    pub fn each_of_map<'b, T>(
        &'b self,
        name: &'b str,
        mut f: impl FnMut(&At) -> T + 'b,
    ) -> impl Iterator<Item = (Str, T)> + 'b {
        let path = self.path.field(name);
        self.map(name).into_iter().flatten().filter_map(move |(key, v)| match v {
            Val::Msg(m) => Some((key.clone(), f(&At { msg: m, path: path.key(key) }))),
            _ => None,
        })
    }

    /// What an `Any` field holds.
    pub fn typed<'b>(&'b self, name: &'b str) -> Option<Typed<'b>> {
        match self.get(name) {
            Some(Val::Any(a)) => Some(typed(a, self.path.field(name))),
            _ => None,
        }
    }
}

/// A list without room for more: most lists of a configuration are short, and are kept for long.
fn exact<T>(items: impl Iterator<Item = T>) -> Vec<T> {
    let mut list: Vec<T> = items.collect();
    list.shrink_to_fit();
    list
}

fn typed<'b>(any: &'b Any, path: Path<'b>) -> Typed<'b> {
    match any {
        Any::Known(m) => Typed::Known(At { msg: m, path }),
        Any::Unknown { type_url, .. } => Typed::Unknown(type_url),
    }
}

/// Every `Any` of a map, with its key.
pub(crate) fn each_typed<T>(
    at: &At,
    name: &str,
    mut f: impl FnMut(&Str, Typed, &Path) -> Option<T>,
) -> Vec<(Str, T)> {
    let Some(map) = at.map(name) else { return Vec::new() };
    let field = at.path.field(name);
    let read = |(key, v): (&Str, &Val)| match v {
        Val::Any(a) => {
            let path = field.key(key);
            f(key, typed(a, path), &path).map(|t| (key.clone(), t))
        }
        _ => None,
    };
    map.iter().filter_map(read).collect()
}

/// The number of a value in a table that [`At::pick`] reads.
pub(crate) fn number_of<T: Copy + PartialEq>(table: &[(i32, T)], value: T) -> i32 {
    table.iter().find(|(_, t)| *t == value).map_or(0, |(n, _)| *n)
}
