//! nf_tables: a rule set as plain values, and its translation into one atomic transaction.
//!
//! The planners (`capture`, `service`) build a `Ruleset`; `apply` replaces the table of that name
//! with it, so that no packet meets a half of either.

mod encode;
mod expr;

pub use expr::{Expr, Match, Verdict};

use crate::netlink::{NetlinkError, Socket};

/// What kind of packets a table sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    Inet,
    Ip,
    Ip6,
}

/// A table with everything in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ruleset {
    pub family: Family,
    pub table: String,
    pub chains: Vec<Chain>,
    pub sets: Vec<Set>,
}

/// A list of rules; with a hook packets arrive by themselves, else by jumps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chain {
    pub name: String,
    pub hook: Option<Hook>,
    pub rules: Vec<Vec<Expr>>,
}

/// Where in a packet's way a chain stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hook {
    NatPrerouting,
    NatOutput,
    NatPostrouting,
    FilterForward,
    FilterOutput,
    RawPrerouting,
    RawOutput,
    ManglePrerouting,
}

/// Keys, with or without something for each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Set {
    pub name: String,
    /// The parts of a key in order; each fills whole 4-byte registers.
    pub key: Vec<Part>,
    pub values: Values,
    pub elements: Vec<(Vec<u8>, Value)>,
}

/// One part of a concatenated key or value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    Ipv4,
    Ipv6,
    Protocol,
    Port,
    Number,
}

/// What a set holds for each key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Values {
    Nothing,
    Verdicts,
    Data(Vec<Part>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    Nothing,
    Goto(String),
    Data(Vec<u8>),
}

impl Chain {
    pub fn base(name: &str, hook: Hook, rules: Vec<Vec<Expr>>) -> Self {
        Chain { name: name.to_owned(), hook: Some(hook), rules }
    }

    pub fn plain(name: impl Into<String>, rules: Vec<Vec<Expr>>) -> Self {
        Chain { name: name.into(), hook: None, rules }
    }
}

impl Ruleset {
    /// Replaces the table in the calling thread's network namespace, all at once.
    pub fn apply(&self) -> Result<(), NetlinkError> {
        let doing = format!("replace the nftables table {}", self.table);
        Socket::netfilter()?.transaction(&doing, encode::replace(self))
    }

    /// Removes the table if it is there.
    pub fn remove(family: Family, table: &str) -> Result<(), NetlinkError> {
        let doing = format!("remove the nftables table {table}");
        Socket::netfilter()?.transaction(&doing, encode::remove(family, table))
    }
}
