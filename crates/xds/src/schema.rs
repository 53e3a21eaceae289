//! The schema: which fields each message has on the wire and in JSON, and what becomes of each here.
//! One table drives reading and writing of both forms, and it is the support table at the same time,
//! so what is documented as honoured, harmless or refused is what the readers do.

mod authz;
mod bootstrap;
mod cluster;
mod compressor;
mod core;
mod http;
mod istio;
mod jwt;
mod listener;
mod log;
mod rate_limit;
mod rbac;
mod route;
mod small_filters;
mod tls;

pub use self::authz::*;
pub use self::bootstrap::*;
pub use self::cluster::*;
pub use self::compressor::*;
pub use self::core::*;
pub use self::http::*;
pub use self::istio::*;
pub use self::jwt::*;
pub use self::listener::*;
pub use self::log::*;
pub use self::rate_limit::*;
pub use self::rbac::*;
pub use self::route::*;
pub use self::small_filters::*;
pub use self::tls::*;

use crate::support::Support;

/// One message type.
#[derive(Debug)]
pub struct Message {
    /// As in the type URL, without its host.
    pub name: &'static str,
    /// In the order of their numbers.
    pub fields: &'static [Field],
}

/// One field of a message.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    pub number: u32,
    pub name: &'static str,
    /// `None` where the value is never looked at.
    pub kind: Option<Kind>,
    pub shape: Shape,
    /// The `oneof` (or `optional`) it belongs to, numbered from 1; 0 is none.
    pub choice: u8,
    pub support: Support,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    One,
    Many,
    /// From string to the kind.
    Map,
}

#[derive(Clone, Copy, Debug)]
pub enum Kind {
    Scalar(Scalar),
    /// A scalar that knows absence (`google.protobuf.UInt32Value` and its kin).
    Wrapper(Scalar),
    Enum(&'static Enum),
    Message(&'static Message),
    Any,
    Duration,
    Struct,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scalar {
    Bool,
    Int32,
    Int64,
    Uint32,
    Uint64,
    Double,
    Float,
    String,
    Bytes,
}

#[derive(Debug)]
pub struct Enum {
    pub name: &'static str,
    pub values: &'static [(i32, &'static str)],
}

impl Enum {
    const fn new(name: &'static str, values: &'static [(i32, &'static str)]) -> Self {
        Self { name, values }
    }

    pub fn number(&self, name: &str) -> Option<i32> {
        self.values.iter().find(|(_, n)| *n == name).map(|(i, _)| *i)
    }

    pub fn label(&self, number: i32) -> Option<&'static str> {
        self.values.iter().find(|(i, _)| *i == number).map(|(_, n)| *n)
    }
}

impl Message {
    const fn plain(name: &'static str, fields: &'static [Field]) -> Self {
        Self { name, fields }
    }

    /// Where the field of this number stands in `fields`.
    pub(crate) fn by_number(&self, number: u32) -> Option<usize> {
        self.fields.binary_search_by_key(&number, |f| f.number).ok()
    }

    /// Where the field of this name stands in `fields`; `snake_case` or `camelCase`.
    pub(crate) fn by_json_name(&self, name: &str) -> Option<usize> {
        self.fields.iter().position(|f| f.name == name || is_camel_of(name, f.name))
    }

    /// The field of a name that our own code spells.
    ///
    /// # Panics
    /// When the schema has no such field: a slip of the pen that every test meets.
    pub(crate) fn own(&self, name: &str) -> usize {
        self.fields
            .iter()
            .position(|f| f.name == name)
            .unwrap_or_else(|| panic!("the schema of {} has no field {name}", self.name))
    }
}

impl Field {
    /// A set field of this kind is written even when it holds the default value.
    pub(crate) fn explicit(&self) -> bool {
        self.choice != 0 || matches!(self.kind, Some(Kind::Wrapper(_)))
    }
}

/// `camel` is the JSON name of `snake`.
fn is_camel_of(camel: &str, snake: &str) -> bool {
    let mut upper = false;
    let mut rest = camel.chars();
    for c in snake.chars() {
        if c == '_' {
            upper = true;
            continue;
        }
        let expected = if upper { c.to_ascii_uppercase() } else { c };
        upper = false;
        if rest.next() != Some(expected) {
            return false;
        }
    }
    rest.next().is_none()
}

/// The message of this full name, for `Any`.
pub fn find(name: &str) -> Option<&'static Message> {
    all().find(|m| m.name == name)
}

/// Every message of the schema.
pub fn all() -> impl Iterator<Item = &'static Message> {
    [
        authz::ALL,
        bootstrap::ALL,
        cluster::ALL,
        self::core::ALL,
        http::ALL,
        istio::ALL,
        jwt::ALL,
        listener::ALL,
        log::ALL,
        rate_limit::ALL,
        rbac::ALL,
        route::ALL,
        compressor::ALL,
        small_filters::ALL,
        tls::ALL,
    ]
    .into_iter()
    .flatten()
    .copied()
}

/// The vocabulary of the tables' rows.
mod row {
    use super::{Enum, Field, Kind, Message, Scalar, Shape};
    use crate::support::Support;

    pub const BOOL: Kind = Kind::Scalar(Scalar::Bool);
    pub const INT32: Kind = Kind::Scalar(Scalar::Int32);
    pub const INT64: Kind = Kind::Scalar(Scalar::Int64);
    pub const UINT32: Kind = Kind::Scalar(Scalar::Uint32);
    pub const DOUBLE: Kind = Kind::Scalar(Scalar::Double);
    pub const STRING: Kind = Kind::Scalar(Scalar::String);
    pub const BYTES: Kind = Kind::Scalar(Scalar::Bytes);
    pub const BOOL_VALUE: Kind = Kind::Wrapper(Scalar::Bool);
    pub const UINT32_VALUE: Kind = Kind::Wrapper(Scalar::Uint32);
    pub const UINT64_VALUE: Kind = Kind::Wrapper(Scalar::Uint64);
    pub const ANY: Kind = Kind::Any;
    pub const DURATION: Kind = Kind::Duration;
    pub const STRUCT: Kind = Kind::Struct;

    pub const fn msg(message: &'static Message) -> Kind {
        Kind::Message(message)
    }

    pub const fn enumeration(of: &'static Enum) -> Kind {
        Kind::Enum(of)
    }

    const fn row(number: u32, name: &'static str, kind: Option<Kind>, support: Support) -> Field {
        Field { number, name, kind, shape: Shape::One, choice: 0, support }
    }

    pub const fn yes(number: u32, name: &'static str, kind: Kind) -> Field {
        row(number, name, Some(kind), Support::Honoured)
    }

    pub const fn fine(number: u32, name: &'static str, why: &'static str) -> Field {
        row(number, name, None, Support::Harmless(why))
    }

    pub const fn no(number: u32, name: &'static str) -> Field {
        row(number, name, None, Support::Refused)
    }

    impl Field {
        pub const fn many(self) -> Self {
            Self { shape: Shape::Many, ..self }
        }
        pub const fn map(self) -> Self {
            Self { shape: Shape::Map, ..self }
        }
        pub const fn choice(self, choice: u8) -> Self {
            Self { choice, ..self }
        }
        /// The kind of a harmless field that we write for others to read.
        pub const fn of(self, kind: Kind) -> Self {
            Self { kind: Some(kind), ..self }
        }
    }
}

#[cfg(test)]
mod tests;
