//! External authorizers: an extension provider of the mesh, the service that it names, and the filters
//! that ask it.

use super::{CHOSEN, Reach};
use crate::names;
use api::{
    AuthorizerBody, AuthorizerService, Duration, ExtensionProvider, GrpcAuthorizer, HttpAuthorizer,
};
use base::Host;
use ir::{
    AuthzBody, AuthzService, ExtAuthz, GrpcAuthz, HttpAuthz, MetadataMatch, NetworkAuthz, Pattern,
    Str, StringMatch, ValueMatch,
};
use registry::{Service, Services};
use std::sync::Arc;

/// A provider whose service is there.
#[derive(Clone, Debug)]
pub struct Authorizer<'a> {
    provider: &'a ExtensionProvider,
    pub service: Arc<Service>,
    cluster: Str,
    status_on_error: Option<u16>,
}

/// Of a provider that does not say, as in Istio.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(600);

impl<'a> Authorizer<'a> {
    /// The provider of a name. What cannot be asked is said: nobody passes by it.
    pub fn find(
        providers: &'a [ExtensionProvider],
        services: &Services,
        name: &str,
    ) -> Result<Authorizer<'a>, String> {
        let provider = providers.iter().find(|p| p.name == name);
        let provider = provider
            .ok_or_else(|| format!("{name:?} is not among the mesh's extensionProviders"))?;
        let to = provider
            .authorizer()
            .ok_or_else(|| format!("the extension provider {name:?} is no external authorizer"))?;
        let of = |e: String| format!("the extension provider {name:?}: {e}");
        let service = service(&to, services).map_err(of)?;
        let status_on_error = match to.status_on_error {
            "" => None,
            written => Some(to.status().ok_or_else(|| of(format!("{written:?} is no status")))?),
        };
        let port = to.port as u16;
        let cluster = names::outbound_cluster(port, "", service.host.as_str());
        Ok(Authorizer { provider, cluster, status_on_error, service })
    }

    pub fn reach(&self) -> Reach {
        match self.provider.envoy_ext_authz_http {
            Some(_) => Reach::Requests,
            None => Reach::RequestsAndConnections,
        }
    }

    /// Asked about requests that rules of this prefix have chosen.
    pub fn of_requests(&self, rules: &str) -> ExtAuthz {
        let (http, grpc) =
            (&self.provider.envoy_ext_authz_http, &self.provider.envoy_ext_authz_grpc);
        let (service, open, clear, body, shown) = match (http, grpc) {
            (Some(http), _) => (
                AuthzService::Http(Box::new(self.http(http))),
                http.fail_open,
                http.clear_route_cache,
                http.include_request_body_in_check,
                shown(http),
            ),
            (None, grpc) => {
                let default = GrpcAuthorizer::default();
                let grpc = grpc.as_ref().unwrap_or(&default);
                let service = AuthzService::Grpc(self.grpc(grpc.timeout));
                let body = grpc.include_request_body_in_check;
                (service, grpc.fail_open, grpc.clear_route_cache, body, None)
            }
        };
        ExtAuthz {
            failure_mode_allow: open,
            clear_route_cache: clear,
            body: body.as_ref().and_then(of_body),
            status_on_error: self.status_on_error,
            enabled_metadata: Some(chosen("envoy.filters.http.rbac", rules)),
            allowed_headers: shown,
            ..ExtAuthz::asking(service)
        }
    }

    /// Asked about connections; `None`: it understands requests only.
    pub fn of_connections(&self, rules: &str) -> Option<NetworkAuthz> {
        let grpc = self.provider.envoy_ext_authz_grpc.as_ref()?;
        Some(NetworkAuthz {
            service: self.grpc(grpc.timeout),
            failure_mode_allow: grpc.fail_open,
            enabled_metadata: Some(chosen("envoy.filters.network.rbac", rules)),
            include_peer_certificate: false,
            include_tls_session: false,
            stat_prefix: "tcp.".into(),
        })
    }

    fn grpc(&self, timeout: Option<Duration>) -> GrpcAuthz {
        let timeout = Some(timeout.map_or(PATIENCE, |t| t.0));
        GrpcAuthz { cluster: self.cluster.clone(), timeout }
    }

    fn http(&self, http: &HttpAuthorizer) -> HttpAuthz {
        let added = http.include_additional_headers_in_check.iter();
        HttpAuthz {
            uri: format!("http://{}", self.service.host).into(),
            cluster: self.cluster.clone(),
            timeout: Some(http.timeout.map_or(PATIENCE, |t| t.0)),
            path_prefix: http.path_prefix.as_str().into(),
            path_override: "".into(),
            allowed_headers: None,
            headers_to_add: added.map(|(k, v)| (k.as_str().into(), v.as_str().into())).collect(),
            upstream: names_of(&http.headers_to_upstream_on_allow),
            upstream_append: Vec::new(),
            client: names_of(&http.headers_to_downstream_on_deny),
            client_on_success: names_of(&http.headers_to_downstream_on_allow),
            metadata: Vec::new(),
        }
    }
}

