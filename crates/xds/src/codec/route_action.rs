//! `RouteAction`: where a request goes, and with what changes.

use super::at::At;
use super::common::{
    read_header_ops, read_metadata, read_regex_rewrite, read_runtime_fraction, write_header_ops,
    write_metadata, write_regex_rewrite, write_runtime_fraction,
};
use super::filter::{read_cors, read_per_filter, write_cors, write_per_filter};
use super::rate_limit::{read_rules, write_rules};
use super::retry::{read_retry, write_retry};
use crate::message::{Msg, Val};
use crate::schema::*;
use base::OriginId;
use ir::{
    Destination, Forward, GrpcTimeout, HashPolicy, HashSource, HostRewrite, MaxStream, Mirror, Str,
    Upgrade, WeightedCluster,
};

/// 503 is the default, which is written as absence.
const NOT_FOUND_CODES: &[(i32, Option<u16>)] = &[(0, None), (1, Some(404)), (2, Some(500))];

pub(super) fn write_forward(f: &Forward) -> Msg {
    let upgrade = |u: &Upgrade| {
        Msg::new(&ROUTE_UPGRADE)
            .set("upgrade_type", &u.kind)
            .set_opt("enabled", (!u.enabled).then_some(false))
    };
    let msg = Msg::new(&ROUTE_ACTION)
        .set(
            "cluster_not_found_response_code",
            super::at::number_of(NOT_FOUND_CODES, f.cluster_not_found),
        )
        .set("prefix_rewrite", &f.prefix_rewrite)
        .set_opt("regex_rewrite", f.regex_rewrite.as_ref().map(write_regex_rewrite))
        .set("append_x_forwarded_host", f.append_x_forwarded_host)
        .set_opt("timeout", f.timeout)
        .set_opt("idle_timeout", f.idle_timeout)
        .set_opt("max_stream_duration", f.max_stream.as_ref().map(write_max_stream))
        .set_opt("max_grpc_timeout", f.grpc_timeout.as_ref().and_then(|t| t.max))
        .set_opt("grpc_timeout_offset", f.grpc_timeout.as_ref().and_then(|t| t.offset))
        .set_opt("retry_policy", f.retry.as_ref().map(write_retry))
        .set("request_mirror_policies", Val::list(&f.mirrors, write_mirror))
        .set("hash_policy", Val::list(&f.hash, write_hash))
        .set("upgrade_configs", Val::list(&f.upgrades, upgrade))
        .set_opt("metadata_match", write_metadata(&f.metadata_match))
        .set("rate_limits", write_rules(&f.rate_limits))
        .set_opt("include_vh_rate_limits", f.include_vh_rate_limits.then_some(true))
        .set_opt("cors", f.cors.as_ref().map(|c| write_cors(c, &CORS_POLICY)));
    let msg = match &f.host_rewrite {
        HostRewrite::None => msg,
        HostRewrite::Literal(h) => msg.set("host_rewrite_literal", h),
        HostRewrite::Auto => msg.set("auto_host_rewrite", true),
        HostRewrite::Header(h) => msg.set("host_rewrite_header", h),
        HostRewrite::PathRegex(r) => msg.set("host_rewrite_path_regex", write_regex_rewrite(r)),
    };
    match &f.to {
        Destination::Cluster(name) => msg.set("cluster", name),
        Destination::ClusterHeader(name) => msg.set("cluster_header", name),
        Destination::Weighted(list) => msg.set(
            "weighted_clusters",
            Msg::new(&WEIGHTED_CLUSTER).set("clusters", Val::list(list, write_weighted)),
        ),
    }
}

pub(super) fn read_forward(at: &At) -> Forward {
    Forward {
        to: read_destination(at),
        cluster_not_found: at.pick("cluster_not_found_response_code", NOT_FOUND_CODES).flatten(),
        prefix_rewrite: at.str("prefix_rewrite"),
        regex_rewrite: at.msg("regex_rewrite").map(|r| read_regex_rewrite(&r)),
        host_rewrite: read_host_rewrite(at),
        append_x_forwarded_host: at.bool("append_x_forwarded_host"),
        timeout: at.duration("timeout"),
        idle_timeout: at.duration("idle_timeout"),
        max_stream: read_max_stream(at),
        grpc_timeout: read_grpc_timeout(at),
        retry: at.msg("retry_policy").map(|r| read_retry(&r)),
        mirrors: at.each("request_mirror_policies", read_mirror),
        hash: at.each("hash_policy", read_hash).into_iter().flatten().collect(),
        upgrades: at.each("upgrade_configs", |u| Upgrade {
            kind: u.str("upgrade_type"),
            enabled: u.opt_bool("enabled").unwrap_or(true),
        }),
        metadata_match: read_metadata(at, "metadata_match"),
        cors: at.msg("cors").map(|c| read_cors(&c)),
        rate_limits: read_rules(at),
        include_vh_rate_limits: at.bool("include_vh_rate_limits"),
    }
}

fn read_destination(at: &At) -> Destination {
    if let Some(name) = at.opt_str("cluster") {
        return Destination::Cluster(name);
    }
    if let Some(name) = at.opt_str("cluster_header") {
        return Destination::ClusterHeader(name);
    }
    let Some(weighted) = at.msg("weighted_clusters") else {
        at.error("names no cluster");
        return Destination::Cluster("".into());
    };
    Destination::Weighted(weighted.each("clusters", |c| WeightedCluster {
        name: c.str("name"),
        weight: c.u32("weight"),
        headers: read_header_ops(c),
        host_rewrite: c.str("host_rewrite_literal"),
        metadata_match: read_metadata(c, "metadata_match"),
        per_filter: read_per_filter(c),
        origin: OriginId::NONE,
    }))
}

