//! Listeners and filter chains.

use super::address::{read_address_in, read_cidr, write_address, write_cidr};
use super::at::{At, Typed, number_of};
use super::common::{lower, read_metadata, strs, write_metadata};
use super::log::{read_access_logs, write_access_log};
use super::network::{read_filters, write_filters};
use super::socket;
use super::unsupported;
use crate::message::{Msg, Val};
use crate::schema::*;
use base::OriginId;
use ir::{
    ChainMatch, Direction, FilterChain, Inspector, Listener, ListenerFilters, Preamble, SourceType,
    Str,
};

const DIRECTIONS: &[(i32, Direction)] =
    &[(0, Direction::Unspecified), (1, Direction::Inbound), (2, Direction::Outbound)];

pub(super) fn write_listener(l: &Listener) -> Msg {
    let additional = |a| Msg::new(&ADDITIONAL_ADDRESS).set("address", write_address(a));
    Msg::new(&LISTENER)
        .set("name", &l.name)
        .set("address", write_address(&l.address))
        .set("additional_addresses", Val::list(&l.additional_addresses, additional))
        .set_opt("bind_to_port", (!l.bind_to_port).then_some(false))
        .set_opt("use_original_dst", l.use_original_dst.then_some(true))
        .set("listener_filters", write_listener_filters(&l.filters))
        .set_opt("listener_filters_timeout", l.filters.timeout)
        .set("continue_on_listener_filters_timeout", l.filters.continue_on_timeout)
        .set("filter_chains", Val::list(&l.chains, write_chain))
        .set_opt("default_filter_chain", l.default_chain.as_ref().map(write_chain))
        .set("access_log", Val::list(&l.access_log, write_access_log))
        .set("traffic_direction", number_of(DIRECTIONS, l.direction))
        .set_opt("per_connection_buffer_limit_bytes", l.per_connection_buffer_limit)
        .set_opt("transparent", l.transparent.then_some(true))
        .set_opt("enable_reuse_port", l.reuse_port)
        .set_opt("metadata", write_metadata(&l.metadata))
}

pub(super) fn read_listener(at: &At) -> Listener {
    let mut filters = read_listener_filters(at);
    filters.timeout = at.duration("listener_filters_timeout");
    filters.continue_on_timeout = at.bool("continue_on_listener_filters_timeout");
    Listener {
        name: at.str("name"),
        address: read_address_in(at, "address"),
        additional_addresses: at.each("additional_addresses", |a| read_address_in(a, "address")),
        bind_to_port: at.opt_bool("bind_to_port").unwrap_or(true),
        use_original_dst: at.bool("use_original_dst"),
        filters,
        chains: at.each("filter_chains", read_chain),
        default_chain: at.msg("default_filter_chain").map(|c| read_chain(&c)),
        access_log: read_access_logs(at),
        direction: at.pick("traffic_direction", DIRECTIONS).unwrap_or_default(),
        per_connection_buffer_limit: at.opt_u32("per_connection_buffer_limit_bytes"),
        transparent: at.bool("transparent"),
        reuse_port: at.opt_bool("enable_reuse_port"),
        metadata: read_metadata(at, "metadata"),
        origin: OriginId::NONE,
    }
}

fn write_listener_filters(f: &ListenerFilters) -> Vec<Val> {
    let filter = |name: &str, ty| {
        Msg::new(&LISTENER_FILTER).set("name", name).set("typed_config", Msg::new(ty).any())
    };
    let inspector = |name: &str, ty, i: &Inspector| {
        filter(name, ty).set_opt("filter_disabled", write_disabled(&i.disabled_ports))
    };
    let mut list = Vec::new();
    if let Some(preamble) = &f.proxy_protocol {
        let options = Msg::new(&PROXY_PROTOCOL)
            .set("allow_requests_without_proxy_protocol", preamble.optional);
        let filter = Msg::new(&LISTENER_FILTER)
            .set("name", "envoy.filters.listener.proxy_protocol")
            .set("typed_config", options.any());
        list.push(filter);
    }
    if f.original_dst {
        list.push(filter("envoy.filters.listener.original_dst", &ORIGINAL_DST));
    }
    if let Some(i) = &f.tls_inspector {
        list.push(inspector("envoy.filters.listener.tls_inspector", &TLS_INSPECTOR, i));
    }
    if let Some(i) = &f.http_inspector {
        list.push(inspector("envoy.filters.listener.http_inspector", &HTTP_INSPECTOR, i));
    }
    list.into_iter().map(Val::Msg).collect()
}

