//! The agent's command line, as Istio's pods use it: `proxy sidecar|router`, `istio-iptables`, `wait`,
//! `request GET /path`. Every other command line is not the agent's.

use crate::capture;
use crate::dns::ResolvConf;
use crate::fetch;
use crate::flags::Flags;
use bytes::Bytes;
use http_body_util::Full;
use hyper::Request;
use net::capture::Exempt;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use tokio::net::TcpStream;

/// Runs what `args` (without the program's name) ask for; `None` when that is not for the agent.
pub fn command(args: &[String]) -> Option<ExitCode> {
    let (first, rest) = args.split_first()?;
    let flags = Flags::parse(rest);
    let done = match first.as_str() {
        "proxy" => crate::run::proxy(&flags),
        "istio-iptables" | "iptables" => capture_traffic(&flags),
        "istio-clean-iptables" => net::capture::remove().map_err(|e| e.to_string()),
        "wait" => block_on(wait(&flags)),
        "request" => block_on(request(&flags)),
        _ => return None,
    };
    Some(match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    })
}

fn block_on(work: impl Future<Output = Result<(), String>>) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|e| e.to_string())?.block_on(work)
}

fn capture_traffic(flags: &Flags) -> Result<(), String> {
    match flags.get(&["m", "istio-inbound-interception-mode"]) {
        None | Some("" | "REDIRECT") => {}
        Some("NONE") => return Ok(()),
        Some(mode) => return Err(format!("-m {mode}: only REDIRECT is supported")),
    }
    let uid_map = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    let exempt = capture::own_traffic(&uid_map);
    let servers = ResolvConf::read().servers;
    let dns = captures_dns(&exempt, &|name| std::env::var(name).unwrap_or_default());
    let spec = capture::specification(flags, exempt, dns, &servers);
    net::capture::apply(&spec.map_err(|e| e.to_string())?)
        .map_err(|e| format!("the pod's traffic cannot be captured: {e}"))
}

/// Real Envoy's own resolver does not mark its queries: told apart by mark alone, they would be answered
/// with the mesh's addresses.
fn captures_dns(exempt: &Exempt, env: &dyn Fn(&str) -> String) -> bool {
    let unmarked = matches!(exempt, Exempt::Mark(_)) && env("LATEEN_DATA_PLANE") == "envoy";
    env("ISTIO_META_DNS_CAPTURE") == "true" && !unmarked
}

/// Until the proxy is ready: what holds an application back.
async fn wait(flags: &Flags) -> Result<(), String> {
    let number = |name: &str, default: u64| {
        flags.get(&[name]).and_then(|v| v.parse().ok()).unwrap_or(default)
    };
    let patience = Duration::from_secs(number("timeoutSeconds", 60));
    let period = Duration::from_millis(number("periodMillis", 200));
    let begun = Instant::now();
    loop {
        let last = match get("127.0.0.1:15021", "GET", "/healthz/ready").await {
            Ok((200, _)) => return Ok(()),
            Ok((_, body)) => body.trim().to_owned(),
            Err(e) => e,
        };
        if begun.elapsed() >= patience {
            return Err(format!("the proxy is not ready after {} s: {last}", patience.as_secs()));
        }
        tokio::time::sleep(period).await;
    }
}

/// Asks the proxy's admin port.
async fn request(flags: &Flags) -> Result<(), String> {
    let [method, path] = &flags.words[..] else {
        return Err("usage: pilot-agent request GET|POST PATH".into());
    };
    let path = if path.starts_with('/') { path.clone() } else { format!("/{path}") };
    let (status, body) = get("127.0.0.1:15000", method, &path).await?;
    print!("{body}");
    if status < 400 { Ok(()) } else { Err(format!("{path}: status {status}")) }
}

/// Status and body.
pub(crate) async fn get(address: &str, method: &str, path: &str) -> Result<(u16, String), String> {
    let socket = TcpStream::connect(address).await.map_err(|e| format!("{address}: {e}"))?;
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("host", address)
        .body(Full::new(Bytes::new()))
        .map_err(|e| e.to_string())?;
    let response = fetch::http1(socket, request).await.map_err(|e| e.to_string())?;
    let status = response.status().as_u16();
    Ok((status, String::from_utf8_lossy(response.body()).into_owned()))
}
