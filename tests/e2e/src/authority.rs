//! Certificates for scenes, written to files where programs want files.

pub use ::authority::{Authority, Leaf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::path::{Path, PathBuf};

/// The root that a mesh made for itself.
pub fn of_mesh(mesh: &crate::Mesh) -> Authority {
    let secret = mesh.get(&["-n", "istio-system", "secret", "istio-ca-secret"]);
    let read = |key: &str| {
        let data = secret["data"][key].as_str().expect("a key of the Secret");
        String::from_utf8(STANDARD.decode(data).expect("base64")).expect("PEM")
    };
    Authority::of_pem(&read("ca-cert.pem"), &read("ca-key.pem"))
}

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
