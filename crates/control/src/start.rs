//! Starting in order: the cluster, the root, the watches, then the doors; and ending, streams first.

use crate::ads::Ads;
use crate::authority::{self, Authority};
use crate::debug::Debug;
use crate::discovery::Discovery;
use crate::http::{Monitoring, Ready, Webhooks};
use crate::listen::{self, Serve};
use crate::metrics::Metrics;
use crate::tokens::ClusterTokens;
use crate::world::{self, Loader, World};
use crate::{Options, addresses, keys, roots, status};
use base::TrustDomain;
use ca::{RootError, TokenAuthenticator};
use k8s::Client;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use tls::{ClientAuth, CredentialSource, Trust, TrustSource};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("{0}")]
    Cluster(#[from] k8s::Error),
    #[error("{0}")]
    Root(#[from] RootError),
    #[error(
        "Secret istio-ca-secret appears and disappears; is another control plane fighting for it?"
    )]
    RootContested,
    #[error("Secret cacerts: {0}")]
    PluggedIn(#[from] ca::PlugInError),
    #[error("Vault: {0}")]
    Vault(#[from] authority::VaultError),
    #[error("VAULT_ADDR and Secret cacerts name two authorities; take one of them away")]
    TwoAuthorities,
    #[error("{0}")]
    Issue(#[from] ca::IssueError),
    #[error("{0}")]
    Tls(#[from] tls::TlsError),
    #[error("{address} cannot be listened on: {error}")]
    Listen { address: SocketAddr, error: std::io::Error },
}

/// Runs until `stop` completes, then drains.
pub async fn run(options: Options, stop: impl Future<Output = ()>) -> Result<(), StartError> {
    let client = Client::connect().await?;
    let (trust_domain, domains) = roots::trust_domains(&client, &options).await?;
    let (authority, keeping) = authority::begin(&client, &options, &trust_domain).await?;
    let serving = CredentialSource::new(roots::serving(&authority, &options).await?);
    let trust = TrustSource::new(Trust::from_pem(&authority.roots())?);

    let expected = world::resources();
    let (changes, watches) = k8s::watch(&client, &expected);
    let (publish, worlds) = watch::channel(None);
    let loader = Loader::new(&options.cluster_domain, &options.namespace, &expected);
    let (stopping, stopped) = watch::channel(false);
    let metrics = Arc::new(Metrics::default());
    let tokens = Arc::new(ClusterTokens { client: client.clone(), trust_domain });
    let ads =
        Ads::new(worlds.clone(), tokens.clone(), metrics.clone(), options.clone(), stopped.clone());

    let mut background = JoinSet::new();
    let (news, fetched) = mpsc::channel(16);
    background.spawn(world::run(loader, changes, fetched, metrics.clone(), publish));
    background.spawn(keys::keep(worlds.clone(), news));
    background.spawn(keeping);
    background.spawn(authority::count_down(authority.clone(), metrics.clone()));
    let ours = (serving.clone(), trust.clone());
    background.spawn(roots::keep_serving(authority.clone(), options.clone(), ours.0, ours.1));
    background.spawn(roots::distribute(client.clone(), authority.clone(), worlds.clone()));
    background.spawn(roots::patch_webhooks(client.clone(), options.clone(), authority.clone()));
    background.spawn(addresses::write(client.clone(), worlds.clone()));
    background.spawn(status::write(client, worlds.clone(), ads.clone()));

    let doors = Doors {
        options,
        authority,
        trust,
        tokens,
        domains,
        serving,
        worlds,
        ads,
        metrics,
        stop: stopped,
    };
    let open = doors.open().await?;
    tracing::info!("the control plane serves");
    stop.await;
    stopping.send_replace(true);
    open.join_all().await;
    drop((background, watches));
    Ok(())
}

/// Everything that the servers share.
struct Doors {
    options: Options,
    authority: Authority,
    /// Whose clients are believed.
    trust: TrustSource,
    tokens: Arc<dyn TokenAuthenticator>,
    domains: Arc<[TrustDomain]>,
    serving: CredentialSource,
    worlds: watch::Receiver<Option<World>>,
    ads: Ads,
    metrics: Arc<Metrics>,
    stop: watch::Receiver<bool>,
}

impl Doors {
    async fn open(self) -> Result<JoinSet<()>, StartError> {
        let mut open = JoinSet::new();
        let debug = Debug {
            worlds: self.worlds.clone(),
            ads: self.ads.clone(),
            authority: self.authority.clone(),
            tokens: self.tokens.clone(),
            namespace: self.options.namespace.as_str().into(),
        };
        let discovery = Discovery {
            ads: self.ads.clone(),
            authority: self.authority.clone(),
            tokens: self.tokens.clone(),
            domains: self.domains.clone(),
            metrics: self.metrics.clone(),
        };
        let webhooks = Webhooks {
            worlds: self.worlds.clone(),
            revision: self.options.revision.as_str().into(),
            metrics: self.metrics.clone(),
        };
        let monitoring = Monitoring { metrics: self.metrics.clone(), debug: debug.clone() };
        let ready = Ready { worlds: self.worlds.clone(), debug };
        let clients = ClientAuth::Optional(self.trust.clone());
        let secure = tls::server_config(self.serving.clone(), clients, &[b"h2"])?;
        let https =
            tls::server_config(self.serving.clone(), ClientAuth::None, &[b"h2", b"http/1.1"])?;
        if let Some(address) = self.options.plaintext {
            self.door(&mut open, address, None, discovery.clone()).await?;
        }
        self.door(&mut open, self.options.secure, Some(secure), discovery).await?;
        self.door(&mut open, self.options.webhooks, Some(https), webhooks).await?;
        self.door(&mut open, self.options.monitoring, None, monitoring).await?;
        self.door(&mut open, self.options.ready, None, ready).await?;
        Ok(open)
    }

    async fn door<S: Serve + Sync>(
        &self,
        open: &mut JoinSet<()>,
        address: SocketAddr,
        tls: Option<Arc<rustls::ServerConfig>>,
        service: S,
    ) -> Result<(), StartError> {
        let listener = TcpListener::bind(address).await;
        let listener = listener.map_err(|error| StartError::Listen { address, error })?;
        open.spawn(listen::serve(listener, tls, service, self.stop.clone()));
        Ok(())
    }
}
