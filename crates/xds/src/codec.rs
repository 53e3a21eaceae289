//! `ir` <-> protobuf: one resource at a time, through the message tree. Law: what is written is read
//! back equal. What a resource says that we do not support is a finding with its field path; if any of
//! it could change behaviour, the resource is refused.

mod address;
pub(crate) mod at;
mod authz;
mod balance;
mod cluster;
mod common;
mod compressor;
pub(crate) mod endpoint;
mod filter;
mod http;
mod jwt;
mod listener;
mod local_reply;
mod log;
mod names;
mod network;
mod options;
mod outlier;
mod rate_limit;
mod rbac;
mod retry;
mod route;
mod route_action;
mod small_filters;
mod socket;
pub(crate) mod source;
mod tls;
mod upstream;

use self::at::At;
use crate::message::{Any, Msg, Path, TYPE_HOST, Val, read_wire, write_json, write_wire};
use crate::schema::{self, Message};
use base::{Finding, Level};
use bytes::Bytes;
use ir::{Kind, Resource, Str};
use std::cell::RefCell;
use std::fmt;
use std::sync::Arc;

/// Why a resource cannot be used.
#[derive(Clone, Debug, PartialEq)]
pub struct Refusal {
    pub type_url: String,
    /// Empty where not even the name could be read.
    pub name: String,
    pub findings: Vec<Finding>,
}

impl std::error::Error for Refusal {}

impl fmt::Display for Refusal {
    /// The first findings: the text travels in a NACK.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 5;
        let short = self.type_url.rsplit_once('.').map_or(&*self.type_url, |(_, s)| s);
        write!(f, "{short} {:?}: ", self.name)?;
        let errors: Vec<_> = self.findings.iter().filter(|f| f.level == Level::Error).collect();
        for (i, finding) in errors.iter().take(SHOWN).enumerate() {
            write!(f, "{}{finding}", if i == 0 { "" } else { "; " })?;
        }
        if errors.len() > SHOWN {
            write!(f, "; and {} more", errors.len() - SHOWN)?;
        }
        Ok(())
    }
}

fn message_of(kind: Kind) -> &'static Message {
    match kind {
        Kind::Cluster => &schema::CLUSTER,
        Kind::Endpoints => &schema::CLUSTER_LOAD_ASSIGNMENT,
        Kind::Listener => &schema::LISTENER,
        Kind::Route => &schema::ROUTE_CONFIGURATION,
        Kind::Secret => &schema::SECRET,
        Kind::Names => &schema::NAME_TABLE,
    }
}

/// The type URL under which resources of this kind are discovered.
pub fn type_url_of(kind: Kind) -> String {
    format!("{TYPE_HOST}{}", message_of(kind).name)
}

/// The kind that is discovered under this type URL.
pub fn kind_of(type_url: &str) -> Option<Kind> {
    let name = type_url.strip_prefix(TYPE_HOST)?;
    Kind::ALL.into_iter().find(|k| message_of(*k).name == name)
}

/// The bytes of one resource, without the `Any` around them.
pub fn encode(resource: &Resource) -> Bytes {
    write_wire(&match resource {
        Resource::Cluster(c) => cluster::write_cluster(c),
        Resource::Endpoints(e) => endpoint::write_endpoints(e),
        Resource::Listener(l) => listener::write_listener(l),
        Resource::Route(r) => route::write_route_config(r),
        Resource::Secret(s) => tls::write_secret(s),
        Resource::Names(n) => names::write_names(n),
    })
}

/// The bytes of one virtual host, as they stand in its configuration.
pub(crate) fn encode_host(host: &ir::VirtualHost) -> Bytes {
    write_wire(&route::write_virtual_host(host))
}

/// The bytes of rules for requests.
pub(crate) fn encode_rbac(rbac: &ir::Rbac) -> Bytes {
    write_wire(&rbac::write_http(rbac))
}

/// Reads one resource; warnings come with it.
pub fn decode(type_url: &str, bytes: &[u8]) -> Result<(Resource, Vec<Finding>), Refusal> {
    let out = RefCell::new(Vec::new());
    let path = Path::root("", &out);
    let Some(kind) = kind_of(type_url) else {
        path.error(format!("resources of type {type_url} are not supported"));
        return Err(refusal(type_url, "", out));
    };
    let msg = read_wire(message_of(kind), Bytes::copy_from_slice(bytes), &path);
    let resource = read_resource(kind, &At::new(&msg, path));
    if out.borrow().iter().any(|f| f.level == Level::Error) {
        return Err(refusal(type_url, &resource.key().name, out));
    }
    Ok((resource, out.into_inner()))
}

