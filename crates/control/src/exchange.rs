//! One question over HTTP/1.1 on a connection of its own, answered within bounds.

use bytes::Bytes;
use http::{Request, Response, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::TokioIo;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};

/// Longer answers are not read.
const MAX_BODY: usize = 1 << 20;

#[derive(Debug, Error)]
pub(crate) enum ExchangeError {
    #[error("the exchange failed: {0}")]
    Http(#[from] hyper::Error),
    #[error("the answer cannot be read: {0}")]
    Body(String),
}

/// What is asked, of whom.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub tls: bool,
    pub host: String,
    pub port: u16,
    pub authority: String,
    pub path: String,
}

impl Target {
    /// `None`: that is no URI of http or https with a host.
    pub fn parse(text: &str) -> Option<Target> {
        let uri: Uri = text.parse().ok()?;
        let tls = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return None,
        };
        let authority = uri.authority().filter(|a| !a.as_str().contains('@'))?;
        Some(Target {
            tls,
            host: authority.host().trim_matches(['[', ']']).to_owned(),
            port: authority.port_u16().unwrap_or(if tls { 443 } else { 80 }),
            authority: authority.to_string(),
            path: uri.path_and_query().map_or("/", |p| p.as_str()).to_owned(),
        })
    }

    /// Where an answer sends us.
    pub fn next(&self, location: &str) -> Option<Target> {
        if location.starts_with('/') && !location.starts_with("//") {
            return Some(Target { path: location.to_owned(), ..self.clone() });
        }
        Target::parse(location)
    }
}

pub(crate) async fn exchange<I>(
    io: I,
    request: Request<Full<Bytes>>,
) -> Result<Response<String>, ExchangeError>
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(io)).await?;
    let mut drivers = tokio::task::JoinSet::new();
    drivers.spawn(connection);
    let (head, body) = sender.send_request(request).await?.into_parts();
    let body = Limited::new(body, MAX_BODY).collect().await;
    let body = body.map_err(|e| ExchangeError::Body(e.to_string()))?.to_bytes();
    let text = String::from_utf8(body.to_vec()).map_err(|e| ExchangeError::Body(e.to_string()))?;
    Ok(Response::from_parts(head, text))
}
