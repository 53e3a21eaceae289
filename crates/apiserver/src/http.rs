//! HTTP in front of the core: who asks (`login`), what for (`route`), and the answer.

mod answer;
mod body;
mod discovery;
mod login;
mod openapi;
mod pods;
mod query;
mod resources;
mod reviews;
mod route;
mod watch;

use std::sync::Arc;

use hyper::body::Incoming;
use hyper::{Method, Request, Response};
use serde_json::json;

pub use answer::Body;
pub use login::user_of_certificate;

use crate::auth::rbac::{Attributes, authorize};
use crate::core::{Caller, Core, FieldValidation, User};
use crate::error::ApiError;
use query::Query;
use route::{ResourcePath, Route};

/// One request, known to come from `caller`.
pub struct Context {
    pub core: Arc<Core>,
    pub caller: Caller,
    pub query: Query,
    pub accept: String,
    pub content_type: String,
}

/// Answers a request. `certified` is whom the connection's client certificate names.
pub async fn handle(
    core: Arc<Core>,
    certified: Option<Arc<User>>,
    request: Request<Incoming>,
) -> Response<Body> {
    let method = request.method().clone();
    let path = request.uri().path().to_owned();
    match answer(core, certified, request).await {
        Ok(response) => response,
        Err(error) => {
            if error.code >= 500 {
                tracing::warn!(%method, path, %error, "a request failed");
            }
            answer::status(&error, &[])
        }
    }
}

async fn answer(
    core: Arc<Core>,
    certified: Option<Arc<User>>,
    request: Request<Incoming>,
) -> Result<Response<Body>, ApiError> {
    let user = login::authenticate(&core, certified.as_deref(), request.headers())?;
    let path = request.uri().path().to_owned();
    let route = route::parse(&core, &path)?;
    let query = Query::parse(request.uri().query().unwrap_or_default());
    allow(&core, &user, request.method(), &path, &route, &query)?;
    let header = |name: &str| {
        let value = request.headers().get(name).and_then(|v| v.to_str().ok());
        value.unwrap_or_default().to_owned()
    };
    let context = Context {
        caller: caller(user, &query, &header("user-agent"))?,
        core,
        accept: header("accept"),
        content_type: header("content-type"),
        query,
    };
    let result = dispatch(&context, route, request).await;
    let warnings = context.caller.take_warnings();
    match result {
        Ok(mut response) => {
            answer::add_warnings(&mut response, &warnings);
            Ok(response)
        }
        Err(error) => Ok(answer::status(&error, &warnings)),
    }
}

async fn dispatch(
    context: &Context,
    route: Route,
    request: Request<Incoming>,
) -> Result<Response<Body>, ApiError> {
    let get = request.method() == Method::GET || request.method() == Method::HEAD;
    match route {
        Route::Resource(path) => resources::serve(context, path, request).await,
        _ if !get => Err(ApiError::method_not_allowed()),
        Route::Root => Ok(discovery::root(context)),
        Route::Health => Ok(answer::text("ok")),
        Route::Version => Ok(answer::json(200, &version())),
        Route::Api => Ok(discovery::api(context)),
        Route::Apis => Ok(discovery::apis(context)),
        Route::Group(group) => discovery::group(context, &group),
        Route::GroupVersion(group, version) => discovery::resources(context, &group, &version),
        Route::OpenApi2 => openapi::v2(context, &request),
        Route::OpenApi3Index => openapi::v3_index(context),
        Route::OpenApi3(group, version) => openapi::v3(context, &group, &version),
        Route::OidcConfiguration => Ok(answer::json(200, &oidc_configuration(context))),
        Route::Jwks => Ok(answer::json(200, &context.core.authority.token_key.jwks())),
    }
}

fn caller(user: User, query: &Query, agent: &str) -> Result<Caller, ApiError> {
    let agent = agent.split('/').next().filter(|a| !a.is_empty()).unwrap_or("unknown");
    let manager = query.get("fieldManager").unwrap_or(agent);
    if manager.len() > 128 {
        return Err(ApiError::bad_request("fieldManager may not be more than 128 bytes"));
    }
    let mut caller = Caller::new(user, manager);
    caller.dry_run = match query.get("dryRun") {
        None | Some("") => false,
        Some("All") => true,
        Some(other) => {
            return Err(ApiError::bad_request(format!(
                "dryRun: {other:?} is not supported; use All"
            )));
        }
    };
    caller.force = query.get("force") == Some("true");
    caller.field_validation = match query.get("fieldValidation") {
        None | Some("" | "Warn") => FieldValidation::Warn,
        Some("Ignore") => FieldValidation::Ignore,
        Some("Strict") => FieldValidation::Strict,
        Some(other) => {
            let message =
                format!("fieldValidation: {other:?} is not supported; use Ignore, Warn or Strict");
            return Err(ApiError::bad_request(message));
        }
    };
    Ok(caller)
}

fn allow(
    core: &Core,
    user: &User,
    method: &Method,
    path: &str,
    route: &Route,
    query: &Query,
) -> Result<(), ApiError> {
    let wanted = match route {
        Route::Resource(resource) => attributes(resource, method, query),
        _ => Attributes {
            verb: method.as_str().to_lowercase(),
            path: Some(path.to_owned()),
            ..Attributes::default()
        },
    };
    authorize(core, user, &wanted).map(|_| ()).map_err(|why| match wanted.path {
        Some(_) => ApiError::new(403, "Forbidden", format!("forbidden: {why}")),
        None => ApiError::forbidden(&wanted.group, &wanted.resource, &wanted.name, &why),
    })
}

/// The verb that authorisation knows a request by.
fn attributes(path: &ResourcePath, method: &Method, query: &Query) -> Attributes {
    let collection = path.name.is_empty();
    let watch = matches!(query.get("watch"), Some("true" | "1"));
    let verb = match *method {
        Method::GET | Method::HEAD if watch && collection => "watch",
        Method::GET | Method::HEAD if collection => "list",
        Method::GET | Method::HEAD => "get",
        Method::POST => "create",
        Method::PUT => "update",
        Method::PATCH => "patch",
        Method::DELETE if collection => "deletecollection",
        _ => "delete",
    };
    Attributes {
        verb: verb.to_owned(),
        group: path.group.clone(),
        resource: path.plural.clone(),
        subresource: path.subresource.clone().unwrap_or_default(),
        namespace: path.namespace.clone(),
        name: path.name.clone(),
        path: None,
    }
}

fn version() -> serde_json::Value {
    json!({
        "major": "1", "minor": "32", "gitVersion": "v1.32.0+lateen",
        "gitCommit": "", "gitTreeState": "clean", "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "none", "compiler": "rustc",
        "platform": format!("linux/{}", match std::env::consts::ARCH { "x86_64" => "amd64", "aarch64" => "arm64", other => other }),
    })
}

fn oidc_configuration(context: &Context) -> serde_json::Value {
    json!({
        "issuer": crate::auth::ISSUER,
        "jwks_uri": format!("{}/openid/v1/jwks", context.core.external_url.trim_end_matches('/')),
        "response_types_supported": ["id_token"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["ES256"],
    })
}
