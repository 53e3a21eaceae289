//! Rate limits: the filter of local token buckets, and the rules by which routes make descriptors.

use super::at::{At, number_of};
use super::common::{
    lower, read_header_add, read_header_match, read_runtime_fraction, write_header_add,
    write_header_match, write_runtime_fraction,
};
use crate::message::{Msg, Val};
use crate::schema::*;
use ir::{
    GlobalRateLimit, LimitDescriptor, LocalRateLimit, RateLimit, RateLimitAction, Str, TokenBucket,
    VhRateLimits,
};
use std::time::Duration;

const VH_OPTIONS: &[(i32, VhRateLimits)] =
    &[(0, VhRateLimits::Override), (1, VhRateLimits::Include), (2, VhRateLimits::Ignore)];

const HEADERS: &[(i32, bool)] = &[(0, false), (1, true)];

pub(super) fn write_local(limit: &LocalRateLimit) -> Msg {
    let status = |code: u16| Msg::new(&HTTP_STATUS).set("code", i64::from(code));
    Msg::new(&LOCAL_RATE_LIMIT)
        .set("stat_prefix", &limit.stat_prefix)
        .set_opt("status", limit.status.map(status))
        .set_opt("token_bucket", limit.bucket.as_ref().map(write_bucket))
        .set_opt("filter_enabled", limit.enabled.as_ref().map(write_runtime_fraction))
        .set_opt("filter_enforced", limit.enforced.as_ref().map(write_runtime_fraction))
        .set("response_headers_to_add", Val::list(&limit.response_headers, write_header_add))
        .set(
            "request_headers_to_add_when_not_enforced",
            Val::list(&limit.request_headers, write_header_add),
        )
        .set("descriptors", Val::list(&limit.descriptors, write_descriptor))
        .set("stage", limit.stage)
        .set("enable_x_ratelimit_headers", number_of(HEADERS, limit.ratelimit_headers))
        .set("vh_rate_limits", number_of(VH_OPTIONS, limit.vh_rate_limits))
        .set_opt("always_consume_default_token_bucket", limit.always_consume_default)
        .set("rate_limited_as_resource_exhausted", limit.resource_exhausted)
        .set("rate_limits", write_rules(&limit.rate_limits))
}

pub(super) fn read_local(at: &At) -> LocalRateLimit {
    LocalRateLimit {
        stat_prefix: at.str("stat_prefix"),
        status: at.msg("status").and_then(|s| u16::try_from(s.i64("code")).ok()),
        bucket: at.msg("token_bucket").map(|b| read_bucket(&b)),
        enabled: at.msg("filter_enabled").map(|f| read_runtime_fraction(&f)),
        enforced: at.msg("filter_enforced").map(|f| read_runtime_fraction(&f)),
        response_headers: at.each("response_headers_to_add", read_header_add),
        request_headers: at.each("request_headers_to_add_when_not_enforced", read_header_add),
        descriptors: at.each("descriptors", read_descriptor),
        stage: at.u32("stage"),
        vh_rate_limits: at.pick("vh_rate_limits", VH_OPTIONS).unwrap_or_default(),
        always_consume_default: at.opt_bool("always_consume_default_token_bucket"),
        ratelimit_headers: at.pick("enable_x_ratelimit_headers", HEADERS).unwrap_or_default(),
        resource_exhausted: at.bool("rate_limited_as_resource_exhausted"),
        rate_limits: read_rules(at),
    }
}

pub(super) fn write_global(limit: &GlobalRateLimit) -> Msg {
    let status = |code: u16| Msg::new(&HTTP_STATUS).set("code", i64::from(code));
    let grpc = Msg::new(&ENVOY_GRPC).set("cluster_name", &limit.cluster);
    let service = Msg::new(&RATE_LIMIT_SERVICE)
        .set("grpc_service", Msg::new(&GRPC_SERVICE).set("envoy_grpc", grpc));
    Msg::new(&GLOBAL_RATE_LIMIT)
        .set("domain", &limit.domain)
        .set("stage", limit.stage)
        .set_opt("timeout", limit.timeout)
        .set("failure_mode_deny", limit.failure_mode_deny)
        .set("rate_limited_as_resource_exhausted", limit.resource_exhausted)
        .set("rate_limit_service", service)
        .set("disable_x_envoy_ratelimited_header", limit.silent)
        .set_opt("rate_limited_status", limit.status.map(status))
        .set("response_headers_to_add", Val::list(&limit.response_headers, write_header_add))
        .set_opt("status_on_error", limit.status_on_error.map(status))
        .set("rate_limits", write_rules(&limit.rate_limits))
}

pub(super) fn read_global(at: &At) -> GlobalRateLimit {
    let status = |name| at.msg(name).and_then(|s| u16::try_from(s.i64("code")).ok());
    let cluster = || {
        let service = at.msg("rate_limit_service")?;
        let grpc = service.msg("grpc_service")?;
        Some(grpc.msg("envoy_grpc")?.str("cluster_name"))
    };
    let cluster = cluster().filter(|c| !c.is_empty()).unwrap_or_else(|| {
        at.error_in("rate_limit_service", "names no cluster");
        "".into()
    });
    if !matches!(&*at.str("request_type"), "" | "both") {
        at.error_in("request_type", "must be both: who is internal is not told apart here");
    }
    GlobalRateLimit {
        domain: at.str("domain"),
        cluster,
        stage: at.u32("stage"),
        timeout: at.duration("timeout"),
        failure_mode_deny: at.bool("failure_mode_deny"),
        status: status("rate_limited_status"),
        status_on_error: status("status_on_error"),
        response_headers: at.each("response_headers_to_add", read_header_add),
        silent: at.bool("disable_x_envoy_ratelimited_header"),
        resource_exhausted: at.bool("rate_limited_as_resource_exhausted"),
        rate_limits: read_rules(at),
    }
}

