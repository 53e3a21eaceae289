//! What the holder is told and asked, on a socket in the state directory: one JSON document on a
//! line. Names and wishes are written to files, so the next holder serves them at once.

pub mod client;

use std::cell::RefCell;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::rc::Rc;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};

use super::dns::Names;
use super::relays::{Bound, Relays};
use super::supervise::Cluster;
use super::{HolderError, SOCKET, STATE_FILE, While, write_atomically};
use crate::dns::Table;
use crate::services::Wish;

const NAMES_FILE: &str = "names.json";
const WISHES_FILE: &str = "wishes.json";
/// A longer request is refused.
const MOST_BYTES: u64 = 64 << 20;

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    Names(Table),
    Relays(Vec<Wish>),
    /// The cluster process serves; the kubeconfig lies at this path.
    Ready {
        kubeconfig: PathBuf,
        pid: u32,
    },
    Status,
    /// Ends the cluster process and the holder; pods are for the caller to end.
    Stop,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    Done,
    Given(Vec<(String, IpAddr)>),
    Status(State),
}

/// What `lateen status -o json` prints, and `state.json` holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// `starting` or `running`.
    pub state: String,
    pub kubeconfig: PathBuf,
    pub api: String,
    pub ingress: Ingress,
    pub version: String,
    /// Every way in, with the port that was wanted and the one it got.
    pub relays: Vec<Bound>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Ingress {
    pub http: Option<String>,
    pub https: Option<String>,
}

pub struct Control {
    state: PathBuf,
    api: SocketAddr,
    relays: Relays,
    names: Names,
    cluster: Cluster,
    kubeconfig: RefCell<Option<PathBuf>>,
}

impl Control {
    pub fn new(
        state: PathBuf,
        api: SocketAddr,
        relays: Relays,
        names: Names,
        cluster: Cluster,
    ) -> Self {
        Control { state, api, relays, names, cluster, kubeconfig: RefCell::default() }
    }

    /// Serves what the last holder was told.
    pub async fn restore(&self) {
        let read = |name: &str| std::fs::read(self.state.join(name)).unwrap_or_default();
        if let Ok(table) = serde_json::from_slice(&read(NAMES_FILE)) {
            self.names.set(table);
        }
        let old: Option<State> = serde_json::from_slice(&read(STATE_FILE)).ok();
        let earlier = old.map(|s| s.relays).unwrap_or_default();
        if let Ok(wishes) = serde_json::from_slice::<Vec<Wish>>(&read(WISHES_FILE)) {
            self.relays.set(&wishes, &earlier).await;
        }
        let kubeconfig = self.state.join("kubeconfig");
        let lives = super::process_in(&self.state.join(super::CLUSTER_PID_FILE)).is_some();
        if lives && kubeconfig.exists() {
            self.kubeconfig.replace(Some(kubeconfig));
        }
        self.write_state();
    }

    /// Answers until it is told to stop.
    pub async fn serve(self: Rc<Self>) -> Result<(), HolderError> {
        let listener =
            net::fds::listen_in(&self.state, SOCKET).or_while("listening for commands")?;
        listener.set_nonblocking(true).or_while("listening for commands")?;
        let listener = UnixListener::from_std(listener).or_while("listening for commands")?;
        let (stop, mut stopped) = tokio::sync::mpsc::channel::<()>(1);
        let accepting = async {
            while let Ok((stream, _)) = listener.accept().await {
                let (control, stop) = (self.clone(), stop.clone());
                tokio::task::spawn_local(async move {
                    // A caller that breaks off has nothing more to say.
                    let _ = control.converse(stream, stop).await;
                });
            }
        };
        tokio::select! {
            () = accepting => {}
            () = self.cluster.keep_running() => {}
            _ = stopped.recv() => {}
        }
        self.cluster.kill();
        let _ = std::fs::remove_file(self.state.join(STATE_FILE));
        Ok(())
    }

