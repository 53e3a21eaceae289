//! Vault's PKI secrets engine as the authority: it has the keys, signs what is ordered, and is asked for its root. Of
//! what comes back only what was ordered is passed on. HTTP API of Vault: `auth/kubernetes/login`, `MOUNT/sign/ROLE`,
//! `MOUNT/ca_chain`, `MOUNT/ca/pem`.

use super::Authority;
use crate::exchange::{Target, exchange};
use bytes::Bytes;
use ca::{Answer, IssueError, Issued, Names, Order, Pace, Signer, State};
use http::{Method, Request, Response};
use http_body_util::Full;
use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use thiserror::Error;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::Instant;

const PATIENCE: Duration = Duration::from_secs(10);
/// How often it is asked for its root.
const LOOK: Duration = Duration::from_secs(60);
/// Tokens are given up before they end by this much.
const SLACK: Duration = Duration::from_secs(10);

/// Where it is, and what it is asked for; under the names that Vault's own tools read, and ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct VaultOptions {
    /// `VAULT_ADDR`
    pub address: String,
    /// `VAULT_CACERT`: whom to trust instead of the system's roots.
    pub roots: Option<PathBuf>,
    /// `VAULT_NAMESPACE`
    pub namespace: Option<String>,
    pub login: Login,
    /// `LATEEN_VAULT_PKI` and `LATEEN_VAULT_PKI_ROLE`
    pub mount: String,
    pub role: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Login {
    /// `VAULT_TOKEN`
    Token(String),
    /// `LATEEN_VAULT_AUTH_ROLE`, at `LATEEN_VAULT_AUTH`, with the token in a file.
    Kubernetes { mount: String, role: String, token: PathBuf },
}

const ACCOUNT_TOKEN: &str = "/var/run/secrets/kubernetes.io/serviceaccount/token";

impl VaultOptions {
    /// `None`: Vault is not asked.
    pub fn from_env(read: impl Fn(&str) -> Option<String>) -> Option<VaultOptions> {
        let some = |key: &str| read(key).filter(|v| !v.is_empty());
        let or = |key: &str, default: &str| some(key).unwrap_or_else(|| default.to_owned());
        let login = match some("VAULT_TOKEN") {
            Some(token) => Login::Token(token),
            None => Login::Kubernetes {
                mount: or("LATEEN_VAULT_AUTH", "kubernetes"),
                role: or("LATEEN_VAULT_AUTH_ROLE", "istiod"),
                token: ACCOUNT_TOKEN.into(),
            },
        };
        Some(VaultOptions {
            address: some("VAULT_ADDR")?,
            roots: some("VAULT_CACERT").map(PathBuf::from),
            namespace: some("VAULT_NAMESPACE"),
            login,
            mount: or("LATEEN_VAULT_PKI", "pki"),
            role: or("LATEEN_VAULT_PKI_ROLE", "istio"),
        })
    }
}

#[derive(Debug, Error)]
pub enum VaultError {
    #[error("VAULT_ADDR {0:?} is no URL that may be asked: https, or http on the loopback")]
    Address(String),
    #[error("VAULT_CACERT {path}: {error}")]
    Roots { path: String, error: String },
    #[error("the service account's token {path}: {error}")]
    Account { path: String, error: std::io::Error },
    #[error("it cannot be reached: {0}")]
    Io(#[from] std::io::Error),
    #[error("{0}")]
    Exchange(String),
    #[error("no answer within 10 s")]
    Late,
    #[error("{path} is answered {status}: {said}")]
    Status { path: String, status: u16, said: String },
    #[error("{path} is answered without {what}")]
    Answer { path: String, what: &'static str },
    #[error(
        "Secret istio-ca-secret holds the root that workloads trust, who would refuse what Vault signs; delete it \
         if their connections may fail until their certificates are renewed"
    )]
    Taken,
}

/// Asks Vault.
pub(crate) struct Vault {
    options: VaultOptions,
    target: Target,
    tls: tokio_rustls::TlsConnector,
    token: Mutex<Option<(String, Option<Instant>)>>,
}

impl Vault {
    pub fn new(options: VaultOptions) -> Result<Vault, VaultError> {
        let bad = || VaultError::Address(options.address.clone());
        let target = Target::parse(&options.address).ok_or_else(bad)?;
        let here = target.host == "localhost"
            || target.host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
        if !target.tls && !here {
            return Err(bad());
        }
        let tls = Arc::new(client(&options)?).into();
        Ok(Vault { options, target, tls, token: Mutex::default() })
    }

