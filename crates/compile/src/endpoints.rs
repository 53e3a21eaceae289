//! Endpoint assignments: the ready endpoints of a port and subset, grouped by locality.

use crate::Proxy;
use crate::cluster::TAKES_MTLS;
use crate::locality::{Nearness, Viewpoint};
use base::Labels;
use ir::{Address, Endpoint, EndpointGroup, Endpoints, Health, Metadata, Str, Value};
use registry::{CLUSTER, Instance, InstanceAddress, ServiceEndpoints, ServiceKey, Snapshot};
use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::ops::Deref;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// What a cluster takes of a service's endpoints, and which of them it prefers.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Selection {
    /// The port's name.
    pub port: String,
    /// The subset's labels; those about topology count too.
    pub labels: Labels,
    pub nearness: Nearness,
    /// Only those on the client's node.
    pub node_local: bool,
}

/// What of a client a selection depends on: clients that agree in it get the same endpoints.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Client {
    /// Whether it has IPv4, and IPv6.
    families: (bool, bool),
    viewpoint: Viewpoint,
    /// Empty where it makes no difference.
    node: String,
}

impl Selection {
    /// Adds what of a client it depends on.
    pub fn sense(&self, senses: &mut Senses) {
        senses.node |= self.node_local;
        match &self.nearness {
            Nearness::Nothing => {}
            Nearness::Shares(_) => senses.locality = true,
            Nearness::Priorities { labels, regions } => {
                senses.locality |= regions.is_some();
                senses.labels |= !labels.is_empty();
            }
        }
    }

    pub fn client(&self, proxy: &Proxy) -> Client {
        Client {
            families: proxy.families(),
            viewpoint: self.nearness.viewpoint(proxy),
            node: if self.node_local { proxy.node.clone() } else { String::new() },
        }
    }

    /// The endpoints that are ready and fit, grouped by priority and locality.
    pub fn groups(&self, known: &ServiceEndpoints, client: &Client) -> Vec<EndpointGroup> {
        let mut groups: BTreeMap<(u32, ir::Locality), Vec<Endpoint>> = BTreeMap::new();
        for instance in known.instances.iter().filter(|i| self.takes(i, client)) {
            let of = &instance.workload.locality;
            let locality = ir::Locality {
                region: of.region.as_str().into(),
                zone: of.zone.as_str().into(),
                sub_zone: of.sub_zone.as_str().into(),
            };
            let priority = self.nearness.by_labels(&client.viewpoint, &instance.workload);
            groups.entry((priority, locality)).or_default().push(endpoint(instance));
        }
        let weight = |endpoints: &[Endpoint]| {
            endpoints.iter().fold(0, |n: u32, e| n.saturating_add(e.weight.unwrap_or(1)))
        };
        let mut groups: Vec<EndpointGroup> = groups
            .into_iter()
            .map(|((priority, locality), endpoints)| EndpointGroup {
                locality,
                priority,
                weight: Some(weight(&endpoints)),
                endpoints,
            })
            .collect();
        self.nearness.settle(&client.viewpoint, &mut groups);
        groups
    }

    fn takes(&self, i: &Instance, client: &Client) -> bool {
        let reachable = match &i.address {
            InstanceAddress::Ip(ip) if ip.is_ipv4() => client.families.0,
            InstanceAddress::Ip(_) => client.families.1,
            _ => true,
        };
        i.ready
            && *i.port_name == *self.port
            && reachable
            && self.labels.iter().all(|(k, v)| i.workload.label(k) == Some(v))
            && (!self.node_local || i.workload.node == client.node)
    }
}

fn endpoint(instance: &Instance) -> Endpoint {
    let address = match &instance.address {
        InstanceAddress::Ip(ip) => Address::Ip(SocketAddr::new(*ip, instance.port)),
        InstanceAddress::Name(name) => Address::Name(name.clone(), instance.port),
        InstanceAddress::Pipe(path) => Address::Pipe(path.clone()),
    };
    Endpoint {
        address,
        hostname: "".into(),
        health: Health::Unknown,
        weight: Some(instance.weight.max(1)),
        metadata: metadata(instance),
    }
}

