//! Cluster addresses and node ports of Services.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use objects::meta::{self, as_map, child, items, text};
use objects::validate::Cause;
use serde_json::{Map, Value, json};

use crate::core::Core;
use crate::error::ApiError;

const NODE_PORTS: std::ops::RangeInclusive<u16> = 30000..=32767;
/// IPv6 addresses of Services: fd00:10:96::/112.
const SIX: u128 = 0xfd00_0010_0096 << 80;
/// Addresses at the start of the range that are only given when asked for.
const RESERVED: u32 = 16;

impl Core {
    /// Gives a Service what it asks for or needs, and keeps what it had.
    pub(crate) fn allocate(&self, old: Option<&Value>, new: &mut Value) -> Result<(), ApiError> {
        keep_allocated(old, new);
        let kind = text(new, &["spec", "type"]).unwrap_or("ClusterIP").to_owned();
        if kind == "ExternalName" {
            let spec = child(new, "spec");
            for key in ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"] {
                spec.shift_remove(key);
            }
            return Ok(());
        }
        let others = Taken::by_others(self, meta::uid(new));
        self.give_addresses(&others, new)?;
        let wants_ports = kind == "NodePort"
            || (kind == "LoadBalancer"
                && meta::at(new, &["spec", "allocateLoadBalancerNodePorts"])
                    != Some(&json!(false)));
        give_ports(&others, new, wants_ports)
    }

    fn give_addresses(&self, others: &Taken, service: &mut Value) -> Result<(), ApiError> {
        let families = families(service);
        let mut given: Vec<String> = items(service, &["spec", "clusterIPs"])
            .iter()
            .filter_map(|v| v.as_str().map(str::to_owned))
            .collect();
        let first = text(service, &["spec", "clusterIP"]).unwrap_or_default().to_owned();
        match given.first() {
            None if !first.is_empty() => given.push(first),
            Some(f) if !first.is_empty() && *f != first => given[0] = first,
            _ => {}
        }
        let headless = given.first().is_some_and(|ip| ip == "None");
        if headless {
            given.truncate(1);
        } else {
            given.truncate(families.len());
            for (index, family) in families.iter().enumerate() {
                match given.get(index).filter(|ip| !ip.is_empty()) {
                    Some(ip) => self.check_address(others, service, ip)?,
                    None => {
                        let ip = self.free_address(others, family)?;
                        given.insert(index.min(given.len()), ip);
                    }
                }
            }
        }
        let policy = if families.len() > 1 { "PreferDualStack" } else { "SingleStack" };
        let spec = child(service, "spec");
        spec.insert("clusterIP".to_owned(), given.first().cloned().unwrap_or_default().into());
        spec.insert("clusterIPs".to_owned(), json!(given));
        spec.insert("ipFamilies".to_owned(), json!(families));
        spec.entry("ipFamilyPolicy").or_insert(policy.into());
        Ok(())
    }

    fn check_address(&self, others: &Taken, service: &Value, ip: &str) -> Result<(), ApiError> {
        let why = match ip.parse::<IpAddr>() {
            Err(_) => "must be a valid IP address",
            Ok(IpAddr::V4(v4)) if !self.range().contains(v4) => {
                "failed to allocate IP: the provided IP is not in the valid range"
            }
            Ok(_) if others.addresses.contains(ip) => {
                "failed to allocate IP: provided IP is already allocated"
            }
            Ok(_) => return Ok(()),
        };
        Err(refuse(service, Cause::invalid("spec.clusterIPs", &json!([ip]), why)))
    }

    fn free_address(&self, others: &Taken, family: &str) -> Result<String, ApiError> {
        let range = self.range();
        let size = range.size();
        let start = crate::random::below(size.saturating_sub(RESERVED));
        for step in 0..size.saturating_sub(RESERVED + 1) {
            let offset = RESERVED + (start + step) % (size - RESERVED - 1);
            let ip = match family {
                "IPv6" => Ipv6Addr::from(SIX + u128::from(offset)).to_string(),
                _ => range.address(offset).to_string(),
            };
            if !others.addresses.contains(&ip) {
                return Ok(ip);
            }
        }
        Err(ApiError::internal("failed to allocate a service IP: the range is full"))
    }

    fn range(&self) -> Range {
        Range::parse(&self.service_cidr).unwrap_or(Range { base: 0x0a60_0000, bits: 16 })
    }
}

struct Range {
    base: u32,
    bits: u32,
}

impl Range {
    fn parse(cidr: &str) -> Option<Range> {
        let (ip, bits) = cidr.split_once('/')?;
        let bits = bits.parse().ok().filter(|b| (8..=28).contains(b))?;
        let base = u32::from(ip.parse::<Ipv4Addr>().ok()?) & (u32::MAX << (32 - bits));
        Some(Range { base, bits })
    }

    fn size(&self) -> u32 {
        1 << (32 - self.bits)
    }

    fn contains(&self, ip: Ipv4Addr) -> bool {
        u32::from(ip) & (u32::MAX << (32 - self.bits)) == self.base
    }

    fn address(&self, offset: u32) -> Ipv4Addr {
        Ipv4Addr::from(self.base + offset)
    }
}

/// What other Services hold.
struct Taken {
    addresses: HashSet<String>,
    ports: HashSet<u16>,
}

