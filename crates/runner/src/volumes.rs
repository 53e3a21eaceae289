//! What a pod's volumes contain: planned as plain files from the objects they name, written so
//! that a program sees the old content or the new, never a mixture.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Component, Path, PathBuf};

use crate::env::{EnvError, Sources, field, resource_field};
use crate::pod::{Container, Downward, Pod, ProjectedSource, Source, TokenSource, Volume};

/// What a volume needs to be.
#[derive(Debug, Clone, PartialEq)]
pub enum Content {
    /// A directory of the pod's own.
    Empty,
    /// Files that follow the objects they come from.
    Files { files: BTreeMap<String, File>, tokens: Vec<Token> },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    pub bytes: Vec<u8>,
    pub mode: u32,
}

/// A service-account token to be asked for and kept fresh.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    pub path: String,
    pub audience: Option<String>,
    pub seconds: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VolumeError {
    #[error("MountVolume.SetUp failed for volume {volume:?}: {source}")]
    Missing { volume: String, source: EnvError },
    #[error("MountVolume.SetUp failed for volume {volume:?}: references non-existent key: {key}")]
    NoKey { volume: String, key: String },
    #[error(
        "volume {volume:?} is of kind {kind}, which the embedded cluster does not have: use emptyDir, configMap, secret, downwardAPI or projected"
    )]
    Unsupported { volume: String, kind: String },
    #[error("volume {volume:?}: the path {path:?} leaves the volume")]
    Outside { volume: String, path: String },
}

/// Tokens live this long unless the pod says otherwise.
const TOKEN_SECONDS: u64 = 3600;
const DEFAULT_MODE: u32 = 0o644;

/// What a volume of the pod should hold now.
pub fn plan(pod: &Pod, volume: &Volume, sources: &dyn Sources) -> Result<Content, VolumeError> {
    let mut plan = Plan { pod, sources, volume, files: BTreeMap::new(), tokens: vec![] };
    if let Some(source) = &volume.config_map {
        plan.object("configmap", source, None)?;
    } else if let Some(source) = &volume.secret {
        plan.object("secret", source, None)?;
    } else if let Some(downward) = &volume.downward_api {
        plan.downward(downward, None)?;
    } else if let Some(projected) = &volume.projected {
        for source in &projected.sources {
            plan.projected(source, projected.default_mode)?;
        }
    } else if volume.empty_dir.is_some() || volume.other.is_empty() {
        return Ok(Content::Empty);
    } else {
        let kind = volume.other.keys().next().cloned().unwrap_or_default();
        return Err(VolumeError::Unsupported { volume: volume.name.clone(), kind });
    }
    Ok(Content::Files { files: plan.files, tokens: plan.tokens })
}

struct Plan<'a> {
    pod: &'a Pod,
    sources: &'a dyn Sources,
    volume: &'a Volume,
    files: BTreeMap<String, File>,
    tokens: Vec<Token>,
}

