//! `logs`, `exec` and `port-forward`: the streams of pods.

use super::Global;
use super::remote::Remote;
use anyhow::{Context, Result, bail};
use clap::Args;
use futures::AsyncReadExt as _;
use std::io::{IsTerminal, Write};
use std::net::IpAddr;
use std::process::ExitCode;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

#[derive(Args)]
pub struct LogsArgs {
    /// POD, KIND/NAME
    pod: String,
    /// The container
    #[arg(short = 'c', long)]
    container: Option<String>,
    /// Go on as the log grows
    #[arg(short, long)]
    follow: bool,
    /// Of the run before this one
    #[arg(short, long)]
    previous: bool,
    /// Only so many last lines
    #[arg(long)]
    tail: Option<i64>,
    /// With the time of each line
    #[arg(long)]
    timestamps: bool,
}

#[derive(Args)]
pub struct ExecArgs {
    /// POD, KIND/NAME
    pod: String,
    /// The container
    #[arg(short = 'c', long)]
    container: Option<String>,
    /// Pass standard input on
    #[arg(short = 'i', long)]
    stdin: bool,
    /// Give the command a terminal
    #[arg(short = 't', long)]
    tty: bool,
    /// The command, after --
    #[arg(last = true, required = true)]
    command: Vec<String>,
}

#[derive(Args)]
pub struct PortForwardArgs {
    /// POD, KIND/NAME
    pod: String,
    /// LOCAL:REMOTE or PORT
    #[arg(required = true)]
    ports: Vec<String>,
    /// Addresses to listen on
    #[arg(long, default_value = "127.0.0.1", value_delimiter = ',')]
    address: Vec<IpAddr>,
}

pub async fn logs(global: &Global, args: LogsArgs) -> Result<()> {
    let mut remote = Remote::open(global).await?;
    let (namespace, pod) = remote.pod(&args.pod).await?;
    let params = k8s::LogParams {
        container: args.container,
        follow: args.follow,
        previous: args.previous,
        tail_lines: args.tail,
        timestamps: args.timestamps,
        ..Default::default()
    };
    let mut stream = std::pin::pin!(remote.connection.logs(&namespace, &pod, &params).await?);
    let mut buffer = vec![0; 16 << 10];
    let mut out = std::io::stdout();
    loop {
        let n = stream.read(&mut buffer).await?;
        if n == 0 {
            return Ok(());
        }
        out.write_all(&buffer[..n])?;
        out.flush()?;
    }
}

pub async fn exec(global: &Global, args: ExecArgs) -> Result<ExitCode> {
    let mut remote = Remote::open(global).await?;
    let (namespace, pod) = remote.pod(&args.pod).await?;
    let tty = args.tty && std::io::stdin().is_terminal();
    let mut process = remote
        .connection
        .exec(&namespace, &pod, args.container.as_deref(), &args.command, args.stdin, tty)
        .await?;
    let status = process.take_status();
    let (out, err, input) = (process.stdout(), process.stderr(), process.stdin());
    let input = args.stdin.then_some(input).flatten();
    let pump_input = async move {
        if let Some(mut to) = input {
            // The other end may end first; then there is nobody to tell.
            let _ = tokio::io::copy(&mut tokio::io::stdin(), &mut to).await;
            let _ = to.shutdown().await;
        }
    };
    let pump_out = async move {
        match out {
            Some(mut from) => tokio::io::copy(&mut from, &mut tokio::io::stdout()).await.map(drop),
            None => Ok(()),
        }
    };
    let pump_err = async move {
        match err {
            Some(mut from) => tokio::io::copy(&mut from, &mut tokio::io::stderr()).await.map(drop),
            None => Ok(()),
        }
    };
    let input = tokio::spawn(pump_input);
    let (a, b) = tokio::join!(pump_out, pump_err);
    input.abort();
    a.and(b)?;
    let status = match status {
        Some(status) => status.await,
        None => None,
    };
    Ok(exit_code(status.map(|s| serde_json::to_value(s).unwrap_or_default())))
}

/// The exit code inside a `Status` of an exec: `details.causes[reason=ExitCode].message`.
fn exit_code(status: Option<serde_json::Value>) -> ExitCode {
    let Some(status) = status else { return ExitCode::FAILURE };
    if status["status"] == "Success" {
        return ExitCode::SUCCESS;
    }
    let causes = status["details"]["causes"].as_array().into_iter().flatten();
    let code = causes
        .filter(|c| c["reason"] == "ExitCode")
        .filter_map(|c| c["message"].as_str()?.parse::<u8>().ok());
    match code.into_iter().next() {
        Some(code) => {
            eprintln!("command terminated with exit code {code}");
            ExitCode::from(code)
        }
        None => {
            eprintln!(
                "error: {}",
                status["message"].as_str().unwrap_or("the command could not be run")
            );
            ExitCode::FAILURE
        }
    }
}

