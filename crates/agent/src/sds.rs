//! Secrets of the pod for a data plane that is not ours (Istio's agent serves them the same way): the
//! streaming secret discovery service, on the socket of the relay.

use crate::discovery::{frame, message};
use crate::secrets::Secrets;
use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::{HeaderMap, Request, Response};
use ir::{Kind, Resource, Secret, SecretValue};
use prost::Message;
use proto::discovery::{Any, DiscoveryRequest, DiscoveryResponse};
use std::sync::Arc;
use tokio::sync::mpsc;

/// Its path.
pub const PATH: &str = "/envoy.service.secret.v3.SecretDiscoveryService/StreamSecrets";

/// Responses on their way; who does not read them gets no more.
const QUEUE: usize = 4;
/// A data plane asks for one secret per stream, or a few.
const MOST_NAMES: usize = 1000;

pub type Body = http_body_util::combinators::UnsyncBoxBody<Bytes, hyper::Error>;

/// Answers one stream, for as long as it lives.
pub fn answer(secrets: Secrets, request: Request<Incoming>) -> Response<Body> {
    let (responses, queue) = mpsc::channel(QUEUE);
    tokio::spawn(async move {
        if let Err(why) = stream(&secrets, request.into_body(), &responses).await {
            tracing::debug!(why, "a stream of secrets ended");
        }
    });
    let frames = futures::stream::unfold(Some(queue), |queue| async move {
        let mut queue = queue?;
        match queue.recv().await {
            Some(bytes) => Some((Ok(Frame::data(bytes)), Some(queue))),
            None => Some((Ok(Frame::trailers(fine())), None)),
        }
    });
    let mut response = Response::new(StreamBody::new(frames).boxed_unsync());
    let kind = hyper::header::HeaderValue::from_static("application/grpc");
    response.headers_mut().insert("content-type", kind);
    response
}

fn fine() -> HeaderMap {
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", hyper::header::HeaderValue::from_static("0"));
    trailers
}

async fn stream(
    secrets: &Secrets,
    mut body: Incoming,
    responses: &mpsc::Sender<Bytes>,
) -> Result<(), &'static str> {
    let mut follower = secrets.follow();
    let mut buffer = BytesMut::new();
    let mut told = Told::default();
    loop {
        tokio::select! {
            part = body.frame() => {
                let part = part.ok_or("the data plane has ended it")?;
                let part = part.map_err(|_| "the connection broke")?;
                let Ok(data) = part.into_data() else { continue };
                buffer.extend_from_slice(&data);
                while let Some(request) = message(&mut buffer).map_err(|_| "too large")? {
                    let request = DiscoveryRequest::decode(request).map_err(|_| "unreadable")?;
                    if let Some(error) = &request.error_detail {
                        tracing::warn!(error = error.message, "the data plane refuses a secret");
                    }
                    told.names = request.resource_names;
                    told.names.truncate(MOST_NAMES);
                }
            }
            () = follower.changed() => {}
        }
        if let Some(response) = told.news(secrets) {
            responses.send(frame(&response)).await.map_err(|_| "nobody reads")?;
        }
    }
}

/// What was asked for, and what was answered last.
#[derive(Default)]
struct Told {
    names: Vec<String>,
    version: u64,
    last: Vec<(String, SecretValue)>,
}

impl Told {
    /// A response, where there is another one than before. What is not there is waited for.
    fn news(&mut self, secrets: &Secrets) -> Option<DiscoveryResponse> {
        let there = |name: &String| Some((name.clone(), secrets.value(name)?));
        let now: Vec<_> = self.names.iter().filter_map(there).collect();
        if now.is_empty() || now == self.last {
            return None;
        }
        self.version += 1;
        let type_url = xds::type_url_of(Kind::Secret);
        let resource = |(name, value): &(String, SecretValue)| {
            let secret = Secret { name: name.as_str().into(), value: value.clone() };
            let value = xds::encode(&Resource::Secret(Arc::new(secret)));
            Any { type_url: type_url.clone(), value }
        };
        let resources = now.iter().map(resource).collect();
        self.last = now;
        Some(DiscoveryResponse {
            version_info: self.version.to_string(),
            nonce: self.version.to_string(),
            resources,
            type_url,
            control_plane: None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::Identity;

    #[test]
    fn each_secret_is_told_when_it_is_there_and_when_it_changes() {
        let file = std::env::temp_dir().join(format!("lateen-sds-{}", std::process::id()));
        let secrets = Secrets::new(Identity::default());
        let names = vec!["default".to_owned(), format!("file-root:{}", file.display())];
        let mut told = Told { names, ..Told::default() };
        assert_eq!(told.news(&secrets), None);
        std::fs::write(&file, "one").unwrap();
        assert_eq!(told.news(&secrets).unwrap().resources.len(), 1);
        assert_eq!(told.news(&secrets), None, "nothing is new");
        std::fs::write(&file, "two").unwrap();
        assert_eq!(told.news(&secrets).unwrap().version_info, "2");
        std::fs::remove_file(&file).unwrap();
    }
}
