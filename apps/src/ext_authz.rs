//! `ext-authz`: an authorization service to try CUSTOM policies with. It allows a request that carries
//! `x-ext-authz: allow` and refuses the others; asked over HTTP on 8000 and over gRPC on 9000.

mod check;

use std::net::IpAddr;

use hyper::body::Incoming;
use hyper::{Request, StatusCode};

use crate::flags::Flags;
use crate::grpc;
use crate::web::{self, Call, Reply};

const ASKED: &str = "x-ext-authz";
const RESULT: &str = "x-ext-authz-check-result";
const RECEIVED: &str = "x-ext-authz-check-received";
const REFUSAL: &str =
    "denied by ext_authz for not found header `x-ext-authz: allow` in the request";

pub async fn run(flags: &Flags) -> anyhow::Result<()> {
    let http = web::listen(flags.number("http", 8000)?).await?;
    let grpc = web::listen(flags.number("grpc", 9000)?).await?;
    tokio::try_join!(
        web::serve(http, |call| async move { over_http(&call) }),
        web::serve_raw(grpc, over_grpc),
    )?;
    Ok(())
}

fn over_http(call: &Call) -> Reply {
    let allowed = call.header(ASKED) == Some("allow");
    let mut reply = match allowed {
        true => web::text(StatusCode::OK, "", ""),
        false => web::text(StatusCode::FORBIDDEN, "text/plain", REFUSAL),
    };
    web::set(&mut reply, RESULT, if allowed { "allowed" } else { "denied" });
    web::set(&mut reply, RECEIVED, &format!("{} {}", call.method, call.path));
    if let Some(value) = call.header("x-ext-authz-additional-header-override") {
        web::set(&mut reply, "x-ext-authz-additional-header-override", value);
    }
    reply
}

async fn over_grpc(request: Request<Incoming>, _peer: IpAddr) -> Reply {
    if !request.uri().path().ends_with(".Authorization/Check") {
        return grpc::refuse("12"); // Unimplemented.
    }
    let message = grpc::message(request).await;
    match message.and_then(|message| check::respond(&message)) {
        Some(response) => grpc::answer(&response),
        None => grpc::refuse("3"), // Invalid argument.
    }
}