pub async fn port_forward(global: &Global, args: PortForwardArgs) -> Result<()> {
    let mut remote = Remote::open(global).await?;
    let mut listeners = Vec::new();
    for word in &args.ports {
        let (local, wanted) = ports(word)?;
        let (namespace, pod, port) = remote_port(&mut remote, &args.pod, wanted).await?;
        for address in &args.address {
            let listener = tokio::net::TcpListener::bind((*address, local))
                .await
                .with_context(|| format!("cannot listen on {address}:{local}"))?;
            println!("Forwarding from {} -> {port}", listener.local_addr()?);
            listeners.push((listener, namespace.clone(), pod.clone(), port));
        }
    }
    let mut tasks = tokio::task::JoinSet::new();
    for (listener, namespace, pod, port) in listeners {
        let connection = remote.connection.clone();
        tasks.spawn(async move {
            loop {
                let Ok((local, _)) = listener.accept().await else { return };
                println!(
                    "Handling connection for {}",
                    listener.local_addr().map_or(0, |a| a.port())
                );
                let (connection, namespace, pod) =
                    (connection.clone(), namespace.clone(), pod.clone());
                tokio::spawn(async move {
                    if let Err(e) = forward(connection, &namespace, &pod, port, local).await {
                        eprintln!("error: forwarding to {pod}:{port}: {e:#}");
                    }
                });
            }
        });
    }
    tasks.join_next().await;
    Ok(())
}

async fn forward(
    connection: k8s::connection::Connection,
    namespace: &str,
    pod: &str,
    port: u16,
    mut local: tokio::net::TcpStream,
) -> Result<()> {
    let mut far = connection.port_forward(namespace, pod, port).await?;
    tokio::io::copy_bidirectional(&mut local, &mut far).await?;
    Ok(())
}

/// A port of a Service is the port of its pods that it stands for.
async fn remote_port(remote: &mut Remote, word: &str, port: u16) -> Result<(String, String, u16)> {
    let (namespace, pod) = remote.pod(word).await?;
    let Some(("svc" | "service" | "services", service)) = word.split_once('/') else {
        return Ok((namespace, pod, port));
    };
    let service = remote
        .connection
        .get(&format!("/api/v1/namespaces/{namespace}/services/{service}"))
        .await?
        .body;
    let entries = service["spec"]["ports"].as_array().into_iter().flatten();
    let Some(entry) = entries.into_iter().find(|p| p["port"].as_u64() == Some(port.into())) else {
        bail!("Service {word} has no port {port}");
    };
    if let Some(number) = entry["targetPort"].as_u64() {
        return Ok((namespace, pod, u16::try_from(number)?));
    }
    let Some(name) = entry["targetPort"].as_str() else { return Ok((namespace, pod, port)) };
    let object =
        remote.connection.get(&format!("/api/v1/namespaces/{namespace}/pods/{pod}")).await?.body;
    let containers = object["spec"]["containers"].as_array().into_iter().flatten();
    let mut all = containers.flat_map(|c| c["ports"].as_array().into_iter().flatten());
    let number = all.find(|p| p["name"] == name).and_then(|p| p["containerPort"].as_u64());
    Ok((
        namespace,
        pod,
        u16::try_from(number.with_context(|| format!("pod has no port named {name}"))?)?,
    ))
}

/// `8080:80`, `80`, `:80` (any free local port).
fn ports(word: &str) -> Result<(u16, u16)> {
    let number = |s: &str| s.parse::<u16>().with_context(|| format!("{s:?} is no port"));
    match word.split_once(':') {
        Some(("", remote)) => Ok((0, number(remote)?)),
        Some((local, remote)) => Ok((number(local)?, number(remote)?)),
        None => Ok((number(word)?, number(word)?)),
    }
}

/// What an HTTP endpoint inside a pod answers, through port forwarding.
pub async fn fetch(
    remote: &Remote,
    namespace: &str,
    pod: &str,
    port: u16,
    path: &str,
) -> Result<String> {
    let mut stream = remote.connection.port_forward(namespace, pod, port).await?;
    let request = format!("GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    let text = String::from_utf8_lossy(&answer);
    let (head, body) =
        text.split_once("\r\n\r\n").with_context(|| format!("{pod}:{port} gave no HTTP answer"))?;
    let status = head.split_whitespace().nth(1).unwrap_or_default();
    if status != "200" {
        bail!("{pod}:{port}{path} answered {status}: {}", body.trim());
    }
    Ok(dechunked(head, body))
}

/// A server may answer HTTP/1.0 with chunks all the same.
fn dechunked(head: &str, body: &str) -> String {
    if !head.to_ascii_lowercase().contains("transfer-encoding: chunked") {
        return body.to_owned();
    }
    let (mut out, mut rest) = (String::new(), body);
    while let Some((size, after)) = rest.split_once("\r\n") {
        let Ok(size) = usize::from_str_radix(size.trim(), 16) else { break };
        let Some(chunk) = after.get(..size).filter(|c| !c.is_empty()) else { break };
        out.push_str(chunk);
        rest = after.get(size + 2..).unwrap_or_default();
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn port_words() {
        assert_eq!(ports("8080:80").unwrap(), (8080, 80));
        assert_eq!(ports("80").unwrap(), (80, 80));
        assert_eq!(ports(":80").unwrap(), (0, 80));
        assert!(ports("http").is_err());
    }

    #[test]
    fn chunks_are_joined() {
        let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked";
        assert_eq!(dechunked(head, "3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"), "abcde");
        assert_eq!(dechunked("HTTP/1.1 200 OK", "abc"), "abc");
    }
}
