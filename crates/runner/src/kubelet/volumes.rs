//! Keeps a pod's volumes as they should be: makes them before the first container starts,
//! follows their objects afterwards, and renews tokens long before they end.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;

use super::Shared;
use super::plan::Places;
use super::sources::FromApi;
use crate::pod::Pod;
use crate::volumes::{Content, File, Token, VolumeError, plan, write};

#[derive(Debug, thiserror::Error)]
pub enum MountError {
    #[error(transparent)]
    Volume(#[from] VolumeError),
    #[error("MountVolume.SetUp failed for volume {0:?}: {1}")]
    Write(String, io::Error),
    #[error("MountVolume.SetUp failed for volume {0:?}: token: {1}")]
    Token(String, String),
}

/// The tokens of one pod, by volume and path, with the time to renew them.
#[derive(Debug, Default)]
pub struct Tokens(BTreeMap<(String, String), (String, i64)>);

impl Tokens {
    /// When the next one wants renewal.
    pub fn due(&self) -> Option<i64> {
        self.0.values().map(|(_, at)| *at).min()
    }
}

/// Makes all volumes hold what they should now (milliseconds since 1970).
pub fn sync(
    shared: &Shared,
    pod: &Pod,
    ips: &[IpAddr],
    tokens: &mut Tokens,
    now: i64,
) -> Result<(), MountError> {
    let places = Places::of(shared, &pod.uid);
    let sources = FromApi { shared, namespace: &pod.namespace, ips };
    for volume in &pod.spec.volumes {
        let directory = places.volume(&volume.name);
        let failed = |e| MountError::Write(volume.name.clone(), e);
        match plan(pod, volume, &sources)? {
            Content::Empty if directory.exists() => {}
            Content::Empty => {
                std::fs::create_dir_all(&directory).map_err(failed)?;
                let open = std::fs::Permissions::from_mode(0o777);
                std::fs::set_permissions(directory, open).map_err(failed)?;
            }
            Content::Files { mut files, tokens: wanted } => {
                for token in &wanted {
                    let text = fresh(shared, pod, &volume.name, token, tokens, now)?;
                    let file = File { bytes: text.into_bytes(), mode: 0o644 };
                    files.insert(token.path.clone(), file);
                }
                write(&directory, &files, now.unsigned_abs()).map_err(failed)?;
            }
        }
    }
    Ok(())
}

/// The token as it is, or a new one when four fifths of its life are over.
fn fresh(
    shared: &Shared,
    pod: &Pod,
    volume: &str,
    token: &Token,
    tokens: &mut Tokens,
    now: i64,
) -> Result<String, MountError> {
    let key = (volume.to_owned(), token.path.clone());
    if let Some((text, _)) = tokens.0.get(&key).filter(|(_, renew_at)| *renew_at > now) {
        return Ok(text.clone());
    }
    let account = pod.spec.service_account_name.as_deref().unwrap_or("default");
    let audiences: Vec<String> = token.audience.iter().cloned().collect();
    let bound = Some((pod.name.as_str(), pod.uid.as_str()));
    let issued = shared.client.service_account_token(
        &pod.namespace,
        account,
        &audiences,
        token.seconds,
        bound,
    );
    let text = issued.map_err(|e| MountError::Token(volume.to_owned(), e.message))?;
    let renew_at = now + i64::try_from(token.seconds).unwrap_or(3600) * 800;
    tokens.0.insert(key, (text.clone(), renew_at));
    Ok(text)
}