    /// The root of those that sign, PEM.
    pub async fn root(&self) -> Result<String, VaultError> {
        let mount = &self.options.mount;
        let chain = self.say(Method::GET, &format!("/v1/{mount}/ca_chain"), None, None).await?;
        if let Some(root) = ca::blocks(chain.body()).pop() {
            return Ok(root);
        }
        let path = format!("/v1/{mount}/ca/pem");
        let alone = self.say(Method::GET, &path, None, None).await?;
        let root = ca::blocks(alone.body()).pop();
        root.ok_or(VaultError::Answer { path, what: "a certificate" })
    }

    /// The leaf, and what leads from it to the root.
    async fn sign(&self, order: &Order) -> Result<Vec<String>, VaultError> {
        let VaultOptions { mount, role, .. } = &self.options;
        let path = format!("/v1/{mount}/sign/{role}");
        let (uris, hosts) = match order.names() {
            Names::Workload(id) => (id.to_string(), String::new()),
            Names::Server(hosts) => (String::new(), hosts.join(",")),
        };
        let asked = json!({
            "csr": order.csr(), "uri_sans": uris, "alt_names": hosts, "exclude_cn_from_sans": true,
            "ttl": format!("{}s", order.ttl.as_secs()), "format": "pem",
        });
        let answer = self.ask(&path, &asked).await?;
        let data = &answer["data"];
        let leaf = data["certificate"].as_str();
        let leaf = leaf.ok_or(VaultError::Answer { path, what: "data.certificate" })?;
        let above: Vec<&str> = match data["ca_chain"].as_array() {
            Some(chain) => chain.iter().filter_map(Value::as_str).collect(),
            None => data["issuing_ca"].as_str().into_iter().collect(),
        };
        let all = std::iter::once(leaf).chain(above).flat_map(ca::blocks);
        Ok(all.collect())
    }

    /// With our token; with another one if it is not taken any more.
    async fn ask(&self, path: &str, body: &Value) -> Result<Value, VaultError> {
        let mut again = true;
        loop {
            let token = self.token().await?;
            match self.say(Method::POST, path, Some(&token), Some(body)).await {
                Err(VaultError::Status { status: 403, .. }) if again => {
                    *self.kept() = None;
                    again = false;
                }
                answer => return Ok(serde_json::from_str(answer?.body()).unwrap_or_default()),
            }
        }
    }

