//! Container logs as Kubernetes keeps them: `TIME STREAM F|P TEXT` on each line, in a file that
//! is renamed to `.1` when it is full, so a container holds two of them at most.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// A full file is set aside.
const MOST_BYTES: u64 = 10 << 20;
/// A longer line is cut into parts marked `P`.
const MOST_LINE: usize = 16 << 10;

/// One attempt's log.
#[derive(Debug)]
pub struct Log {
    path: PathBuf,
    file: File,
    written: u64,
}

/// The unfinished line of one stream.
#[derive(Debug, Default)]
pub struct Pending(Vec<u8>);

impl Log {
    pub fn open(path: &Path) -> io::Result<Self> {
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent)?;
        }
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        let written = file.metadata()?.len();
        Ok(Log { path: path.to_owned(), file, written })
    }

    /// Takes what a container wrote to `stream`.
    pub fn write(&mut self, stream: &str, pending: &mut Pending, bytes: &[u8]) -> io::Result<()> {
        let now = jiff::Timestamp::now();
        let mut out = Vec::with_capacity(bytes.len() + 64);
        for piece in bytes.split_inclusive(|b| *b == b'\n') {
            pending.0.extend_from_slice(piece);
            let complete = piece.ends_with(b"\n");
            if complete || pending.0.len() >= MOST_LINE {
                line(&mut out, now, stream, complete, &pending.0);
                pending.0.clear();
            }
        }
        self.append(&out)
    }

    /// The stream ended: what it left unfinished is a line too.
    pub fn finish(&mut self, stream: &str, pending: &mut Pending) -> io::Result<()> {
        if pending.0.is_empty() {
            return Ok(());
        }
        let mut out = Vec::new();
        line(&mut out, jiff::Timestamp::now(), stream, true, &pending.0);
        pending.0 = Vec::new();
        self.append(&out)
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.written > 0 && self.written + bytes.len() as u64 > MOST_BYTES {
            std::fs::rename(&self.path, self.path.with_extension("log.1"))?;
            *self = Log::open(&self.path)?;
        }
        self.file.write_all(bytes)?;
        self.written += bytes.len() as u64;
        Ok(())
    }
}

fn line(out: &mut Vec<u8>, now: jiff::Timestamp, stream: &str, complete: bool, text: &[u8]) {
    let text = text.strip_suffix(b"\n").unwrap_or(text);
    let tag = if complete { 'F' } else { 'P' };
    out.extend_from_slice(format!("{now:.9} {stream} {tag} ").as_bytes());
    out.extend_from_slice(text);
    out.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(pieces: &[&[u8]]) -> Vec<String> {
        let directory = std::env::temp_dir().join(format!(
            "log-{}-{:?}",
            std::process::id(),
            std::thread::current().id()
        ));
        let path = directory.join("0.log");
        let mut log = Log::open(&path).unwrap();
        let mut pending = Pending::default();
        for piece in pieces {
            log.write("stdout", &mut pending, piece).unwrap();
        }
        log.finish("stdout", &mut pending).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::remove_dir_all(directory).unwrap();
        text.lines().map(|l| l.split_once(' ').unwrap().1.to_owned()).collect()
    }

    #[test]
    fn lines_are_whole_however_they_arrive() {
        assert_eq!(
            written(&[b"one\ntw", b"o\n\nlast"]),
            ["stdout F one", "stdout F two", "stdout F ", "stdout F last"]
        );
    }

    #[test]
    fn an_endless_line_is_cut_into_parts() {
        let long = vec![b'x'; MOST_LINE];
        let lines = written(&[&long, b"end\n"]);
        assert_eq!(lines.len(), 2);
        assert!(lines[0].starts_with("stdout P x"));
        assert_eq!(lines[1], "stdout F end");
    }
}
