//! `/recent_requests`: the newest requests, all or those of one id.

use super::{Process, Query, Reply};
use crate::Recent;
use ir::Direction;
use serde_json::{Value, json};

/// Fields that identify their sender; their values are not shown.
const SECRET: [&str; 4] = ["authorization", "proxy-authorization", "cookie", "x-api-key"];

pub(super) fn answer(process: &dyn Process, query: &Query<'_>) -> Reply {
    let id = query.get("id");
    let wanted = |r: &Recent| id.as_ref().is_none_or(|id| r.id == *id);
    let all = process.recent();
    let requests: Vec<Value> = all.iter().filter(|r| wanted(r)).map(one).collect();
    Reply::json(&json!({ "requests": requests }))
}

fn one(r: &Recent) -> Value {
    let is_secret = |name: &str| SECRET.iter().any(|s| name.eq_ignore_ascii_case(s));
    let shown = r.fields.iter().filter(|(name, _)| !is_secret(name));
    let hidden = r.fields.iter().map(|(name, _)| name).filter(|name| is_secret(name));
    let direction = match r.direction {
        Direction::Inbound => "inbound",
        Direction::Outbound => "outbound",
        Direction::Unspecified => "unspecified",
    };
    let flags: Vec<&str> = r.flags.shorts().collect();
    json!({
        "id": r.id,
        "start_ns": r.start.0.to_string(),
        "duration_us": u64::try_from(r.duration.as_micros()).unwrap_or(u64::MAX),
        "listener": r.listener,
        "direction": direction,
        "source": r.source,
        "destination": r.destination,
        "tls": r.tls,
        "peer": r.peer,
        "method": r.method,
        "authority": r.authority,
        "path": r.path,
        "headers": shown.map(|(n, v)| json!([n, v])).collect::<Vec<_>>(),
        "hidden": hidden.collect::<Vec<_>>(),
        "cut": r.cut,
        "random": r.random.to_string(),
        "virtual_host": r.virtual_host,
        "route": r.route,
        "route_place": r.place,
        "cluster": r.cluster,
        "endpoint": r.endpoint,
        "attempts": r.attempts,
        "status": r.status,
        "flags": flags,
        "details": r.details,
    })
}
