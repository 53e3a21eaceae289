//! The workload's certificate: a key made here and kept in memory, signed by the mesh's authority
//! against the pod's token, renewed at half of its life.

use crate::dial::Dial;
use crate::fetch::{self, FetchError};
use base::{SpiffeId, WallTime};
use prost::Message;
use proto::ca::{CREATE_CERTIFICATE, IstioCertificateRequest, IstioCertificateResponse};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tls::{Credential, Expect, Trust, TrustSource};
use tokio::sync::watch;
use tokio_rustls::TlsConnector;

/// Where certificates come from.
#[derive(Clone, Debug)]
pub struct Authority {
    /// `istiod.istio-system.svc:15012`
    pub address: String,
    pub token_file: PathBuf,
    pub root_file: PathBuf,
    pub identity: SpiffeId,
    pub dial: Dial,
    /// How long certificates are asked for.
    pub life: Duration,
}

/// What the authority has given last; nothing at first. Kept in memory only.
#[derive(Clone, Debug)]
pub struct Identity(watch::Sender<Option<Arc<Issued>>>);

/// The workload's certificate with its key and the roots it trusts, all PEM.
pub struct Issued {
    pub chain: String,
    pub key: String,
    pub roots: String,
    pub credential: Credential,
}

impl std::fmt::Debug for Issued {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The key is nobody's to see.
        f.debug_struct("Issued").field("facts", &self.credential.facts).finish_non_exhaustive()
    }
}

impl Default for Identity {
    fn default() -> Self {
        Self(watch::Sender::new(None))
    }
}

impl Identity {
    pub fn current(&self) -> Option<Arc<Issued>> {
        self.0.borrow().clone()
    }

    pub fn replace(&self, issued: Issued) {
        self.0.send_replace(Some(Arc::new(issued)));
    }

    /// Tells of every renewal.
    pub fn follow(&self) -> watch::Receiver<Option<Arc<Issued>>> {
        self.0.subscribe()
    }
}

#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    #[error("{path}: {error}")]
    File { path: PathBuf, error: std::io::Error },
    #[error("{0}")]
    Fetch(#[from] FetchError),
    #[error("{0}")]
    Tls(#[from] tls::TlsError),
    #[error("{0:?} is not an address as in istiod.istio-system.svc:15012")]
    Address(String),
    #[error("the authority's answer is not a certificate: {0}")]
    Answer(#[from] prost::DecodeError),
}

const TIMEOUT: Duration = Duration::from_secs(10);
/// A day, as Istio asks for.
pub const LIFE: Duration = Duration::from_secs(24 * 3600);

impl Authority {
    /// TLS towards the control plane: its DNS name, and the roots of the pod's file, which the node keeps
    /// up to date.
    pub fn tls(&self, alpn: &[&[u8]]) -> Result<Arc<rustls::ClientConfig>, IdentityError> {
        let roots = read(&self.root_file)?;
        let trust = TrustSource::new(Trust::from_pem(&roots)?);
        Ok(tls::client_config(trust, Expect::DialledName, None, alpn)?)
    }

    /// The pod's token as it is now; the node renews the file.
    pub fn token(&self) -> Result<String, IdentityError> {
        read(&self.token_file).map(|t| t.trim().to_owned())
    }

    /// Asks for a certificate once.
    pub async fn issue(&self) -> Result<Issued, IdentityError> {
        let (csr, key) = tls::request(&self.identity)?;
        let request = IstioCertificateRequest {
            csr,
            validity_duration: i64::try_from(self.life.as_secs()).unwrap_or(0),
            metadata: None,
        };
        let stream = self.connect().await?;
        let uri = format!("https://{}{CREATE_CERTIFICATE}", self.address);
        let token = self.token()?;
        let message = request.encode_to_vec();
        let call = fetch::grpc(stream, &uri, Some(&token), &message);
        let answer = tokio::time::timeout(TIMEOUT, call)
            .await
            .map_err(|_| FetchError::Body(format!("no answer within {TIMEOUT:?}")))??;
        let mut answer = IstioCertificateResponse::decode(answer)?.cert_chain;
        // Peers have the roots, or would not believe them.
        let roots = answer.pop().unwrap_or_default();
        let chain = answer.concat();
        let credential = Credential::from_pem(&chain, &key)?;
        Trust::from_pem(&roots)?;
        Ok(Issued { chain, key, roots, credential })
    }

    pub async fn connect(
        &self,
    ) -> Result<tokio_rustls::client::TlsStream<tokio::net::TcpStream>, IdentityError> {
        let bad = || IdentityError::Address(self.address.clone());
        let host = self.address.rsplit_once(':').ok_or_else(bad)?.0;
        let name = rustls::pki_types::ServerName::try_from(host.to_owned()).map_err(|_| bad())?;
        let socket =
            self.dial.by_name(&self.address, TIMEOUT).await.map_err(FetchError::Connect)?;
        let connector = TlsConnector::from(self.tls(&[b"h2"])?);
        let shaken = tokio::time::timeout(TIMEOUT, connector.connect(name, socket)).await;
        let shaken = shaken.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()));
        Ok(shaken.map_err(FetchError::Connect)?)
    }

    /// Keeps `identity` supplied, for ever. `told` is called after each success.
    pub async fn keep(self, identity: Identity, told: impl Fn(&Credential) + Send) {
        let mut failures = 0u32;
        loop {
            let pause = match self.issue().await {
                Ok(issued) => {
                    failures = 0;
                    told(&issued.credential);
                    let pause = until_renewal(issued.credential.facts.not_after, wall(), jitter());
                    identity.replace(issued);
                    pause
                }
                Err(error) => {
                    failures += 1;
                    let held = identity.current().map(|i| i.credential.facts.not_after);
                    tracing::warn!(%error, "{}; trying again", without(held, wall()));
                    back_off(failures, jitter())
                }
            };
            tokio::time::sleep(pause).await;
        }
    }
}

