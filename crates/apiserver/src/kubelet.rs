//! What the API server asks of whoever runs the pods.

use bytes::Bytes;
use futures::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{mpsc, oneshot};

use crate::error::ApiError;

/// A two-way byte stream.
pub trait AsyncReadWrite: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> AsyncReadWrite for T {}

/// Which part of a container's log is wanted.
#[derive(Debug, Clone, Default)]
pub struct LogOptions {
    pub follow: bool,
    pub previous: bool,
    pub timestamps: bool,
    pub tail_lines: Option<u64>,
    pub since_seconds: Option<u64>,
    /// RFC 3339.
    pub since_time: Option<String>,
    pub limit_bytes: Option<u64>,
}

/// Which of a program's outputs bytes came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Channel {
    Stdout,
    Stderr,
}

/// A program running in a container. Dropping `stdin` closes the program's input; dropping the
/// whole ends the program.
pub struct ExecStream {
    pub stdin: Option<mpsc::Sender<Bytes>>,
    pub output: mpsc::Receiver<(Channel, Bytes)>,
    pub exit: oneshot::Receiver<i32>,
    /// (columns, rows) of the terminal.
    pub resize: mpsc::Sender<(u16, u16)>,
}

/// Logs, programs and connections inside pods.
pub trait Kubelet: Send + Sync {
    fn logs(
        &self,
        namespace: &str,
        pod: &str,
        container: &str,
        options: LogOptions,
    ) -> BoxFuture<'static, Result<mpsc::Receiver<Bytes>, ApiError>>;

    fn exec(
        &self,
        namespace: &str,
        pod: &str,
        container: &str,
        command: Vec<String>,
        stdin: bool,
        tty: bool,
    ) -> BoxFuture<'static, Result<ExecStream, ApiError>>;

    /// What the container's own program says from now on.
    fn attach(
        &self,
        namespace: &str,
        pod: &str,
        container: &str,
    ) -> BoxFuture<'static, Result<ExecStream, ApiError>>;

    fn port_forward(
        &self,
        namespace: &str,
        pod: &str,
        port: u16,
    ) -> BoxFuture<'static, Result<Box<dyn AsyncReadWrite>, ApiError>>;
}

/// Answers for a cluster that runs no pods.
pub struct NoKubelet;

impl NoKubelet {
    fn refusal<T: Send + 'static>() -> BoxFuture<'static, Result<T, ApiError>> {
        let error = ApiError::new(503, "ServiceUnavailable", "this API server runs without pods");
        Box::pin(async { Err(error) })
    }
}

impl Kubelet for NoKubelet {
    fn logs(
        &self,
        _: &str,
        _: &str,
        _: &str,
        _: LogOptions,
    ) -> BoxFuture<'static, Result<mpsc::Receiver<Bytes>, ApiError>> {
        NoKubelet::refusal()
    }

    fn exec(
        &self,
        _: &str,
        _: &str,
        _: &str,
        _: Vec<String>,
        _: bool,
        _: bool,
    ) -> BoxFuture<'static, Result<ExecStream, ApiError>> {
        NoKubelet::refusal()
    }

    fn attach(
        &self,
        _: &str,
        _: &str,
        _: &str,
    ) -> BoxFuture<'static, Result<ExecStream, ApiError>> {
        NoKubelet::refusal()
    }

    fn port_forward(
        &self,
        _: &str,
        _: &str,
        _: u16,
    ) -> BoxFuture<'static, Result<Box<dyn AsyncReadWrite>, ApiError>> {
        NoKubelet::refusal()
    }
}
