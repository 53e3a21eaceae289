//! Small HTTP requests over a connection that is there already: one request, one bounded answer.

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncWrite};

#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    #[error("cannot connect: {0}")]
    Connect(#[from] std::io::Error),
    #[error("the exchange failed: {0}")]
    Exchange(#[from] hyper::Error),
    #[error("the answer cannot be read: {0}")]
    Body(String),
    #[error("the call failed: {message} (gRPC status {code})")]
    Status { code: u32, message: String },
    #[error("TLS: {0}")]
    Tls(#[from] tls::TlsError),
}

/// Answers larger than this are refused.
const MAX_BODY: usize = 16 << 20;

/// One HTTP/1.1 request.
pub async fn http1<I>(io: I, request: Request<Full<Bytes>>) -> Result<Response<Bytes>, FetchError>
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(io)).await?;
    let driver = tokio::spawn(connection);
    let answer = async {
        let response = sender.send_request(request).await?;
        let (head, body) = response.into_parts();
        let body = Limited::new(body, MAX_BODY).collect().await;
        let body = body.map_err(|e| FetchError::Body(e.to_string()))?.to_bytes();
        Ok(Response::from_parts(head, body))
    };
    let answer = answer.await;
    driver.abort();
    answer
}

/// One unary gRPC call over HTTP/2: message bytes in, message bytes out.
pub async fn grpc<I>(
    io: I,
    uri: &str,
    token: Option<&str>,
    message: &[u8],
) -> Result<Bytes, FetchError>
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let handshake = hyper::client::conn::http2::Builder::new(TokioExecutor::new());
    let (mut sender, connection) = handshake.handshake(TokioIo::new(io)).await?;
    let driver = tokio::spawn(connection);
    let mut request =
        Request::post(uri).header("content-type", "application/grpc").header("te", "trailers");
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    let answer = async {
        let request =
            request.body(Full::new(frame(message))).map_err(|e| FetchError::Body(e.to_string()))?;
        let (head, body) = sender.send_request(request).await?.into_parts();
        let body = Limited::new(body, MAX_BODY).collect().await;
        let body = body.map_err(|e| FetchError::Body(e.to_string()))?;
        let trailers = body.trailers().cloned().unwrap_or_default();
        status(&trailers).or_else(|| status(&head.headers)).unwrap_or(Ok(()))?;
        unframe(body.to_bytes())
    };
    let answer = answer.await;
    driver.abort();
    answer
}

/// Not compressed, then the length.
fn frame(message: &[u8]) -> Bytes {
    let mut framed = Vec::with_capacity(message.len() + 5);
    framed.push(0);
    framed.extend_from_slice(&u32::try_from(message.len()).unwrap_or(u32::MAX).to_be_bytes());
    framed.extend_from_slice(message);
    framed.into()
}

fn unframe(mut body: Bytes) -> Result<Bytes, FetchError> {
    let bad = || FetchError::Body("it is not one uncompressed gRPC message".into());
    if body.len() < 5 || body[0] != 0 {
        return Err(bad());
    }
    let length = u32::from_be_bytes([body[1], body[2], body[3], body[4]]) as usize;
    let message = body.split_off(5);
    if message.len() == length { Ok(message) } else { Err(bad()) }
}

/// What `grpc-status` says, where it stands.
fn status(headers: &hyper::HeaderMap) -> Option<Result<(), FetchError>> {
    let text = |name| headers.get(name).and_then(|v: &hyper::header::HeaderValue| v.to_str().ok());
    let code: u32 = text("grpc-status")?.parse().ok()?;
    if code == 0 {
        return Some(Ok(()));
    }
    let message = text("grpc-message").unwrap_or_default().replace("%20", " ");
    Some(Err(FetchError::Status { code, message }))
}
