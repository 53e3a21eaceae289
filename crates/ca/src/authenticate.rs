//! Who is calling: a service-account token becomes an identity. The answer of the cluster is read
//! here by a pure function; asking the cluster is the implementor's part.

use base::SpiffeId;
use serde_json::Value;
use std::future::Future;
use std::pin::Pin;

/// A caller whose token was accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    pub identity: SpiffeId,
    /// The pod that the token is bound to, where the cluster says so.
    pub pod: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    #[error("the request carries no token; send `authorization: Bearer <service account token>`")]
    Missing,
    #[error("the token is refused: {0}")]
    Refused(String),
    #[error("the token cannot be checked now: {0}; try again")]
    Unavailable(String),
}

/// Turns a bearer token into a caller.
pub trait TokenAuthenticator: Send + Sync {
    fn authenticate<'a>(
        &'a self,
        token: &'a str,
    ) -> Pin<Box<dyn Future<Output = Result<Caller, AuthError>> + Send + 'a>>;
}

/// Reads the answer to a TokenReview. Anything short of a clear yes for our audience is a no.
pub fn caller_of(review: &Value, audience: &str, trust_domain: &str) -> Result<Caller, AuthError> {
    let refused = |why: &str| AuthError::Refused(why.to_owned());
    let status = &review["status"];
    if status["authenticated"] != Value::Bool(true) {
        let why = status["error"].as_str().filter(|e| !e.is_empty());
        return Err(refused(why.unwrap_or("the cluster does not know it")));
    }
    let audiences = status["audiences"].as_array().map(Vec::as_slice).unwrap_or_default();
    if !audiences.iter().any(|a| a == audience) {
        return Err(refused(&format!("it was not issued for the audience {audience:?}")));
    }
    let user = status["user"]["username"].as_str().unwrap_or_default();
    let account = user
        .strip_prefix("system:serviceaccount:")
        .and_then(|rest| rest.split_once(':'))
        .filter(|(ns, name)| is_name(ns) && is_name(name))
        .ok_or_else(|| refused(&format!("{user:?} is not a service account")))?;
    let pod = &status["user"]["extra"]["authentication.kubernetes.io/pod-name"][0];
    Ok(Caller {
        identity: SpiffeId::new(trust_domain, account.0, account.1),
        pod: pod.as_str().map(str::to_owned),
    })
}

/// Kubernetes names hold nothing that could end a path segment of an identity early.
fn is_name(s: &str) -> bool {
    let ok = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'.';
    !s.is_empty() && s.len() <= 253 && s.bytes().all(ok)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn review(authenticated: bool, audience: &str, user: &str) -> Value {
        json!({"status": {
            "authenticated": authenticated, "audiences": [audience],
            "user": {"username": user,
                "extra": {"authentication.kubernetes.io/pod-name": ["ratings-v1-x"]}}}})
    }

    #[test]
    fn a_service_account_with_our_audience_is_its_identity() {
        let ok = review(true, "istio-ca", "system:serviceaccount:default:bookinfo-ratings");
        let caller = caller_of(&ok, "istio-ca", "cluster.local").unwrap();
        assert_eq!(
            caller.identity.to_string(),
            "spiffe://cluster.local/ns/default/sa/bookinfo-ratings"
        );
        assert_eq!(caller.pod.as_deref(), Some("ratings-v1-x"));
    }

    #[test]
    fn everything_else_is_refused() {
        let account = "system:serviceaccount:default:ratings";
        for bad in [
            json!({}),
            review(false, "istio-ca", account),
            review(true, "kubernetes", account),
            review(true, "istio-ca", "system:admin"),
            review(true, "istio-ca", "system:serviceaccount:default:"),
            review(true, "istio-ca", "system:serviceaccount:default/sa/x:y"),
            review(true, "istio-ca", "system:serviceaccount:default:a:b"),
            json!({"status": {"authenticated": "true", "audiences": ["istio-ca"],
                "user": {"username": account}}}),
        ] {
            assert!(
                matches!(caller_of(&bad, "istio-ca", "td"), Err(AuthError::Refused(_))),
                "{bad}"
            );
        }
    }
}
