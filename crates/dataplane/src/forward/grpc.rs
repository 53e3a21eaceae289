//! One question and one answer by gRPC, to a service that a filter asks.

use super::call::{Short, Unanswered, Whole, call_within};
use crate::reply::Loss;
use crate::view::ClusterState;
use crate::worker::Worker;
use prost::Message;
use std::rc::Rc;
use std::time::Duration;
use wire::h1::Body;
use wire::{Head, Request, Scheme, Version};

#[derive(Debug, thiserror::Error)]
pub enum GrpcError {
    #[error("no answer: {0:?}")]
    Lost(Loss),
    #[error("no answer in time")]
    Timeout,
    #[error("the status {0}")]
    Status(String),
    #[error("an answer that is none")]
    Malformed,
}

/// Of the flag of compression and the length, which stand before a message.
const PREFIX: usize = 5;

pub async fn unary<M: Message + Default>(
    worker: &Rc<Worker>,
    cluster: &Rc<ClusterState>,
    path: &str,
    message: &impl Message,
    patience: Duration,
) -> Result<M, GrpcError> {
    let authority = authority(&cluster.config.name);
    let mut request = Request::new(b"POST", authority.as_bytes(), path.as_bytes());
    request.version = Version::Http2;
    request.scheme = Scheme::Http;
    request.set_field(b"content-type", b"application/grpc");
    request.set_field(b"te", b"trailers");
    request.set_field(b"grpc-timeout", format!("{}m", patience.as_millis()).as_bytes());
    let body = framed(message);
    let (kind, mut source) = (Body::Length(body.len() as u64), Whole::new(body));
    let mut answer = Short::default();
    let ends = (&mut source, &mut answer);
    let asked = call_within(worker, cluster, &request, kind, ends, patience).await;
    let response = asked.map_err(|why| match why {
        Unanswered::Lost(loss) => GrpcError::Lost(loss),
        Unanswered::Late => GrpcError::Timeout,
    })?;
    if response.status != 200 {
        return Err(GrpcError::Status(format!("HTTP {}", response.status)));
    }
    // An answer without a message has its status in the head.
    let in_head = response.get(b"grpc-status");
    let status = answer.trailers.values(b"grpc-status").next().or(in_head).unwrap_or_default();
    if status != b"0" {
        return Err(GrpcError::Status(String::from_utf8_lossy(status).into_owned()));
    }
    read(&answer.body).ok_or(GrpcError::Malformed)
}

/// The host of the service. Envoy sends the cluster's name, whose bars no authority may have.
fn authority(cluster: &str) -> &str {
    cluster.rsplit('|').next().unwrap_or_default()
}

fn framed(message: &impl Message) -> Vec<u8> {
    let length = message.encoded_len();
    let mut body = Vec::with_capacity(PREFIX + length);
    body.push(0);
    body.extend_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes());
    body.extend_from_slice(&message.encode_to_vec());
    body
}

/// One message, not compressed, and nothing after it.
fn read<M: Message + Default>(body: &[u8]) -> Option<M> {
    let (prefix, message) = body.split_at_checked(PREFIX)?;
    let length = u32::from_be_bytes(prefix[1..].try_into().ok()?);
    if prefix[0] != 0 || message.len() as u64 != u64::from(length) {
        return None;
    }
    M::decode(message).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_framed_is_read_and_nothing_else() {
        let body = framed(&"hello".to_owned());
        assert_eq!(read::<String>(&body).as_deref(), Some("hello"));
        assert_eq!(read::<String>(&framed(&String::new())).as_deref(), Some(""));
        let compressed = [&[1], &body[1..]].concat();
        let more = [&body[..], b"x"].concat();
        for bad in [&b""[..], &body[..4], &body[..body.len() - 1], &compressed, &more] {
            assert_eq!(read::<String>(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn a_service_is_called_by_its_host() {
        assert_eq!(authority("outbound|81||a.b.svc"), "a.b.svc");
        assert_eq!(authority("rate_limit_cluster"), "rate_limit_cluster");
    }
}
