//! Logs, programs and connections inside pods, for the API server.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock, PoisonError};

use apiserver::{ApiError, AsyncReadWrite, ExecStream, Kubelet, LogOptions};
use bytes::Bytes;
use futures::future::BoxFuture;
use tokio::net::TcpSocket;
use tokio::sync::{mpsc, oneshot};

use super::plan::Places;
use super::{Node, Running, Shared, logs, terminal};

/// Made before the API server, which needs it; attached to the node, which needs the API server.
#[derive(Clone, Default)]
pub struct PodAccess(Arc<OnceLock<Arc<Shared>>>);

impl PodAccess {
    pub fn attach(&self, node: &Node) {
        // A second node in one process would be a mistake of ours; the first one stays.
        let _ = self.0.set(node.0.clone());
    }

    fn running(&self, namespace: &str, pod: &str) -> Result<(Arc<Shared>, Running), ApiError> {
        let starting = || ApiError::new(503, "ServiceUnavailable", "the node is still starting");
        let shared = self.0.get().ok_or_else(starting)?.clone();
        let pods = shared.pods.lock().unwrap_or_else(PoisonError::into_inner);
        let found = pods.get(&(namespace.to_owned(), pod.to_owned())).cloned();
        drop(pods);
        let missing = || bad(format!("pod {pod} does not run on this node yet"));
        found.ok_or_else(missing).map(|running| (shared, running))
    }

    /// The log of a container's newest attempt or the one before, and whether it still grows.
    fn log(
        &self,
        namespace: &str,
        pod: &str,
        container: &str,
        previous: bool,
    ) -> Result<(PathBuf, impl Fn() -> bool + Send + 'static), ApiError> {
        let (shared, running) = self.running(namespace, pod)?;
        let mine = running.attempts.iter().filter(|(name, _, _)| name == container);
        let newest = mine.map(|(_, attempt, _)| *attempt).max();
        let wanted = if previous { newest.and_then(|n| n.checked_sub(1)) } else { newest };
        let path = wanted.map(|n| Places::of(&shared, &running.uid).log(container, n));
        let path = path.filter(|p| p.exists()).ok_or_else(|| {
            let which = if previous { "previous terminated container" } else { "container" };
            bad(format!("{which} {container:?} in pod {pod:?} is waiting to start or not found"))
        })?;
        let (access, namespace) = (self.clone(), namespace.to_owned());
        let (pod, container) = (pod.to_owned(), container.to_owned());
        let alive = move || {
            let is_up = |(name, attempt, up): &(String, u32, bool)| {
                *name == container && Some(*attempt) == wanted && *up
            };
            let now = access.running(&namespace, &pod);
            now.is_ok_and(|(_, r)| r.uid == running.uid && r.attempts.iter().any(is_up))
        };
        Ok((path, alive))
    }
}

fn bad(message: String) -> ApiError {
    ApiError::new(400, "BadRequest", message)
}

impl Kubelet for PodAccess {
    fn logs(
        &self,
        namespace: &str,
        pod: &str,
        container: &str,
        options: LogOptions,
    ) -> BoxFuture<'static, Result<mpsc::Receiver<Bytes>, ApiError>> {
        let found = self.log(namespace, pod, container, options.previous);
        Box::pin(async move {
            let (path, alive) = found?;
            Ok(logs::stream(path, options, alive))
        })
    }

    fn attach(
        &self,
        namespace: &str,
        pod: &str,
        container: &str,
    ) -> BoxFuture<'static, Result<ExecStream, ApiError>> {
        let found = self.log(namespace, pod, container, false);
        Box::pin(async move {
            let (path, alive) = found?;
            // Attaching succeeds, however the container's own program ends.
            let (tell_exit, exit) = oneshot::channel();
            let _ = tell_exit.send(0);
            let output = logs::follow(path, alive);
            Ok(ExecStream { stdin: None, output, exit, resize: mpsc::channel(1).0 })
        })
    }

    fn exec(
        &self,
        namespace: &str,
        pod: &str,
        container: &str,
        command: Vec<String>,
        stdin: bool,
        tty: bool,
    ) -> BoxFuture<'static, Result<ExecStream, ApiError>> {
        let found = self.running(namespace, pod);
        let container = container.to_owned();
        Box::pin(async move {
            let (_, running) = found?;
            let up = running.attempts.iter().any(|(name, _, up)| *name == container && *up);
            let shim = running.shim.filter(|_| up);
            let shim = shim.ok_or_else(|| bad(format!("container {container:?} does not run")))?;
            let failed = |e: std::io::Error| ApiError::new(500, "InternalError", e.to_string());
            terminal::run(shim, container, command, stdin, tty).map_err(failed)
        })
    }

    fn port_forward(
        &self,
        namespace: &str,
        pod: &str,
        port: u16,
    ) -> BoxFuture<'static, Result<Box<dyn AsyncReadWrite>, ApiError>> {
        let found = self.running(namespace, pod);
        let pod = pod.to_owned();
        Box::pin(async move {
            let (_, running) = found?;
            let shim = running.shim.ok_or_else(|| bad(format!("pod {pod} does not run")))?;
            let failed = |e: &dyn std::fmt::Display| {
                bad(format!("failed to connect to localhost:{port} inside pod {pod}: {e}"))
            };
            let socket = shim.socket(false).await.map_err(|e| failed(&e))?;
            let socket = TcpSocket::from_std_stream(std::net::TcpStream::from(socket));
            let stream = socket.connect(([127, 0, 0, 1], port).into()).await;
            Ok(Box::new(stream.map_err(|e| failed(&e))?) as Box<dyn AsyncReadWrite>)
        })
    }
}
