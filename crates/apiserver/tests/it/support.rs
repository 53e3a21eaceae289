//! A server of our own in a scratch directory, with a kubelet that runs programs on this machine.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;

use apiserver::{
    ApiError, AsyncReadWrite, Channel, Client, ExecStream, Kubelet, LogOptions, Options, Server,
    ServerHandle, admin_kubeconfig,
};
use bytes::Bytes;
use futures::future::BoxFuture;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{mpsc, oneshot};

/// A directory that goes away with its owner.
pub struct Scratch(pub PathBuf);

impl Scratch {
    pub fn new(name: &str) -> Scratch {
        let unique = format!("lateen-{name}-{}-{}", std::process::id(), rand());
        let path = std::env::temp_dir().join(unique);
        std::fs::create_dir_all(&path).unwrap();
        Scratch(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn rand() -> u128 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos()
}

pub struct Cluster {
    pub client: Client,
    pub url: String,
    pub kubeconfig: PathBuf,
    _server: ServerHandle,
    _dir: Scratch,
}

pub type Resolver = Arc<dyn Fn(&str, &str, u16) -> Option<std::net::SocketAddr> + Send + Sync>;

impl Cluster {
    pub async fn start(name: &str) -> Cluster {
        Cluster::start_with(name, Arc::new(|_, _, _| None)).await
    }

    pub async fn start_with(name: &str, resolver: Resolver) -> Cluster {
        let dir = Scratch::new(name);
        let (client, server, url) = serve(&dir.0, resolver).await;
        let kubeconfig = dir.0.join("kubeconfig");
        std::fs::write(&kubeconfig, admin_kubeconfig(&dir.0, &url).unwrap()).unwrap();
        Cluster { client, url, kubeconfig, _server: server, _dir: dir }
    }
}

pub async fn serve(dir: &Path, resolver: Resolver) -> (Client, ServerHandle, String) {
    let listen = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listen.set_nonblocking(true).unwrap();
    let url = format!("https://{}", listen.local_addr().unwrap());
    let options = Options {
        state_dir: dir.to_owned(),
        listen,
        advertised_names: Vec::new(),
        service_cidr: "10.96.0.0/16".to_owned(),
        external_url: url.clone(),
        webhook_resolver: resolver,
    };
    let (client, server) = Server::start(options, Arc::new(LocalKubelet)).await.unwrap();
    (client, server, url)
}

/// Runs programs and opens ports on this machine instead of in pods.
pub struct LocalKubelet;

impl Kubelet for LocalKubelet {
    fn logs(
        &self,
        namespace: &str,
        pod: &str,
        container: &str,
        options: LogOptions,
    ) -> BoxFuture<'static, Result<mpsc::Receiver<Bytes>, ApiError>> {
        let lines = [format!("{namespace}/{pod}/{container} one\n"), "two\n".to_owned()];
        let skip = options.tail_lines.map_or(0, |n| lines.len().saturating_sub(n as usize));
        Box::pin(async move {
            let (sender, receiver) = mpsc::channel(4);
            for line in lines.into_iter().skip(skip) {
                sender.send(Bytes::from(line)).await.unwrap();
            }
            Ok(receiver)
        })
    }

    fn exec(
        &self,
        _: &str,
        _: &str,
        _: &str,
        command: Vec<String>,
        stdin: bool,
        _: bool,
    ) -> BoxFuture<'static, Result<ExecStream, ApiError>> {
        Box::pin(async move { Ok(run(command, stdin)) })
    }

    fn attach(
        &self,
        namespace: &str,
        pod: &str,
        container: &str,
    ) -> BoxFuture<'static, Result<ExecStream, ApiError>> {
        let said = format!("{namespace}/{pod}/{container} speaks");
        Box::pin(async move { Ok(run(vec!["echo".to_owned(), said], false)) })
    }

    fn port_forward(
        &self,
        _: &str,
        _: &str,
        port: u16,
    ) -> BoxFuture<'static, Result<Box<dyn AsyncReadWrite>, ApiError>> {
        Box::pin(async move {
            let stream = tokio::net::TcpStream::connect(("127.0.0.1", port)).await;
            let stream = stream.map_err(|e| ApiError::new(500, "InternalError", e.to_string()))?;
            Ok(Box::new(stream) as Box<dyn AsyncReadWrite>)
        })
    }
}

fn run(command: Vec<String>, stdin: bool) -> ExecStream {
    let mut child = tokio::process::Command::new(&command[0])
        .args(&command[1..])
        .stdin(if stdin { Stdio::piped() } else { Stdio::null() })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let (output_sender, output) = mpsc::channel(16);
    let pump = |mut from: Box<dyn tokio::io::AsyncRead + Send + Unpin>, channel: Channel| {
        let sender = output_sender.clone();
        tokio::spawn(async move {
            let mut buffer = vec![0; 4096];
            while let Ok(count @ 1..) = from.read(&mut buffer).await {
                let bytes = Bytes::copy_from_slice(&buffer[..count]);
                if sender.send((channel, bytes)).await.is_err() {
                    return;
                }
            }
        })
    };
    pump(Box::new(child.stdout.take().unwrap()), Channel::Stdout);
    pump(Box::new(child.stderr.take().unwrap()), Channel::Stderr);
    let input = child.stdin.take().map(|mut pipe| {
        let (sender, mut receiver) = mpsc::channel::<Bytes>(16);
        tokio::spawn(async move {
            while let Some(bytes) = receiver.recv().await {
                if pipe.write_all(&bytes).await.is_err() {
                    return;
                }
            }
        });
        sender
    });
    let (exit_sender, exit) = oneshot::channel();
    tokio::spawn(async move {
        let code = child.wait().await.ok().and_then(|s| s.code()).unwrap_or(-1);
        let _ = exit_sender.send(code);
    });
    ExecStream { stdin: input, output, exit, resize: mpsc::channel(1).0 }
}

/// Waits until something is true; fails after ten seconds.
pub async fn eventually(what: &str, mut check: impl FnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(10);
    while !check() {
        assert!(tokio::time::Instant::now() < deadline, "in time: {what}");
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
}
