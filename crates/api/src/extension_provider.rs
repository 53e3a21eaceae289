//! Extension providers of the mesh configuration, by whose names policies speak of them: of those kinds
//! that this version uses, the external authorizers.

use crate::Duration;
use base::Finding;
use serde::Deserialize;
use std::collections::BTreeMap;

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ExtensionProvider {
    pub name: String,
    pub envoy_ext_authz_http: Option<HttpAuthorizer>,
    pub envoy_ext_authz_grpc: Option<GrpcAuthorizer>,
}

/// Names of headers may begin or end with `*`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HttpAuthorizer {
    /// `HOST` or `NAMESPACE/HOST`.
    pub service: String,
    pub port: u32,
    pub timeout: Option<Duration>,
    pub path_prefix: String,
    pub fail_open: bool,
    pub clear_route_cache: bool,
    pub status_on_error: String,
    pub include_request_headers_in_check: Vec<String>,
    /// The older way to write the same; it counts where the other does not stand.
    pub include_headers_in_check: Vec<String>,
    pub include_additional_headers_in_check: BTreeMap<String, String>,
    pub include_request_body_in_check: Option<AuthorizerBody>,
    pub headers_to_upstream_on_allow: Vec<String>,
    pub headers_to_downstream_on_deny: Vec<String>,
    pub headers_to_downstream_on_allow: Vec<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct GrpcAuthorizer {
    pub service: String,
    pub port: u32,
    pub timeout: Option<Duration>,
    pub fail_open: bool,
    pub clear_route_cache: bool,
    pub status_on_error: String,
    pub include_request_body_in_check: Option<AuthorizerBody>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AuthorizerBody {
    pub max_request_bytes: u32,
    pub allow_partial_message: bool,
    pub pack_as_bytes: bool,
}

/// What is written where the mesh has a service to ask.
#[derive(Clone, Copy, Debug)]
pub struct AuthorizerService<'a> {
    pub service: &'a str,
    pub port: u32,
    pub status_on_error: &'a str,
}

impl ExtensionProvider {
    /// Whom an authorizer asks; `None`: it is none.
    pub fn authorizer(&self) -> Option<AuthorizerService<'_>> {
        let http = self.envoy_ext_authz_http.as_ref().map(|h| AuthorizerService {
            service: &h.service,
            port: h.port,
            status_on_error: &h.status_on_error,
        });
        let grpc = || {
            self.envoy_ext_authz_grpc.as_ref().map(|g| AuthorizerService {
                service: &g.service,
                port: g.port,
                status_on_error: &g.status_on_error,
            })
        };
        http.or_else(grpc)
    }

    /// What is wrong with it, whatever services there are.
    pub(crate) fn check(&self, path: &str) -> Vec<Finding> {
        let mut findings = Vec::new();
        let mut require = |holds: bool, field: &str, say: String| {
            if !holds {
                findings.push(Finding::error(format!("{path}.{field}"), say));
            }
        };
        require(!self.name.is_empty(), "name", "is missing: policies speak of it by name".into());
        let Some(to) = self.authorizer() else { return findings };
        let field = match self.envoy_ext_authz_http {
            Some(_) => "envoyExtAuthzHttp",
            None => "envoyExtAuthzGrpc",
        };
        require(!to.service.is_empty(), &format!("{field}.service"), "is missing".into());
        let say = format!("{} is not a port: write one from 1 to 65535", to.port);
        require((1..=65535).contains(&to.port), &format!("{field}.port"), say);
        let say = format!("{:?} is not a status: write one from 200 to 599", to.status_on_error);
        let status = to.status_on_error.is_empty() || to.status().is_some();
        require(status, &format!("{field}.statusOnError"), say);
        let prefix = self.envoy_ext_authz_http.as_ref().map_or("", |h| &h.path_prefix);
        let say = format!("{prefix:?} must begin with /");
        let rooted = prefix.is_empty() || prefix.starts_with('/');
        require(rooted, &format!("{field}.pathPrefix"), say);
        findings
    }
}

impl AuthorizerService<'_> {
    /// Of an answer where the service gives none.
    pub fn status(&self) -> Option<u16> {
        self.status_on_error.parse().ok().filter(|status| (200..600).contains(status))
    }
}