/// Just before half of what our clock says is left of a new certificate's life, so that pods do not renew
/// in step. A clock that is wrong, by less than half a life, moves the time and breaks nothing.
fn until_renewal(ends: WallTime, now: WallTime, jitter: f64) -> Duration {
    let left = ends.0.saturating_sub(now.0) as f64;
    Duration::from_nanos((left * (0.48 + 0.02 * jitter)).max(1e9) as u64)
}

/// What it means that no certificate has come.
fn without(held: Option<WallTime>, now: WallTime) -> String {
    let Some(ends) = held else { return "the workload has no certificate yet".to_owned() };
    let seconds = |from: WallTime, to: WallTime| to.0.saturating_sub(from.0) / 1_000_000_000;
    match ends > now {
        true => format!("the certificate is not renewed and ends in {} s", seconds(now, ends)),
        false => format!(
            "the certificate has expired {} s ago, and whoever asks for it refuses this workload",
            seconds(ends, now)
        ),
    }
}

/// 100 ms doubled, 10 s at most, spread over half.
pub(crate) fn back_off(failures: u32, jitter: f64) -> Duration {
    let base = Duration::from_millis(100) * (1 << failures.saturating_sub(1).min(7));
    base.min(Duration::from_secs(10)).mul_f64(0.5 + 0.5 * jitter)
}

/// Between 0 and 1.
pub(crate) fn jitter() -> f64 {
    use std::hash::{BuildHasher, Hasher};
    let random = std::hash::RandomState::new().build_hasher().finish();
    (random >> 11) as f64 / (1u64 << 53) as f64
}

fn wall() -> WallTime {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    WallTime(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
}

fn read(path: &PathBuf) -> Result<String, IdentityError> {
    std::fs::read_to_string(path).map_err(|error| IdentityError::File { path: path.clone(), error })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_back_off_to_a_limit() {
        assert_eq!(back_off(1, 1.0), Duration::from_millis(100));
        assert_eq!(back_off(3, 1.0), Duration::from_millis(400));
        assert_eq!(back_off(40, 1.0), Duration::from_secs(10));
        assert_eq!(back_off(40, 0.0), Duration::from_secs(5));
        assert!((0.0..1.0).contains(&jitter()));
    }

    #[test]
    fn certificates_are_renewed_before_half_of_their_life_whatever_the_clock_says() {
        let at = |seconds: u64| WallTime(1_800_000_000_000_000_000 + seconds * 1_000_000_000);
        let hours = |n: u64| n * 3600;
        // The authority's clock is right; ours is right, an hour ahead, an hour behind.
        let ends = at(hours(24));
        for (now, left) in
            [(at(0), 24), (at(hours(1)), 23), (WallTime(at(0).0 - 3_600_000_000_000), 25)]
        {
            for jitter in [0.0, 0.5, 1.0] {
                let pause = until_renewal(ends, now, jitter);
                let half = Duration::from_secs(hours(left) / 2);
                assert!(pause <= half && pause > half.mul_f64(0.95), "{pause:?}");
            }
        }
        assert_eq!(until_renewal(at(0), at(5), 0.5), Duration::from_secs(1), "not in a frenzy");
    }

    #[test]
    fn what_a_missing_certificate_means_is_said() {
        let at = |seconds: u64| WallTime(seconds * 1_000_000_000);
        assert!(without(None, at(5)).contains("no certificate yet"));
        assert!(without(Some(at(9)), at(5)).contains("ends in 4 s"));
        assert!(without(Some(at(2)), at(5)).contains("has expired 3 s ago"));
    }
}