fn write_weighted(c: &WeightedCluster) -> Msg {
    let rewrite = Some(&c.host_rewrite).filter(|h| !h.is_empty());
    let msg = Msg::new(&CLUSTER_WEIGHT)
        .set("name", &c.name)
        .set("weight", c.weight)
        .set_opt("host_rewrite_literal", rewrite)
        .set_opt("metadata_match", write_metadata(&c.metadata_match))
        .set("typed_per_filter_config", write_per_filter(&c.per_filter));
    write_header_ops(msg, &c.headers)
}

fn read_host_rewrite(at: &At) -> HostRewrite {
    if let Some(host) = at.opt_str("host_rewrite_literal") {
        HostRewrite::Literal(host)
    } else if at.bool("auto_host_rewrite") {
        HostRewrite::Auto
    } else if let Some(header) = at.opt_str("host_rewrite_header") {
        HostRewrite::Header(super::common::lower(header))
    } else if let Some(r) = at.msg("host_rewrite_path_regex") {
        HostRewrite::PathRegex(read_regex_rewrite(&r))
    } else {
        HostRewrite::None
    }
}

fn write_max_stream(m: &MaxStream) -> Msg {
    Msg::new(&MAX_STREAM_DURATION)
        .set_opt("max_stream_duration", m.max_stream_duration)
        .set_opt("grpc_timeout_header_max", m.grpc_timeout_header_max)
        .set_opt("grpc_timeout_header_offset", m.grpc_timeout_header_offset)
}

fn read_max_stream(at: &At) -> Option<MaxStream> {
    at.msg("max_stream_duration").map(|m| MaxStream {
        max_stream_duration: m.duration("max_stream_duration"),
        grpc_timeout_header_max: m.duration("grpc_timeout_header_max"),
        grpc_timeout_header_offset: m.duration("grpc_timeout_header_offset"),
    })
}

fn read_grpc_timeout(at: &At) -> Option<GrpcTimeout> {
    let (max, offset) = (at.duration("max_grpc_timeout"), at.duration("grpc_timeout_offset"));
    (max.is_some() || offset.is_some()).then_some(GrpcTimeout { max, offset })
}

fn write_mirror(m: &Mirror) -> Msg {
    Msg::new(&MIRROR_POLICY)
        .set("cluster", &m.cluster)
        .set_opt("runtime_fraction", m.fraction.as_ref().map(write_runtime_fraction))
        .set_opt("trace_sampled", m.trace_sampled)
        .set("disable_shadow_host_suffix_append", m.disable_shadow_host_suffix)
}

fn read_mirror(at: &At) -> Mirror {
    Mirror {
        cluster: at.str("cluster"),
        fraction: at.msg("runtime_fraction").map(|f| read_runtime_fraction(&f)),
        trace_sampled: at.opt_bool("trace_sampled"),
        disable_shadow_host_suffix: at.bool("disable_shadow_host_suffix_append"),
    }
}

fn write_hash(h: &HashPolicy) -> Msg {
    let msg = Msg::new(&HASH_POLICY).set("terminal", h.terminal);
    let attribute = |(name, value): &(Str, Str)| {
        Msg::new(&COOKIE_ATTRIBUTE).set("name", name).set("value", value)
    };
    match &h.source {
        HashSource::Header(name) => {
            msg.set("header", Msg::new(&HASH_HEADER).set("header_name", name))
        }
        HashSource::Cookie { name, path, ttl, attributes } => msg.set(
            "cookie",
            Msg::new(&HASH_COOKIE)
                .set("name", name)
                .set("path", path)
                .set_opt("ttl", *ttl)
                .set("attributes", Val::list(attributes, attribute)),
        ),
        HashSource::SourceIp => {
            msg.set("connection_properties", Msg::new(&HASH_CONNECTION).set("source_ip", true))
        }
        HashSource::Query(name) => {
            msg.set("query_parameter", Msg::new(&HASH_QUERY).set("name", name))
        }
        HashSource::FilterState(key) => {
            msg.set("filter_state", Msg::new(&HASH_FILTER_STATE).set("key", key))
        }
    }
}

fn read_hash(at: &At) -> Option<HashPolicy> {
    let source = if let Some(h) = at.msg("header") {
        HashSource::Header(super::common::lower(h.str("header_name")))
    } else if let Some(c) = at.msg("cookie") {
        HashSource::Cookie {
            name: c.str("name"),
            path: c.str("path"),
            ttl: c.duration("ttl"),
            attributes: c.each("attributes", |a| (a.str("name"), a.str("value"))),
        }
    } else if let Some(c) = at.msg("connection_properties") {
        if !c.bool("source_ip") {
            c.error("names no property");
        }
        HashSource::SourceIp
    } else if let Some(q) = at.msg("query_parameter") {
        HashSource::Query(q.str("name"))
    } else if let Some(f) = at.msg("filter_state") {
        HashSource::FilterState(f.str("key"))
    } else {
        at.error("says nothing to hash");
        return None;
    };
    Some(HashPolicy { source, terminal: at.bool("terminal") })
}
