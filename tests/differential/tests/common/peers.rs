//! Finding the programs, and places for their files.

use differential::proxy::{find_envoy, find_ours};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

/// Both binaries, or `None` and a word about it where that is allowed.
pub fn peers() -> Option<(PathBuf, PathBuf)> {
    let required = std::env::var_os("LATEEN_REQUIRE_PEERS").is_some_and(|v| v == "1");
    let Some(envoy) = find_envoy() else {
        assert!(!required, "no Envoy: run `cargo xtask setup`, or name the binary in ENVOY");
        eprintln!("skipped: no Envoy; run `cargo xtask setup`, or name the binary in ENVOY");
        return None;
    };
    let Some(ours) = find_ours() else {
        assert!(!required, "no lateen-proxy: run `cargo build -p lateen-proxy` first");
        eprintln!("skipped: no lateen-proxy; run `cargo build -p lateen-proxy` first");
        return None;
    };
    Some((envoy, ours))
}

pub fn directory(name: &str) -> PathBuf {
    // Tests run side by side in one process.
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let n = NEXT.fetch_add(1, Ordering::Relaxed);
    let dir = std::env::temp_dir().join(format!("lateen-{name}-{}-{n}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    dir
}
