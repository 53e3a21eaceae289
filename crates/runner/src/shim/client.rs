//! The runner's side of a shim: making one, finding one again, asking it.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use net::process::ProcessId;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::UnixStream;

use super::protocol::{Answer, Container, Request, Sandbox, Start};
use super::{PID_FILE, SANDBOX_FILE, SOCKET};

/// A shim that does not answer within this time is taken for dead.
const PATIENCE: Duration = Duration::from_secs(20);
const SIGKILL: i32 = 9;

/// A running shim.
#[derive(Debug, Clone)]
pub struct Shim {
    directory: PathBuf,
    process: ProcessId,
}

#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The shim did what it could; its answer says what is wrong.
    #[error("{0}")]
    Refused(String),
    #[error("the pod's shim does not answer: {0}")]
    Lost(#[from] io::Error),
}

impl Shim {
    /// Makes a pod's namespaces: `command` and the directory are run as the shim.
    pub async fn create(
        command: &[PathBuf],
        directory: &Path,
        sandbox: &Sandbox,
    ) -> Result<Self, CallError> {
        std::fs::create_dir_all(directory)?;
        if let Some((old, _)) = Self::find(directory) {
            old.destroy().await;
        }
        let text = serde_json::to_vec(sandbox).map_err(io::Error::from)?;
        std::fs::write(directory.join(SANDBOX_FILE), text)?;
        let log = directory.join("shim.log");
        let (program, args) =
            command.split_first().ok_or(io::ErrorKind::InvalidInput).map_err(io::Error::from)?;
        let mut starting = tokio::process::Command::new(program);
        starting.args(args).arg(directory).stdin(Stdio::null());
        starting.stdout(File::create(&log)?).stderr(File::options().append(true).open(&log)?);
        let ended = tokio::time::timeout(PATIENCE, starting.status()).await;
        let ended = ended.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
        if !ended.success() {
            let why = std::fs::read_to_string(&log).unwrap_or_default();
            return Err(CallError::Refused(why.trim().to_owned()));
        }
        let lost = || CallError::Lost(io::ErrorKind::NotFound.into());
        Self::find(directory).map(|(shim, _)| shim).ok_or_else(lost)
    }

    /// The shim of a directory, if it still runs, with what it was made for.
    pub fn find(directory: &Path) -> Option<(Self, Sandbox)> {
        let sandbox = std::fs::read(directory.join(SANDBOX_FILE)).ok()?;
        let sandbox = serde_json::from_slice(&sandbox).ok()?;
        let process: ProcessId =
            std::fs::read_to_string(directory.join(PID_FILE)).ok()?.parse().ok()?;
        process.alive().then(|| (Shim { directory: directory.to_owned(), process }, sandbox))
    }

    pub fn process(&self) -> ProcessId {
        self.process
    }

    pub fn directory(&self) -> &Path {
        &self.directory
    }

    pub async fn start(&self, start: Start) -> Result<(), CallError> {
        self.ask(&Request::Start(Box::new(start))).await
    }

    pub async fn signal(&self, container: &str, signal: i32) -> Result<(), CallError> {
        self.ask(&Request::Signal { container: container.to_owned(), signal }).await
    }

    /// Runs a command on the given files; the answer is its exit code.
    pub async fn exec(
        &self,
        container: &str,
        argv: Vec<String>,
        files: Vec<OwnedFd>,
        terminal: bool,
    ) -> Result<i32, CallError> {
        let request = Request::Exec { container: container.to_owned(), argv, terminal };
        let mut answers = Answers::of(self.call(&request, &files)?)?;
        drop(files);
        match answers.next().await? {
            Some(Answer::Exited(code)) => Ok(code),
            Some(Answer::Failed(why)) => Err(CallError::Refused(why)),
            _ => Err(CallError::Lost(io::ErrorKind::UnexpectedEof.into())),
        }
    }

    /// A socket of the pod's network, non-blocking and not connected.
    pub async fn socket(&self, ipv6: bool) -> Result<OwnedFd, CallError> {
        let stream = self.call(&Request::Socket { ipv6 }, &[])?;
        stream.set_nonblocking(true)?;
        let stream = UnixStream::from_std(stream)?;
        let mut bytes = [0; 4096];
        let receive = || net::fds::receive(&stream, &mut bytes);
        let got = stream.async_io(tokio::io::Interest::READABLE, receive);
        let (_, files) = tokio::time::timeout(PATIENCE, got).await.map_err(io::Error::from)??;
        files.into_iter().next().ok_or_else(|| CallError::Lost(io::ErrorKind::UnexpectedEof.into()))
    }

    /// The containers now and after every change; the stream ends when the shim does.
    pub fn watch(&self) -> Result<Watch, CallError> {
        Ok(Watch(Answers::of(self.call(&Request::Watch, &[])?)?))
    }

    /// Ends the pod: all its processes, its namespaces and its link. Returns when they are gone.
    pub async fn destroy(&self) {
        let _ = tokio::time::timeout(Duration::from_secs(2), self.ask(&Request::Destroy)).await;
        for _ in 0..200 {
            if !self.process.alive() {
                return;
            }
            // Ends the first process of the pod, and so all others, even if it hangs.
            let _ = self.process.signal(SIGKILL);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        tracing::warn!(pid = self.process.pid, "a shim does not end");
    }

    async fn ask(&self, request: &Request) -> Result<(), CallError> {
        let mut answers = Answers::of(self.call(request, &[])?)?;
        let answer =
            tokio::time::timeout(PATIENCE, answers.next()).await.map_err(io::Error::from)?;
        match answer? {
            Some(Answer::Done) => Ok(()),
            Some(Answer::Failed(why)) => Err(CallError::Refused(why)),
            _ => Err(CallError::Lost(io::ErrorKind::UnexpectedEof.into())),
        }
    }

    fn call(
        &self,
        request: &Request,
        files: &[OwnedFd],
    ) -> io::Result<std::os::unix::net::UnixStream> {
        let stream = net::fds::connect_in(&self.directory, SOCKET)?;
        let mut text = serde_json::to_vec(request)?;
        text.push(b'\n');
        let files: Vec<_> = files.iter().map(AsFd::as_fd).collect();
        let mut sent = net::fds::send(&stream, &text, &files)?;
        while sent < text.len() {
            sent += net::fds::send(&stream, &text[sent..], &[])?;
        }
        Ok(stream)
    }
}

/// Follows a pod's containers.
#[derive(Debug)]
pub struct Watch(Answers);

impl Watch {
    /// `None` when the shim has ended. May be dropped while waiting: a line is kept until whole.
    pub async fn next(&mut self) -> Option<Vec<Container>> {
        match self.0.next().await {
            Ok(Some(Answer::Containers(all))) => Some(all),
            _ => None,
        }
    }
}

#[derive(Debug)]
struct Answers {
    lines: BufReader<UnixStream>,
    partial: Vec<u8>,
}

impl Answers {
    fn of(stream: std::os::unix::net::UnixStream) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        let lines = BufReader::new(UnixStream::from_std(stream)?);
        Ok(Answers { lines, partial: vec![] })
    }

    async fn next(&mut self) -> io::Result<Option<Answer>> {
        // Cancel-safe: what has been read of a line stays in `partial`.
        let count = self.lines.read_until(b'\n', &mut self.partial).await?;
        if count == 0 && self.partial.is_empty() {
            return Ok(None);
        }
        let line = std::mem::take(&mut self.partial);
        serde_json::from_slice(&line).map(Some).map_err(io::Error::from)
    }
}
