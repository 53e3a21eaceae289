//! Roots of our own, kept in the Secret `istio-ca-secret`: made by whoever starts first, read by the
//! others, and moved on by whichever control plane sees first that it is time. The Secret's version lets
//! one of them win.

use crate::authority::Authority;
use crate::env::SystemEnv;
use crate::{Options, StartError};
use base::Env;
use ca::{Roots, SelfSigned, Signer};
use k8s::{Client, Resource};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

pub(super) const SECRET: &str = "istio-ca-secret";
/// An annotation of the Secret that asks for another root; taken off when it is heeded.
const ASK: &str = "lateen.dev/rotate-root";

/// An annotation of the Secret: the longest life that a leaf was given, in seconds. No step of a rotation
/// is shorter, whichever control plane signed the leaf and whatever its default is now.
pub(super) const LONGEST: &str = "lateen.dev/longest-leaf-seconds";

/// A question to the API server that has no answer by then is asked anew.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

/// What is said of a root that has nothing to do with the one that is held.
const STRANGE: &str = "Secret istio-ca-secret holds a root that the mesh does not trust; ours is kept. \
                       Bring the Secret back, or delete it to have it written again; `lateen ca rotate` \
                       replaces a root without harm";

/// The Secret of this installation.
#[derive(Clone)]
pub(crate) struct Kept {
    pub client: Client,
    pub namespace: String,
    pub trust_domain: String,
}

impl Kept {
    pub fn new(client: &Client, options: &Options, trust_domain: &str) -> Self {
        Self {
            client: client.clone(),
            namespace: options.namespace.clone(),
            trust_domain: trust_domain.to_owned(),
        }
    }

    /// Whoever writes the Secret first has made the root; the others read.
    pub async fn load(&self) -> Result<Roots, StartError> {
        for _ in 0..3 {
            if let Some(secret) = self.read().await? {
                self.take_back(&secret).await?;
                return Ok(Roots::from_secret(&secret["data"])?);
            }
            let root = SelfSigned::generate(&self.trust_domain, SystemEnv::default().wall())?;
            let roots = Roots::Steady(Arc::new(root));
            match self.create(&roots).await {
                Ok(()) => return Ok(roots),
                Err(e) if e.is_conflict() => {}
                Err(e) => return Err(e.into()),
            }
        }
        Err(StartError::RootContested)
    }

    async fn create(&self, roots: &Roots) -> Result<(), k8s::Error> {
        let mut data = roots.to_secret();
        if let Some(data) = data.as_object_mut() {
            data.retain(|_, value| !value.is_null());
        }
        let secret = json!({
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": SECRET, "namespace": self.namespace},
            "type": "istio.io/ca-root",
            "data": data});
        self.client.create(&Resource::SECRET, secret).await.map(|_| ())
    }

    pub(super) async fn read(&self) -> Result<Option<Value>, k8s::Error> {
        self.client.get(&Resource::SECRET, Some(&self.namespace), SECRET).await
    }

    /// Follows the Secret for ever, and moves the rotation on. A Secret that has gone is written again; a
    /// root in it that comes out of nowhere (a backup, another mesh) is not taken for the length of a step,
    /// in which nobody would believe the other half of the mesh.
    pub async fn keep(
        self,
        mut held: Roots,
        authority: Authority,
        current: watch::Sender<Arc<dyn Signer>>,
    ) {
        let mut good = Instant::now();
        loop {
            tokio::time::sleep(authority.pace().look).await;
            let look = tokio::time::timeout(PATIENCE, self.look(&authority));
            let Ok(seen) = look.await else {
                tracing::warn!("Secret {SECRET} could not be read in {PATIENCE:?}");
                continue;
            };
            match seen {
                Ok(Some(roots)) => {
                    let late = good.elapsed() >= authority.pace().step();
                    if !roots.gets_along_with(&held) && !late {
                        tracing::error!("{STRANGE}");
                        continue;
                    }
                    good = Instant::now();
                    if held.to_secret() != roots.to_secret() {
                        tracing::info!(phase = roots.phase(), "roots of the mesh");
                        current.send_replace(Arc::new(roots.clone()));
                        held = roots;
                    }
                }
                Ok(None) => {
                    tracing::warn!("Secret {SECRET} is gone, and is written again");
                    if let Err(error) = self.create(&held).await {
                        tracing::warn!(%error, "it cannot be");
                    }
                }
                Err(error) => tracing::warn!(%error, "the roots stay as they are"),
            }
        }
    }

    /// What the Secret holds, a step further if it is time; `None` if it is gone.
    async fn look(&self, authority: &Authority) -> Result<Option<Roots>, StartError> {
        let Some(secret) = self.read().await? else { return Ok(None) };
        let roots = Roots::from_secret(&secret["data"])?;
        let noted = &secret["metadata"]["annotations"];
        let asked = !noted[ASK].is_null();
        let written = noted[LONGEST].as_str().and_then(|s| s.parse().ok()).unwrap_or(0);
        let longest = authority.longest(written);
        let now = SystemEnv::default().wall();
        let next = roots.advance(now, authority.pace(), asked, &self.trust_domain)?;
        if next.is_none() && longest == written {
            return Ok(Some(roots));
        }
        let next = next.unwrap_or(roots);
        let patch = json!({
            "metadata": {
                "resourceVersion": secret["metadata"]["resourceVersion"],
                "annotations": {ASK: null, LONGEST: longest.to_string()}},
            "data": next.to_secret()});
        let namespace = Some(self.namespace.as_str());
        self.client.merge_patch(&Resource::SECRET, namespace, SECRET, None, &patch).await?;
        Ok(Some(next))
    }
}