/// The one service that is meant, which has to have the port.
fn service(to: &AuthorizerService<'_>, services: &Services) -> Result<Arc<Service>, String> {
    let (namespace, name) = match to.service.split_once('/') {
        Some((namespace, name)) => (Some(namespace).filter(|n| !n.is_empty()), name),
        None => (None, to.service),
    };
    let host = Host::parse(name).map_err(|e| e.to_string())?;
    let of_host = services.of_host(&host).iter();
    let mut found = of_host.filter(|s| namespace.is_none_or(|n| *s.namespace == *n));
    let first = found.next().ok_or_else(|| {
        format!(
            "there is no service {:?}; write its full name, as HOST or NAMESPACE/HOST",
            to.service
        )
    })?;
    if found.any(|other| other.namespace != first.namespace) {
        return Err(format!("several namespaces have {name:?}: write NAMESPACE/{name}"));
    }
    let port = u16::try_from(to.port).ok().filter(|port| first.port(*port).is_some());
    port.map(|_| first.clone()).ok_or_else(|| format!("{name} has no port {}", to.port))
}

/// What the service sees of a request, beside what it always does.
fn shown(http: &HttpAuthorizer) -> Option<Vec<StringMatch>> {
    let newer = Some(&http.include_request_headers_in_check).filter(|list| !list.is_empty());
    let list = newer.unwrap_or(&http.include_headers_in_check);
    (!list.is_empty()).then(|| names_of(list))
}

fn names_of(written: &[String]) -> Vec<StringMatch> {
    let pattern = |name: &str| match (name.strip_prefix('*'), name.strip_suffix('*')) {
        (Some(""), _) => Pattern::Regex(".*".into()),
        (Some(end), _) => Pattern::Suffix(end.into()),
        (_, Some(start)) => Pattern::Prefix(start.into()),
        (None, None) => Pattern::Exact(name.into()),
    };
    // A regex has no case to ignore.
    let of = |name: &String| {
        let pattern = pattern(name);
        StringMatch { ignore_case: !matches!(pattern, Pattern::Regex(_)), pattern }
    };
    written.iter().map(of).collect()
}

/// Nothing of the body is the same as not to ask for it.
fn of_body(body: &AuthorizerBody) -> Option<AuthzBody> {
    (body.max_request_bytes > 0).then_some(AuthzBody {
        max: body.max_request_bytes,
        partial: body.allow_partial_message,
        as_bytes: body.pack_as_bytes,
    })
}

fn chosen(filter: &str, rules: &str) -> MetadataMatch {
    let pattern = Pattern::Prefix(rules.into());
    MetadataMatch {
        filter: filter.into(),
        path: vec![CHOSEN.into()],
        value: ValueMatch::Text(StringMatch { pattern, ignore_case: false }),
        invert: false,
    }
}
