//! Issuing and checking service-account tokens.

use objects::meta;
use serde_json::{Value, json};

use super::{Core, User};
use crate::auth::{Claims, ISSUER};
use crate::error::ApiError;
use crate::store::Key;

/// Kubernetes' bounds of a token's life.
const MIN_SECONDS: u64 = 600;
const MAX_SECONDS: u64 = 1 << 32;
/// Clocks of processes on one machine agree; reading and signing take a moment.
const LEEWAY: i64 = 5;

pub struct Issued {
    pub token: String,
    pub expires: i64,
}

fn key(plural: &str, namespace: &str, name: &str) -> Key {
    Key {
        group: String::new(),
        plural: plural.to_owned(),
        namespace: namespace.to_owned(),
        name: name.to_owned(),
    }
}

impl Core {
    /// A token of a service account, for audiences (none: the API), bound to a (kind, name, uid).
    pub fn issue_token(
        &self,
        namespace: &str,
        account: &str,
        audiences: &[String],
        seconds: u64,
        bound: Option<(&str, &str, &str)>,
    ) -> Result<Issued, ApiError> {
        let object = self
            .store
            .get(&key("serviceaccounts", namespace, account))
            .ok_or_else(|| ApiError::not_found("", "serviceaccounts", account))?;
        let now = crate::time::unix_seconds();
        let seconds = i64::try_from(seconds.clamp(MIN_SECONDS, MAX_SECONDS)).unwrap_or(i64::MAX);
        let mut about = json!({
            "namespace": namespace,
            "serviceaccount": {"name": account, "uid": meta::uid(&object)},
        });
        if let Some((kind, name, uid)) = bound {
            let map = meta::as_map(&mut about);
            map.insert(kind.to_owned(), json!({"name": name, "uid": uid}));
        }
        let audiences = match audiences {
            [] => vec![ISSUER.to_owned()],
            list => list.to_vec(),
        };
        let claims = Claims {
            iss: ISSUER.to_owned(),
            sub: format!("system:serviceaccount:{namespace}:{account}"),
            aud: audiences,
            exp: now + seconds,
            iat: now,
            nbf: now - LEEWAY,
            jti: crate::random::uuid(),
            kubernetes: about,
        };
        let token = self.authority.token_key.sign(&claims);
        let token = token.ok_or_else(|| ApiError::internal("the token could not be signed"))?;
        Ok(Issued { token, expires: claims.exp })
    }

    /// Whose token this is, if it is good for one of these audiences (none: the API); and for
    /// which of them.
    pub fn check_token(
        &self,
        token: &str,
        audiences: &[String],
    ) -> Result<(User, Vec<String>), String> {
        let claims = self.authority.token_key.verify(token, crate::time::unix_seconds())?;
        let api = [ISSUER.to_owned()];
        let wanted = if audiences.is_empty() { &api[..] } else { audiences };
        let common: Vec<String> =
            wanted.iter().filter(|a| claims.aud.contains(a)).cloned().collect();
        if common.is_empty() {
            return Err(format!("the token is for {:?}, not for {wanted:?}", claims.aud));
        }
        let about = &claims.kubernetes;
        let namespace = meta::text(about, &["namespace"]).unwrap_or_default();
        let account = meta::text(about, &["serviceaccount", "name"]).unwrap_or_default();
        let uid = meta::text(about, &["serviceaccount", "uid"]).unwrap_or_default();
        self.check_alive("serviceaccounts", namespace, account, uid)?;
        let mut user = service_account_user(namespace, account, uid);
        for (kind, plural) in [("pod", "pods"), ("secret", "secrets")] {
            let Some(bound) = about.get(kind) else { continue };
            let name = meta::text(bound, &["name"]).unwrap_or_default();
            let uid = meta::text(bound, &["uid"]).unwrap_or_default();
            self.check_alive(plural, namespace, name, uid)?;
            let extra = |what: &str| format!("authentication.kubernetes.io/{kind}-{what}");
            user.extra.insert(extra("name"), vec![name.to_owned()]);
            user.extra.insert(extra("uid"), vec![uid.to_owned()]);
        }
        let id = format!("JTI={}", claims.jti);
        user.extra.insert("authentication.kubernetes.io/credential-id".to_owned(), vec![id]);
        Ok((user, common))
    }

    fn check_alive(&self, plural: &str, ns: &str, name: &str, uid: &str) -> Result<(), String> {
        let object = self.store.get(&key(plural, ns, name));
        match object {
            Some(object) if meta::uid(&object) == uid => Ok(()),
            _ => Err(format!("the {plural} {ns}/{name} that the token is bound to is gone")),
        }
    }

    /// Answers a `TokenReview`.
    pub fn review_token(&self, review: &Value) -> Value {
        let token = meta::text(review, &["spec", "token"]).unwrap_or_default();
        let audiences: Vec<String> = meta::items(review, &["spec", "audiences"])
            .iter()
            .filter_map(|a| a.as_str().map(str::to_owned))
            .collect();
        match self.check_token(token, &audiences) {
            Ok((user, common)) => {
                json!({"authenticated": true, "user": user.info(), "audiences": common})
            }
            Err(error) => json!({"authenticated": false, "error": error}),
        }
    }
}

fn service_account_user(namespace: &str, account: &str, uid: &str) -> User {
    User {
        name: format!("system:serviceaccount:{namespace}:{account}"),
        uid: uid.to_owned(),
        groups: vec![
            "system:serviceaccounts".to_owned(),
            format!("system:serviceaccounts:{namespace}"),
            "system:authenticated".to_owned(),
        ],
        extra: Default::default(),
    }
}
