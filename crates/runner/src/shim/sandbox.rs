//! Making the pod: its namespaces, its address and its way to the node.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::net::UnixListener;
use std::path::Path;

use net::link::{Links, Mac, Route};
use net::ns::{self, Kind, Leave, Namespace};
use net::process::ProcessId;
use rustix::mount::{MountPropagationFlags, mount_change};

use super::protocol::Sandbox;
use super::{NODE_FILE, PID_FILE, SOCKET, ShimError, While};

/// Every pod's next hop. No node has it as an address: a permanent neighbour entry is enough.
pub const GATEWAY_V4: IpAddr = IpAddr::V4(Ipv4Addr::new(169, 254, 1, 1));
pub const GATEWAY_V6: IpAddr = IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1));
const NODE_MAC: Mac = [2, 0x1a, 0x7e, 0, 0, 1];
const POD_MAC: Mac = [2, 0x1a, 0x7e, 0, 0, 2];
const POD_LINK: &str = "eth0";

/// What the first process of the pod goes on with.
pub struct Ready {
    pub socket: UnixListener,
    /// Held so that the node's network outlives the node's processes; a new one joins it here.
    pub node: Namespace,
}

/// Leaves the node's namespaces and makes the pod's.
pub fn enter(directory: &Path, sandbox: &Sandbox) -> Result<Ready, ShimError> {
    let socket = net::fds::listen_in(directory, SOCKET).or_while("listening for the runner")?;
    let mut node_links = Links::here()?;
    let node = Namespace::current(Kind::Net).or_while("finding the node's network")?;
    let all = Leave { net: true, mount: true, pid: true, ipc: true, uts: true };
    ns::unshare(all).or_while("making the pod's namespaces")?;
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)
        .or_while("making mounts private")?;
    rustix::system::sethostname(sandbox.hostname.as_bytes()).or_while("setting the host name")?;
    connect(&mut node_links, sandbox)?;
    for (name, value) in &sandbox.parameters {
        ns::set_net_parameter(name, value).or_while(format!("setting net/{name}"))?;
    }
    Ok(Ready { socket, node })
}

fn connect(node: &mut Links, sandbox: &Sandbox) -> Result<(), ShimError> {
    let here = Namespace::current(Kind::Net).or_while("finding the pod's network")?;
    let mut pod = Links::here()?;
    let lo = pod.index("lo")?;
    pod.set_up(lo)?;
    // An earlier pod with this address may have died without its link being gone yet.
    if node.index(&sandbox.link).is_ok() {
        node.delete(&sandbox.link)?;
    }
    node.add_veth(&sandbox.link, NODE_MAC, POD_LINK, POD_MAC, &here)?;
    let far = node.index(&sandbox.link)?;
    node.set_up(far)?;
    let near = pod.index(POD_LINK)?;
    pod.set_up(near)?;
    for ip in &sandbox.ips {
        let (width, gateway, any) = match ip {
            IpAddr::V4(_) => (32, GATEWAY_V4, IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
            IpAddr::V6(_) => (128, GATEWAY_V6, IpAddr::V6(Ipv6Addr::UNSPECIFIED)),
        };
        pod.add_address(near, *ip, width)?;
        pod.add_neighbour(near, gateway, NODE_MAC)?;
        let out = Route { to: any, prefix: 0, link: near, gateway: Some(gateway), source: None };
        pod.add_route(&out)?;
        node.add_neighbour(far, *ip, POD_MAC)?;
        node.add_route(&Route { to: *ip, prefix: width, link: far, gateway: None, source: None })?;
    }
    Ok(())
}

/// Writes down who the shim is, as the outside numbers it, and where it holds the node's network.
pub fn record(directory: &Path, ready: &Ready, pid: u32) -> Result<(), ShimError> {
    let gone = || std::io::Error::from(std::io::ErrorKind::NotFound);
    let id = ProcessId::of(pid).ok_or_else(gone).or_while("finding the pod's first process")?;
    let node = ready.node.as_fd().as_raw_fd();
    for (name, text) in [(NODE_FILE, format!("fd/{node}")), (PID_FILE, id.to_string())] {
        let new = directory.join("new");
        std::fs::write(&new, text).or_while(format!("writing {name}"))?;
        std::fs::rename(new, directory.join(name)).or_while(format!("writing {name}"))?;
    }
    Ok(())
}