/// `istio.workload`: `<workload>;<namespace>;<canonical name>;<canonical revision>;<cluster>`, and
/// whether the mesh's TLS is spoken with it.
fn metadata(instance: &Instance) -> Metadata {
    let w = &instance.workload;
    let mut all = Metadata::new();
    if instance.takes_mtls {
        let (key, value) = TAKES_MTLS;
        let fields = BTreeMap::from([(key.into(), Value::String(value.into()))]);
        all.insert("envoy.transport_socket_match".into(), Value::Struct(fields));
    }
    if w.workload_name.is_empty() {
        return all;
    }
    let text = format!(
        "{};{};{};{};{CLUSTER}",
        w.workload_name,
        w.namespace,
        w.canonical_name(),
        w.canonical_revision()
    );
    let fields = BTreeMap::from([("workload".into(), Value::String(text.into()))]);
    all.insert("istio".into(), Value::Struct(fields));
    all
}

/// One endpoint that DNS finds.
pub(crate) fn named(name: &str, port: u16) -> EndpointGroup {
    let address = match name.parse() {
        Ok(ip) => Address::Ip(SocketAddr::new(ip, port)),
        Err(_) => Address::Name(name.into(), port),
    };
    EndpointGroup {
        weight: Some(1),
        endpoints: vec![Endpoint { weight: Some(1), ..Endpoint::at(address) }],
        ..EndpointGroup::default()
    }
}

/// What a cluster that gets its endpoints by EDS takes from which service. It keeps the latest
/// answer for each kind of client, so that all proxies that hold it share them.
#[derive(Debug)]
pub(crate) struct Assignment {
    pub cluster: Str,
    pub service: ServiceKey,
    pub selection: Selection,
    latest: Mutex<HashMap<Client, (u64, Arc<Endpoints>)>>,
}

/// Those of all clusters of a proxy's side.
#[derive(Debug, Default)]
pub(crate) struct Assignments {
    list: Vec<Arc<Assignment>>,
    by_service: OnceLock<HashMap<ServiceKey, Vec<usize>>>,
    senses: OnceLock<Senses>,
}

/// What of a proxy its endpoints depend on.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Senses {
    pub locality: bool,
    pub node: bool,
    pub labels: bool,
}

impl From<Vec<Arc<Assignment>>> for Assignments {
    fn from(list: Vec<Arc<Assignment>>) -> Assignments {
        Assignments { list, ..Assignments::default() }
    }
}

impl Deref for Assignments {
    type Target = [Arc<Assignment>];

    fn deref(&self) -> &[Arc<Assignment>] {
        &self.list
    }
}

impl Assignments {
    /// The places of those that take endpoints of the service.
    pub fn of_service(&self, service: &ServiceKey) -> &[usize] {
        let index = self.by_service.get_or_init(|| {
            let mut index: HashMap<ServiceKey, Vec<usize>> = HashMap::new();
            for (place, assignment) in self.list.iter().enumerate() {
                index.entry(assignment.service.clone()).or_default().push(place);
            }
            index
        });
        index.get(service).map_or(&[], Vec::as_slice)
    }

    pub fn senses(&self) -> Senses {
        *self.senses.get_or_init(|| {
            let mut all = Senses::default();
            self.list.iter().for_each(|a| a.selection.sense(&mut all));
            all
        })
    }
}

/// Kinds of clients whose endpoints are kept.
const MAX_CLIENTS: usize = 1024;

impl PartialEq for Assignment {
    fn eq(&self, other: &Self) -> bool {
        (&self.cluster, &self.service, &self.selection)
            == (&other.cluster, &other.service, &other.selection)
    }
}

impl Assignment {
    pub fn new(cluster: Str, service: ServiceKey, selection: Selection) -> Assignment {
        Assignment { cluster, service, selection, latest: Mutex::default() }
    }

    /// The endpoints as they are now; the same `Arc` as long as they are the same.
    pub fn endpoints(&self, world: &Snapshot, proxy: &Proxy) -> Arc<Endpoints> {
        let known = world.endpoints.get(&self.service);
        let version = known.map_or(0, |k| k.version);
        let client = self.selection.client(proxy);
        // Nothing here panics while it holds the lock, so it cannot be poisoned.
        let mut latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        let old = latest.get(&client);
        if let Some((_, value)) = old.filter(|(of, _)| *of == version) {
            return value.clone();
        }
        let groups = known.map(|k| self.selection.groups(k, &client));
        let fresh = Endpoints {
            cluster: self.cluster.clone(),
            groups: groups.unwrap_or_default(),
            ..Endpoints::default()
        };
        let same = old.map(|(_, value)| value).filter(|value| ***value == fresh);
        let value = same.cloned().unwrap_or_else(|| Arc::new(fresh));
        if latest.len() >= MAX_CLIENTS {
            latest.clear();
        }
        latest.insert(client, (version, value.clone()));
        value
    }
}
