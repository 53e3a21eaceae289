//! What a path means.

use super::query::decode;
use crate::core::Core;
use crate::error::ApiError;

#[derive(Debug, Clone, PartialEq)]
pub enum Route {
    Root,
    Health,
    Version,
    Api,
    Apis,
    Group(String),
    GroupVersion(String, String),
    Resource(ResourcePath),
    OpenApi2,
    OpenApi3Index,
    OpenApi3(String, String),
    OidcConfiguration,
    Jwks,
}

/// `/apis/GROUP/VERSION/namespaces/NAMESPACE/PLURAL/NAME/SUBRESOURCE`
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ResourcePath {
    pub group: String,
    pub version: String,
    pub plural: String,
    pub namespace: String,
    pub name: String,
    pub subresource: Option<String>,
}

pub fn parse(core: &Core, path: &str) -> Result<Route, ApiError> {
    let parts: Vec<String> =
        path.split('/').filter(|p| !p.is_empty()).map(|p| decode(p, false)).collect();
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    let route = match parts.as_slice() {
        [] => Route::Root,
        ["healthz" | "livez" | "readyz", ..] => Route::Health,
        ["version"] => Route::Version,
        ["api"] => Route::Api,
        ["apis"] => Route::Apis,
        ["apis", group] => Route::Group((*group).to_owned()),
        ["api", version] => Route::GroupVersion(String::new(), (*version).to_owned()),
        ["apis", group, version] => Route::GroupVersion((*group).to_owned(), (*version).to_owned()),
        ["api", version, rest @ ..] => Route::Resource(resource("", version, rest)?),
        ["apis", group, version, rest @ ..] => Route::Resource(resource(group, version, rest)?),
        ["openapi", "v2"] => Route::OpenApi2,
        ["openapi", "v3"] => Route::OpenApi3Index,
        ["openapi", "v3", "api", version] => Route::OpenApi3(String::new(), (*version).to_owned()),
        ["openapi", "v3", "apis", group, version] => {
            Route::OpenApi3((*group).to_owned(), (*version).to_owned())
        }
        [".well-known", "openid-configuration"] => Route::OidcConfiguration,
        ["openid", "v1", "jwks"] => Route::Jwks,
        _ => return Err(ApiError::no_such_path()),
    };
    known(core, route)
}

/// Unknown groups and kinds are no paths.
fn known(core: &Core, route: Route) -> Result<Route, ApiError> {
    let Route::Resource(path) = &route else { return Ok(route) };
    let registry = core.registry();
    let kind = registry.by_plural(&path.group, &path.plural).ok_or_else(ApiError::no_such_path)?;
    kind.served(&path.group, &path.version).ok_or_else(ApiError::no_such_path)?;
    if !kind.namespaced && !path.namespace.is_empty() && path.plural != "namespaces" {
        return Err(ApiError::no_such_path());
    }
    Ok(route)
}

fn resource(group: &str, version: &str, rest: &[&str]) -> Result<ResourcePath, ApiError> {
    let mut path = ResourcePath {
        group: group.to_owned(),
        version: version.to_owned(),
        ..ResourcePath::default()
    };
    let rest = match rest {
        // A namespace itself, and its subresources.
        ["namespaces", name, "status" | "finalize"] | ["namespaces", name] if group.is_empty() => {
            path.namespace = (*name).to_owned();
            rest
        }
        ["namespaces", namespace, rest @ ..] if !rest.is_empty() => {
            path.namespace = (*namespace).to_owned();
            rest
        }
        rest => rest,
    };
    match rest {
        [plural] => path.plural = (*plural).to_owned(),
        [plural, name] => {
            path.plural = (*plural).to_owned();
            path.name = (*name).to_owned();
        }
        [plural, name, subresource] => {
            path.plural = (*plural).to_owned();
            path.name = (*name).to_owned();
            path.subresource = Some((*subresource).to_owned());
        }
        _ => return Err(ApiError::no_such_path()),
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_name_resources() {
        let cases: &[(&[&str], [&str; 4])] = &[
            (&["pods"], ["", "pods", "", ""]),
            (&["namespaces", "a", "pods"], ["a", "pods", "", ""]),
            (&["namespaces", "a", "pods", "p", "log"], ["a", "pods", "p", "log"]),
            (&["namespaces"], ["", "namespaces", "", ""]),
            (&["namespaces", "a"], ["a", "namespaces", "a", ""]),
            (&["namespaces", "a", "finalize"], ["a", "namespaces", "a", "finalize"]),
        ];
        for (rest, [namespace, plural, name, sub]) in cases {
            let path = resource("", "v1", rest).unwrap();
            let sub = Some((*sub).to_owned()).filter(|s| !s.is_empty());
            assert_eq!((path.namespace.as_str(), path.plural.as_str()), (*namespace, *plural));
            assert_eq!((path.name.as_str(), path.subresource), (*name, sub));
        }
        assert!(resource("", "v1", &["namespaces", "a", "pods", "p", "x", "y"]).is_err());
    }
}
