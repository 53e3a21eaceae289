//! One DNS query in, and what is to become of it: the answering half of the agent's DNS proxy. Whatever the
//! bytes are, an answer is never longer than what the client says that it takes, and there is at most one.

use crate::directory::{Directory, Known};
use hickory_proto::op::{Edns, Message, MessageType, OpCode, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA, CNAME};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};
use hickory_proto::serialize::binary::{BinDecodable, BinEncodable};
use std::net::IpAddr;

/// Istio's.
const TTL: u32 = 30;
/// What a client takes over UDP if it does not say, and the most that we believe.
const UDP: std::ops::RangeInclusive<u16> = 512..=4096;
/// What a client takes over TCP.
const TCP: usize = 65535;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    Udp,
    Tcp,
}

/// What becomes of a query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    Reply(Vec<u8>),
    /// The name servers of the pod may know.
    Forward,
    /// Nothing that deserves an answer.
    Ignore,
}

/// Answers a query. Without a directory the control plane has not said yet what there is. `turn` says
/// which of several addresses comes first.
pub fn answer(
    directory: Option<&Directory>,
    bytes: &[u8],
    transport: Transport,
    turn: usize,
) -> Outcome {
    let Ok(query) = Message::from_bytes(bytes) else { return malformed(bytes) };
    if query.metadata.message_type != MessageType::Query {
        return Outcome::Ignore;
    }
    if query.metadata.op_code != OpCode::Query {
        return refuse(&query, ResponseCode::NotImp, transport);
    }
    let [question] = &query.queries[..] else {
        return refuse(&query, ResponseCode::FormErr, transport);
    };
    let kind = question.query_type();
    let is_address = matches!(kind, RecordType::A | RecordType::AAAA);
    if !is_address || question.query_class() != DNSClass::IN {
        return Outcome::Forward;
    }
    let Some(directory) = directory else {
        return refuse(&query, ResponseCode::ServFail, transport);
    };
    match directory.look_up(&question.name().to_ascii()) {
        None => Outcome::Forward,
        Some(known) => {
            let mut reply = reply_to(&query);
            reply.metadata.authoritative = true;
            reply.answers = records(question.name(), kind, &known, turn);
            finish(reply, limit(&query, transport))
        }
    }
}

/// What a client gets when nobody else can answer.
pub fn failure(bytes: &[u8], transport: Transport) -> Outcome {
    match Message::from_bytes(bytes) {
        Ok(query) => refuse(&query, ResponseCode::ServFail, transport),
        Err(_) => Outcome::Ignore,
    }
}

/// Something with a header that claims to be a query is told that it is none.
fn malformed(bytes: &[u8]) -> Outcome {
    let Some(&[high, low, flags, ..]) = bytes.get(..12) else { return Outcome::Ignore };
    if flags & 0x80 != 0 {
        return Outcome::Ignore;
    }
    let id = u16::from_be_bytes([high, low]);
    let reply = Message::error_msg(id, OpCode::Query, ResponseCode::FormErr);
    reply.to_bytes().map_or(Outcome::Ignore, Outcome::Reply)
}

fn refuse(query: &Message, why: ResponseCode, transport: Transport) -> Outcome {
    if query.metadata.message_type != MessageType::Query {
        return Outcome::Ignore;
    }
    let mut reply = reply_to(query);
    reply.metadata.response_code = why;
    finish(reply, limit(query, transport))
}

fn reply_to(query: &Message) -> Message {
    let mut reply = Message::response(query.metadata.id, query.metadata.op_code);
    reply.metadata.recursion_desired = query.metadata.recursion_desired;
    reply.metadata.recursion_available = true;
    // A query with several questions is refused, and gets none of them back.
    reply.queries = query.queries.iter().take(1).cloned().collect();
    if query.edns.is_some() {
        let mut edns = Edns::new();
        edns.set_max_payload(*UDP.end());
        reply.edns = Some(edns);
    }
    reply
}

fn limit(query: &Message, transport: Transport) -> usize {
    match (transport, &query.edns) {
        (Transport::Tcp, _) => TCP,
        (Transport::Udp, None) => usize::from(*UDP.start()),
        (Transport::Udp, Some(e)) => usize::from(e.max_payload().clamp(*UDP.start(), *UDP.end())),
    }
}

fn records(asked: &Name, kind: RecordType, known: &Known<'_>, turn: usize) -> Vec<Record> {
    let fits = |ip: &IpAddr| ip.is_ipv4() == (kind == RecordType::A);
    let mut ips: Vec<IpAddr> = known.info.ips.iter().copied().filter(fits).collect();
    if !ips.is_empty() {
        let first = turn % ips.len();
        ips.rotate_left(first);
    }
    let mut records = Vec::with_capacity(ips.len() + 1);
    let mut owner = asked.clone();
    let alias = known.alias_of.as_ref().and_then(|n| Name::from_ascii(format!("{n}.")).ok());
    if let Some(target) = alias.filter(|_| !ips.is_empty()) {
        let data = RData::CNAME(CNAME(target.clone()));
        records.push(Record::from_rdata(owner, TTL, data));
        owner = target;
    }
    records.extend(ips.into_iter().map(|ip| {
        let data = match ip {
            IpAddr::V4(ip) => RData::A(A(ip)),
            IpAddr::V6(ip) => RData::AAAA(AAAA(ip)),
        };
        Record::from_rdata(owner.clone(), TTL, data)
    }));
    records
}

/// Leaves out what does not fit, and says so.
fn finish(mut reply: Message, limit: usize) -> Outcome {
    loop {
        match reply.to_bytes() {
            Err(_) => return Outcome::Ignore,
            Ok(bytes) if bytes.len() <= limit => return Outcome::Reply(bytes),
            Ok(_) if reply.answers.is_empty() => return Outcome::Ignore,
            Ok(bytes) => {
                reply.metadata.truncation = true;
                let kept = reply.answers.len() * limit / bytes.len();
                reply.answers.truncate(kept.min(reply.answers.len() - 1));
            }
        }
    }
}

#[cfg(test)]
mod tests;
