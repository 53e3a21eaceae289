//! One query in, one reply out (RFC 1035), without I/O.

use crate::{Record, Zone};
use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA, CNAME, SRV};
use hickory_proto::rr::{DNSClass, Name, RData, Record as ResourceRecord, RecordType};
use std::net::IpAddr;

/// Seconds that an answer may be kept: short, since endpoints of headless services come and go.
const TTL: u32 = 5;
/// Aliases are followed this far inside the zone.
const ALIASES_MAX: usize = 8;
/// Without EDNS a UDP answer may have this many bytes (RFC 1035, section 4.2.1).
const PLAIN_UDP_BYTES: u16 = 512;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// These bytes go back.
    Answer(Vec<u8>),
    /// Not ours: ask elsewhere.
    Forward,
    /// Not a query at all.
    Ignore,
}

/// Answers from the zone. `rotate` turns lists of addresses, so that clients that take the first one
/// spread; `datagram` says that the answer must fit into what the client can receive over UDP.
pub fn answer(query: &[u8], zone: &Zone, rotate: usize, datagram: bool) -> Reply {
    let Ok(message) = Message::from_vec(query) else { return Reply::Ignore };
    if message.metadata.message_type != MessageType::Query {
        return Reply::Ignore;
    }
    let mut reply = Message::response(message.metadata.id, message.metadata.op_code);
    reply.metadata.recursion_desired = message.metadata.recursion_desired;
    reply.metadata.recursion_available = true;
    reply.add_queries(message.queries.iter().cloned());
    let (OpCode::Query, [question]) = (message.metadata.op_code, &message.queries[..]) else {
        reply.metadata.response_code = ResponseCode::NotImp;
        return encode(&reply);
    };
    let name = text_of(question.name());
    if question.query_class() != DNSClass::IN || !zone.owns(&name) {
        return Reply::Forward;
    }
    reply.metadata.authoritative = true;
    fill(&mut reply, question, &name, zone, rotate);
    if let Some(edns) = &message.edns {
        reply.set_edns(edns.clone());
    }
    truncated(reply, &message, datagram)
}

fn text_of(name: &Name) -> String {
    name.to_lowercase().to_ascii().trim_end_matches('.').to_owned()
}

fn fill(reply: &mut Message, question: &Query, name: &str, zone: &Zone, rotate: usize) {
    let Some(mut record) = zone.get(name) else {
        if !zone.has_children(name) {
            reply.metadata.response_code = ResponseCode::NXDomain;
        }
        return;
    };
    let mut owner = question.name().clone();
    for _ in 0..ALIASES_MAX {
        let Some(alias) = &record.alias else { break };
        let Ok(target) = Name::from_ascii(format!("{alias}.")) else { return };
        let data = RData::CNAME(CNAME(target.clone()));
        reply.add_answer(ResourceRecord::from_rdata(owner, TTL, data));
        let Some(next) = zone.get(&text_of(&target)) else { return };
        (owner, record) = (target, next);
    }
    for data in data_of(record, question.query_type(), rotate) {
        reply.add_answer(ResourceRecord::from_rdata(owner.clone(), TTL, data));
    }
}

fn data_of(record: &Record, wanted: RecordType, rotate: usize) -> Vec<RData> {
    let mut data: Vec<RData> = match wanted {
        RecordType::A | RecordType::AAAA | RecordType::ANY => record
            .addresses
            .iter()
            .map(|ip| match ip {
                IpAddr::V4(ip) => RData::A(A(*ip)),
                IpAddr::V6(ip) => RData::AAAA(AAAA(*ip)),
            })
            .filter(|d| wanted == RecordType::ANY || d.record_type() == wanted)
            .collect(),
        RecordType::SRV => record
            .services
            .iter()
            .filter_map(|(port, target)| {
                let target = Name::from_ascii(format!("{target}.")).ok()?;
                Some(RData::SRV(SRV::new(0, 100, *port, target)))
            })
            .collect(),
        _ => Vec::new(),
    };
    if !data.is_empty() {
        let by = rotate % data.len();
        data.rotate_left(by);
    }
    data
}

