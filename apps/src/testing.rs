//! `testing-app`: the program behind `istio/testing/app` as the tutorial of gRPC without proxies uses it. It
//! echoes by HTTP, TCP and gRPC, calls others when told to (`ForwardEcho`, also at `xds:///` names), and a port
//! of `--xds-grpc-server` is served as the control plane says.

mod bootstrap;
mod discovery;
mod echo;
mod forward;
mod messages;
mod resolve;
mod serve;
mod wire;

use std::rc::Rc;

use anyhow::Context;
use hyper::StatusCode;
use tokio::net::TcpStream;
use tokio::task::LocalSet;

use crate::flags::Flags;
use crate::grpc;
use crate::web::{self, Call, Reply};
use bootstrap::Bootstrap;
use discovery::Discovery;

const FORWARD: &str = "/proto.EchoTestService/ForwardEcho";
const ECHO: &str = "/proto.EchoTestService/Echo";

/// What every port knows.
struct App {
    version: String,
    discovery: Rc<Discovery>,
}

pub async fn run(flags: &Flags) -> anyhow::Result<()> {
    let bootstrap = Bootstrap::read()?;
    let by_xds = ports(flags, "xds-grpc-server")?;
    if bootstrap.is_none() && !by_xds.is_empty() {
        anyhow::bail!("--xds-grpc-server needs a bootstrap; set GRPC_XDS_BOOTSTRAP to its file");
    }
    let discovery = Rc::new(Discovery::new(bootstrap));
    let version = flags.get("version").unwrap_or_default().to_owned();
    let app = Rc::new(App { version, discovery: discovery.clone() });
    let mut serving: Vec<std::pin::Pin<Box<dyn Future<Output = anyhow::Result<()>>>>> = Vec::new();
    for port in ports(flags, "port")? {
        let (app, listener) = (app.clone(), web::listen(port).await?);
        serving.push(Box::pin(web::serve(listener, move |call| http(app.clone(), port, call))));
    }
    for port in ports(flags, "metrics")? {
        let listener = web::listen(port).await?;
        serving.push(Box::pin(web::serve(listener, |_| async {
            web::text(StatusCode::OK, "text/plain", "istio_echo_up 1\n")
        })));
    }
    for port in ports(flags, "tcp")? {
        let (app, listener) = (app.clone(), web::listen(port).await?);
        serving
            .push(Box::pin(web::each(listener, move |stream, _| tcp(app.clone(), port, stream))));
    }
    for port in ports(flags, "grpc")? {
        let (app, listener) = (app.clone(), web::listen(port).await?);
        match by_xds.contains(&port) {
            true => serving.push(Box::pin(serve::by_xds(listener, port, app))),
            false => {
                let handler = move |call| called(app.clone(), port, call);
                serving.push(Box::pin(web::serve(listener, handler)));
            }
        }
    }
    let all = async { futures::future::try_join_all(serving).await.map(drop) };
    LocalSet::new()
        .run_until(async {
            tokio::select! {
                done = all => done,
                () = discovery.follow() => Ok(()),
            }
        })
        .await
}

fn ports(flags: &Flags, name: &str) -> anyhow::Result<Vec<u16>> {
    let port = |text: &str| text.parse().with_context(|| format!("--{name} {text:?}"));
    flags.all(name).map(port).collect()
}

async fn http(app: Rc<App>, port: u16, call: Call) -> Reply {
    let said = echo::of_http(&app.version, port, &call);
    web::text(StatusCode::OK, "text/plain; charset=utf-8", said)
}

/// A port of gRPC.
async fn called(app: Rc<App>, port: u16, call: Call) -> Reply {
    let Some(message) = grpc::message_in(&call.body) else { return grpc::refuse("3") };
    match call.path.as_str() {
        ECHO => echo::of_grpc(&app.version, port, &call, &message),
        FORWARD => forward::answer(&app.discovery, &message).await,
        _ => grpc::refuse("12"),
    }
}

/// Says who answers, then sends back what comes.
async fn tcp(app: Rc<App>, port: u16, mut stream: TcpStream) {
    use tokio::io::AsyncWriteExt;
    let hello = echo::of_tcp(&app.version, port);
    let (mut read, mut write) = stream.split();
    // A connection that breaks is its client's affair.
    if write.write_all(hello.as_bytes()).await.is_ok() {
        let _ = tokio::io::copy(&mut read, &mut write).await;
    }
}
