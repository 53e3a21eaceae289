//! `helloworld`: says its version and which pod it is. `health`: a program that only says it is well.

use hyper::StatusCode;

use crate::flags::{Flags, env, pod_name};
use crate::web;

pub async fn run(flags: &Flags, of_image: u8) -> anyhow::Result<()> {
    let version = flags.get("version").map(str::to_owned).or_else(|| env("SERVICE_VERSION"));
    let version = version.unwrap_or_else(|| format!("v{of_image}"));
    let listener = web::listen(flags.port(5000)?).await?;
    web::serve(listener, move |call| {
        let reply = match call.path.as_str() {
            "/hello" => {
                let body = format!("Hello version: {version}, instance: {}\n", pod_name());
                web::text(StatusCode::OK, "text/html; charset=utf-8", body)
            }
            "/health" => web::text(StatusCode::OK, "text/plain", "Helloworld is healthy\n"),
            _ => web::not_found(),
        };
        async move { reply }
    })
    .await
}

/// The liveness sample: answers every path, so a probe of any path finds it alive; on the next port too,
/// which nothing but a probe asks.
pub async fn health(flags: &Flags) -> anyhow::Result<()> {
    let port = flags.port(8001)?;
    let well = |_| async { web::text(StatusCode::OK, "text/plain", "ok\n") };
    let (first, second) = (web::listen(port).await?, web::listen(port.wrapping_add(1)).await?);
    tokio::try_join!(web::serve(first, well), web::serve(second, well))?;
    Ok(())
}
