//! The cluster process: API server, controllers and node in one, in the node's network. It can be
//! killed at any moment; what it needs is in its database, in the holder and in the shims.

use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use apiserver::{Client, Options, Ref, Server};
use net::sock::{ListenOptions, bind_listener};

use crate::holder::{
    API_PORT, DNS_V4, HolderClient, NODE_V4, NODE_V6, OUTBOUND_PORT, Request, SERVICE_NET,
    SERVICE_NET_V6,
};
use crate::kubelet::{Node, NodeConfig, PodAccess};
use crate::services::cluster_ips;

/// The only node.
pub const NODE_NAME: &str = "lateen";
pub const DOMAIN: &str = "cluster.local";

#[derive(Debug, Clone)]
pub struct ClusterOptions {
    pub state: PathBuf,
    /// Runs a shim; the pod's directory is added as last argument.
    pub shim_command: Vec<PathBuf>,
    /// The API as the host sees it.
    pub api_url: String,
}

#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    #[error(transparent)]
    Bind(#[from] net::BindError),
    #[error(transparent)]
    Start(#[from] apiserver::StartError),
    #[error("the kubeconfig: {0}")]
    Kubeconfig(#[from] apiserver::AuthorityError),
    #[error("writing {0}: {1}")]
    Write(PathBuf, std::io::Error),
}

/// Runs the cluster; `controllers` are handed a client and run beside the node.
pub async fn run<F>(
    options: ClusterOptions,
    controllers: impl FnOnce(Client) -> F,
) -> Result<(), ClusterError>
where
    F: Future<Output = ()> + Send + 'static,
{
    let state = options.state.clone();
    let access = PodAccess::default();
    let services: Arc<OnceLock<Client>> = Arc::default();
    let listen = SocketAddr::new(IpAddr::V4(NODE_V4), API_PORT);
    let server = Options {
        state_dir: state.join("api"),
        listen: bind_listener(listen, ListenOptions::default())?,
        advertised_names: vec![NODE_V4.to_string(), NODE_NAME.to_owned()],
        service_cidr: format!("{}/{}", SERVICE_NET.0, SERVICE_NET.1),
        external_url: options.api_url.clone(),
        webhook_resolver: resolver(services.clone()),
    };
    let (client, _serving) = Server::start(server, Arc::new(access.clone())).await?;
    // Set once, here.
    let _ = services.set(client.clone());
    let node = Node::new(node_config(&options), client.clone());
    access.attach(&node);
    tokio::spawn(controllers(client));
    let kubeconfig = state.join("kubeconfig");
    let text = apiserver::admin_kubeconfig(&state.join("api"), &options.api_url)?;
    write_private(&kubeconfig, &text).map_err(|e| ClusterError::Write(kubeconfig.clone(), e))?;
    let holder = HolderClient::new(&state);
    let ready = Request::Ready { kubeconfig, pid: std::process::id() };
    if let Err(e) = holder.ask(&ready).await {
        tracing::warn!("the holder does not answer: {e}");
    }
    node.run(Arc::new(holder)).await;
    Ok(())
}

fn node_config(options: &ClusterOptions) -> NodeConfig {
    let ipv6 = Path::new("/proc/net/if_inet6").exists();
    let mut node_ips = vec![IpAddr::V4(NODE_V4)];
    node_ips.extend(ipv6.then_some(IpAddr::V6(NODE_V6)));
    NodeConfig {
        name: NODE_NAME.to_owned(),
        state: options.state.clone(),
        shim_command: options.shim_command.clone(),
        node_ips,
        dns_ip: IpAddr::V4(DNS_V4),
        domain: DOMAIN.to_owned(),
        service_blocks: vec![
            (IpAddr::V4(SERVICE_NET.0), SERVICE_NET.1),
            (IpAddr::V6(SERVICE_NET_V6.0), SERVICE_NET_V6.1),
        ],
        dual_stack: ipv6,
        // An ordinary user may not bind low ports on the host.
        load_balancers: net::ns::user_exists(1),
        outbound_relay: Some(OUTBOUND_PORT),
        envoy: envoy(&options.state),
    }
}

/// `$LATEEN_ENVOY` of the `lateen up` that named one last.
fn envoy(state: &Path) -> Option<PathBuf> {
    let file = state.join("envoy");
    if let Some(named) = std::env::var_os("LATEEN_ENVOY") {
        if let Err(e) = std::fs::write(&file, named.as_encoded_bytes()) {
            tracing::warn!("{}: {e}", file.display());
        }
        return Some(named.into());
    }
    std::fs::read_to_string(file).ok().map(PathBuf::from)
}

/// Webhooks are reached through their services' cluster addresses.
fn resolver(client: Arc<OnceLock<Client>>) -> apiserver::Resolver {
    Arc::new(move |namespace: &str, name: &str, port: u16| {
        let service = client.get()?.get(&Ref {
            group: String::new(),
            resource: "services".to_owned(),
            namespace: Some(namespace.to_owned()),
            name: name.to_owned(),
        })?;
        let ip = cluster_ips(&service).into_iter().next()?;
        Some(SocketAddr::new(ip, port))
    })
}

/// Only the owner may read the one admin credential.
fn write_private(path: &Path, text: &str) -> std::io::Result<()> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let new = path.with_extension("new");
    // A leftover might have other permissions.
    let _ = std::fs::remove_file(&new);
    let mut file =
        std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
    file.write_all(text.as_bytes())?;
    std::fs::rename(new, path)
}
