//! A port that is served as the control plane says: in plaintext, or by mutual TLS alone. Until it has said
//! something, connections wait; what it says beyond that is not judged here, and refuses everybody.

use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use anyhow::Context;
use tokio::net::{TcpListener, TcpStream};

use super::resolve::{Ways, ways};
use super::{App, called};
use crate::grpc;
use crate::web::{self, Call};

const PATIENCE: Duration = Duration::from_secs(10);

pub async fn by_xds(listener: TcpListener, port: u16, app: Rc<App>) -> anyhow::Result<()> {
    let bootstrap = app.discovery.bootstrap.as_ref().context("there is no bootstrap")?;
    let name: Rc<str> = bootstrap.listener(port).into();
    app.discovery.want(&name);
    web::each(listener, move |stream, peer| {
        let (app, name) = (app.clone(), name.clone());
        async move {
            if let Err(error) = connection(stream, peer, port, &name, app).await {
                println!("a connection to port {port} ended: {error:#}");
            }
        }
    })
    .await
}

async fn connection(
    stream: TcpStream,
    peer: IpAddr,
    port: u16,
    name: &str,
    app: Rc<App>,
) -> anyhow::Result<()> {
    let look = |known: &super::discovery::Known| ways(known.listeners.get(name)?);
    let told = app.discovery.find(PATIENCE, look).await;
    let Ways { mutual, has_rules } = told.context("nobody has said how to serve it")?;
    let bootstrap = app.discovery.bootstrap.clone().context("there is no bootstrap")?;
    let handler = move |call: Call| {
        let app = app.clone();
        async move {
            match has_rules {
                true => grpc::fail("7", "there are rules, which this program cannot judge"),
                false => called(app, port, call).await,
            }
        }
    };
    if !mutual {
        return web::serve_connection(stream, peer, handler).await;
    }
    let shaken = tokio::time::timeout(PATIENCE, bootstrap.acceptor()?.accept(stream)).await;
    web::serve_connection(shaken??, peer, handler).await
}
