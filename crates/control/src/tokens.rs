//! Callers by their service-account tokens, as the cluster vouches for them.

use base::SpiffeId;
use ca::{AuthError, Caller, TokenAuthenticator};
use k8s::{Client, Resource};
use std::future::Future;
use std::pin::Pin;

/// The audience that proxies' tokens are issued for.
pub(crate) const AUDIENCE: &str = "istio-ca";

/// Who may be sent the credentials of a namespace.
pub(crate) trait SecretAccess: Send + Sync {
    fn may_read_secrets<'a>(
        &'a self,
        identity: &'a SpiffeId,
    ) -> Pin<Box<dyn Future<Output = Result<bool, String>> + Send + 'a>>;
}

/// Asks the cluster, by TokenReview and SubjectAccessReview.
pub(crate) struct ClusterTokens {
    pub client: Client,
    pub trust_domain: String,
}

impl TokenAuthenticator for ClusterTokens {
    fn authenticate<'a>(
        &'a self,
        token: &'a str,
    ) -> Pin<Box<dyn Future<Output = Result<Caller, AuthError>> + Send + 'a>> {
        Box::pin(async move {
            let review = self.client.review_token(token, AUDIENCE).await;
            let review = review.map_err(|e| AuthError::Unavailable(e.to_string()))?;
            ca::caller_of(&review, AUDIENCE, &self.trust_domain)
        })
    }
}

impl SecretAccess for ClusterTokens {
    /// Those who may list the Secrets of their own namespace. An error means that it cannot be told.
    fn may_read_secrets<'a>(
        &'a self,
        identity: &'a SpiffeId,
    ) -> Pin<Box<dyn Future<Output = Result<bool, String>> + Send + 'a>> {
        Box::pin(async move {
            let namespace = &*identity.namespace;
            let account = (namespace, &*identity.service_account);
            let allowed = self.client.may_list(account, &Resource::SECRET, namespace).await;
            allowed.map_err(|error| format!("whether {identity} may list Secrets: {error}"))
        })
    }
}
