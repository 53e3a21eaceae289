//! The state directory of `lateen up`: where it lies and what its files are called.

use std::path::{Path, PathBuf};

/// `--state` or `$LATEEN_STATE`, else `$XDG_STATE_HOME/lateen`, else `~/.local/state/lateen`.
pub fn directory(given: Option<&Path>) -> PathBuf {
    if let Some(dir) = given {
        return dir.to_path_buf();
    }
    let from = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    from("XDG_STATE_HOME")
        .or_else(|| from("HOME").map(|home| home.join(".local/state")))
        .unwrap_or_else(|| PathBuf::from("/var/lib"))
        .join("lateen")
}