    async fn token(&self) -> Result<String, VaultError> {
        let (mount, role, file) = match &self.options.login {
            Login::Token(token) => return Ok(token.clone()),
            Login::Kubernetes { mount, role, token } => (mount, role, token),
        };
        let fresh =
            |(_, end): &&(String, Option<Instant>)| end.is_none_or(|end| Instant::now() < end);
        if let Some((token, _)) = self.kept().as_ref().filter(fresh) {
            return Ok(token.clone());
        }
        let jwt = std::fs::read_to_string(file)
            .map_err(|error| VaultError::Account { path: file.display().to_string(), error })?;
        let path = format!("/v1/auth/{mount}/login");
        let asked = json!({ "role": role, "jwt": jwt.trim() });
        let answer = self.say(Method::POST, &path, None, Some(&asked)).await?;
        let answer: Value = serde_json::from_str(answer.body()).unwrap_or_default();
        let token = answer["auth"]["client_token"].as_str();
        let token = token.ok_or(VaultError::Answer { path, what: "auth.client_token" })?;
        let lease = answer["auth"]["lease_duration"].as_u64().filter(|s| *s > 0);
        let end = lease.map(|s| Instant::now() + Duration::from_secs(s).saturating_sub(SLACK));
        *self.kept() = Some((token.to_owned(), end));
        Ok(token.to_owned())
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, Option<(String, Option<Instant>)>> {
        self.token.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn say(
        &self,
        method: Method,
        path: &str,
        token: Option<&str>,
        body: Option<&Value>,
    ) -> Result<Response<String>, VaultError> {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", &*self.target.authority)
            .header("x-vault-request", "true");
        for (name, value) in
            [("x-vault-token", token), ("x-vault-namespace", self.options.namespace.as_deref())]
        {
            request = value.into_iter().fold(request, |request, v| request.header(name, v));
        }
        let body = body.map(|b| Bytes::from(b.to_string())).unwrap_or_default();
        let request = request.body(Full::new(body));
        let request = request.map_err(|e| VaultError::Exchange(e.to_string()))?;
        let answer = tokio::time::timeout(PATIENCE, self.send(request)).await;
        let answer = answer.unwrap_or(Err(VaultError::Late))?;
        match answer.status().as_u16() {
            200..=299 => Ok(answer),
            status => Err(VaultError::Status {
                path: path.to_owned(),
                status,
                said: complaint(answer.body()),
            }),
        }
    }

    async fn send(&self, request: Request<Full<Bytes>>) -> Result<Response<String>, VaultError> {
        let Target { host, port, tls, .. } = &self.target;
        let stream = TcpStream::connect((host.as_str(), *port)).await?;
        let told = |e: crate::exchange::ExchangeError| VaultError::Exchange(e.to_string());
        if !tls {
            return exchange(stream, request).await.map_err(told);
        }
        let name = ServerName::try_from(host.clone());
        let name = name.map_err(|_| VaultError::Address(self.options.address.clone()))?;
        exchange(self.tls.connect(name, stream).await?, request).await.map_err(told)
    }
}

fn client(options: &VaultOptions) -> Result<rustls::ClientConfig, VaultError> {
    let mut roots = rustls::RootCertStore::empty();
    match &options.roots {
        None => {
            let own = rustls_native_certs::load_native_certs().certs;
            roots.add_parsable_certificates(own);
        }
        Some(path) => {
            let bad = |error: String| VaultError::Roots { path: path.display().to_string(), error };
            let list = CertificateDer::pem_file_iter(path).map_err(|e| bad(e.to_string()))?;
            for certificate in list {
                let certificate = certificate.map_err(|e| bad(e.to_string()))?;
                roots.add(certificate).map_err(|e| bad(e.to_string()))?;
            }
        }
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(rustls::DEFAULT_VERSIONS)
        .map(|config| config.with_root_certificates(roots).with_no_client_auth());
    Ok(config.unwrap_or_else(|e| unreachable!("the default versions: {e}")))
}

/// `{"errors": [...]}`, or the beginning of whatever it is.
fn complaint(body: &str) -> String {
    let read: Value = serde_json::from_str(body).unwrap_or_default();
    let errors: Vec<&str> =
        read["errors"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    match errors.is_empty() {
        true => body.chars().take(200).collect(),
        false => errors.join("; "),
    }
}

/// Vault with the roots that peers are to trust.
struct Signing {
    vault: Arc<Vault>,
    roots: String,
}

impl Signer for Signing {
    fn issue<'a>(&'a self, order: &'a Order) -> Answer<'a> {
        Box::pin(async move {
            let told = |e: VaultError| IssueError::Sign(format!("Vault: {e}"));
            let mut chain = self.vault.sign(order).await.map_err(told)?;
            order.check(&chain, &self.roots)?;
            let roots: Vec<String> = ca::blocks(&self.roots);
            chain.retain(|pem| !roots.contains(pem));
            chain.push(self.roots.clone());
            Ok(Issued { chain })
        })
    }

    fn roots(&self) -> String {
        self.roots.clone()
    }

    fn state(&self, _: Pace) -> State {
        let trusted = ca::blocks(&self.roots).into_iter().map(|pem| ("is trusted", pem));
        State {
            source: "Vault (VAULT_ADDR)",
            phase: "of Vault",
            next_at: None,
            certificates: trusted.collect(),
        }
    }
}

/// The root that there is, and a root that was before it, as long as leaves of that live.
struct Known {
    now: String,
    before: Option<(String, Instant)>,
}

impl Known {
    fn bundle(&self) -> String {
        let before = self.before.iter().map(|(root, _)| root.as_str());
        std::iter::once(self.now.as_str()).chain(before).collect()
    }

    /// Says whether something has changed.
    fn see(&mut self, root: String, now: Instant, step: Duration) -> bool {
        let ended = self.before.take_if(|(_, since)| now.duration_since(*since) >= step).is_some();
        if root == self.now {
            return ended;
        }
        self.before = Some((std::mem::replace(&mut self.now, root), now));
        true
    }
}

/// Asks for the root, and for ever whether it is another one.
pub(crate) async fn begin(
    options: VaultOptions,
) -> Result<(watch::Sender<Arc<dyn Signer>>, Follower), VaultError> {
    let vault = Arc::new(Vault::new(options)?);
    let known = Known { now: vault.root().await?, before: None };
    let signing = Signing { vault: vault.clone(), roots: known.bundle() };
    let (sender, _) = watch::channel::<Arc<dyn Signer>>(Arc::new(signing));
    Ok((sender, Follower { vault, known }))
}

pub(crate) struct Follower {
    vault: Arc<Vault>,
    known: Known,
}

impl Follower {
    pub async fn keep(mut self, authority: Authority, current: watch::Sender<Arc<dyn Signer>>) {
        loop {
            tokio::time::sleep(LOOK).await;
            let root = match self.vault.root().await {
                Ok(root) => root,
                Err(error) => {
                    tracing::warn!(%error, "Vault was not asked for its root");
                    continue;
                }
            };
            if self.known.see(root, Instant::now(), authority.pace().step()) {
                tracing::info!("Vault has another root");
                let (vault, roots) = (self.vault.clone(), self.known.bundle());
                current.send_replace(Arc::new(Signing { vault, roots }));
            }
        }
    }
}

#[cfg(test)]
mod tests;
