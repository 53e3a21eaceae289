//! Reads and writes of single objects.

use crate::Resource;
use kube::api::{ApiResource, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::{Api, Config};
use serde_json::{Value, json};

/// A connection to one cluster.
#[derive(Clone)]
pub struct Client(kube::Client);

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("no cluster is configured: {0}; run inside a pod or set KUBECONFIG")]
    Config(String),
    #[error("{what}: the cluster refused it: {message} ({code})")]
    Refused { what: String, code: u16, message: String },
    #[error("{what}: {reason}")]
    Failed { what: String, reason: String },
}

impl Error {
    fn of(what: &str, e: kube::Error) -> Self {
        match e {
            kube::Error::Api(status) => Error::Refused {
                what: what.to_owned(),
                code: status.code,
                message: status.message.clone(),
            },
            other => Error::Failed { what: what.to_owned(), reason: other.to_string() },
        }
    }

    pub fn is_not_found(&self) -> bool {
        matches!(self, Error::Refused { code: 404, .. })
    }

    /// Somebody else wrote first, or the object is there already.
    pub fn is_conflict(&self) -> bool {
        matches!(self, Error::Refused { code: 409, .. })
    }
}

/// The object of a call, for messages.
fn named(verb: &str, r: &Resource, namespace: Option<&str>, name: &str) -> String {
    match namespace {
        Some(ns) => format!("{verb} {} {ns}/{name}", r.kind),
        None => format!("{verb} {} {name}", r.kind),
    }
}

impl Client {
    /// The cluster of this pod, or of KUBECONFIG.
    pub async fn connect() -> Result<Self, Error> {
        let mut config = Config::infer().await.map_err(|e| Error::Config(e.to_string()))?;
        // Watches live long; the servers ends them, not we.
        config.read_timeout = None;
        let client = kube::Client::try_from(config).map_err(|e| Error::Config(e.to_string()))?;
        Ok(Self(client))
    }

    pub(crate) fn api(&self, r: &Resource, namespace: Option<&str>) -> Api<DynamicObject> {
        let resource = ApiResource {
            group: r.group.to_owned(),
            version: r.version.to_owned(),
            api_version: r.api_version(),
            kind: r.kind.to_owned(),
            plural: r.plural.to_owned(),
        };
        match namespace {
            Some(ns) => Api::namespaced_with(self.0.clone(), ns, &resource),
            None => Api::all_with(self.0.clone(), &resource),
        }
    }

    pub async fn get(
        &self,
        r: &Resource,
        namespace: Option<&str>,
        name: &str,
    ) -> Result<Option<Value>, Error> {
        let found = self.api(r, namespace).get_opt(name).await;
        let found = found.map_err(|e| Error::of(&named("get", r, namespace, name), e))?;
        Ok(found.map(|object| to_value(object, r)))
    }

    pub async fn list(&self, r: &Resource) -> Result<Vec<Value>, Error> {
        let list = self.api(r, None).list(&ListParams::default()).await;
        let list = list.map_err(|e| Error::of(&named("list", r, None, ""), e))?;
        Ok(list.items.into_iter().map(|object| to_value(object, r)).collect())
    }

    /// Creates `object`; the answer is what the cluster made of it.
    pub async fn create(&self, r: &Resource, object: Value) -> Result<Value, Error> {
        let namespace = object["metadata"]["namespace"].as_str().map(str::to_owned);
        let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        let what = named("create", r, namespace.as_deref(), &name);
        let object: DynamicObject = serde_json::from_value(object)
            .map_err(|e| Error::Failed { what: what.clone(), reason: e.to_string() })?;
        let made = self.api(r, namespace.as_deref()).create(&PostParams::default(), &object).await;
        Ok(to_value(made.map_err(|e| Error::of(&what, e))?, r))
    }

    /// A merge patch of the object, or of its `status`.
    pub async fn merge_patch(
        &self,
        r: &Resource,
        namespace: Option<&str>,
        name: &str,
        subresource: Option<&str>,
        patch: &Value,
    ) -> Result<(), Error> {
        let api = self.api(r, namespace);
        let (params, patch) = (PatchParams::default(), Patch::Merge(patch));
        let done = match subresource {
            Some(sub) => api.patch_subresource(sub, name, &params, &patch).await,
            None => api.patch(name, &params, &patch).await,
        };
        done.map(drop).map_err(|e| Error::of(&named("patch", r, namespace, name), e))
    }

    /// Asks the cluster who a token belongs to; the answer is the whole TokenReview.
    pub async fn review_token(&self, token: &str, audience: &str) -> Result<Value, Error> {
        let review = json!({
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenReview",
            "metadata": {},
            "spec": {"token": token, "audiences": [audience]},
        });
        self.create(&Resource::TOKEN_REVIEW, review).await
    }

    /// Whether a service account may list all objects of a collection in a namespace.
    pub async fn may_list(
        &self,
        (namespace, account): (&str, &str),
        r: &Resource,
        inside: &str,
    ) -> Result<bool, Error> {
        let review = json!({
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SubjectAccessReview",
            "metadata": {},
            "spec": {
                "user": format!("system:serviceaccount:{namespace}:{account}"),
                "groups": [
                    "system:serviceaccounts", format!("system:serviceaccounts:{namespace}"),
                    "system:authenticated"],
                "resourceAttributes": {
                    "verb": "list", "group": r.group, "resource": r.plural, "namespace": inside}}});
        let answer = self.create(&Resource::ACCESS_REVIEW, review).await?;
        Ok(answer["status"]["allowed"] == Value::Bool(true))
    }
}

/// As JSON, with `apiVersion` and `kind` also where a list left them out, and without the field
/// ownership that nobody here reads.
pub(crate) fn to_value(mut object: DynamicObject, r: &Resource) -> Value {
    object.metadata.managed_fields = None;
    let mut value = serde_json::to_value(object).unwrap_or_default();
    value["apiVersion"] = r.api_version().into();
    value["kind"] = r.kind.into();
    value
}
