//! Encodes resources. A route configuration may hold thousands of virtual hosts of which one changes,
//! so each is encoded once and the configuration put together from their bytes.

use super::Encoded;
use crate::codec;
use crate::references::{host_references, references};
use bytes::{BufMut, Bytes, BytesMut};
use ir::{Resource, ResourceKey, RouteConfig, VirtualHost};
use prost::encoding::encode_varint;
use std::collections::hash_map::DefaultHasher;
use std::collections::{HashMap, HashSet};
use std::hash::Hasher;
use std::sync::Arc;

/// Virtual hosts by their address; each entry holds its host, so that an address cannot come to mean
/// another one. Entries that nobody else holds go when their number has doubled.
#[derive(Debug, Default)]
pub struct Encoder {
    hosts: HashMap<usize, (Arc<VirtualHost>, Host)>,
    swept: usize,
}

#[derive(Clone, Debug)]
struct Host {
    /// With field number and length, as it stands in its configuration.
    bytes: Bytes,
    version: u64,
    needs: Arc<[ResourceKey]>,
}

impl Encoder {
    pub fn encode(&mut self, resource: &Resource) -> Encoded {
        match resource {
            Resource::Route(config) => self.routes(config),
            other => {
                let bytes = codec::encode(other);
                Encoded { version: hash(&bytes), bytes, needs: references(other).into() }
            }
        }
    }

    fn routes(&mut self, config: &RouteConfig) -> Encoded {
        if self.hosts.len() > 2 * self.swept.max(1024) {
            self.hosts.retain(|_, (host, _)| Arc::strong_count(host) > 1);
            self.swept = self.hosts.len();
        }
        let shell = codec::encode(&Resource::Route(Arc::new(shallow(config))));
        let mut version = DefaultHasher::new();
        version.write(&shell);
        let (mut seen, mut needs) = (HashSet::new(), Vec::new());
        let hosts: Vec<Host> = config.virtual_hosts.iter().map(|h| self.host(h)).collect();
        let length = hosts.iter().map(|h| h.bytes.len()).sum::<usize>() + shell.len();
        let mut bytes = BytesMut::with_capacity(length);
        bytes.put(shell);
        for host in &hosts {
            version.write_u64(host.version);
            needs.extend(host.needs.iter().filter(|key| seen.insert(*key)).cloned());
            bytes.put_slice(&host.bytes);
        }
        Encoded { version: version.finish(), bytes: bytes.freeze(), needs: needs.into() }
    }

    fn host(&mut self, host: &Arc<VirtualHost>) -> Host {
        let address = Arc::as_ptr(host) as usize;
        let known = self.hosts.entry(address).or_insert_with(|| (host.clone(), Host::of(host)));
        known.1.clone()
    }
}

impl Host {
    fn of(host: &VirtualHost) -> Host {
        let body = codec::encode_host(host);
        let mut bytes = BytesMut::with_capacity(body.len() + 8);
        // Field 2 of a RouteConfiguration, length-delimited.
        bytes.put_u8(2 << 3 | 2);
        encode_varint(body.len() as u64, &mut bytes);
        bytes.put(body);
        let bytes = bytes.freeze();
        Host { version: hash(&bytes), bytes, needs: host_references(host).into() }
    }
}

/// The same without its virtual hosts.
fn shallow(config: &RouteConfig) -> RouteConfig {
    RouteConfig {
        name: config.name.clone(),
        virtual_hosts: Vec::new(),
        headers: config.headers.clone(),
        ignore_port_in_host_matching: config.ignore_port_in_host_matching,
        most_specific_header_mutations_wins: config.most_specific_header_mutations_wins,
        max_direct_response_body: config.max_direct_response_body,
        validate_clusters: config.validate_clusters,
        origin: config.origin,
    }
}

pub(super) fn hash(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(bytes);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn host(name: &str) -> Arc<VirtualHost> {
        Arc::new(VirtualHost {
            name: name.into(),
            domains: vec![name.into()],
            include_attempt_count: true,
            ..VirtualHost::default()
        })
    }

    fn config(hosts: &[&Arc<VirtualHost>]) -> Resource {
        Resource::Route(Arc::new(RouteConfig {
            name: "80".into(),
            virtual_hosts: hosts.iter().map(|h| Arc::clone(h)).collect(),
            validate_clusters: Some(false),
            ..RouteConfig::default()
        }))
    }

    #[test]
    fn what_is_put_together_is_what_is_read() {
        let (a, b, c) = (host("a"), host("b"), host("c"));
        let mut encoder = Encoder::default();
        let mut versions = BTreeSet::new();
        for hosts in [&[][..], &[&a], &[&a, &b], &[&b, &a], &[&a, &c]] {
            let resource = config(hosts);
            let encoded = encoder.encode(&resource);
            let (read, _) = codec::decode(&codec::type_url_of(ir::Kind::Route), &encoded.bytes)
                .expect("it can be read");
            assert_eq!(read, resource);
            assert_eq!(Encoder::default().encode(&resource), encoded, "whatever came before");
            versions.insert(encoded.version);
        }
        assert_eq!(versions.len(), 5);
    }
}
