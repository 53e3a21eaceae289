//! The protocol spoken to a cluster's endpoints (`HttpProtocolOptions` of the upstream extension).

use super::at::{At, Typed, each_typed};
use super::options::{read_common, read_http1, read_http2, write_common, write_http1, write_http2};
use super::unsupported;
use crate::message::{Msg, Val};
use crate::schema::*;
use ir::{Cluster, UpstreamProtocol, UpstreamTls};
use std::collections::BTreeMap;

const EXTENSION: &str = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";

/// Sets the extension where anything differs from HTTP/1.1 with its defaults.
pub(super) fn write_protocols(msg: Msg, c: &Cluster) -> Msg {
    let sni = Msg::new(&UPSTREAM_HTTP_COMMON)
        .set("auto_sni", tls_of(c).any(|t| t.auto_sni))
        .set("auto_san_validation", tls_of(c).any(|t| t.auto_san_validation));
    let options = Msg::new(&UPSTREAM_HTTP)
        .set_opt("common_http_protocol_options", write_common(&c.common))
        .set_opt("upstream_http_protocol_options", (!sni.is_empty()).then_some(sni));
    let (http1, http2) = (write_http1(&c.http1), write_http2(&c.http2));
    let plain = c.protocol == UpstreamProtocol::Http1 && http1.is_none();
    if plain && options.is_empty() {
        return msg;
    }
    let options = match c.protocol {
        UpstreamProtocol::Http1 => {
            let http1 = http1.unwrap_or_else(|| Msg::new(&HTTP1_OPTIONS));
            let explicit = Msg::new(&EXPLICIT_HTTP).set("http_protocol_options", http1);
            options.set("explicit_http_config", explicit)
        }
        UpstreamProtocol::Http2 => {
            let http2 = http2.unwrap_or_else(|| Msg::new(&HTTP2_OPTIONS));
            let explicit = Msg::new(&EXPLICIT_HTTP).set("http2_protocol_options", http2);
            options.set("explicit_http_config", explicit)
        }
        UpstreamProtocol::Downstream => {
            // HTTP/2 is offered to HTTP/2 requests only where its options stand.
            let both = Msg::new(&DOWNSTREAM_HTTP)
                .set_opt("http_protocol_options", http1)
                .set("http2_protocol_options", http2.unwrap_or_else(|| Msg::new(&HTTP2_OPTIONS)));
            options.set("use_downstream_protocol_config", both)
        }
        UpstreamProtocol::Auto => {
            let both = Msg::new(&AUTO_HTTP)
                .set_opt("http_protocol_options", http1)
                .set_opt("http2_protocol_options", http2);
            options.set("auto_config", both)
        }
    };
    let extensions = BTreeMap::from([(EXTENSION.into(), options.any())]);
    msg.set("typed_extension_protocol_options", Val::Map(extensions))
}

fn tls_of(c: &Cluster) -> impl Iterator<Item = &UpstreamTls> {
    c.tls.iter().chain(c.tls_matches.iter().filter_map(|m| m.tls.as_ref()))
}

/// Reads the extension, or the older fields of the cluster itself.
pub(super) fn read_protocols(at: &At, c: &mut Cluster) {
    if let Some(o) = at.msg("http_protocol_options") {
        c.http1 = read_http1(&o);
    }
    if let Some(o) = at.msg("http2_protocol_options") {
        c.protocol = UpstreamProtocol::Http2;
        c.http2 = read_http2(&o);
    }
    if let Some(o) = at.msg("common_http_protocol_options") {
        c.common = read_common(&o);
    }
    each_typed(at, "typed_extension_protocol_options", |_, typed, path| {
        match typed {
            Typed::Known(t) if t.is(&UPSTREAM_HTTP) => read_extension(&t, c),
            Typed::Known(t) => unsupported(&t.path, t.ty()),
            Typed::Unknown(url) => unsupported(path, url),
        }
        None::<()>
    });
}

fn read_extension(at: &At, c: &mut Cluster) {
    if let Some(o) = at.msg("common_http_protocol_options") {
        c.common = read_common(&o);
    }
    if let Some(sni) = at.msg("upstream_http_protocol_options") {
        let (auto_sni, auto_san) = (sni.bool("auto_sni"), sni.bool("auto_san_validation"));
        for tls in c.tls.iter_mut().chain(c.tls_matches.iter_mut().filter_map(|m| m.tls.as_mut())) {
            tls.auto_sni = auto_sni;
            tls.auto_san_validation = auto_san;
        }
    }
    if let Some(explicit) = at.msg("explicit_http_config") {
        read_versions(&explicit, c);
        let http2 = explicit.has("http2_protocol_options");
        c.protocol = if http2 { UpstreamProtocol::Http2 } else { UpstreamProtocol::Http1 };
    } else if let Some(both) = at.msg("use_downstream_protocol_config") {
        read_versions(&both, c);
        let http2 = both.has("http2_protocol_options");
        c.protocol = if http2 { UpstreamProtocol::Downstream } else { UpstreamProtocol::Http1 };
    } else if let Some(both) = at.msg("auto_config") {
        read_versions(&both, c);
        c.protocol = UpstreamProtocol::Auto;
    } else {
        at.error("names no protocol: explicit_http_config, use_downstream_protocol_config or auto_config");
    }
}

fn read_versions(at: &At, c: &mut Cluster) {
    if let Some(o) = at.msg("http_protocol_options") {
        c.http1 = read_http1(&o);
    }
    if let Some(o) = at.msg("http2_protocol_options") {
        c.http2 = read_http2(&o);
    }
}
