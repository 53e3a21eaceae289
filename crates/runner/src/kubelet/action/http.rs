//! `httpGet` of a probe or a hook, over TLS where it asks for that: from 200 to 399 is a success.

use std::sync::{Arc, LazyLock};

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tls::{Expect, TlsError, TrustSource};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::pod::HttpGet;

/// So much of an HTTP head is read.
const MOST_HEAD: usize = 16 << 10;

/// Asks; the error is what an Event says.
pub async fn get(stream: TcpStream, get: &HttpGet) -> Result<(), String> {
    let peer = stream.peer_addr().map_err(|e| e.to_string())?;
    let request = request(get, &peer.to_string());
    let code = match get.scheme.as_deref() {
        Some("HTTPS") => {
            let config = TLS.as_ref().map_err(ToString::to_string)?.clone();
            let tls = TlsConnector::from(config).connect(ServerName::from(peer.ip()), stream).await;
            exchange(&mut tls.map_err(|e| format!("TLS handshake with {peer}: {e}"))?, &request)
                .await?
        }
        _ => exchange(&mut { stream }, &request).await?,
    };
    if (200..400).contains(&code) {
        Ok(())
    } else {
        Err(format!("HTTP probe failed with statuscode: {code}"))
    }
}

fn request(get: &HttpGet, host: &str) -> String {
    let path = get.path.as_deref().filter(|p| !p.is_empty()).unwrap_or("/");
    let slash = if path.starts_with('/') { "" } else { "/" };
    let mut request = format!("GET {slash}{path} HTTP/1.1\r\n");
    let named = |name: &str| get.http_headers.iter().any(|h| h.name.eq_ignore_ascii_case(name));
    if !named("host") {
        request.push_str(&format!("Host: {host}\r\n"));
    }
    if !named("user-agent") {
        request.push_str("User-Agent: kube-probe/1.33\r\n");
    }
    for header in &get.http_headers {
        request.push_str(&format!("{}: {}\r\n", header.name, header.value));
    }
    request.push_str("Accept: */*\r\nConnection: close\r\n\r\n");
    request
}

/// Sends the request, and reads the code of the answer.
async fn exchange<S>(stream: &mut S, request: &str) -> Result<u16, String>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    stream.write_all(request.as_bytes()).await.map_err(|e| e.to_string())?;
    let mut head = Vec::new();
    let mut buffer = [0; 1024];
    while !head.contains(&b'\n') && head.len() < MOST_HEAD {
        match stream.read(&mut buffer).await {
            Ok(0) => break,
            Ok(count) => head.extend_from_slice(&buffer[..count]),
            Err(e) => return Err(e.to_string()),
        }
    }
    let line = String::from_utf8_lossy(&head);
    let code = line.split_whitespace().nth(1).and_then(|c| c.parse().ok());
    code.ok_or_else(|| "the answer is not HTTP".to_owned())
}

/// A probe asks whether a program is well, and trusts whatever certificate it shows.
static TLS: LazyLock<Result<Arc<ClientConfig>, TlsError>> =
    LazyLock::new(|| tls::client_config(TrustSource::default(), Expect::Nothing, None, &[]));

#[cfg(test)]
mod tests;
