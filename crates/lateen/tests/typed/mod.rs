//! Commands over files, as they are typed in a folder of their own.
#![allow(dead_code)] // each test file uses its part

use std::path::PathBuf;
use std::process::{Command, Stdio};

/// A folder for one test.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("lateen-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    /// With the mesh in `mesh.yaml`.
    pub fn of(name: &str, mesh: &str) -> Folder {
        let folder = Folder::new(name);
        folder.write("mesh.yaml", mesh);
        folder
    }

    pub fn write(&self, name: &str, text: &str) {
        let path = self.0.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    /// The exit code, what is printed, and what is said of it.
    pub fn run(&self, args: &[&str]) -> (i32, String, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lateen"));
        let output = command.args(args).current_dir(&self.0).stdin(Stdio::null()).output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
    }

    /// The same in one text, of a command over `mesh.yaml`.
    pub fn ask(&self, args: &[&str]) -> (i32, String) {
        let (code, out, err) = self.run(&[args, &["-f", "mesh.yaml"]].concat());
        (code, out + &err)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
