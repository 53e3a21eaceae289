//! Access rules of requests: who may ask for what.

use crate::guard::Guard;
use crate::record::Record;
use crate::reply::Reply;
use policy::metadata;
use policy::rbac::RbacRule;

pub(super) fn judge(
    guard: &Guard,
    own: Option<&RbacRule>,
    record: &mut Record,
) -> Result<(), Box<Reply<'static>>> {
    let (head, shard) = (&record.heads.request, &record.worker.shard);
    let verdict = guard.judge(own, Some(head), &record.stream, shard);
    if !verdict.said.is_empty() {
        let name = "envoy.filters.http.rbac".into();
        metadata::add(&mut record.stream.metadata, &name, verdict.said);
    }
    match verdict.denied {
        None => Ok(()),
        Some(details) => Err(Box::new(Reply::new(403, details).text("RBAC: access denied"))),
    }
}