fn read_listener_filters(at: &At) -> ListenerFilters {
    let mut filters = ListenerFilters::default();
    at.each("listener_filters", |f| {
        let disabled_ports =
            f.msg("filter_disabled").map(|d| read_disabled(&d)).unwrap_or_default();
        let partly = !disabled_ports.is_empty();
        let inspector = Some(Inspector { disabled_ports });
        match f.typed("typed_config") {
            Some(Typed::Known(t)) if t.is(&TLS_INSPECTOR) => filters.tls_inspector = inspector,
            Some(Typed::Known(t)) if t.is(&HTTP_INSPECTOR) => filters.http_inspector = inspector,
            Some(Typed::Known(t)) if t.is(&ORIGINAL_DST) && !partly => filters.original_dst = true,
            Some(Typed::Known(t)) if t.is(&PROXY_PROTOCOL) && !partly => {
                let optional = t.bool("allow_requests_without_proxy_protocol");
                filters.proxy_protocol = Some(Preamble { optional });
            }
            Some(Typed::Known(t)) => unsupported(&t.path, t.ty()),
            Some(Typed::Unknown(url)) => unsupported(&f.path.field("typed_config"), url),
            None => f.error_in("typed_config", "is missing"),
        }
    });
    filters
}

fn write_disabled(ports: &[(u16, u16)]) -> Option<Msg> {
    let range = |&(start, end): &(u16, u16)| {
        let range =
            Msg::new(&INT32_RANGE).set("start", i32::from(start)).set("end", i32::from(end));
        Msg::new(&LISTENER_FILTER_PREDICATE).set("destination_port_range", range)
    };
    match ports {
        [] => None,
        [one] => Some(range(one)),
        many => {
            let set = Msg::new(&LISTENER_FILTER_PREDICATE_SET).set("rules", Val::list(many, range));
            Some(Msg::new(&LISTENER_FILTER_PREDICATE).set("or_match", set))
        }
    }
}

fn read_disabled(at: &At) -> Vec<(u16, u16)> {
    if let Some(any) = at.msg("or_match") {
        return any.each("rules", read_disabled).into_iter().flatten().collect();
    }
    let Some(range) = at.msg("destination_port_range") else {
        at.error("says nothing to match");
        return Vec::new();
    };
    match (u16::try_from(range.i64("start")), u16::try_from(range.i64("end"))) {
        (Ok(start), Ok(end)) => vec![(start, end)],
        _ => {
            range.error("is no range of ports");
            Vec::new()
        }
    }
}

fn write_chain(c: &FilterChain) -> Msg {
    let matches = write_chain_match(&c.matches);
    Msg::new(&FILTER_CHAIN)
        .set("name", &c.name)
        .set_opt("filter_chain_match", (!matches.is_empty()).then_some(matches))
        .set("filters", write_filters(&c.network, &c.terminal))
        .set_opt("transport_socket", c.tls.as_ref().map(socket::write_downstream))
        .set_opt("transport_socket_connect_timeout", c.handshake_timeout)
        .set_opt("metadata", write_metadata(&c.metadata))
}

fn read_chain(at: &At) -> FilterChain {
    let (network, terminal) = read_filters(at);
    FilterChain {
        name: at.str("name"),
        matches: at.msg("filter_chain_match").map(|m| read_chain_match(&m)).unwrap_or_default(),
        tls: socket::read_downstream(at),
        network,
        terminal,
        handshake_timeout: at.duration("transport_socket_connect_timeout"),
        metadata: read_metadata(at, "metadata"),
        origin: OriginId::NONE,
    }
}

const SOURCE_TYPES: &[(i32, SourceType)] =
    &[(0, SourceType::Any), (1, SourceType::SameIpOrLoopback), (2, SourceType::External)];

fn write_chain_match(m: &ChainMatch) -> Msg {
    Msg::new(&FILTER_CHAIN_MATCH)
        .set_opt("destination_port", m.destination_port)
        .set("prefix_ranges", Val::list(&m.destination_ranges, write_cidr))
        .set("server_names", strs(&m.server_names))
        .set("transport_protocol", &m.transport_protocol)
        .set("application_protocols", strs(&m.application_protocols))
        .set("direct_source_prefix_ranges", Val::list(&m.direct_source_ranges, write_cidr))
        .set("source_type", number_of(SOURCE_TYPES, m.source_type))
        .set("source_prefix_ranges", Val::list(&m.source_ranges, write_cidr))
        .set("source_ports", Val::list(&m.source_ports, |p| *p))
}

fn read_chain_match(at: &At) -> ChainMatch {
    let ports = at.u32s("source_ports").into_iter().filter_map(|p| {
        let port = u16::try_from(p).ok();
        if port.is_none() {
            at.error_in("source_ports", format!("{p} is no port"));
        }
        port
    });
    let names: Vec<Str> = at.strs("server_names").into_iter().map(lower).collect();
    ChainMatch {
        destination_port: at.opt_u16("destination_port"),
        destination_ranges: at.each("prefix_ranges", read_cidr),
        server_names: names,
        transport_protocol: at.str("transport_protocol"),
        application_protocols: at.strs("application_protocols"),
        direct_source_ranges: at.each("direct_source_prefix_ranges", read_cidr),
        source_type: at.pick("source_type", SOURCE_TYPES).unwrap_or_default(),
        source_ranges: at.each("source_prefix_ranges", read_cidr),
        source_ports: ports.collect(),
    }
}
