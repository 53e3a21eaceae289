//! Where the documents lie that Istio has released: samples, and what is to be accepted, refused and found.
//! They are no part of the project. A test that reads them begins here: it is skipped where they are not, and
//! says so; with `LATEEN_REQUIRE_PEERS` it fails, as with any other peer that is missing.

use std::path::{Path, PathBuf};

/// Names the folder, where it is not `shared/data` beside the project.
pub const VARIABLE: &str = "LATEEN_RELEASED";

/// What lies there, of what tests read.
pub const FOLDERS: [&str; 4] = ["a_samples", "analyzers", "authz-builder", "validation"];

/// One of [`FOLDERS`], or `None` with a line that says why the test is skipped.
pub fn folder(name: &str) -> Option<PathBuf> {
    let dir = root().join(name);
    if !dir.is_dir() {
        let missing =
            format!("{} is not there ({VARIABLE} names the folder above it)", dir.display());
        assert!(std::env::var_os("LATEEN_REQUIRE_PEERS").is_none(), "{missing}");
        println!("skip: {missing}");
        return None;
    }
    Some(dir)
}

/// Those that are not at hand.
pub fn missing() -> Vec<PathBuf> {
    FOLDERS.iter().map(|name| root().join(name)).filter(|dir| !dir.is_dir()).collect()
}

fn root() -> PathBuf {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data");
    std::env::var_os(VARIABLE).map_or_else(beside, PathBuf::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_what_has_no_folder() {
        let there = FOLDERS.iter().filter(|name| folder(name).is_some()).count();
        assert_eq!(there + missing().len(), FOLDERS.len());
    }
}
