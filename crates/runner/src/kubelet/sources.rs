//! What containers and volumes draw from: the API's objects, for one pod.

use std::collections::BTreeMap;
use std::net::IpAddr;

use apiserver::Ref;
use base64::Engine;
use serde_json::Value;

use super::Shared;
use crate::env::{ServiceEnv, Sources};
use crate::services::{cluster_ips, name, port_number, ports, text};

pub struct FromApi<'a> {
    pub shared: &'a Shared,
    pub namespace: &'a str,
    pub ips: &'a [IpAddr],
}

impl FromApi<'_> {
    fn object(&self, resource: &str, name: &str) -> Option<std::sync::Arc<Value>> {
        self.shared.client.get(&Ref {
            group: String::new(),
            resource: resource.to_owned(),
            namespace: Some(self.namespace.to_owned()),
            name: name.to_owned(),
        })
    }
}

impl Sources for FromApi<'_> {
    fn config_map(&self, name: &str) -> Option<BTreeMap<String, Vec<u8>>> {
        let object = self.object("configmaps", name)?;
        let plain = fields(&object, "data").map(|(k, v)| (k, v.as_bytes().to_vec()));
        let binary = fields(&object, "binaryData").filter_map(|(k, v)| Some((k, decode(v)?)));
        Some(plain.chain(binary).collect())
    }

    fn secret(&self, name: &str) -> Option<BTreeMap<String, Vec<u8>>> {
        let object = self.object("secrets", name)?;
        Some(fields(&object, "data").filter_map(|(k, v)| Some((k, decode(v)?))).collect())
    }

    fn services(&self, namespace: &str) -> Vec<ServiceEnv> {
        let services = self.shared.client.list("", "services", Some(namespace));
        let with_address = services.iter().filter_map(|s| {
            let ip = cluster_ips(s).into_iter().next()?;
            let ports = ports(s).filter_map(|p| {
                let port_name = Some(text(p, "/name").to_owned()).filter(|n| !n.is_empty());
                Some((port_name, port_number(p, "port")?))
            });
            Some(ServiceEnv { name: name(s).to_owned(), ip, ports: ports.collect() })
        });
        with_address.collect()
    }

    fn node_ip(&self) -> IpAddr {
        self.shared.node_ip()
    }

    fn pod_ips(&self) -> &[IpAddr] {
        self.ips
    }
}

fn fields<'o>(object: &'o Value, field: &str) -> impl Iterator<Item = (String, &'o str)> {
    let map = object.get(field).and_then(Value::as_object).into_iter().flatten();
    map.filter_map(|(k, v)| Some((k.clone(), v.as_str()?)))
}

fn decode(text: &str) -> Option<Vec<u8>> {
    base64::engine::general_purpose::STANDARD.decode(text).ok()
}
