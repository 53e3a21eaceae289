//! One query in, one answer out; what is not ours is passed on by the caller.

use std::net::{IpAddr, Ipv4Addr};

use hickory_proto::op::{Message, MessageType, OpCode, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA, CNAME, SRV};
use hickory_proto::rr::{Name, RData, Record as Answer, RecordType};
use hickory_proto::serialize::binary::{BinDecodable, BinEncodable};

use super::Table;

/// Answers may be kept this long; endpoints come and go.
const TTL: u32 = 5;
/// An answer over UDP that is longer is cut, and asked again over TCP.
const MOST_UDP: usize = 1232;
/// Aliases of aliases are followed this far.
const MOST_ALIASES: usize = 8;

/// What to do with a query.
#[derive(Debug, PartialEq, Eq)]
pub enum Answered {
    Here(Vec<u8>),
    /// Not a name of the cluster: somebody outside may know.
    Outside,
    /// Nothing that deserves an answer.
    Nonsense,
}

/// Answers a query from the table.
pub fn answer(table: &Table, query: &[u8], over_tcp: bool) -> Answered {
    let Ok(query) = Message::from_bytes(query) else { return Answered::Nonsense };
    if query.metadata.message_type != MessageType::Query || query.metadata.op_code != OpCode::Query
    {
        return Answered::Nonsense;
    }
    let Some(question) = query.queries.first() else { return Answered::Nonsense };
    let asked = question.name().to_ascii().trim_end_matches('.').to_lowercase();
    let inside = asked == table.domain || asked.ends_with(&format!(".{}", table.domain));
    if !inside {
        return Answered::Outside;
    }
    let mut reply = Message::response(query.metadata.id, OpCode::Query);
    reply.metadata.authoritative = true;
    reply.metadata.recursion_desired = query.metadata.recursion_desired;
    reply.metadata.recursion_available = true;
    reply.add_query(question.clone());
    match records(table, &asked, question.query_type()) {
        Some(found) => found.into_iter().for_each(|r| {
            reply.add_answer(r);
        }),
        None => reply.metadata.response_code = ResponseCode::NXDomain,
    }
    finish(reply, over_tcp)
}

fn finish(reply: Message, over_tcp: bool) -> Answered {
    match reply.to_bytes() {
        Ok(bytes) if over_tcp || bytes.len() <= MOST_UDP => Answered::Here(bytes),
        Ok(_) => {
            let mut short = reply;
            short.answers.clear();
            short.metadata.truncation = true;
            short.to_bytes().map_or(Answered::Nonsense, Answered::Here)
        }
        Err(_) => Answered::Nonsense,
    }
}

/// `None`: there is no such name. An empty list: nothing of this type.
fn records(table: &Table, asked: &str, kind: RecordType) -> Option<Vec<Answer>> {
    let mut out = Vec::new();
    let mut at = asked.to_owned();
    for _ in 0..MOST_ALIASES {
        let Some(record) = table.names.get(&at) else {
            if let Some(ip) = pod_name(table, &at) {
                push_ips(&mut out, &at, kind, &[ip]);
                return Some(out);
            }
            let above = table.names.keys().any(|k| k.ends_with(&format!(".{at}")));
            return (at != asked || above || at == table.domain).then_some(out);
        };
        if let Some(alias) = &record.alias {
            let target = Name::from_ascii(format!("{alias}.")).ok()?;
            out.push(Answer::from_rdata(owner(&at)?, TTL, RData::CNAME(CNAME(target))));
            at.clone_from(alias);
            continue;
        }
        push_ips(&mut out, &at, kind, &record.ips);
        if kind == RecordType::SRV {
            for (port, host) in &record.services {
                let srv = SRV::new(0, 100, *port, owner(host)?);
                out.push(Answer::from_rdata(owner(&at)?, TTL, RData::SRV(srv)));
            }
        }
        return Some(out);
    }
    Some(out)
}

fn push_ips(out: &mut Vec<Answer>, name: &str, kind: RecordType, ips: &[IpAddr]) {
    let Some(owner) = owner(name) else { return };
    out.extend(ips.iter().filter_map(|ip| {
        let data = match (kind, ip) {
            (RecordType::A, IpAddr::V4(v4)) => RData::A(A(*v4)),
            (RecordType::AAAA, IpAddr::V6(v6)) => RData::AAAA(AAAA(*v6)),
            _ => return None,
        };
        Some(Answer::from_rdata(owner.clone(), TTL, data))
    }));
}

/// `10-244-0-7.shop.pod.cluster.local` is 10.244.0.7.
fn pod_name(table: &Table, asked: &str) -> Option<IpAddr> {
    let rest = asked.strip_suffix(&format!(".pod.{}", table.domain))?;
    let (dashed, _) = rest.split_once('.')?;
    dashed.replace('-', ".").parse::<Ipv4Addr>().ok().map(IpAddr::V4)
}

fn owner(name: &str) -> Option<Name> {
    Name::from_ascii(format!("{name}.")).ok()
}
