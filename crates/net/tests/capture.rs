//! Capture in a real network namespace: what the application opens arrives at the proxy with its
//! original destination, what the proxy opens passes; by owner and by mark. And the `nft` program
//! reads what we wrote.

#![allow(clippy::unwrap_used)] // What a test cannot do without ends it.

use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::Command;

use net::capture::{self, Blocks, CaptureSpec, Exempt};
use net::link::Links;
use net::ns::{self, Leave};

/// A namespace for this thread alone with loopback up, or `None` where that is not allowed.
fn isolated() -> Option<()> {
    match ns::unshare(Leave { net: true, ..Default::default() }) {
        Ok(()) => {}
        Err(e) if std::env::var_os("LATEEN_REQUIRE_PEERS").is_none() => {
            eprintln!("skipped: no network namespace for us: {e}");
            return None;
        }
        Err(e) => panic!("no network namespace: {e}"),
    }
    let mut links = Links::here().unwrap();
    let lo = links.index("lo").unwrap();
    links.set_up(lo).unwrap();
    links.add_address(lo, "10.9.9.9".parse().unwrap(), 32).unwrap();
    links.add_address(lo, "fd00:9::9".parse().unwrap(), 128).unwrap();
    Some(())
}

/// Everything that leaves for the test's own addresses on `lo` would be "to itself"; the rules
/// look at the output link, so the test gives them another one.
fn second_link() {
    let here = ns::Namespace::current(ns::Kind::Net).unwrap();
    let mut links = Links::here().unwrap();
    links.add_veth("out0", [2, 0, 0, 0, 0, 1], "out1", [2, 0, 0, 0, 0, 2], &here).unwrap();
    for name in ["out0", "out1"] {
        let index = links.index(name).unwrap();
        links.set_up(index).unwrap();
    }
    let link = links.index("out0").unwrap();
    for (ip, prefix) in [("192.0.2.1", 24), ("2001:db8::1", 64)] {
        links.add_address(link, ip.parse().unwrap(), prefix).unwrap();
    }
}

fn spec(exempt: Exempt) -> CaptureSpec {
    CaptureSpec { exempt, dns_port: Some(15053), ..Default::default() }
}

fn nft_list() -> String {
    let listed = Command::new("nft").args(["list", "ruleset"]).output().unwrap();
    assert!(listed.status.success(), "{}", String::from_utf8_lossy(&listed.stderr));
    String::from_utf8(listed.stdout).unwrap()
}

#[test]
fn unmarked_connections_reach_the_proxy_with_their_original_destination() {
    if isolated().is_none() {
        return;
    }
    second_link();
    capture::apply(&spec(Exempt::Mark(net::sock::PROXY_MARK))).unwrap();
    for (proxy, wanted) in [("0.0.0.0:15001", "192.0.2.7:80"), ("[::]:15001", "[2001:db8::7]:80")] {
        let listener = TcpListener::bind(proxy).unwrap();
        let wanted: SocketAddr = wanted.parse().unwrap();
        let mut client = TcpStream::connect(wanted).unwrap();
        client.write_all(b"x").unwrap();
        let (accepted, _) = listener.accept().unwrap();
        assert_eq!(net::original_dst(&accepted), Some(wanted));
    }
}

/// What an application asks a name server comes to the proxy, and the answer seems to be the server's:
/// where the proxy is known by mark, if its answers carry the mark.
#[test]
fn queries_are_answered_by_the_proxy_in_the_name_of_the_name_server() {
    const MARK: u32 = 1337;
    if isolated().is_none() {
        return;
    }
    second_link();
    capture::apply(&spec(Exempt::Mark(MARK))).unwrap();
    let proxy = UdpSocket::bind("127.0.0.1:15053").unwrap();
    net::set_mark(&proxy, MARK).unwrap();
    let patience = Some(std::time::Duration::from_secs(5));
    proxy.set_read_timeout(patience).unwrap();
    let application = UdpSocket::bind("192.0.2.1:0").unwrap();
    application.set_read_timeout(patience).unwrap();
    application.connect("192.0.2.53:53").unwrap();
    application.send(b"query").unwrap();
    let mut buffer = [0; 16];
    let (n, from) = proxy.recv_from(&mut buffer).unwrap();
    assert_eq!(&buffer[..n], b"query");
    proxy.send_to(b"answer", from).unwrap();
    let n = application.recv(&mut buffer).unwrap();
    assert_eq!(&buffer[..n], b"answer");
}

#[test]
fn the_proxys_own_connections_pass_by_mark_and_by_owner() {
    if isolated().is_none() {
        return;
    }
    second_link();
    let target = TcpListener::bind("10.9.9.9:0").unwrap().local_addr().unwrap();
    let exempt = [
        Exempt::Mark(net::sock::PROXY_MARK),
        Exempt::Owner { users: vec![rustix::process::getuid().as_raw()], groups: vec![] },
    ];
    for exempt in exempt {
        capture::apply(&spec(exempt)).unwrap();
        let _proxy = TcpListener::bind("0.0.0.0:15001").unwrap();
        let socket =
            socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        net::set_mark(&socket, net::sock::PROXY_MARK).unwrap();
        socket.set_nonblocking(true).unwrap();
        let outside: SocketAddr = "192.0.2.7:80".parse().unwrap();
        // Nobody answers there, so a connection that passes is pending; a captured one would open.
        let pending = socket.connect(&outside.into()).unwrap_err();
        assert_eq!(pending.raw_os_error(), Some(libc::EINPROGRESS));
        let (mut polled, timeout) = ([poll_out(&socket)], timespec());
        assert_eq!(rustix::event::poll(&mut polled, Some(&timeout)).unwrap(), 0);
    }
    assert_ne!(target.port(), 0);
}

fn poll_out(socket: &socket2::Socket) -> rustix::event::PollFd<'_> {
    rustix::event::PollFd::new(socket, rustix::event::PollFlags::OUT)
}

fn timespec() -> rustix::event::Timespec {
    rustix::event::Timespec { tv_sec: 0, tv_nsec: 200_000_000 }
}

#[test]
fn excluded_ports_and_blocks_are_left_alone_and_nft_reads_the_rules() {
    if isolated().is_none() {
        return;
    }
    let mut spec = spec(Exempt::Owner { users: vec![1337], groups: vec![1337] });
    spec.outbound = Blocks::Only(vec![("10.0.0.0".parse().unwrap(), 8)]);
    spec.outbound_excluded = vec![("10.9.0.0".parse().unwrap(), 16)];
    spec.outbound_ports_excluded = vec![3306];
    capture::apply(&spec).unwrap();
    // A second time replaces, not adds.
    capture::apply(&spec).unwrap();
    let listed = nft_list();
    for expected in [
        "table inet istio-proxy-nat",
        "tcp dport 15008 return",
        "meta skuid 1337",
        "ip daddr 10.9.0.0/16 return",
        "ip daddr 10.0.0.0/8 counter packets 0 bytes 0 goto istio-redirect",
        "redirect to :15006",
        "tcp dport 3306",
        "ct zone set 1",
        "type nat hook output priority -100",
    ] {
        let dport_spelled_raw = expected.replace("tcp dport", "th dport");
        assert!(
            listed.contains(expected) || listed.contains(&dport_spelled_raw),
            "{expected:?} is not in\n{listed}"
        );
    }
    assert_eq!(listed.matches("dport 15008 return").count(), 1);
    capture::remove().unwrap();
    assert!(!nft_list().contains("istio-proxy"));
}
