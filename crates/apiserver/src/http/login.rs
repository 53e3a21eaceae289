//! Who asks: a client certificate of our authority or a service account's token. Nobody else.

use hyper::HeaderMap;
use hyper::header::AUTHORIZATION;
use rustls_pki_types::CertificateDer;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::auth::rbac::{Attributes, authorize};
use crate::core::{Core, User};
use crate::error::ApiError;

/// The user that a verified certificate names: common name and organisations.
pub fn user_of_certificate(certificate: &CertificateDer<'_>) -> Option<User> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    let subject = certificate.subject();
    let name = subject.iter_common_name().next()?.as_str().ok()?.to_owned();
    let groups = subject.iter_organization().filter_map(|o| o.as_str().ok());
    let mut groups: Vec<String> = groups.map(str::to_owned).collect();
    groups.push("system:authenticated".to_owned());
    Some(User { name, groups, ..User::default() })
}

pub fn authenticate(
    core: &Core,
    certified: Option<&User>,
    headers: &HeaderMap,
) -> Result<User, ApiError> {
    let user = match (certified, bearer(headers)) {
        (Some(user), _) => user.clone(),
        (None, Some(token)) => {
            core.check_token(token, &[]).map(|(user, _)| user).map_err(|why| {
                tracing::debug!(why, "a token was refused");
                unauthorized()
            })?
        }
        (None, None) => return Err(unauthorized()),
    };
    impersonated(core, user, headers)
}

/// The token of the Authorization header, or of the WebSocket protocol that browsers use.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// `kubectl --as`: acting for somebody else, where that is allowed.
fn impersonated(core: &Core, user: User, headers: &HeaderMap) -> Result<User, ApiError> {
    let text = |name: &str| headers.get(name).and_then(|v| v.to_str().ok());
    let Some(name) = text("impersonate-user") else { return Ok(user) };
    let groups: Vec<&str> =
        headers.get_all("impersonate-group").iter().filter_map(|v| v.to_str().ok()).collect();
    let account = name.strip_prefix("system:serviceaccount:").and_then(|r| r.split_once(':'));
    let mut wanted = vec![match account {
        Some((namespace, account)) => ("serviceaccounts", namespace, account),
        None => ("users", "", name),
    }];
    wanted.extend(groups.iter().map(|g| ("groups", "", *g)));
    for (resource, namespace, name) in wanted {
        let attributes = Attributes {
            verb: "impersonate".to_owned(),
            resource: resource.to_owned(),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            ..Attributes::default()
        };
        authorize(core, &user, &attributes)
            .map_err(|why| ApiError::forbidden("", resource, name, &why))?;
    }
    let mut groups: Vec<String> = groups.into_iter().map(str::to_owned).collect();
    if let (Some((namespace, _)), true) = (account, groups.is_empty()) {
        groups.push("system:serviceaccounts".to_owned());
        groups.push(format!("system:serviceaccounts:{namespace}"));
    }
    groups.push("system:authenticated".to_owned());
    Ok(User { name: name.to_owned(), groups, ..User::default() })
}

fn unauthorized() -> ApiError {
    ApiError::new(401, "Unauthorized", "Unauthorized")
}