impl Taken {
    fn by_others(core: &Core, uid: &str) -> Taken {
        let mut taken = Taken { addresses: HashSet::new(), ports: HashSet::new() };
        for service in core.store.list("", "services", None, None).objects {
            if meta::uid(&service) == uid {
                continue;
            }
            let ips = items(&service, &["spec", "clusterIPs"]).iter().filter_map(Value::as_str);
            taken.addresses.extend(ips.map(str::to_owned));
            let ports = items(&service, &["spec", "ports"]).iter();
            taken.ports.extend(ports.filter_map(node_port));
            taken.ports.extend(health_port(&service));
        }
        taken
    }
}

fn node_port(port: &Value) -> Option<u16> {
    let number = meta::number(port, &["nodePort"]).and_then(|n| u16::try_from(n).ok());
    number.filter(|n| *n != 0)
}

fn health_port(service: &Value) -> Option<u16> {
    meta::number(service, &["spec", "healthCheckNodePort"]).and_then(|n| u16::try_from(n).ok())
}

fn families(service: &Value) -> Vec<String> {
    let mut families: Vec<String> = items(service, &["spec", "ipFamilies"])
        .iter()
        .filter_map(|f| f.as_str().map(str::to_owned))
        .collect();
    if families.is_empty() {
        let six = text(service, &["spec", "clusterIP"]).is_some_and(|ip| ip.contains(':'));
        families.push(if six { "IPv6" } else { "IPv4" }.to_owned());
    }
    let policy = text(service, &["spec", "ipFamilyPolicy"]).unwrap_or("SingleStack");
    if policy == "SingleStack" {
        families.truncate(1);
    } else if families.len() == 1 {
        let other = if families[0] == "IPv4" { "IPv6" } else { "IPv4" };
        families.push(other.to_owned());
    }
    families
}

fn give_ports(others: &Taken, service: &mut Value, wanted: bool) -> Result<(), ApiError> {
    let name = service.clone();
    let spec = child(service, "spec");
    let Some(Value::Array(ports)) = spec.get_mut("ports") else { return Ok(()) };
    let mut own: HashSet<(u16, Value)> = HashSet::new();
    for port in ports.iter_mut() {
        let protocol = port.get("protocol").cloned().unwrap_or_default();
        let map = as_map(port);
        if !wanted {
            map.shift_remove("nodePort");
            continue;
        }
        let asked = node_port(&Value::Object(map.clone()));
        let number = match asked {
            Some(number) => check_port(others, &own, number, &protocol, &name)?,
            None => free_port(others, &own)?,
        };
        own.insert((number, protocol));
        map.insert("nodePort".to_owned(), json!(number));
    }
    Ok(())
}

fn check_port(
    others: &Taken,
    own: &HashSet<(u16, Value)>,
    number: u16,
    protocol: &Value,
    service: &Value,
) -> Result<u16, ApiError> {
    let why = if !NODE_PORTS.contains(&number) {
        "provided port is not in the valid range. The range of valid ports is 30000-32767"
    } else if others.ports.contains(&number) || own.contains(&(number, protocol.clone())) {
        "provided port is already allocated"
    } else {
        return Ok(number);
    };
    Err(refuse(service, Cause::invalid("spec.ports[0].nodePort", &json!(number), why)))
}

fn free_port(others: &Taken, own: &HashSet<(u16, Value)>) -> Result<u16, ApiError> {
    let size = u32::from(NODE_PORTS.end() - NODE_PORTS.start()) + 1;
    let start = crate::random::below(size);
    let free = (0..size)
        .map(|step| NODE_PORTS.start() + u16::try_from((start + step) % size).unwrap_or(0))
        .find(|p| !others.ports.contains(p) && !own.iter().any(|(o, _)| o == p));
    free.ok_or_else(|| ApiError::internal("failed to allocate a nodePort: the range is full"))
}

/// An update that does not speak of addresses and ports keeps them.
fn keep_allocated(old: Option<&Value>, new: &mut Value) {
    let Some(old) = old else { return };
    let was = text(old, &["spec", "type"]).unwrap_or_default();
    if was == "ExternalName" {
        return;
    }
    let before = meta::at(old, &["spec"]).and_then(Value::as_object).cloned().unwrap_or_default();
    let spec = child(new, "spec");
    if is_empty(spec, "clusterIP") && is_empty(spec, "clusterIPs") {
        copy(&before, spec, "clusterIP");
        copy(&before, spec, "clusterIPs");
    }
    for key in ["ipFamilies", "ipFamilyPolicy"] {
        if is_empty(spec, key) {
            copy(&before, spec, key);
        }
    }
    let old_ports = items(old, &["spec", "ports"]);
    for port in spec.get_mut("ports").and_then(Value::as_array_mut).into_iter().flatten() {
        let same = |o: &&Value| ["port", "protocol"].iter().all(|k| o.get(k) == port.get(k));
        let kept = old_ports.iter().find(same).and_then(node_port);
        if let (None, Some(kept)) = (node_port(port), kept) {
            as_map(port).insert("nodePort".to_owned(), json!(kept));
        }
    }
}

fn is_empty(map: &Map<String, Value>, key: &str) -> bool {
    map.get(key).is_none_or(|v| v.is_null() || v == "" || *v == json!([]))
}

fn copy(from: &Map<String, Value>, to: &mut Map<String, Value>, key: &str) {
    if let Some(value) = from.get(key) {
        to.insert(key.to_owned(), value.clone());
    }
}

fn refuse(service: &Value, cause: Cause) -> ApiError {
    ApiError::invalid("", "Service", meta::name(service), &[cause])
}
