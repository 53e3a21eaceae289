//! Permissions and principals: the expressions of a policy.

use super::Access;
use crate::matching::{HeaderMatcher, Matcher, whole};
use crate::metadata::MetadataMatcher;
use base::Finding;
use ir::{Cidr, Permission, Principal};
use regex::bytes::Regex;
use wire::RequestHead;

/// A compiled [`Permission`].
#[derive(Debug)]
pub(super) enum Permit {
    Any,
    All(Vec<Permit>),
    OneOf(Vec<Permit>),
    Not(Box<Permit>),
    Header(HeaderMatcher),
    Path(Matcher),
    /// `None` could not be compiled.
    Template(Option<Regex>),
    Ip(Cidr),
    Ports(i64, i64),
    ServerName(Matcher),
    Metadata(MetadataMatcher),
}

/// A compiled [`Principal`].
#[derive(Debug)]
pub(super) enum Who {
    Any,
    All(Vec<Who>),
    OneOf(Vec<Who>),
    Not(Box<Who>),
    Authenticated(Option<Matcher>),
    Direct(Cidr),
    Remote(Cidr),
    Header(HeaderMatcher),
    Path(Matcher),
    Metadata(MetadataMatcher),
}

impl Permit {
    pub fn new(from: &Permission, path: &str, findings: &mut Vec<Finding>) -> Self {
        let each = |list: &[Permission], findings: &mut Vec<Finding>| {
            list.iter().map(|inner| Self::new(inner, path, findings)).collect()
        };
        match from {
            Permission::Any => Permit::Any,
            Permission::All(list) => Permit::All(each(list, findings)),
            Permission::OneOf(list) => Permit::OneOf(each(list, findings)),
            Permission::Not(inner) => Permit::Not(Box::new(Self::new(inner, path, findings))),
            Permission::Header(h) => Permit::Header(HeaderMatcher::new(h, path, findings)),
            Permission::Path(m) => Permit::Path(Matcher::new(m, path, findings)),
            Permission::PathTemplate(template) => {
                let regex = whole(&regex_of(template)).map_err(|e| {
                    findings.push(Finding::error(path, format!("template '{template}': {e}")));
                });
                Permit::Template(regex.ok())
            }
            Permission::DestinationIp(cidr) => Permit::Ip(*cidr),
            Permission::DestinationPort(port) => {
                Permit::Ports(i64::from(*port), i64::from(*port) + 1)
            }
            Permission::DestinationPorts(start, end) => {
                Permit::Ports(i64::from(*start), i64::from(*end))
            }
            Permission::ServerName(m) => Permit::ServerName(Matcher::new(m, path, findings)),
            Permission::Metadata(m) => Permit::Metadata(MetadataMatcher::new(m, path, findings)),
        }
    }

    pub fn matches<H: RequestHead + ?Sized>(&self, access: &Access<'_, H>) -> bool {
        match self {
            Permit::Any => true,
            Permit::All(list) => list.iter().all(|inner| inner.matches(access)),
            Permit::OneOf(list) => list.iter().any(|inner| inner.matches(access)),
            Permit::Not(inner) => !inner.matches(access),
            Permit::Header(header) => access.head.is_some_and(|head| header.matches(head)),
            Permit::Path(matcher) => access.path().is_some_and(|path| matcher.matches(path)),
            Permit::Template(regex) => {
                regex.as_ref().zip(access.path()).is_some_and(|(r, path)| r.is_match(path))
            }
            Permit::Ip(cidr) => access.local.is_some_and(|local| cidr.contains(local.ip())),
            Permit::Ports(start, end) => {
                access.local.is_some_and(|local| (*start..*end).contains(&local.port().into()))
            }
            Permit::ServerName(matcher) => matcher.matches(access.server_name.as_bytes()),
            Permit::Metadata(matcher) => matcher.matches(access.metadata),
        }
    }
}

impl Who {
    pub fn new(from: &Principal, path: &str, findings: &mut Vec<Finding>) -> Self {
        let each = |list: &[Principal], findings: &mut Vec<Finding>| {
            list.iter().map(|inner| Self::new(inner, path, findings)).collect()
        };
        match from {
            Principal::Any => Who::Any,
            Principal::All(list) => Who::All(each(list, findings)),
            Principal::OneOf(list) => Who::OneOf(each(list, findings)),
            Principal::Not(inner) => Who::Not(Box::new(Self::new(inner, path, findings))),
            Principal::Authenticated(name) => {
                Who::Authenticated(name.as_ref().map(|m| Matcher::new(m, path, findings)))
            }
            Principal::SourceIp(cidr) | Principal::DirectRemoteIp(cidr) => Who::Direct(*cidr),
            Principal::RemoteIp(cidr) => Who::Remote(*cidr),
            Principal::Header(h) => Who::Header(HeaderMatcher::new(h, path, findings)),
            Principal::Path(m) => Who::Path(Matcher::new(m, path, findings)),
            Principal::Metadata(m) => Who::Metadata(MetadataMatcher::new(m, path, findings)),
        }
    }

    pub fn matches<H: RequestHead + ?Sized>(&self, access: &Access<'_, H>) -> bool {
        match self {
            Who::Any => true,
            Who::All(list) => list.iter().all(|inner| inner.matches(access)),
            Who::OneOf(list) => list.iter().any(|inner| inner.matches(access)),
            Who::Not(inner) => !inner.matches(access),
            Who::Authenticated(None) => access.names().next().is_some(),
            Who::Authenticated(Some(matcher)) => access.names().any(|name| matcher.matches(name)),
            Who::Direct(cidr) => access.direct.is_some_and(|ip| cidr.contains(ip)),
            Who::Remote(cidr) => access.remote.is_some_and(|ip| cidr.contains(ip)),
            Who::Header(header) => access.head.is_some_and(|head| header.matches(head)),
            Who::Path(matcher) => access.path().is_some_and(|path| matcher.matches(path)),
            Who::Metadata(matcher) => matcher.matches(access.metadata),
        }
    }
}

/// What a URI template stands for: `*` is a piece of a segment or all of it, `**` whatever follows.
fn regex_of(template: &str) -> String {
    const LITERAL: &str = r"a-zA-Z0-9\-._~%!$&'()*+,;:@=";
    let mut regex = String::new();
    let mut rest = template;
    while let Some(c) = rest.chars().next() {
        if let Some(after) = rest.strip_prefix("**") {
            regex.push_str(&format!("[{LITERAL}/]*"));
            rest = after;
        } else if c == '*' {
            regex.push_str(&format!("[{LITERAL}]+"));
            rest = &rest[1..];
        } else {
            regex.push_str(&regex::escape(&rest[..c.len_utf8()]));
            rest = &rest[c.len_utf8()..];
        }
    }
    regex
}
