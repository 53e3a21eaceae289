//! The node: a network namespace (for an ordinary user inside a user namespace), found again
//! through whatever still lives in it, and its addresses.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

use net::link::{Links, Route};
use net::ns::{self, Kind, Leave, Namespace};

use super::{CLUSTER_PID_FILE, HolderError, While, process_in};
use crate::shim;

pub const NODE_V4: Ipv4Addr = Ipv4Addr::new(10, 244, 0, 1);
pub const NODE_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0x10, 0x244, 0, 0, 0, 0, 1);
pub const DNS_V4: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 10);
pub const SERVICE_NET: (Ipv4Addr, u8) = (Ipv4Addr::new(10, 96, 0, 0), 16);
pub const SERVICE_NET_V6: (Ipv6Addr, u8) = (Ipv6Addr::new(0xfd00, 0x10, 0x96, 0, 0, 0, 0, 0), 112);

/// An address and its prefix.
pub type Address = (IpAddr, u8);

/// The namespaces of something that lives in the node.
pub struct Resident {
    user: Namespace,
    net: Namespace,
}

/// Through the cluster process, or the shim of a pod. Whoever is just dying does not count.
pub fn resident(state: &Path) -> Option<Resident> {
    let cluster = process_in(&state.join(CLUSTER_PID_FILE));
    if let Some(found) = cluster.and_then(|c| namespaces(c.pid, "ns/net")) {
        return Some(found);
    }
    let pods = std::fs::read_dir(state.join("pods")).ok()?;
    pods.flatten().find_map(|pod| {
        let (shim, _) = shim::client::Shim::find(&pod.path())?;
        let net = std::fs::read_to_string(pod.path().join(shim::NODE_FILE)).ok()?;
        namespaces(shim.process().pid, net.trim())
    })
}

fn namespaces(pid: u32, net: &str) -> Option<Resident> {
    let net = Path::new("/proc").join(pid.to_string()).join(net);
    let user = Namespace::of(pid, Kind::User).ok()?;
    Some(Resident { user, net: Namespace::at(&net).ok()? })
}

/// An ordinary user needs a user namespace: the one of the node that lives, or a new one.
pub fn join_or_become_root(living: Option<&Resident>) -> Result<(), HolderError> {
    if rustix::process::geteuid().is_root() {
        return Ok(());
    }
    match living {
        Some(living) => living.user.join(Kind::User).or_while("joining the node's user namespace"),
        None => ns::become_root_of_user_namespace().or_while("making a user namespace"),
    }
}

/// Moves the calling thread onto the node's network.
pub fn enter(living: Option<&Resident>) -> Result<(), HolderError> {
    if let Some(living) = living {
        return living.net.join(Kind::Net).or_while("joining the node's network");
    }
    let leave = Leave { net: true, ..Leave::default() };
    ns::unshare(leave).or_while("making the node's network namespace")
}

/// Addresses, routes and parameters; the same again changes nothing.
pub fn configure() -> Result<(), HolderError> {
    let mut links = Links::here()?;
    let lo = links.index("lo")?;
    links.set_up(lo)?;
    for ip in [NODE_V4, DNS_V4] {
        links.add_address(lo, IpAddr::V4(ip), 32)?;
    }
    // A machine without IPv6 runs everything else all the same.
    let ipv6 = Path::new("/proc/sys/net/ipv6/conf/all/forwarding").exists();
    if ipv6 {
        links.add_address(lo, IpAddr::V6(NODE_V6), 128)?;
    }
    // Cluster addresses need some route, so that the rules of the services get to see them.
    let nets = [
        (IpAddr::V4(SERVICE_NET.0), SERVICE_NET.1, IpAddr::V4(NODE_V4)),
        (IpAddr::V6(SERVICE_NET_V6.0), SERVICE_NET_V6.1, IpAddr::V6(NODE_V6)),
        // And so does the outside: what pods open there is taken over.
        (IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0, IpAddr::V4(NODE_V4)),
    ];
    for (to, prefix, source) in nets.into_iter().filter(|(to, _, _)| ipv6 || to.is_ipv4()) {
        let route = Route { to, prefix, link: lo, gateway: None, source: Some(source) };
        links.add_route(&route)?;
    }
    for (name, value) in [("ipv4/ip_forward", "1"), ("ipv4/conf/all/rp_filter", "0")] {
        ns::set_net_parameter(name, value).or_while(format!("setting net/{name}"))?;
    }
    if ipv6 {
        let name = "ipv6/conf/all/forwarding";
        ns::set_net_parameter(name, "1").or_while(format!("setting net/{name}"))?;
    }
    Ok(())
}
