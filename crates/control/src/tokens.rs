//! Callers by their service-account tokens, as the cluster vouches for them.

use ca::{AuthError, Caller, TokenAuthenticator};
use k8s::Client;
use std::future::Future;
use std::pin::Pin;

/// The audience that proxies' tokens are issued for.
pub(crate) const AUDIENCE: &str = "istio-ca";

/// Asks the cluster by TokenReview.
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