impl Plan<'_> {
    fn projected(&mut self, s: &ProjectedSource, mode: Option<u32>) -> Result<(), VolumeError> {
        if let Some(source) = &s.config_map {
            self.object("configmap", source, mode)?;
        }
        if let Some(source) = &s.secret {
            self.object("secret", source, mode)?;
        }
        if let Some(downward) = &s.downward_api {
            self.downward(downward, mode)?;
        }
        match &s.service_account_token {
            Some(token) => self.token(token),
            None => Ok(()),
        }
    }

    fn object(
        &mut self,
        kind: &'static str,
        source: &Source,
        mode: Option<u32>,
    ) -> Result<(), VolumeError> {
        let found = match kind {
            "secret" => self.sources.secret(&source.name),
            _ => self.sources.config_map(&source.name),
        };
        let missing = || VolumeError::Missing {
            volume: self.volume.name.clone(),
            source: EnvError::NoObject { kind, name: source.name.clone() },
        };
        let data = match found {
            Some(data) => data,
            None if source.optional => return Ok(()),
            None => return Err(missing()),
        };
        let mode = source.default_mode.or(mode).unwrap_or(DEFAULT_MODE);
        let Some(items) = &source.items else {
            return data.into_iter().try_for_each(|(key, bytes)| self.file(&key, bytes, mode));
        };
        for item in items {
            match data.get(&item.key) {
                Some(bytes) => self.file(&item.path, bytes.clone(), item.mode.unwrap_or(mode))?,
                None if source.optional => {}
                None => {
                    let volume = self.volume.name.clone();
                    return Err(VolumeError::NoKey { volume, key: item.key.clone() });
                }
            }
        }
        Ok(())
    }

    fn downward(&mut self, downward: &Downward, mode: Option<u32>) -> Result<(), VolumeError> {
        let mode = downward.default_mode.or(mode).unwrap_or(DEFAULT_MODE);
        let none = Container::default();
        for item in &downward.items {
            let text = match (&item.field_ref, &item.resource_field_ref) {
                (Some(wanted), _) => {
                    field(self.pod, &wanted.field_path, self.sources).map_err(|source| {
                        VolumeError::Missing { volume: self.volume.name.clone(), source }
                    })?
                }
                (None, Some(wanted)) => resource_field(self.pod, &none, wanted),
                (None, None) => continue,
            };
            self.file(&item.path, text.into_bytes(), item.mode.unwrap_or(mode))?;
        }
        Ok(())
    }

    fn token(&mut self, token: &TokenSource) -> Result<(), VolumeError> {
        let path = self.inside(&token.path)?;
        let seconds = token.expiration_seconds.unwrap_or(TOKEN_SECONDS);
        self.tokens.push(Token { path, audience: token.audience.clone(), seconds });
        Ok(())
    }

    fn file(&mut self, path: &str, bytes: Vec<u8>, mode: u32) -> Result<(), VolumeError> {
        let path = self.inside(path)?;
        self.files.insert(path, File { bytes, mode });
        Ok(())
    }

    fn inside(&self, path: &str) -> Result<String, VolumeError> {
        let plain = |c: Component<'_>| matches!(c, Component::Normal(_));
        if path.is_empty() || path.starts_with("..") || !Path::new(path).components().all(plain) {
            let volume = self.volume.name.clone();
            return Err(VolumeError::Outside { volume, path: path.to_owned() });
        }
        Ok(path.to_owned())
    }
}

const DATA: &str = "..data";

/// Makes a directory hold exactly these files; all change in the instant in which one link does.
/// Returns whether anything changed.
pub fn write(directory: &Path, files: &BTreeMap<String, File>, stamp: u64) -> io::Result<bool> {
    std::fs::create_dir_all(directory)?;
    if holds(directory, files) {
        return Ok(false);
    }
    let version = format!("..{stamp}");
    let fresh = directory.join(&version);
    for (path, file) in files {
        let full = fresh.join(path);
        if let Some(parent) = full.parent() {
            std::fs::create_dir_all(parent)?;
        }
        std::fs::write(&full, &file.bytes)?;
        std::fs::set_permissions(full, std::fs::Permissions::from_mode(file.mode))?;
    }
    std::fs::create_dir_all(&fresh)?;
    let old = std::fs::read_link(directory.join(DATA)).ok();
    let new_link = directory.join("..data_new");
    let _ = std::fs::remove_file(&new_link);
    symlink(&version, &new_link)?;
    std::fs::rename(new_link, directory.join(DATA))?;
    link_names(directory, files)?;
    if let Some(old) = old {
        // The old version may be open somewhere; its files live on there.
        let _ = std::fs::remove_dir_all(directory.join(old));
    }
    Ok(true)
}

fn holds(directory: &Path, files: &BTreeMap<String, File>) -> bool {
    let data = directory.join(DATA);
    data.exists()
        && count(&data) == files.len()
        && files.iter().all(|(p, f)| std::fs::read(data.join(p)).is_ok_and(|b| b == f.bytes))
}

fn count(directory: &Path) -> usize {
    let Ok(entries) = std::fs::read_dir(directory) else { return 0 };
    let each = entries.flatten().map(|e| if e.path().is_dir() { count(&e.path()) } else { 1 });
    each.sum()
}

/// The names that programs open lead through `..data`.
fn link_names(directory: &Path, files: &BTreeMap<String, File>) -> io::Result<()> {
    let first =
        |path: &str| Path::new(path).components().next().map(|c| PathBuf::from(c.as_os_str()));
    let names: std::collections::BTreeSet<PathBuf> =
        files.keys().filter_map(|p| first(p)).collect();
    for entry in std::fs::read_dir(directory)?.flatten() {
        let name = PathBuf::from(entry.file_name());
        let ours = entry.file_name().to_string_lossy().starts_with("..");
        if !ours && !names.contains(&name) {
            std::fs::remove_file(entry.path())?;
        }
    }
    for name in names {
        let link = directory.join(&name);
        if link.symlink_metadata().is_err() {
            symlink(Path::new(DATA).join(&name), link)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