/// An answer too large for the client's datagram says so, and the client asks again over TCP.
fn truncated(mut reply: Message, query: &Message, datagram: bool) -> Reply {
    let limit = query.edns.as_ref().map_or(PLAIN_UDP_BYTES, |e| e.max_payload());
    let whole = encode(&reply);
    match &whole {
        Reply::Answer(bytes)
            if datagram && bytes.len() > usize::from(limit.max(PLAIN_UDP_BYTES)) =>
        {
            reply.answers.clear();
            reply.metadata.truncation = true;
            encode(&reply)
        }
        _ => whole,
    }
}

fn encode(reply: &Message) -> Reply {
    reply.to_vec().map_or(Reply::Ignore, Reply::Answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zone() -> Zone {
        let mut zone = Zone::new("cluster.local");
        let ips = |list: &[&str]| Record::addresses(list.iter().map(|ip| ip.parse().unwrap()));
        zone.names
            .insert("reviews.default.svc.cluster.local".into(), ips(&["10.96.0.7", "fd00::7"]));
        zone.names
            .insert("pods.default.svc.cluster.local".into(), ips(&["10.244.0.2", "10.244.0.3"]));
        zone.names.insert("ext.default.svc.cluster.local".into(), Record::alias("example.com"));
        let many: Vec<String> = (0..100).map(|i| format!("10.244.1.{i}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        zone.names.insert("many.default.svc.cluster.local".into(), ips(&many));
        zone
    }

    fn ask(name: &str, kind: RecordType, rotate: usize, datagram: bool) -> Result<Message, Reply> {
        let mut query = Message::query();
        query.add_query(Query::query(Name::from_ascii(name).unwrap(), kind));
        match answer(&query.to_vec().unwrap(), &zone(), rotate, datagram) {
            Reply::Answer(bytes) => Ok(Message::from_vec(&bytes).unwrap()),
            other => Err(other),
        }
    }

    fn data(message: &Message) -> Vec<String> {
        message.answers.iter().map(|r| r.data.to_string()).collect()
    }

    #[test]
    fn addresses_by_family_whatever_the_case() {
        let name = "Reviews.default.svc.Cluster.local.";
        assert_eq!(data(&ask(name, RecordType::A, 0, true).unwrap()), ["10.96.0.7"]);
        assert_eq!(data(&ask(name, RecordType::AAAA, 0, true).unwrap()), ["fd00::7"]);
        let no_data = ask(name, RecordType::MX, 0, true).unwrap();
        assert_eq!(
            (no_data.metadata.response_code, no_data.answers.len()),
            (ResponseCode::NoError, 0)
        );
    }

    #[test]
    fn lists_are_turned() {
        let name = "pods.default.svc.cluster.local.";
        assert_eq!(data(&ask(name, RecordType::A, 0, true).unwrap()), ["10.244.0.2", "10.244.0.3"]);
        assert_eq!(data(&ask(name, RecordType::A, 1, true).unwrap()), ["10.244.0.3", "10.244.0.2"]);
    }

    #[test]
    fn an_external_name_is_an_alias() {
        let reply = ask("ext.default.svc.cluster.local.", RecordType::A, 0, true).unwrap();
        assert_eq!(data(&reply), ["example.com."]);
    }

    #[test]
    fn what_is_not_there_and_what_is_not_ours() {
        let gone = ask("gone.default.svc.cluster.local.", RecordType::A, 0, true).unwrap();
        assert_eq!(gone.metadata.response_code, ResponseCode::NXDomain);
        let between = ask("default.svc.cluster.local.", RecordType::A, 0, true).unwrap();
        assert_eq!(between.metadata.response_code, ResponseCode::NoError);
        assert_eq!(ask("example.com.", RecordType::A, 0, true), Err(Reply::Forward));
        assert_eq!(answer(b"nonsense", &zone(), 0, true), Reply::Ignore);
    }

    #[test]
    fn a_long_answer_is_cut_over_udp_and_whole_over_tcp() {
        let name = "many.default.svc.cluster.local.";
        let cut = ask(name, RecordType::A, 0, true).unwrap();
        assert!(cut.metadata.truncation && cut.answers.is_empty());
        assert_eq!(ask(name, RecordType::A, 0, false).unwrap().answers.len(), 100);
    }
}