fn write_bucket(bucket: &TokenBucket) -> Msg {
    Msg::new(&TOKEN_BUCKET)
        .set("max_tokens", bucket.max)
        .set("tokens_per_fill", bucket.per_fill)
        .set("fill_interval", bucket.interval)
}

fn read_bucket(at: &At) -> TokenBucket {
    let interval = at.duration("fill_interval").unwrap_or(Duration::ZERO);
    if interval < Duration::from_millis(50) {
        at.error_in("fill_interval", "must be at least 50ms");
    }
    TokenBucket {
        max: at.u32("max_tokens"),
        per_fill: at.opt_u32("tokens_per_fill").unwrap_or(1),
        interval,
    }
}

fn write_descriptor(descriptor: &LimitDescriptor) -> Msg {
    let entry =
        |(key, value): &(Str, Str)| Msg::new(&DESCRIPTOR_ENTRY).set("key", key).set("value", value);
    Msg::new(&LOCAL_DESCRIPTOR)
        .set("entries", Val::list(&descriptor.entries, entry))
        .set("token_bucket", write_bucket(&descriptor.bucket))
}

fn read_descriptor(at: &At) -> LimitDescriptor {
    let entry = |e: &At| {
        let (key, value) = (e.str("key"), e.str("value"));
        if value.is_empty() {
            e.error_in("value", "is empty: a bucket for each value is not supported");
        }
        (key, value)
    };
    let none = TokenBucket { max: 0, per_fill: 1, interval: Duration::from_secs(1) };
    LimitDescriptor {
        entries: at.each("entries", entry),
        bucket: at.msg("token_bucket").map_or(none, |b| read_bucket(&b)),
    }
}

pub(super) fn write_rules(rules: &[RateLimit]) -> Val {
    Val::list(rules, |rule| {
        Msg::new(&RATE_LIMIT)
            .set("stage", rule.stage)
            .set("actions", Val::list(&rule.actions, write_action))
    })
}

/// The field is called `rate_limits` wherever it stands.
pub(super) fn read_rules(at: &At) -> Vec<RateLimit> {
    at.each("rate_limits", |rule| RateLimit {
        stage: rule.opt_u32("stage").unwrap_or(0),
        actions: rule.each("actions", read_action).into_iter().flatten().collect(),
    })
}

fn write_action(action: &RateLimitAction) -> Msg {
    let msg = Msg::new(&RATE_LIMIT_ACTION);
    match action {
        RateLimitAction::DestinationCluster => {
            msg.set("destination_cluster", Msg::new(&DESTINATION_CLUSTER))
        }
        RateLimitAction::RemoteAddress => msg.set("remote_address", Msg::new(&REMOTE_ADDRESS)),
        RateLimitAction::RequestHeader { header, key, skip_if_absent } => msg.set(
            "request_headers",
            Msg::new(&RATE_LIMIT_HEADER)
                .set("header_name", header)
                .set("descriptor_key", key)
                .set("skip_if_absent", *skip_if_absent),
        ),
        RateLimitAction::GenericKey { key, value } => msg.set(
            "generic_key",
            Msg::new(&GENERIC_KEY).set("descriptor_value", value).set("descriptor_key", key),
        ),
        RateLimitAction::HeaderValueMatch { key, value, expect, headers } => msg.set(
            "header_value_match",
            Msg::new(&HEADER_VALUE_MATCH)
                .set("descriptor_value", value)
                .set("descriptor_key", key)
                .set("expect_match", *expect)
                .set("headers", Val::list(headers, write_header_match)),
        ),
    }
}

fn read_action(at: &At) -> Option<RateLimitAction> {
    if at.has("destination_cluster") {
        return Some(RateLimitAction::DestinationCluster);
    }
    if at.has("remote_address") {
        return Some(RateLimitAction::RemoteAddress);
    }
    if let Some(h) = at.msg("request_headers") {
        return Some(RateLimitAction::RequestHeader {
            header: lower(h.str("header_name")),
            key: h.str("descriptor_key"),
            skip_if_absent: h.bool("skip_if_absent"),
        });
    }
    if let Some(k) = at.msg("generic_key") {
        let (key, value) = (k.str("descriptor_key"), k.str("descriptor_value"));
        return Some(RateLimitAction::GenericKey { key, value });
    }
    let Some(m) = at.msg("header_value_match") else {
        at.error("says nothing that makes an entry");
        return None;
    };
    Some(RateLimitAction::HeaderValueMatch {
        key: m.str("descriptor_key"),
        value: m.str("descriptor_value"),
        expect: m.opt_bool("expect_match").unwrap_or(true),
        headers: m.each("headers", read_header_match),
    })
}
