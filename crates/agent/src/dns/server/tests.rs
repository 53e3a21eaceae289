//! Over real sockets: what is known, what is passed on, and what fails.

use super::*;
use crate::dial::Dial;
use hickory_proto::op::{Message, Query, ResponseCode};
use hickory_proto::rr::rdata::A;
use hickory_proto::rr::{Name, RData, Record, RecordType};
use hickory_proto::serialize::binary::{BinDecodable, BinEncodable};
use ir::NameInfo;

fn query(name: &str) -> Vec<u8> {
    let mut query = Message::query();
    query.add_query(Query::query(Name::from_ascii(name).unwrap(), RecordType::A));
    query.to_bytes().unwrap()
}

/// A name server that knows everything to be 192.0.2.7, by UDP and by TCP.
async fn name_server() -> SocketAddr {
    let (udp, tcp) = loop {
        let udp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        if let Ok(tcp) = TcpListener::bind(udp.local_addr().unwrap()).await {
            break (udp, tcp);
        }
    };
    let address = udp.local_addr().unwrap();
    let reply = |bytes: &[u8]| {
        let query = Message::from_bytes(bytes).unwrap();
        let mut reply = Message::response(query.metadata.id, query.metadata.op_code);
        let data = RData::A(A([192, 0, 2, 7].into()));
        reply.add_answer(Record::from_rdata(query.queries[0].name().clone(), 1, data));
        reply.to_bytes().unwrap()
    };
    tokio::spawn(async move {
        let mut buffer = [0; 512];
        while let Ok((n, from)) = udp.recv_from(&mut buffer).await {
            // What is no answer to the query is not taken for one.
            let _ = udp.send_to(b"nonsense", from).await;
            let _ = udp.send_to(&reply(&buffer[..n]), from).await;
        }
    });
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = tcp.accept().await {
            let query = read(&mut stream).await.unwrap();
            let _ = stream.write_all(&framed(&reply(&query)).unwrap()).await;
        }
    });
    address
}

/// A DNS proxy in front of these, on a port of its own.
async fn proxy(servers: Vec<SocketAddr>, parallel: bool) -> (Names, SocketAddr) {
    let names = Names::new("shop", "shop.svc.cluster.local");
    let info = NameInfo { ips: vec![[240, 240, 0, 1].into()], ..NameInfo::default() };
    let table = NameTable { hosts: [("api.example.com".into(), info)].into() };
    names.set(&Arc::new(table));
    let upstream = Upstream { servers, parallel, dial: Dial::default() };
    // A port that is free for UDP may be in use for TCP.
    for _ in 0..100 {
        if let Ok(at) = start(&names, upstream.clone(), 0).await {
            return (names, at);
        }
    }
    panic!("no port is free for both");
}

async fn by_udp(proxy: SocketAddr, name: &str) -> Message {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.send_to(&query(name), proxy).await.unwrap();
    let mut buffer = [0; 4096];
    let n = tokio::time::timeout(Duration::from_secs(20), socket.recv(&mut buffer)).await;
    Message::from_bytes(&buffer[..n.unwrap().unwrap()]).unwrap()
}

async fn by_tcp(proxy: SocketAddr, names: &[&str]) -> Vec<String> {
    let mut stream = TcpStream::connect(proxy).await.unwrap();
    let mut found = Vec::new();
    for name in names {
        stream.write_all(&framed(&query(name)).unwrap()).await.unwrap();
        let reply = Message::from_bytes(&read(&mut stream).await.unwrap()).unwrap();
        found.push(reply.answers[0].data.to_string());
    }
    found
}

#[tokio::test]
async fn known_names_are_answered_here_and_others_by_the_pods_name_servers() {
    let (names, proxy) = proxy(vec![name_server().await], false).await;
    for (name, expected) in
        [("api.example.com.", "240.240.0.1"), ("other.example.com.", "192.0.2.7")]
    {
        assert_eq!(by_udp(proxy, name).await.answers[0].data.to_string(), expected);
    }
    // Several queries over one connection.
    let found = by_tcp(proxy, &["other.example.com.", "api.example.com."]).await;
    assert_eq!(found, ["192.0.2.7", "240.240.0.1"]);
    let page = names.metrics();
    for line in ["dns_requests_total 4\n", "dns_upstream_requests_total 2\n", "failures_total 0\n"]
    {
        assert!(page.contains(line), "{line} in {page}");
    }
}

#[tokio::test]
async fn the_next_name_server_is_asked_when_one_is_gone() {
    let gone = UdpSocket::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    for parallel in [false, true] {
        let (_, proxy) = proxy(vec![gone, name_server().await], parallel).await;
        let reply = by_udp(proxy, "other.example.com.").await;
        assert_eq!(reply.answers[0].data.to_string(), "192.0.2.7");
    }
    let (names, proxy) = proxy(vec![gone], false).await;
    let reply = by_udp(proxy, "other.example.com.").await;
    assert_eq!(reply.metadata.response_code, ResponseCode::ServFail);
    assert!(names.metrics().contains("dns_upstream_failures_total 1\n"));
}
