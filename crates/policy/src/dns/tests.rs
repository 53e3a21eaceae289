//! What applications are told, and that no bytes whatever do harm.

use super::*;
use base::{Env, FixedEnv};
use hickory_proto::op::Query;
use ir::{NameInfo, NameTable};
use std::sync::Arc;

fn directory() -> Directory {
    let host = |name: &str, ips: &[&str]| {
        let ips = ips.iter().map(|ip| ip.parse().unwrap()).collect();
        (name.into(), NameInfo { ips, ..NameInfo::default() })
    };
    let many: Vec<String> = (0..100).map(|i| format!("10.9.0.{i}")).collect();
    let hosts = [
        host("api.example.com", &["240.240.0.1", "2001:2::f0f0:1"]),
        host("three.example.com", &["10.0.0.1", "10.0.0.2", "10.0.0.3"]),
        host("v4.example.com", &["10.0.0.9"]),
        host("many.example.com", &many.iter().map(String::as_str).collect::<Vec<_>>()),
    ];
    let table = NameTable { hosts: hosts.into() };
    Directory::new(Arc::new(table), "shop", "shop.svc.cluster.local")
}

fn query(name: &str, kind: RecordType) -> Message {
    let mut query = Message::query();
    query.add_query(Query::query(Name::from_ascii(format!("{name}.")).unwrap(), kind));
    query
}

fn ask(query: &Message, transport: Transport, turn: usize) -> Option<Message> {
    match answer(Some(&directory()), &query.to_bytes().unwrap(), transport, turn) {
        Outcome::Reply(bytes) => Some(Message::from_bytes(&bytes).unwrap()),
        _ => None,
    }
}

fn said(name: &str, kind: RecordType) -> Option<Vec<String>> {
    let reply = ask(&query(name, kind), Transport::Udp, 0)?;
    assert_eq!(reply.metadata.response_code, ResponseCode::NoError);
    assert!(reply.metadata.authoritative && reply.answers.iter().all(|r| r.ttl == 30));
    Some(reply.answers.iter().map(|r| r.data.to_string()).collect())
}

#[test]
fn known_names_are_answered_and_others_are_passed_on() {
    use RecordType::{A, AAAA, MX, SRV};
    let searched = "api.example.com.shop.svc.cluster.local";
    let table: &[(&str, RecordType, Option<&[&str]>)] = &[
        ("api.example.com", A, Some(&["240.240.0.1"])),
        ("Api.Example.COM", AAAA, Some(&["2001:2::f0f0:1"])),
        (searched, A, Some(&["api.example.com.", "240.240.0.1"])),
        // Known, but not of this family: nobody else is asked.
        ("v4.example.com", AAAA, Some(&[])),
        ("elsewhere.example.com", A, None),
        ("api.example.com", MX, None),
        ("api.example.com", SRV, None),
    ];
    for (name, kind, expected) in table {
        let found = said(name, *kind);
        assert_eq!(
            found.as_deref().map(|f| f.iter().map(String::as_str).collect::<Vec<_>>()),
            expected.map(<[_]>::to_vec),
            "{name} {kind}"
        );
    }
}

#[test]
fn addresses_take_turns() {
    let first = |turn| {
        let reply = ask(&query("three.example.com", RecordType::A), Transport::Udp, turn).unwrap();
        assert_eq!(reply.answers.len(), 3);
        reply.answers[0].data.to_string()
    };
    assert_eq!([0, 1, 2, 3].map(first), ["10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.1"]);
}

#[test]
fn an_answer_is_cut_to_what_the_client_takes() {
    let mut asked = query("many.example.com", RecordType::A);
    let length = |q: &Message, t| {
        let Outcome::Reply(bytes) = answer(Some(&directory()), &q.to_bytes().unwrap(), t, 0) else {
            panic!("no reply")
        };
        let reply = Message::from_bytes(&bytes).unwrap();
        (bytes.len(), reply.answers.len(), reply.metadata.truncation)
    };
    let (bytes, answers, cut) = length(&asked, Transport::Udp);
    assert!(bytes <= 512 && answers > 10 && cut);
    assert_eq!(length(&asked, Transport::Tcp).1, 100);
    let mut edns = Edns::new();
    edns.set_max_payload(1232);
    asked.set_edns(edns);
    let (bytes, answers, cut) = length(&asked, Transport::Udp);
    assert!(bytes <= 1232 && bytes > 512 && answers < 100 && cut);
}

#[test]
fn before_the_first_table_nothing_is_denied() {
    let bytes = query("api.example.com", RecordType::A).to_bytes().unwrap();
    let Outcome::Reply(reply) = answer(None, &bytes, Transport::Udp, 0) else { panic!() };
    let code = Message::from_bytes(&reply).unwrap().metadata.response_code;
    assert_eq!(code, ResponseCode::ServFail);
}

#[test]
fn what_is_no_query_gets_an_error_or_nothing() {
    let code = |bytes: &[u8]| match answer(Some(&directory()), bytes, Transport::Udp, 0) {
        Outcome::Reply(reply) => Some(Message::from_bytes(&reply).unwrap().metadata.response_code),
        _ => None,
    };
    let mut two = query("api.example.com", RecordType::A);
    two.add_query(two.queries[0].clone());
    assert_eq!(code(&two.to_bytes().unwrap()), Some(ResponseCode::FormErr));
    assert_eq!(code(&Message::query().to_bytes().unwrap()), Some(ResponseCode::FormErr));
    let mut update = query("api.example.com", RecordType::A);
    update.metadata.op_code = OpCode::Update;
    assert!(matches!(
        code(&update.to_bytes().unwrap()),
        Some(ResponseCode::NotImp | ResponseCode::FormErr)
    ));
    // A response would be answered by its sender, and so on for ever.
    let response = reply_to(&query("api.example.com", RecordType::A));
    assert_eq!(code(&response.to_bytes().unwrap()), None);
    assert_eq!(code(&[0; 11]), None);
    assert_eq!(code(&[0xff; 40]), None);
    assert_eq!(code(&[&[1, 2, 0, 0, 0, 1], &[0xff; 40][..]].concat()), Some(ResponseCode::FormErr));
}

/// Random bytes, and queries of which some bytes were changed.
#[test]
fn no_bytes_do_harm_and_no_answer_is_longer_than_the_client_takes() {
    let env = FixedEnv::seeded(5);
    let names = ["api.example.com", "many.example.com", "nobody.example.com"];
    let (mut replies, mut passed) = (0, 0);
    for round in 0..20_000 {
        let mut bytes = match round % 4 {
            0 => (0..env.below(64)).map(|_| env.random() as u8).collect(),
            _ => query(names[round % 3], RecordType::A).to_bytes().unwrap(),
        };
        for _ in 0..env.below(4) {
            if !bytes.is_empty() {
                let at = env.below(bytes.len() as u64) as usize;
                bytes[at] = env.random() as u8;
            }
        }
        match answer(Some(&directory()), &bytes, Transport::Udp, round) {
            Outcome::Reply(reply) => {
                replies += 1;
                let asked = Message::from_bytes(&bytes).ok().and_then(|m| m.edns);
                let most = asked.map_or(512, |e| e.max_payload().clamp(512, 4096));
                assert!(reply.len() <= usize::from(most), "{bytes:?}");
                assert_eq!(reply[..2], bytes[..2]);
                assert!(
                    Message::from_bytes(&reply).unwrap().metadata.message_type
                        == MessageType::Response
                );
            }
            Outcome::Forward => passed += 1,
            Outcome::Ignore => {}
        }
    }
    assert!(replies > 1000 && passed > 1000, "{replies} {passed}");
}
