//! Doing what a probe or a hook asks for, and ending a container as Kubernetes does. HTTP requests are in
//! `http`.

mod http;

use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use serde_json::Value;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use crate::pod::{Action, Container, Grpc, Pod};
use crate::shim::client::Shim;

const TERM: i32 = 15;
const KILL: i32 = 9;
/// So much of a command's output is quoted in an Event.
const MOST_OUTPUT: usize = 1024;

/// A running container and where it is.
#[derive(Clone)]
pub struct Target {
    pub shim: Shim,
    pub pod: Pod,
    pub container: Container,
    pub ip: Option<IpAddr>,
}

/// Ends a container: once nobody sends it anything new, hook, polite signal, and after the grace
/// period the other one.
pub async fn stop(target: Target, unlisted: impl Future<Output = ()>, grace: Duration) {
    let deadline = tokio::time::Instant::now() + grace;
    // Cut short by the grace period too.
    let _ = tokio::time::timeout_at(deadline, unlisted).await;
    if let Some(hook) = &target.container.lifecycle.pre_stop {
        // A hook that fails does not keep a container alive.
        let _ = tokio::time::timeout_at(deadline, perform(&target, hook)).await;
    }
    let name = &target.container.name;
    // If it has ended meanwhile there is nothing to signal.
    let _ = target.shim.signal(name, TERM).await;
    tokio::time::sleep_until(deadline).await;
    let _ = target.shim.signal(name, KILL).await;
}

/// Performs an action; the error is what an Event says.
pub async fn perform(target: &Target, action: &Action) -> Result<(), String> {
    if let Some(exec) = &action.exec {
        return command(target, exec.command.clone()).await;
    }
    if let Some(get) = &action.http_get {
        let stream = connect(target, get.host.as_deref(), &get.port).await?;
        return http::get(stream, get).await;
    }
    if let Some(tcp) = &action.tcp_socket {
        return connect(target, tcp.host.as_deref(), &tcp.port).await.map(drop);
    }
    if let Some(grpc) = &action.grpc {
        return health(target, grpc).await;
    }
    if let Some(sleep) = &action.sleep {
        tokio::time::sleep(Duration::from_secs(sleep.seconds)).await;
    }
    Ok(())
}

async fn command(target: &Target, argv: Vec<String>) -> Result<(), String> {
    let open = || -> std::io::Result<_> {
        let (reader, writer) = std::io::pipe()?;
        let null = std::fs::File::open("/dev/null")?;
        Ok((OwnedFd::from(reader), OwnedFd::from(writer), OwnedFd::from(null)))
    };
    let (reader, writer, null) = open().map_err(|e| e.to_string())?;
    let errors = writer.try_clone().map_err(|e| e.to_string())?;
    let reader =
        tokio::net::unix::pipe::Receiver::from_owned_fd(reader).map_err(|e| e.to_string())?;
    let reading = tokio::spawn(async move {
        let mut text = Vec::new();
        // What follows is read too, so that the command is not stopped by a full pipe.
        let mut reader = reader;
        let mut buffer = [0; 4096];
        while let Ok(count @ 1..) = reader.read(&mut buffer).await {
            let room = MOST_OUTPUT.saturating_sub(text.len()).min(count);
            text.extend_from_slice(&buffer[..room]);
        }
        String::from_utf8_lossy(&text).trim().to_owned()
    });
    let files = vec![null, writer, errors];
    match target.shim.exec(&target.container.name, argv, files, false).await {
        Ok(0) => Ok(()),
        Ok(code) => {
            let said = tokio::time::timeout(Duration::from_millis(200), reading).await;
            let said = said.ok().and_then(Result::ok).unwrap_or_default();
            Err(if said.is_empty() { format!("command exited with {code}") } else { said })
        }
        Err(e) => Err(e.to_string()),
    }
}

async fn connect(target: &Target, host: Option<&str>, port: &Value) -> Result<TcpStream, String> {
    let number = target.pod.port(&target.container, port);
    let number = number.ok_or_else(|| format!("the container has no port {port}"))?;
    let ip = match host.filter(|h| !h.is_empty()) {
        Some(host) => host.parse().map_err(|_| format!("host {host} is not an address"))?,
        None => target.ip.ok_or("the pod has no address")?,
    };
    let to = SocketAddr::new(ip, number);
    TcpStream::connect(to).await.map_err(|e| format!("dial tcp {to}: {e}"))
}

/// gRPC's health check.
async fn health(target: &Target, grpc: &Grpc) -> Result<(), String> {
    let stream = connect(target, None, &Value::from(grpc.port)).await?;
    let (client, connection) = h2::client::handshake(stream).await.map_err(|e| e.to_string())?;
    let driver = tokio::spawn(connection);
    let asked = ask_health(client, grpc.service.as_deref().unwrap_or_default()).await;
    driver.abort();
    asked
}

async fn ask_health(client: h2::client::SendRequest<Bytes>, service: &str) -> Result<(), String> {
    const SERVING: [u8; 2] = [8, 1];
    let mut client = client.ready().await.map_err(|e| e.to_string())?;
    let request = ::http::Request::post("http://pod/grpc.health.v1.Health/Check")
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(())
        .map_err(|e| e.to_string())?;
    let (response, mut body) = client.send_request(request, false).map_err(|e| e.to_string())?;
    body.send_data(health_request(service), true).map_err(|e| e.to_string())?;
    let mut answer = response.await.map_err(|e| e.to_string())?.into_body();
    let mut bytes = BytesMut::new();
    while let Some(data) = answer.data().await {
        let data = data.map_err(|e| e.to_string())?;
        // What has been read makes room for more.
        let _ = answer.flow_control().release_capacity(data.len());
        bytes.put_slice(&data[..data.len().min(MOST_OUTPUT)]);
        if bytes.len() > MOST_OUTPUT {
            break;
        }
    }
    if bytes.get(5..) == Some(&SERVING) { Ok(()) } else { Err("service is not SERVING".to_owned()) }
}

/// A gRPC frame around `HealthCheckRequest { service = 1 }`.
fn health_request(service: &str) -> Bytes {
    let service = &service.as_bytes()[..service.len().min(127)];
    let message = match service.len() {
        0 => vec![],
        n => [&[10, n as u8], service].concat(),
    };
    let mut frame = BytesMut::new();
    frame.put_u8(0);
    frame.put_u32(message.len() as u32);
    frame.put_slice(&message);
    frame.freeze()
}
