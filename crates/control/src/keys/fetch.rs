//! One question: resolved, checked against what may be asked, answered within bounds. Redirections are
//! resolved and checked anew, and never lead from HTTPS to HTTP.

use super::allow::{Allowed, Whose};
use crate::exchange::{ExchangeError, Target, exchange};
use bytes::Bytes;
use http::Response;
use http_body_util::Full;
use registry::{KeySource, Snapshot};
use rustls::pki_types::ServerName;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;
use tokio::net::TcpStream;

const PATIENCE: Duration = Duration::from_secs(5);
const MAX_REDIRECTS: usize = 3;

#[derive(Debug, Error)]
pub(super) enum FetchError {
    #[error("{0:?} is no URI of http or https with a host")]
    Uri(String),
    #[error(
        "{0} has no address that may be asked: public ones, or those of a service of the cluster by its name; LATEEN_ALLOWED_CIDRS_IN_JWKS_URIS allows others"
    )]
    Forbidden(String),
    #[error("the connection failed: {0}")]
    Io(#[from] std::io::Error),
    #[error("{0}")]
    Exchange(#[from] ExchangeError),
    #[error("the answer has status {0}")]
    Status(u16),
    #[error("it leads elsewhere too often, or from https to http")]
    Redirects,
    #[error("the issuer is asked by https, and its keys would come by http")]
    Downgrade,
    #[error("no answer within 5 s")]
    Late,
    #[error("{0}")]
    Keys(#[from] jwt::BadKeys),
    #[error("the issuer's discovery document names no jwks_uri")]
    Discovery,
}

pub(super) struct Fetcher {
    allowed: Allowed,
    tls: tokio_rustls::TlsConnector,
}

impl Fetcher {
    /// Trusts whom the system trusts.
    pub fn new(allowed: Allowed) -> Fetcher {
        let mut roots = rustls::RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(rustls::DEFAULT_VERSIONS)
            .map(|config| config.with_root_certificates(roots).with_no_client_auth());
        let config = config.unwrap_or_else(|e| unreachable!("the default versions: {e}"));
        Fetcher { allowed, tls: Arc::new(config).into() }
    }

    /// Keys of which at least one is of use; `None`: the issuer says that there are none.
    pub async fn keys(
        &self,
        source: &KeySource,
        world: &Snapshot,
    ) -> Result<Option<String>, FetchError> {
        let uri = match source {
            KeySource::Uri(uri) => uri.clone(),
            KeySource::Issuer(issuer) => {
                let place = issuer.trim_end_matches('/');
                let place = format!("{place}/.well-known/openid-configuration");
                let text = self.get(&place, world).await?;
                let document: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
                let uri = document["jwks_uri"].as_str().ok_or(FetchError::Discovery)?;
                if target(&place)?.tls && !target(uri)?.tls {
                    return Err(FetchError::Downgrade);
                }
                uri.to_owned()
            }
        };
        let keys = self.get(&uri, world).await?;
        match jwt::Keys::parse(&keys) {
            Ok(_) => Ok(Some(keys)),
            Err(jwt::BadKeys::NoneOfUse) => Ok(None),
            Err(bad) => Err(bad.into()),
        }
    }

    async fn get(&self, place: &str, world: &Snapshot) -> Result<String, FetchError> {
        let answer = tokio::time::timeout(PATIENCE, self.follow(place, world));
        answer.await.unwrap_or(Err(FetchError::Late))
    }

    async fn follow(&self, place: &str, world: &Snapshot) -> Result<String, FetchError> {
        let mut target = target(place)?;
        for _ in 0..=MAX_REDIRECTS {
            let response = self.ask(&target, world).await?;
            match response.status().as_u16() {
                200 => return Ok(response.into_body()),
                301 | 302 | 303 | 307 | 308 => {
                    let location = response.headers().get("location");
                    let location = location.and_then(|l| l.to_str().ok()).unwrap_or_default();
                    let next = target
                        .next(location)
                        .ok_or_else(|| FetchError::Uri(location.to_owned()))?;
                    if target.tls && !next.tls {
                        return Err(FetchError::Redirects);
                    }
                    target = next;
                }
                status => return Err(FetchError::Status(status)),
            }
        }
        Err(FetchError::Redirects)
    }

    /// The address that is checked is the one that is dialled.
    async fn ask(&self, target: &Target, world: &Snapshot) -> Result<Response<String>, FetchError> {
        let whose = Whose::is(&target.host, world);
        let name = match &whose {
            Whose::Cluster(full) => format!("{full}."),
            Whose::Strangers => target.host.clone(),
        };
        let found = tokio::net::lookup_host((name, target.port)).await?;
        let allowed: Vec<SocketAddr> =
            found.filter(|a| self.allowed.allows(a.ip(), &whose)).collect();
        if allowed.is_empty() {
            return Err(FetchError::Forbidden(target.host.clone()));
        }
        let stream = TcpStream::connect(&*allowed).await?;
        if !target.tls {
            return Ok(exchange(stream, request(target)?).await?);
        }
        let name = ServerName::try_from(target.host.clone());
        let name = name.map_err(|_| FetchError::Uri(target.host.clone()))?;
        Ok(exchange(self.tls.connect(name, stream).await?, request(target)?).await?)
    }
}

fn target(text: &str) -> Result<Target, FetchError> {
    Target::parse(text).ok_or_else(|| FetchError::Uri(text.to_owned()))
}

fn request(target: &Target) -> Result<http::Request<Full<Bytes>>, FetchError> {
    http::Request::get(&*target.path)
        .header("host", &*target.authority)
        .header("accept", "application/json")
        .body(Full::default())
        .map_err(|_| FetchError::Uri(target.path.clone()))
}

#[cfg(test)]
mod tests;
