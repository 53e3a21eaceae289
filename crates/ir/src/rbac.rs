//! Role-based access control: who may do what, as policies whose permissions and principals are
//! expressions over a request or a connection (`envoy.config.rbac.v3`).

use crate::{Cidr, HeaderMatch, MetadataMatch, Str, StringMatch};
use std::collections::BTreeMap;

/// `envoy.extensions.filters.http.rbac.v3.RBAC`, and the same for connections.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rbac {
    /// What is enforced; `None` enforces nothing.
    pub rules: Option<RbacRules>,
    /// What is only observed.
    pub shadow: Option<RbacRules>,
    /// Before the names of the statistics of the rules, and the keys of their dynamic metadata.
    pub rules_prefix: Str,
    pub shadow_prefix: Str,
    /// Of the network filter alone.
    pub stat_prefix: Str,
}

/// `envoy.config.rbac.v3.RBAC`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RbacRules {
    pub action: RbacAction,
    /// In the order of their names, in which they are asked.
    pub policies: BTreeMap<Str, RbacPolicy>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum RbacAction {
    /// Only what a policy matches is allowed.
    #[default]
    Allow,
    /// What a policy matches is denied.
    Deny,
    /// All is allowed; what a policy matches is to be logged.
    Log,
}

/// Matches where one of the permissions and one of the principals does.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RbacPolicy {
    pub permissions: Vec<Permission>,
    pub principals: Vec<Principal>,
}

/// What is asked for.
#[derive(Clone, Debug, PartialEq)]
pub enum Permission {
    Any,
    All(Vec<Permission>),
    OneOf(Vec<Permission>),
    Not(Box<Permission>),
    Header(HeaderMatch),
    /// Without query and fragment.
    Path(StringMatch),
    /// A URI template: `*` is one segment, `**` any number of them.
    PathTemplate(Str),
    DestinationIp(Cidr),
    DestinationPort(u32),
    /// Half open.
    DestinationPorts(i32, i32),
    ServerName(StringMatch),
    Metadata(MetadataMatch),
}

/// Who asks.
#[derive(Clone, Debug, PartialEq)]
pub enum Principal {
    Any,
    All(Vec<Principal>),
    OneOf(Vec<Principal>),
    Not(Box<Principal>),
    /// By a certificate, of this name; `None`: of whatever name.
    Authenticated(Option<StringMatch>),
    /// The peer, or whom the PROXY protocol names (deprecated in Envoy).
    SourceIp(Cidr),
    /// The peer of the connection.
    DirectRemoteIp(Cidr),
    /// The client as `x-forwarded-for` says, where it is trusted.
    RemoteIp(Cidr),
    Header(HeaderMatch),
    Path(StringMatch),
    Metadata(MetadataMatch),
}
