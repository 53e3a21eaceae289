//! What a pod's application asks its DNS: there is at most one answer, and it is no longer than the client
//! takes.

use hickory_proto::op::{Message, Query};
use hickory_proto::rr::{Name, RecordType};
use hickory_proto::serialize::binary::{BinDecodable, BinEncodable};
use ir::{NameInfo, NameTable};
use policy::directory::Directory;
use policy::dns::{Outcome, Transport, answer, failure};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, LazyLock};

static DIRECTORY: LazyLock<Directory> = LazyLock::new(|| {
    let host = |name: &str, addresses: u8| {
        let ips = (0..addresses).map(|i| IpAddr::V4(Ipv4Addr::new(10, 9, 0, i))).collect();
        (name.into(), NameInfo { ips, ..NameInfo::default() })
    };
    let hosts = [host("one.example", 1), host("many.example", 200), host("*.wild.example", 2)];
    Directory::new(Arc::new(NameTable { hosts: hosts.into() }), "shop", "shop.svc.cluster.local")
});

pub fn run(bytes: &[u8]) {
    for (transport, most) in [(Transport::Udp, 4096), (Transport::Tcp, 65535)] {
        for outcome in [
            answer(Some(&DIRECTORY), bytes, transport, 3),
            answer(None, bytes, transport, 0),
            failure(bytes, transport),
        ] {
            let Outcome::Reply(reply) = outcome else { continue };
            assert!(reply.len() <= most);
            assert_eq!(reply[..2], bytes[..2], "the answer is to another question");
            Message::from_bytes(&reply).expect("what we write can be read");
        }
    }
}

pub fn seeds() -> Vec<Vec<u8>> {
    let ask = |name: &str, kind: RecordType| {
        let mut query = Message::query();
        query.add_query(Query::query(Name::from_ascii(name).expect("a name"), kind));
        query.to_bytes().expect("a query")
    };
    vec![
        ask("one.example.", RecordType::A),
        ask("many.example.", RecordType::A),
        ask("x.wild.example.shop.svc.cluster.local.", RecordType::AAAA),
        ask("other.", RecordType::TXT),
    ]
}
