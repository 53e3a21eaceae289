//! One stream of a client: the same steps as for a request by HTTP/1.

use super::down::Down;
use super::heads;
use super::server::Shared;
use crate::alarm::Alarm;
use crate::exchange::Run;
use crate::forward::{Downstream, Ending};
use crate::record::Record;
use ::h2::Reason;
use policy::Flag;
use std::rc::Rc;
use wire::h1::{Body, Framing};
use wire::{Head, Response, Version};

pub async fn run(shared: &Rc<Shared>, head: &http::request::Parts, mut down: Down) {
    // By RFC 9113 the client knows by that that nothing was done about it.
    let Some((view, manager)) = shared.refresh() else { return down.reset(Reason::REFUSED_STREAM) };
    let mut parts = shared.worker.stock.heads();
    let read = heads::read_request(head, &mut parts.request);
    let mut record = Record::new(&shared.worker, &view, &manager, &shared.client, parts);
    record.stream.protocol = Some(Version::Http2);
    record.has_request = true;
    let many = head.headers.len() > manager.limits.headers;
    if read.is_err() || many {
        record.stream.flags.set(Flag::DownstreamProtocolError);
        let details =
            if many { "http2.too_many_headers" } else { "http2.violation.of.messaging.rule" };
        record.stream.details = details.into();
        return down.reset(Reason::PROTOCOL_ERROR);
    }
    let upgrade = heads::wished(head).is_some();
    let body = if upgrade || head.method == http::Method::CONNECT {
        down.hold();
        Body::Empty
    } else {
        heads::kind_of_body(&record.heads.request, down.receive.is_empty())
    };
    let framing = Framing { body, keep_alive: true, upgrade, ..Framing::default() };
    if expects_continue(&record) && !manager.config.proxy_100_continue {
        down.inform(&Response::new(100));
        record.heads.request.fields.remove(b"expect");
    }
    let run = Run {
        view: &view,
        manager: &manager,
        client: &shared.client,
        connection: &shared.origin,
        framing,
    };
    match run.request(&mut record, &mut down, &mut Alarm::default()).await {
        Ending::Done => {}
        Ending::Gone => {
            record.stream.flags.set(Flag::DownstreamConnectionTermination);
            record.stream.details = "downstream_remote_disconnect".into();
        }
        Ending::Broken => down.reset(Reason::INTERNAL_ERROR),
        Ending::Tunnel(..) => down.reset(Reason::INTERNAL_ERROR),
    }
}

fn expects_continue(record: &Record) -> bool {
    let expect = record.heads.request.get(b"expect");
    expect.is_some_and(|e| e.eq_ignore_ascii_case(b"100-continue"))
}
