//! `ratelimit`: the service that proxies ask who is over a limit, configured by the files that the service
//! of the tutorials reads (`$RUNTIME_ROOT/$RUNTIME_SUBDIRECTORY/config/*.yaml`). Limits count in windows
//! that begin with the unit, in memory; asked over gRPC on 8081, healthy on 8080.

mod limits;

use std::cell::RefCell;
use std::net::IpAddr;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context;
use hyper::body::Incoming;
use hyper::{Request, StatusCode};
use limits::Limits;
use prost::Message;
use proto::envoy::envoy::service::ratelimit::v3::rate_limit_response::{Code, DescriptorStatus};
use proto::envoy::envoy::service::ratelimit::v3::{RateLimitRequest, RateLimitResponse};

use crate::flags::Flags;
use crate::grpc;
use crate::web::{self, Reply};

pub async fn run(flags: &Flags) -> anyhow::Result<()> {
    let limits = Rc::new(RefCell::new(read(&folder())?));
    let http = web::listen(flags.number("http", 8080)?).await?;
    let service = web::listen(flags.number("grpc", 8081)?).await?;
    tokio::try_join!(
        web::serve(http, |_| async { web::text(StatusCode::OK, "text/plain", "OK") }),
        web::serve_raw(service, move |request, peer| asked(limits.clone(), request, peer)),
    )?;
    Ok(())
}

fn folder() -> PathBuf {
    let part =
        |name: &str, default: &str| std::env::var(name).unwrap_or_else(|_| default.to_owned());
    PathBuf::from(part("RUNTIME_ROOT", "/data"))
        .join(part("RUNTIME_SUBDIRECTORY", "ratelimit"))
        .join("config")
}

fn read(folder: &PathBuf) -> anyhow::Result<Limits> {
    let mut limits = Limits::default();
    let entries =
        std::fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))?;
    for path in entries.flatten().map(|e| e.path()) {
        // Beside the files of a mounted ConfigMap lie its hidden folders.
        if path.extension().is_some_and(|x| x == "yaml" || x == "yml") {
            let text = std::fs::read_to_string(&path)?;
            limits.add(&text).with_context(|| path.display().to_string())?;
        }
    }
    Ok(limits)
}

async fn asked(limits: Rc<RefCell<Limits>>, request: Request<Incoming>, _peer: IpAddr) -> Reply {
    if !request.uri().path().ends_with(".RateLimitService/ShouldRateLimit") {
        return grpc::refuse("12"); // Unimplemented.
    }
    let question = grpc::message(request).await.and_then(|m| RateLimitRequest::decode(m).ok());
    let Some(question) = question else { return grpc::refuse("3") }; // Invalid argument.
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
    let answer = judge(&mut limits.borrow_mut(), &question, now);
    grpc::answer(&answer.encode_to_vec())
}

/// Each descriptor is judged; one that is over its limit is enough.
fn judge(limits: &mut Limits, question: &RateLimitRequest, now: u64) -> RateLimitResponse {
    let mut answer = RateLimitResponse::default();
    let mut over = false;
    for descriptor in &question.descriptors {
        let entries: Vec<_> =
            descriptor.entries.iter().map(|e| (e.key.as_str(), e.value.as_str())).collect();
        let within = limits.take(&question.domain, &entries, question.hits_addend.max(1), now);
        over |= !within;
        let code = if within { Code::Ok } else { Code::OverLimit };
        answer.statuses.push(DescriptorStatus { code: code.into(), ..DescriptorStatus::default() });
    }
    answer.overall_code = if over { Code::OverLimit } else { Code::Ok }.into();
    answer
}
