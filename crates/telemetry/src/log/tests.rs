//! Against real files in a directory of the test's own.

use super::*;
use std::path::PathBuf;
use std::time::Instant;

struct Dir(PathBuf);

impl Dir {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("lateen-log-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn file(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn wait_for(path: &str, accept: impl Fn(&str) -> bool) -> (String, Duration) {
    let start = Instant::now();
    loop {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        if accept(&text) || start.elapsed() > Duration::from_secs(10) {
            return (text, start.elapsed());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn lines_arrive_within_seconds_and_from_all_workers() {
    let dir = Dir::new("arrive");
    let files = LogFiles::new();
    let path = dir.file("a.log");
    let (one, two) = (files.open(&path).unwrap().buffer(), files.open(&path).unwrap().buffer());
    one.append(|b| b.extend_from_slice(b"one\n"));
    two.append(|b| b.extend_from_slice(b"two\n"));
    drop(two);
    let (text, _) = wait_for(&path, |t| t.len() == 8);
    assert!(text.contains("one\n") && text.contains("two\n"), "{text:?}");
}

#[test]
fn a_full_buffer_does_not_wait() {
    let dir = Dir::new("full");
    let files = LogFiles::new();
    let path = dir.file("a.log");
    let buffer = files.open(&path).unwrap().buffer();
    let line = [b'x'; 1024];
    for _ in 0..64 {
        buffer.append(|b| b.extend_from_slice(&line));
    }
    let (_, took) = wait_for(&path, |t| t.len() >= FULL);
    assert!(took < Duration::from_millis(900), "{took:?}");
}

#[test]
fn a_moved_file_is_opened_anew() {
    let dir = Dir::new("reopen");
    let files = LogFiles::new();
    let (path, moved) = (dir.file("a.log"), dir.file("a.log.1"));
    let buffer = files.open(&path).unwrap().buffer();
    buffer.append(|b| b.extend_from_slice(b"before\n"));
    files.flush();
    std::fs::rename(&path, &moved).unwrap();
    buffer.append(|b| b.extend_from_slice(b"between\n"));
    assert!(files.reopen().is_empty());
    buffer.append(|b| b.extend_from_slice(b"after\n"));
    files.flush();
    assert_eq!(std::fs::read_to_string(&moved).unwrap(), "before\nbetween\n");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "after\n");
}

#[test]
fn a_stuck_target_costs_lines_not_memory() {
    let dir = Dir::new("stuck");
    let files = LogFiles::new();
    let file = files.open(&dir.file("a.log")).unwrap();
    let buffer = file.buffer();
    // The writer cannot get at the target: as if the disk hung.
    let stuck = lock(&file.log.target);
    let line = [b'x'; 4096];
    for _ in 0..4 * MOST / line.len() {
        buffer.append(|b| b.extend_from_slice(&line));
    }
    assert!(files.dropped() > 0);
    assert!(lock(&buffer.lines).len() < MOST + line.len());
    drop(stuck);
}

#[test]
fn a_path_that_cannot_be_opened_is_named() {
    let error = LogFiles::new().open("/nonexistent/dir/a.log").unwrap_err().to_string();
    assert!(error.contains("/nonexistent/dir/a.log"), "{error}");
}
