//! An authority that is plugged into a mesh which has roots of its own takes over from them step by step. How far it
//! is stands in an annotation of the Secret of those roots, for other control planes and the next start; whoever
//! deletes the Secret has it done at once, at the cost of connections that fail until leaves are renewed.

use super::Authority;
use super::kept::{Kept, LONGEST, PATIENCE, SECRET};
use crate::StartError;
use crate::env::SystemEnv;
use base::Env;
use ca::{Handover, PlugIn, Roots, Signer};
use k8s::Resource;
use serde_json::{Value, json};
use std::sync::Arc;
use tokio::sync::watch;

const NOTE: &str = "lateen.dev/handed-over";

impl Kept {
    /// `None`: there is nothing to take over from.
    pub async fn hand_over(&self, new: &Arc<PlugIn>) -> Result<Option<Handover>, StartError> {
        let Some(secret) = self.read().await? else { return Ok(None) };
        let handover = seen(&secret, new)?;
        if handover.is_done() {
            return Ok(None);
        }
        tracing::info!(
            "Secret cacerts takes over from Secret {SECRET} in two steps, so that nothing fails; `lateen ca \
             show` tells how far it is. Delete Secret {SECRET} to have it done at once"
        );
        Ok(Some(handover))
    }

    /// Goes through the steps to the end.
    pub async fn lead(
        &self,
        mut held: Handover,
        new: &Arc<PlugIn>,
        authority: Authority,
        current: &watch::Sender<Arc<dyn Signer>>,
    ) {
        while !held.is_done() {
            tokio::time::sleep(authority.pace().look).await;
            let next = match tokio::time::timeout(PATIENCE, self.step(new, &authority)).await {
                Ok(Ok(next)) => next,
                Ok(Err(error)) => {
                    tracing::warn!(%error, "the authority stays as it is");
                    continue;
                }
                Err(_) => {
                    tracing::warn!("Secret {SECRET} could not be read in {PATIENCE:?}");
                    continue;
                }
            };
            let Some(next) = next else {
                tracing::info!("Secret {SECRET} is gone: Secret cacerts has taken over");
                break;
            };
            if next.note() != held.note() {
                tracing::info!(note = next.note(), "Secret cacerts takes over");
                current.send_replace(Arc::new(next.clone()));
            }
            held = next;
        }
        current.send_replace(new.clone());
    }

    /// What is noted, a step further if it is time; `None`: the Secret is gone.
    async fn step(
        &self,
        new: &Arc<PlugIn>,
        authority: &Authority,
    ) -> Result<Option<Handover>, StartError> {
        let Some(secret) = self.read().await? else { return Ok(None) };
        let noted = &secret["metadata"]["annotations"];
        let written = noted[LONGEST].as_str().and_then(|s| s.parse().ok()).unwrap_or(0);
        let longest = authority.longest(written);
        let seen = seen(&secret, new)?;
        let next = seen.advance(SystemEnv::default().wall(), authority.pace()).unwrap_or(seen);
        let note = next.note();
        if noted[NOTE].as_str() != Some(&note) || longest != written {
            let notes = json!({ NOTE: note, LONGEST: longest.to_string() });
            self.annotate(&secret, notes).await?;
        }
        Ok(Some(next))
    }

    /// Roots of our own are those of the mesh: whatever was plugged in is not there any more.
    pub(super) async fn take_back(&self, secret: &Value) -> Result<(), StartError> {
        if !secret["metadata"]["annotations"][NOTE].is_null() {
            self.annotate(secret, json!({ NOTE: null })).await?;
        }
        Ok(())
    }

    async fn annotate(&self, secret: &Value, notes: Value) -> Result<(), StartError> {
        let version = &secret["metadata"]["resourceVersion"];
        let patch = json!({ "metadata": { "resourceVersion": version, "annotations": notes } });
        let namespace = Some(self.namespace.as_str());
        self.client.merge_patch(&Resource::SECRET, namespace, SECRET, None, &patch).await?;
        Ok(())
    }
}

fn seen(secret: &Value, new: &Arc<PlugIn>) -> Result<Handover, StartError> {
    let old = Roots::from_secret(&secret["data"])?;
    let note = secret["metadata"]["annotations"][NOTE].as_str();
    Ok(Handover::of(old, new.clone(), note, SystemEnv::default().wall()))
}
