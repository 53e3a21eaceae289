//! gRPC over hyper: one generic codec for prost messages and the two shapes of call that we serve,
//! so that no generated service stands between a connection and its session.

use http_body_util::BodyExt;
use hyper::body::Incoming;
use prost::Message;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::sync::mpsc;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::{Status, Streaming};

pub(crate) type Response = http::Response<tonic::body::Body>;
/// What becomes of a call.
pub(crate) type BoxFuture<T> = Pin<Box<dyn Future<Output = Result<T, Status>> + Send>>;
/// What goes back on a stream.
#[derive(Debug)]
pub(crate) struct Answers<T>(pub mpsc::Receiver<Result<T, Status>>);

impl<T> futures::Stream for Answers<T> {
    type Item = Result<T, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_recv(cx)
    }
}

/// A request may be this large: a proxy under 10,000 services names them all when it reconnects.
const MAX_MESSAGE: usize = 16 << 20;

/// Messages out and in, as prost encodes them.
struct Prost<Out, In>(PhantomData<(Out, In)>);

impl<Out, In> Default for Prost<Out, In> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<Out, In> Codec for Prost<Out, In>
where
    Out: Message + 'static,
    In: Message + Default + 'static,
{
    type Encode = Out;
    type Decode = In;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self::default()
    }

    fn decoder(&mut self) -> Self {
        Self::default()
    }
}

impl<Out: Message, In> Encoder for Prost<Out, In> {
    type Item = Out;
    type Error = Status;

    fn encode(&mut self, item: Out, buf: &mut EncodeBuf<'_>) -> Result<(), Status> {
        item.encode(buf).map_err(|e| Status::internal(format!("the answer is too large: {e}")))
    }
}

impl<Out, In: Message + Default> Decoder for Prost<Out, In> {
    type Item = In;
    type Error = Status;

    fn decode(&mut self, buf: &mut DecodeBuf<'_>) -> Result<Option<In>, Status> {
        let read = In::decode(buf);
        read.map(Some).map_err(|e| Status::invalid_argument(format!("not a valid message: {e}")))
    }
}

type Handler<Req, Res> = Box<dyn FnOnce(tonic::Request<Req>) -> BoxFuture<Res> + Send>;

/// A handler of one call in the shape that tonic's dispatcher wants.
struct Call<Req, Res>(Option<Handler<Req, Res>>);

impl<Req, Res: Send + 'static> tonic::codegen::Service<tonic::Request<Req>> for Call<Req, Res> {
    type Response = tonic::Response<Res>;
    type Error = Status;
    type Future = BoxFuture<tonic::Response<Res>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: tonic::Request<Req>) -> Self::Future {
        let answer = self.0.take().map(|serve| serve(request));
        Box::pin(async move {
            match answer {
                Some(answer) => answer.await.map(tonic::Response::new),
                None => Err(Status::internal("a call is made once")),
            }
        })
    }
}

fn server<In, Out>() -> tonic::server::Grpc<Prost<Out, In>>
where
    In: Message + Default + 'static,
    Out: Message + 'static,
{
    tonic::server::Grpc::new(Prost::default()).max_decoding_message_size(MAX_MESSAGE)
}

/// One request, one answer.
pub(crate) async fn unary<In, Out>(
    request: http::Request<Incoming>,
    serve: impl FnOnce(tonic::Request<In>) -> BoxFuture<Out> + Send + 'static,
) -> Response
where
    In: Message + Default + 'static,
    Out: Message + 'static,
{
    let call = Call::<In, Out>(Some(Box::new(serve)));
    server::<In, Out>().unary(call, request.map(|body| body.boxed())).await
}

/// A stream each way.
pub(crate) async fn streaming<In, Out>(
    request: http::Request<Incoming>,
    serve: impl FnOnce(tonic::Request<Streaming<In>>) -> BoxFuture<Answers<Out>> + Send + 'static,
) -> Response
where
    In: Message + Default + 'static,
    Out: Message + 'static,
{
    let call = Call::<Streaming<In>, Answers<Out>>(Some(Box::new(serve)));
    server::<In, Out>().streaming(call, request.map(|body| body.boxed())).await
}

/// The bearer token of a call.
pub(crate) fn bearer<T>(request: &tonic::Request<T>) -> Option<String> {
    let value = request.metadata().get("authorization")?.to_str().ok()?;
    Some(value.strip_prefix("Bearer ").or_else(|| value.strip_prefix("bearer "))?.to_owned())
}

/// What an unknown method gets.
pub(crate) fn unimplemented(path: &str) -> Response {
    Status::unimplemented(format!("{path} is not served here")).into_http()
}
