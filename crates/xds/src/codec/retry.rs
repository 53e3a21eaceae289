//! Retry policies.

use super::at::{At, Typed};
use super::common::{read_header_match, write_header_match};
use super::unsupported;
use crate::message::{Msg, Val};
use crate::schema::*;
use ir::{Backoff, RetryPolicy, Str};
use std::sync::LazyLock;
use std::time::Duration;

pub(super) fn write_retry(r: &RetryPolicy) -> Msg {
    let backoff = |b: &Backoff| {
        Msg::new(&RETRY_BACK_OFF).set("base_interval", b.base).set_opt("max_interval", b.max)
    };
    let previous_hosts = || {
        let predicate = Msg::new(&RETRY_HOST_PREDICATE)
            .set("name", "envoy.retry_host_predicates.previous_hosts")
            .set("typed_config", Msg::new(&PREVIOUS_HOSTS).any());
        vec![Val::Msg(predicate)]
    };
    let priority = |frequency: i32| {
        Msg::new(&RETRY_PRIORITY).set("name", "envoy.retry_priorities.previous_priorities").set(
            "typed_config",
            Msg::new(&PREVIOUS_PRIORITIES).set("update_frequency", frequency).any(),
        )
    };
    Msg::new(&RETRY_POLICY)
        .set("retry_on", r.on.join(",").as_str())
        .set_opt("num_retries", r.num_retries)
        .set_opt("per_try_timeout", r.per_try_timeout)
        .set_opt("per_try_idle_timeout", r.per_try_idle_timeout)
        .set("retriable_status_codes", Val::list(&r.retriable_status_codes, |c| *c))
        .set("retriable_headers", Val::list(&r.retriable_headers, write_header_match))
        .set_opt("retry_back_off", r.backoff.as_ref().map(backoff))
        .set_opt("retry_host_predicate", r.avoid_previous_hosts.then(previous_hosts))
        .set("host_selection_retry_max_attempts", r.host_selection_max_attempts)
        .set_opt("retry_priority", r.previous_priorities.map(priority))
}

pub(super) fn read_retry(at: &At) -> RetryPolicy {
    let said = at.str("retry_on");
    let mut on: Vec<Str> =
        said.split(',').map(str::trim).filter(|s| !s.is_empty()).map(shared).collect();
    on.shrink_to_fit();
    let predicates = at.each("retry_host_predicate", is_previous_hosts);
    RetryPolicy {
        on,
        num_retries: at.opt_u32("num_retries"),
        per_try_timeout: at.duration("per_try_timeout"),
        per_try_idle_timeout: at.duration("per_try_idle_timeout"),
        retriable_status_codes: at.u32s("retriable_status_codes"),
        retriable_headers: at.each("retriable_headers", read_header_match),
        backoff: at.msg("retry_back_off").map(|b| Backoff {
            base: b.duration("base_interval").unwrap_or(Duration::from_millis(25)),
            max: b.duration("max_interval"),
        }),
        avoid_previous_hosts: predicates.contains(&true),
        host_selection_max_attempts: at.i64("host_selection_retry_max_attempts"),
        previous_priorities: at.msg("retry_priority").and_then(|p| read_priority(&p)),
    }
}

/// The conditions that the routes of a mesh have by default are kept once, not for each route.
fn shared(condition: &str) -> Str {
    static USUAL: LazyLock<[Str; 7]> = LazyLock::new(|| {
        [
            "connect-failure",
            "refused-stream",
            "unavailable",
            "cancelled",
            "retriable-status-codes",
            "reset-before-request",
            "503",
        ]
        .map(Str::from)
    });
    let usual = USUAL.iter().find(|usual| ***usual == *condition);
    usual.cloned().unwrap_or_else(|| condition.into())
}

fn is_previous_hosts(at: &At) -> bool {
    match at.typed("typed_config") {
        Some(Typed::Known(t)) if t.is(&PREVIOUS_HOSTS) => return true,
        Some(Typed::Known(t)) => unsupported(&t.path, t.ty()),
        Some(Typed::Unknown(url)) => unsupported(&at.path.field("typed_config"), url),
        // The older spelling, by name alone.
        None if &*at.str("name") == "envoy.retry_host_predicates.previous_hosts" => return true,
        None => at.error_in("typed_config", "is missing"),
    }
    false
}

fn read_priority(at: &At) -> Option<i32> {
    at.str("name");
    match at.typed("typed_config") {
        Some(Typed::Known(t)) if t.is(&PREVIOUS_PRIORITIES) => {
            i32::try_from(t.i64("update_frequency")).ok()
        }
        Some(Typed::Known(t)) => {
            unsupported(&t.path, t.ty());
            None
        }
        Some(Typed::Unknown(url)) => {
            unsupported(&at.path.field("typed_config"), url);
            None
        }
        None => None,
    }
}
