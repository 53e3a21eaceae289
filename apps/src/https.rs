//! `https`: a server that ends TLS itself and says what it saw of its client; the nginx of the tutorials
//! about TLS, and whatever lies outside the mesh in those about egress.
//!
//! Certificates are named by flags (`--cert`, `--key`, `--client-ca`), or by an nginx configuration
//! (`--nginx DIRECTORY`), of which only these words are read.

use std::net::IpAddr;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use hyper::StatusCode;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use crate::flags::{Flags, pod_name};
use crate::web::{self, Call, Reply};

/// A client that does not finish its handshake by then is left.
const HANDSHAKE: Duration = Duration::from_secs(10);
const WELCOME: &str = "<!DOCTYPE html>\n<html><head><title>Welcome to nginx!</title></head>\n\
                       <body><h1>Welcome to nginx!</h1></body></html>\n";

/// What the server is to be.
#[derive(Debug, Default, PartialEq)]
struct Site {
    port: u16,
    certificate: String,
    key: String,
    /// Clients must show a certificate that these roots vouch for.
    client_roots: Option<String>,
    /// `/` is nginx's own page.
    is_nginx: bool,
}

pub async fn run(flags: &Flags) -> anyhow::Result<()> {
    let site = Rc::new(match flags.get("nginx") {
        Some(directory) => Site::of_nginx(&configuration(Path::new(directory))?),
        None => Site::of_flags(flags)?,
    });
    let acceptor = TlsAcceptor::from(Arc::new(server_config(&site)?));
    let listener = web::listen(site.port).await?;
    println!("listening on {}", site.port);
    web::each(listener, move |stream, peer| {
        let (acceptor, site) = (acceptor.clone(), site.clone());
        async move {
            if let Err(error) = connection(stream, peer, acceptor, site).await {
                println!("a connection ended: {error:#}");
            }
        }
    })
    .await
}

async fn connection(
    stream: TcpStream,
    peer: IpAddr,
    acceptor: TlsAcceptor,
    site: Rc<Site>,
) -> anyhow::Result<()> {
    let stream = tokio::time::timeout(HANDSHAKE, acceptor.accept(stream)).await??;
    let seen = seen(stream.get_ref().1);
    let handler = move |call: Call| {
        let reply = answer(&site, &call, &seen);
        async move { reply }
    };
    web::serve_connection(stream, peer, handler).await
}

/// What TLS tells of the client.
fn seen(tls: &rustls::ServerConnection) -> Value {
    let leaf = tls.peer_certificates().and_then(|chain| chain.first());
    let client = leaf.and_then(|der| {
        let (_, certificate) = x509_parser::parse_x509_certificate(der).ok()?;
        Some(certificate.subject().to_string())
    });
    json!({
        "sni": tls.server_name(),
        "alpn": tls.alpn_protocol().map(String::from_utf8_lossy),
        "version": tls.protocol_version().and_then(|v| v.as_str().map(str::to_owned)),
        "client": client,
    })
}

fn answer(site: &Site, call: &Call, seen: &Value) -> Reply {
    if site.is_nginx && call.path == "/" {
        return web::html(WELCOME);
    }
    let headers = call.headers.iter().map(|(name, value)| {
        (name.to_string(), Value::from(String::from_utf8_lossy(value.as_bytes())))
    });
    web::json(
        StatusCode::OK,
        &json!({
            "served_by": pod_name(),
            "peer": call.peer.to_string(),
            "method": call.method.as_str(),
            "path": call.path,
            "headers": headers.collect::<serde_json::Map<_, _>>(),
            "tls": seen,
        }),
    )
}

fn server_config(site: &Site) -> anyhow::Result<ServerConfig> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()?;
    let builder = match &site.client_roots {
        None => builder.with_no_client_auth(),
        Some(file) => {
            let mut roots = RootCertStore::empty();
            for root in certificates(file)? {
                roots.add(root)?;
            }
            let verifier =
                WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build()?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let key = PrivateKeyDer::from_pem_file(&site.key).with_context(|| site.key.clone())?;
    let mut config = builder.with_single_cert(certificates(&site.certificate)?, key)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

fn certificates(file: &str) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let list = CertificateDer::pem_file_iter(file).with_context(|| file.to_owned())?;
    list.collect::<Result<_, _>>().with_context(|| file.to_owned())
}

/// All of an nginx configuration: what the main file and those in `conf.d` say.
fn configuration(directory: &Path) -> anyhow::Result<String> {
    let mut text = std::fs::read_to_string(directory.join("nginx.conf")).unwrap_or_default();
    let more = std::fs::read_dir(directory.join("conf.d")).into_iter().flatten().flatten();
    for file in more.filter(|f| f.path().extension().is_some_and(|x| x == "conf")) {
        text.push_str(&std::fs::read_to_string(file.path())?);
    }
    Ok(text)
}

impl Site {
    fn of_flags(flags: &Flags) -> anyhow::Result<Site> {
        let file = |name: &str| {
            let named = flags.get(name).map(str::to_owned);
            named.with_context(|| format!("--{name} must name a file"))
        };
        Ok(Site {
            port: flags.port(443)?,
            certificate: file("cert")?,
            key: file("key")?,
            client_roots: flags.get("client-ca").map(str::to_owned),
            is_nginx: false,
        })
    }

    fn of_nginx(text: &str) -> Site {
        let of = |name: &str| {
            let mut lines = text.lines().filter_map(|line| line.trim().strip_suffix(';'));
            lines.find_map(|line| {
                let (word, value) = line.split_once(char::is_whitespace)?;
                (word == name).then(|| value.trim().trim_matches('"').to_owned())
            })
        };
        let secure = |line: &&str| line.trim_start().starts_with("listen") && line.contains("ssl");
        let port = text.lines().find(secure).and_then(|line| {
            let digits: String = line
                .chars()
                .skip_while(|c| !c.is_ascii_digit())
                .take_while(char::is_ascii_digit)
                .collect();
            digits.parse().ok()
        });
        Site {
            port: port.unwrap_or(443),
            certificate: of("ssl_certificate").unwrap_or_default(),
            key: of("ssl_certificate_key").unwrap_or_default(),
            client_roots: of("ssl_client_certificate"),
            is_nginx: true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_nginx_configuration_says_where_the_certificates_are() {
        let text = "http {\n  server {\n    listen 443 ssl;\n    listen 80;\n    server_name a.example;\n    \
                    ssl_certificate /certs/tls.crt;\n    ssl_certificate_key /certs/tls.key;\n    \
                    ssl_client_certificate /ca/ca.crt;\n    ssl_verify_client on;\n  }\n}\n";
        let site = Site {
            port: 443,
            certificate: "/certs/tls.crt".into(),
            key: "/certs/tls.key".into(),
            client_roots: Some("/ca/ca.crt".into()),
            is_nginx: true,
        };
        assert_eq!(Site::of_nginx(text), site);
    }
}
