//! Certificates for scenes, written to files where programs want files.

pub use ::authority::{Authority, Leaf};

use std::path::{Path, PathBuf};

/// A directory of PEM files.
pub struct Files(pub PathBuf);

impl Files {
    pub fn new(dir: PathBuf) -> Files {
        std::fs::create_dir_all(&dir).expect("a directory of our own");
        Files(dir)
    }

    pub fn write(&self, name: &str, text: &str) -> String {
        let path: &Path = &self.0.join(name);
        std::fs::write(path, text).expect("a directory of our own");
        path.display().to_string()
    }
}
