//! Transport sockets: TLS, plain, and the PROXY protocol around either.

use super::at::{At, Typed};
use super::tls::{
    read_downstream_tls, read_upstream_tls, write_downstream_tls, write_upstream_tls,
};
use super::unsupported;
use crate::message::Msg;
use crate::schema::*;
use ir::{DownstreamTls, ProxyProtocolVersion, UpstreamTls};

const TLS: &str = "envoy.transport_sockets.tls";

fn socket(name: &str, config: Msg) -> Msg {
    Msg::new(&TRANSPORT_SOCKET).set("name", name).set("typed_config", config.any())
}

fn raw() -> Msg {
    socket("envoy.transport_sockets.raw_buffer", Msg::new(&RAW_BUFFER))
}

pub(super) fn write_downstream(tls: &DownstreamTls) -> Msg {
    socket(TLS, write_downstream_tls(tls))
}

/// The TLS context in the field `transport_socket`, if it is one.
pub(super) fn read_downstream(at: &At) -> Option<DownstreamTls> {
    let outer = at.msg("transport_socket")?;
    let config = config(&outer)?;
    match () {
        () if config.is(&RAW_BUFFER) => None,
        () if config.is(&DOWNSTREAM_TLS) => Some(read_downstream_tls(&config)),
        () => {
            unsupported(&config.path, config.ty());
            None
        }
    }
}

const VERSIONS: &[(i32, ProxyProtocolVersion)] =
    &[(0, ProxyProtocolVersion::V1), (1, ProxyProtocolVersion::V2)];

/// `None` where a plain socket needs no words.
pub(super) fn write_upstream(
    tls: Option<&UpstreamTls>,
    proxy: Option<ProxyProtocolVersion>,
) -> Option<Msg> {
    let inner = tls.map(|t| socket(TLS, write_upstream_tls(t)));
    let Some(version) = proxy else { return inner };
    let config =
        Msg::new(&PROXY_PROTOCOL_CONFIG).set("version", super::at::number_of(VERSIONS, version));
    let transport = Msg::new(&PROXY_PROTOCOL_TRANSPORT)
        .set("config", config)
        .set("transport_socket", inner.unwrap_or_else(raw));
    Some(socket("envoy.transport_sockets.upstream_proxy_protocol", transport))
}

/// As [`write_upstream`], where a socket must be named.
pub(super) fn write_upstream_or_raw(
    tls: Option<&UpstreamTls>,
    proxy: Option<ProxyProtocolVersion>,
) -> Msg {
    write_upstream(tls, proxy).unwrap_or_else(raw)
}

/// What the field `transport_socket` says: encryption, and the PROXY protocol before it.
pub(super) fn read_upstream(at: &At) -> (Option<UpstreamTls>, Option<ProxyProtocolVersion>) {
    let Some(outer) = at.msg("transport_socket") else { return (None, None) };
    let Some(config) = config(&outer) else { return (None, None) };
    match () {
        () if config.is(&RAW_BUFFER) => (None, None),
        () if config.is(&UPSTREAM_TLS) => (Some(read_upstream_tls(&config)), None),
        () if config.is(&PROXY_PROTOCOL_TRANSPORT) => {
            let version = match config.msg("config") {
                Some(c) => c.pick("version", VERSIONS),
                None => Some(ProxyProtocolVersion::V1),
            };
            let (tls, nested) = read_upstream(&config);
            if nested.is_some() {
                config.error("stands within itself");
            }
            (tls, version)
        }
        () => {
            unsupported(&config.path, config.ty());
            (None, None)
        }
    }
}

fn config<'a>(socket: &'a At<'a>) -> Option<At<'a>> {
    socket.str("name");
    match socket.typed("typed_config") {
        Some(Typed::Known(config)) => Some(config),
        Some(Typed::Unknown(url)) => {
            unsupported(&socket.path.field("typed_config"), url);
            None
        }
        None => {
            socket.error_in("typed_config", "is missing");
            None
        }
    }
}
