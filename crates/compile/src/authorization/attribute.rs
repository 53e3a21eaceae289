//! What conditions can be about, each with the expressions that its values become.

use super::condition::Attribute;
use super::value::{
    Unread, account, bracketed, cidr, namespace, port, principal, request_principal, template,
    text, trust_domain,
};
use crate::authentication::{JWT_AUTHN, PAYLOAD};
use ir::{
    HeaderCondition, HeaderMatch, MetadataMatch, Permission, Principal, Str, StringMatch,
    ValueMatch,
};

/// Of the request: what is asked for.
#[derive(Clone, Debug)]
pub(super) enum Asked {
    Host,
    Method,
    Path,
    DestinationIp,
    DestinationPort,
    ServerName,
    /// What a filter before this one has said.
    Metadata {
        filter: Str,
        path: Vec<Str>,
    },
}

/// Of the client: who asks.
#[derive(Clone, Debug)]
pub(super) enum Asks {
    Principal,
    RequestPrincipal,
    Namespace,
    /// In the namespace of the policy, unless another is named.
    Account(Str),
    TrustDomain,
    /// As the client's proxies say.
    RemoteIp,
    /// Of the connection.
    SourceIp,
    Header(Str),
    /// Of the token: `aud`, `azp` or any other.
    Claim(Vec<Str>),
}

impl Attribute for Asked {
    type Expression = Permission;

    fn is_http(&self) -> bool {
        matches!(self, Asked::Host | Asked::Method | Asked::Path)
    }

    fn is_identity(&self) -> bool {
        false
    }

    fn expressions(&self, values: &[String]) -> Result<Vec<Permission>, Unread> {
        if let Asked::Metadata { filter, path } = self {
            let of = |v: &String| metadata(filter, path.clone(), said(v));
            return Ok(values.iter().map(|v| Permission::Metadata(of(v))).collect());
        }
        values.iter().map(|value| self.expression(value)).collect()
    }
}

impl Asked {
    fn expression(&self, value: &str) -> Result<Permission, Unread> {
        Ok(match self {
            Asked::Host => Permission::Header(header(":authority", value, true)),
            Asked::Method => Permission::Header(header(":method", value, false)),
            Asked::Path => match template(value) {
                Some(template) => Permission::PathTemplate(template),
                None => Permission::Path(text(value)),
            },
            Asked::DestinationIp => Permission::DestinationIp(cidr(value)?),
            Asked::DestinationPort => Permission::DestinationPort(port(value)?),
            Asked::ServerName => Permission::ServerName(text(value)),
            Asked::Metadata { filter, path } => {
                Permission::Metadata(metadata(filter, path.clone(), said(value)))
            }
        })
    }

    /// By the key of a `when`; `None` where it is not about what is asked for.
    pub fn of_key(key: &str) -> Option<Asked> {
        Some(match key {
            "destination.ip" => Asked::DestinationIp,
            "destination.port" => Asked::DestinationPort,
            "connection.sni" => Asked::ServerName,
            _ => {
                let (filter, path) = key.strip_prefix("experimental.")?.split_once('[')?;
                let path = bracketed(&format!("[{path}"))?;
                filter.starts_with("envoy.filters.").then_some(())?;
                Asked::Metadata { filter: filter.into(), path }
            }
        })
    }
}

impl Attribute for Asks {
    type Expression = Principal;

    fn is_http(&self) -> bool {
        use Asks::{Claim, Header, RequestPrincipal};
        matches!(self, RequestPrincipal | Header(_) | Claim(_))
    }

    fn is_identity(&self) -> bool {
        !matches!(self, Asks::RemoteIp | Asks::SourceIp | Asks::Header(_))
    }

    fn expressions(&self, values: &[String]) -> Result<Vec<Principal>, Unread> {
        if let Asks::Claim(path) = self {
            // A claim is a text or a list of texts.
            let lists =
                values.iter().map(|v| ValueMatch::OneOf(Box::new(ValueMatch::Text(text(v)))));
            let texts = values.iter().map(|v| ValueMatch::Text(text(v)));
            return Ok(lists.chain(texts).map(|value| payload(path, value)).collect());
        }
        values.iter().map(|value| self.expression(value)).collect()
    }
}

impl Asks {
    fn expression(&self, value: &str) -> Result<Principal, Unread> {
        let named = |name| Principal::Authenticated(Some(name));
        Ok(match self {
            Asks::Principal => named(principal(value)),
            Asks::Namespace => named(namespace(value)),
            Asks::Account(own) => named(account(value, own)),
            Asks::TrustDomain => named(trust_domain(value)),
            Asks::RemoteIp => Principal::RemoteIp(cidr(value)?),
            Asks::SourceIp => Principal::DirectRemoteIp(cidr(value)?),
            Asks::Header(name) => Principal::Header(header(name, value, false)),
            Asks::Claim(path) => payload(path, ValueMatch::Text(text(value))),
            Asks::RequestPrincipal => {
                let (issuer, subject) = request_principal(value);
                let claim = |name: &str, m| payload(&[name.into()], ValueMatch::Text(m));
                Principal::All(vec![claim("iss", issuer), claim("sub", subject)])
            }
        })
    }

    pub fn of_key(key: &str, policy_namespace: &str) -> Option<Asks> {
        Some(match key {
            "source.ip" => Asks::SourceIp,
            "remote.ip" => Asks::RemoteIp,
            "source.namespace" => Asks::Namespace,
            "source.serviceAccount" => Asks::Account(policy_namespace.into()),
            "source.trustDomain" => Asks::TrustDomain,
            "source.principal" => Asks::Principal,
            "request.auth.principal" => Asks::RequestPrincipal,
            "request.auth.audiences" => Asks::Claim(vec!["aud".into()]),
            "request.auth.presenter" => Asks::Claim(vec!["azp".into()]),
            _ => match key.strip_prefix("request.auth.claims") {
                Some(rest) => Asks::Claim(bracketed(rest)?),
                None => {
                    let name = key.strip_prefix("request.headers[")?.strip_suffix(']')?;
                    Asks::Header(Some(name).filter(|n| !n.is_empty())?.to_ascii_lowercase().into())
                }
            },
        })
    }
}

fn header(name: &str, value: &str, ignore_case: bool) -> HeaderMatch {
    let condition = match value {
        "*" => HeaderCondition::Present(true),
        _ => HeaderCondition::Value(StringMatch { ignore_case, ..text(value) }),
    };
    HeaderMatch { name: name.into(), condition, invert: false, missing_as_empty: false }
}

/// A value in brackets is looked for in a list.
fn said(value: &str) -> ValueMatch {
    match value.strip_prefix('[').and_then(|v| v.strip_suffix(']')) {
        Some(inner) => ValueMatch::OneOf(Box::new(ValueMatch::Text(text(inner)))),
        None => ValueMatch::Text(text(value)),
    }
}

fn payload(path: &[Str], value: ValueMatch) -> Principal {
    let path = std::iter::once(PAYLOAD.into()).chain(path.iter().cloned()).collect();
    Principal::Metadata(metadata(JWT_AUTHN, path, value))
}

fn metadata(filter: &str, path: Vec<Str>, value: ValueMatch) -> MetadataMatch {
    MetadataMatch { filter: filter.into(), path, value, invert: false }
}