fn refusal(type_url: &str, name: &str, out: RefCell<Vec<Finding>>) -> Refusal {
    Refusal { type_url: type_url.to_owned(), name: name.to_owned(), findings: out.into_inner() }
}

/// Reads the tree of one resource; findings go to the tree's path.
pub(crate) fn read_resource(kind: Kind, at: &At) -> Resource {
    match kind {
        Kind::Cluster => Resource::Cluster(Arc::new(cluster::read_cluster(at))),
        Kind::Endpoints => Resource::Endpoints(Arc::new(endpoint::read_endpoints(at))),
        Kind::Listener => Resource::Listener(Arc::new(listener::read_listener(at))),
        Kind::Route => Resource::Route(Arc::new(route::read_route_config(at))),
        Kind::Secret => Resource::Secret(Arc::new(tls::read_secret(at))),
        Kind::Names => Resource::Names(Arc::new(names::read_names(at))),
    }
}

/// Any message of the schema as JSON, with its type under `@type`; `None` for other types and for
/// bytes that are none. Fields that are refused are left out.
pub fn to_json(type_url: &str, bytes: &[u8]) -> Option<serde_json::Value> {
    let name = type_url.strip_prefix(TYPE_HOST).unwrap_or(type_url);
    let ty = schema::find(name)?;
    let out = RefCell::new(Vec::new());
    let msg = read_wire(ty, Bytes::copy_from_slice(bytes), &Path::root("", &out));
    let mut json = serde_json::Map::new();
    json.insert("@type".to_owned(), format!("{TYPE_HOST}{name}").into());
    if let serde_json::Value::Object(fields) = write_json(&msg) {
        json.extend(fields);
    }
    Some(serde_json::Value::Object(json))
}

/// What in a piece of a resource our data plane does not carry out, by field: fields that are refused, and
/// extensions of types that it does not have. The piece need not be complete. `name` is its message's.
pub fn unsupported_in(name: &str, bytes: &[u8]) -> Vec<Finding> {
    let out = RefCell::new(Vec::new());
    let path = Path::root("", &out);
    match schema::find(name) {
        Some(ty) => unknown_types(&read_wire(ty, Bytes::copy_from_slice(bytes), &path), &path),
        None => unsupported(&path, name),
    }
    let mut found = out.into_inner();
    found.retain(|f| f.level == Level::Error);
    found
}

fn unknown_types(msg: &Msg, path: &Path) {
    for (field, value) in msg.iter() {
        unknown_types_in(value, &path.field(field.name));
    }
}

fn unknown_types_in(value: &Val, path: &Path) {
    match value {
        Val::Any(Any::Unknown { type_url, .. }) => {
            let name = type_url.strip_prefix(TYPE_HOST).unwrap_or(type_url);
            if !INERT.contains(&name) {
                unsupported(path, type_url);
            }
        }
        Val::Any(Any::Known(msg)) | Val::Msg(msg) => unknown_types(msg, path),
        Val::List(list) => {
            list.iter().enumerate().for_each(|(i, v)| unknown_types_in(v, &path.index(i)));
        }
        Val::Map(map) => map.iter().for_each(|(k, v)| unknown_types_in(v, &path.key(k))),
        _ => {}
    }
}

pub(crate) use self::address::read_address_in;

/// Filters that only watch: a client cannot tell whether they are there.
const INERT: &[&str] = &[
    "envoy.extensions.filters.network.mongo_proxy.v3.MongoProxy",
    "envoy.extensions.filters.http.alternate_protocols_cache.v3.FilterConfig",
];

fn inert(type_url: &Str, value: &Bytes) -> Val {
    Val::Any(Any::Unknown { type_url: type_url.clone(), value: value.clone() })
}

fn type_url(name: &str) -> Str {
    format!("{TYPE_HOST}{name}").into()
}

/// Says that a typed extension is not supported, by its name.
fn unsupported(path: &Path, type_url: &str) {
    let name = type_url.strip_prefix(TYPE_HOST).unwrap_or(type_url);
    path.error(format!("{name} is not supported here; remove it"));
}

#[cfg(test)]
pub(crate) mod tests;
