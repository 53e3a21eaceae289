//! The API server alone, for trying it out and for tests:
//! `apiserver STATE_DIR ADDRESS` prints the kubeconfig's path when it is ready.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::sync::Arc;

use apiserver::{NoKubelet, Options, Server, admin_kubeconfig};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let mut arguments = std::env::args().skip(1);
    let state_dir = PathBuf::from(arguments.next().ok_or("usage: apiserver STATE_DIR ADDRESS")?);
    let address = arguments.next().unwrap_or_else(|| "127.0.0.1:0".to_owned());
    let listen = std::net::TcpListener::bind(&address)?;
    let url = format!("https://{}", listen.local_addr()?);
    let options = Options {
        state_dir: state_dir.clone(),
        listen,
        advertised_names: Vec::new(),
        service_cidr: "10.96.0.0/16".to_owned(),
        external_url: url.clone(),
        webhook_resolver: Arc::new(|_, _, _| None),
    };
    let (_client, _server) = Server::start(options, Arc::new(NoKubelet)).await?;
    let path = state_dir.join("kubeconfig");
    let mut file = std::fs::OpenOptions::new();
    let mut file = file.write(true).create(true).truncate(true).mode(0o600).open(&path)?;
    file.write_all(admin_kubeconfig(&state_dir, &url)?.as_bytes())?;
    println!("{}", path.display());
    tokio::signal::ctrl_c().await?;
    Ok(())
}
