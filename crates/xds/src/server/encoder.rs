//! Encodes resources. A route configuration may hold thousands of virtual hosts of which one changes,
//! so each is encoded once, and the configuration put together from their bytes; what a large one has in
//! common with an earlier one is copied from there in long runs.

use super::{Encoded, Needs};
use crate::codec;
use crate::references::{host_references, references};
use bytes::{BufMut, Bytes, BytesMut};
use ir::{Resource, ResourceKey, RouteConfig, Str, VirtualHost};
use prost::encoding::encode_varint;
use std::collections::hash_map::DefaultHasher;
use std::collections::{HashMap, HashSet};
use std::hash::Hasher;
use std::ops::Range;
use std::sync::{Arc, Weak};

/// Virtual hosts by their address; each entry holds its host, so that an address cannot come to mean
/// another one. Entries that nobody else holds go when their number has doubled.
#[derive(Debug, Default)]
pub struct Encoder {
    hosts: HashMap<usize, (Arc<VirtualHost>, Host)>,
    swept: usize,
    /// Large configurations by name, the newest last.
    large: HashMap<Str, Vec<Laid>>,
}

#[derive(Clone, Debug)]
struct Host {
    /// With field number and length, as it stands in its configuration.
    bytes: Bytes,
    version: u64,
    needs: Arc<[ResourceKey]>,
}

/// An encoded route configuration, and where its virtual hosts lie in it.
#[derive(Debug)]
struct Laid {
    config: Weak<RouteConfig>,
    encoded: Encoded,
    spans: Vec<Range<usize>>,
    versions: Vec<u64>,
}

/// Virtual hosts from which on a configuration is worth remembering.
const LARGE: usize = 64;
/// Of one name; proxies of many namespaces may each have their own.
const MAX_LAID: usize = 256;
/// Virtual hosts whose references are one part of those of the configuration.
const PART: usize = 64;

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

    fn routes(&mut self, config: &Arc<RouteConfig>) -> Encoded {
        if self.hosts.len() > 2 * self.swept.max(1024) {
            self.hosts.retain(|_, (host, _)| Arc::strong_count(host) > 1);
            self.swept = self.hosts.len();
        }
        if config.virtual_hosts.len() < LARGE {
            return self.lay(config, None).encoded;
        }
        let mut known = self.large.remove(&config.name).unwrap_or_default();
        known.retain(|laid| laid.config.strong_count() > 0);
        let like = known.iter().rev().find_map(|laid| Like::of(laid, config));
        let laid = self.lay(config, like.as_ref());
        let encoded = laid.encoded.clone();
        if known.len() >= MAX_LAID {
            known.remove(0);
        }
        known.push(laid);
        self.large.insert(config.name.clone(), known);
        self.large.retain(|_, known| known.iter().any(|laid| laid.config.strong_count() > 0));
        encoded
    }

    /// Puts a configuration together.
    fn lay(&mut self, config: &Arc<RouteConfig>, like: Option<&Like<'_>>) -> Laid {
        let shell = codec::encode(&Resource::Route(Arc::new(shallow(config))));
        let old = like.map(|l| l.laid.encoded.bytes.clone()).unwrap_or_default();
        let hosts = config.virtual_hosts.iter().enumerate();
        let pieces: Vec<Piece> = hosts
            .map(|(at, host)| match like.and_then(|l| l.piece(at, host)) {
                Some(piece) => piece,
                None => Piece::Own(self.host(host)),
            })
            .collect();
        let mut version = DefaultHasher::new();
        version.write(&shell);
        let length = pieces.iter().map(Piece::len).sum::<usize>() + shell.len();
        let mut bytes = BytesMut::with_capacity(length);
        let mut end = shell.len();
        bytes.put(shell);
        let (mut spans, mut versions) = (Vec::new(), Vec::new());
        let mut run = 0..0;
        for piece in &pieces {
            spans.push(end..end + piece.len());
            end += piece.len();
            versions.push(piece.version());
            version.write_u64(piece.version());
            match piece {
                Piece::Copied(span, _) if run.end == span.start => run.end = span.end,
                Piece::Copied(span, _) => {
                    bytes.put_slice(&old[std::mem::replace(&mut run, span.clone())]);
                }
                Piece::Own(host) => {
                    bytes.put_slice(&old[std::mem::take(&mut run)]);
                    bytes.put_slice(&host.bytes);
                }
            }
        }
        bytes.put_slice(&old[run]);
        let needs = self.needs(config, like);
        let encoded = Encoded { version: version.finish(), bytes: bytes.freeze(), needs };
        Laid { config: Arc::downgrade(config), encoded, spans, versions }
    }

    /// Part by part; those of which no virtual host changed are shared.
    fn needs(&mut self, config: &RouteConfig, like: Option<&Like<'_>>) -> Needs {
        let parts = config.virtual_hosts.chunks(PART).enumerate();
        Needs::of_parts(parts.map(|(at, hosts)| {
            if let Some(same) = like.and_then(|l| l.part(at, hosts)) {
                return same.clone();
            }
            let mut seen = HashSet::new();
            let hosts: Vec<Host> = hosts.iter().map(|h| self.host(h)).collect();
            let all = hosts.iter().flat_map(|h| h.needs.iter());
            all.filter(|key| seen.insert(*key)).cloned().collect()
        }))
    }

    fn host(&mut self, host: &Arc<VirtualHost>) -> Host {
        let address = Arc::as_ptr(host) as usize;
        let known = self.hosts.entry(address).or_insert_with(|| (host.clone(), Host::of(host)));
        known.1.clone()
    }
}