    async fn converse(
        &self,
        stream: UnixStream,
        stop: tokio::sync::mpsc::Sender<()>,
    ) -> std::io::Result<()> {
        let (reader, mut writer) = stream.into_split();
        let mut lines = BufReader::new(reader);
        loop {
            let mut line = Vec::new();
            if (&mut lines).take(MOST_BYTES).read_until(b'\n', &mut line).await? == 0 {
                return Ok(());
            }
            let request: Request = serde_json::from_slice(&line)?;
            let stopping = matches!(request, Request::Stop);
            let mut reply = serde_json::to_vec(&self.perform(request).await)?;
            reply.push(b'\n');
            writer.write_all(&reply).await?;
            if stopping {
                // Full means that it has been told already.
                let _ = stop.try_send(());
            }
        }
    }

    async fn perform(&self, request: Request) -> Reply {
        match request {
            Request::Names(table) => {
                self.remember(NAMES_FILE, &table);
                self.names.set(table);
                Reply::Done
            }
            Request::Relays(wishes) => {
                self.remember(WISHES_FILE, &wishes);
                self.relays.set(&wishes, &self.relays.bound()).await;
                self.write_state();
                Reply::Given(self.relays.given())
            }
            Request::Ready { kubeconfig, pid } => {
                tracing::info!(pid, "the cluster serves");
                self.kubeconfig.replace(Some(kubeconfig));
                self.write_state();
                Reply::Done
            }
            Request::Status => Reply::Status(self.status()),
            Request::Stop => Reply::Done,
        }
    }

    fn status(&self) -> State {
        let ready = self.kubeconfig.borrow().clone();
        let relays = self.relays.bound();
        State {
            state: if ready.is_some() { "running" } else { "starting" }.to_owned(),
            kubeconfig: ready.unwrap_or_else(|| self.state.join("kubeconfig")),
            api: format!("https://{}", self.api),
            ingress: ingress(&relays),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            relays,
        }
    }

    fn write_state(&self) {
        self.remember(STATE_FILE, &self.status());
    }

    fn remember(&self, name: &str, what: &impl Serialize) {
        let text = serde_json::to_vec_pretty(what).unwrap_or_default();
        if let Err(e) = write_atomically(&self.state.join(name), &text) {
            tracing::error!("{e}");
        }
    }
}

/// Where the ingress gateway answers: its own address if it has one, else its node ports.
fn ingress(relays: &[Bound]) -> Ingress {
    const GATEWAY: &str = "istio-system/istio-ingressgateway";
    let find = |scheme: &str, names: &[&str], port: u16| {
        let named = |b: &&Bound| names.contains(&b.name.as_str());
        let own = relays.iter().filter(|b| b.key == GATEWAY).find(named);
        let node = format!("{GATEWAY}:");
        let bound =
            own.or_else(|| relays.iter().filter(|b| b.key.starts_with(&node)).find(named))?;
        let shown = if bound.host.port() == port {
            bound.host.ip().to_string()
        } else {
            bound.host.to_string()
        };
        Some(format!("{scheme}://{shown}"))
    };
    Ingress { http: find("http", &["http2", "http"], 80), https: find("https", &["https"], 443) }
}

/// What there is to say when nothing runs.
pub fn stopped() -> Value {
    json!({"state": "stopped", "kubeconfig": null, "ingress": {"http": null, "https": null},
        "version": env!("CARGO_PKG_VERSION")})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gateways_own_address_comes_before_its_node_port() {
        let bound = |key: &str, name: &str, host: &str| Bound {
            key: key.into(),
            name: name.into(),
            wanted: 80,
            host: host.parse().unwrap(),
            target: "10.96.0.9:80".parse().unwrap(),
        };
        let node = bound("istio-system/istio-ingressgateway:80", "http2", "127.0.0.1:31380");
        assert_eq!(
            ingress(std::slice::from_ref(&node)).http.as_deref(),
            Some("http://127.0.0.1:31380")
        );
        let own = bound("istio-system/istio-ingressgateway", "http2", "127.77.0.1:80");
        let both = ingress(&[node, own]);
        assert_eq!((both.http.as_deref(), both.https), (Some("http://127.77.0.1"), None));
    }
}