/// The bytes of one virtual host, and their version.
enum Piece {
    /// They lie there in the earlier configuration.
    Copied(Range<usize>, u64),
    Own(Host),
}

impl Piece {
    fn len(&self) -> usize {
        match self {
            Piece::Copied(span, _) => span.len(),
            Piece::Own(host) => host.bytes.len(),
        }
    }

    fn version(&self) -> u64 {
        match self {
            Piece::Copied(_, version) => *version,
            Piece::Own(host) => host.version,
        }
    }
}

/// An earlier configuration that has most of its virtual hosts in common with another.
struct Like<'a> {
    laid: &'a Laid,
    config: Arc<RouteConfig>,
    /// How many virtual hosts the other has.
    length: usize,
}

impl<'a> Like<'a> {
    /// A few are looked at.
    fn of(laid: &'a Laid, new: &RouteConfig) -> Option<Like<'a>> {
        const LOOKS: usize = 16;
        let config = laid.config.upgrade()?;
        let like = Like { laid, config, length: new.virtual_hosts.len() };
        let looked_at = new.virtual_hosts.iter().enumerate().step_by(like.length.div_ceil(LOOKS));
        let same = looked_at.filter(|(at, host)| like.place_of(*at, host).is_some()).count();
        (2 * same > LOOKS).then_some(like)
    }

    fn piece(&self, at: usize, host: &Arc<VirtualHost>) -> Option<Piece> {
        let place = self.place_of(at, host)?;
        Some(Piece::Copied(self.laid.spans[place].clone(), self.laid.versions[place]))
    }

    /// The place of the very same virtual host: as far from the beginning, or as far from the end.
    fn place_of(&self, at: usize, host: &Arc<VirtualHost>) -> Option<usize> {
        let old = &self.config.virtual_hosts;
        let is_at = |place: &usize| old.get(*place).is_some_and(|o| Arc::ptr_eq(o, host));
        let from_end = || (at + old.len()).checked_sub(self.length);
        Some(at).filter(is_at).or_else(|| from_end().filter(is_at))
    }

    /// The references of these virtual hosts, if they are the same in the same places.
    fn part(&self, at: usize, hosts: &[Arc<VirtualHost>]) -> Option<&'a Arc<[ResourceKey]>> {
        let old = self.config.virtual_hosts.chunks(PART).nth(at)?;
        let same =
            old.len() == hosts.len() && old.iter().zip(hosts).all(|(a, b)| Arc::ptr_eq(a, b));
        self.laid.encoded.needs.parts().get(at).filter(|_| same)
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
    use base::{Env, FixedEnv, OriginId};
    use ir::{Action, Forward, HeaderOps, Metadata, PathMatch, Route, RouteMatch};
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

    /// One changes, some go and come: what is copied from before is what would be made anew.
    #[test]
    fn a_large_one_is_made_from_the_one_before() {
        let env = FixedEnv::seeded(11);
        let below = |n: usize| env.below(n as u64) as usize;
        let uses = |name: &str| {
            let to = ir::Destination::Cluster(name.into());
            let route = Route {
                name: "".into(),
                matches: RouteMatch::path(PathMatch::Prefix("/".into())),
                action: Action::Forward(Box::new(Forward::to(to))),
                headers: HeaderOps::default(),
                decorator: "".into(),
                per_filter: Vec::new(),
                metadata: Metadata::new(),
                stat_prefix: "".into(),
                origin: OriginId::NONE,
            };
            Arc::new(VirtualHost { routes: vec![route], ..VirtualHost::clone(&host(name)) })
        };
        let mut hosts: Vec<Arc<VirtualHost>> = (0..300).map(|n| uses(&format!("h{n}"))).collect();
        let mut encoder = Encoder::default();
        let mut kept = Vec::new();
        for round in 0..40 {
            match below(4) {
                0 => drop(hosts.remove(below(hosts.len()))),
                1 => hosts.insert(below(hosts.len()), uses(&format!("n{round}"))),
                2 => hosts[..2].reverse(),
                _ => {
                    let at = below(hosts.len());
                    hosts[at] = uses(&format!("c{round}"));
                }
            }
            let resource = config(&hosts.iter().collect::<Vec<_>>());
            let encoded = encoder.encode(&resource);
            assert_eq!(encoded, Encoder::default().encode(&resource), "round {round}");
            let keys: BTreeSet<_> = encoded.needs.iter().cloned().collect();
            assert_eq!(keys.into_iter().collect::<Vec<_>>(), references(&resource));
            kept.push(resource);
        }
    }
}
