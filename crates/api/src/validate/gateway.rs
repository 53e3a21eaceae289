//! Gateway.

use super::{Report, is_label, tls};
use crate::{Gateway, Object, Protocol, Server};
use base::Host;

pub(super) fn check(object: &Object<Gateway>, report: &mut Report) {
    let servers = &object.spec.servers;
    report.require(!servers.is_empty(), "spec.servers", "gateway must have at least one server");
    for (index, server) in servers.iter().enumerate() {
        let path = format!("spec.servers[{index}]");
        check_server(server, &path, report);
        let name = &server.port.name;
        let taken = servers[..index].iter().any(|s| s.port.name == *name);
        if !name.is_empty() && taken {
            let say = format!("port names in servers must be unique: duplicate name {name}");
            report.error(&path, say);
        }
    }
}

fn check_server(server: &Server, path: &str, report: &mut Report) {
    let some = !server.hosts.is_empty();
    report.require(some, path, "server config must contain at least one host");
    for (index, host) in server.hosts.iter().enumerate() {
        check_host(host, &format!("{path}.hosts[{index}]"), report);
    }
    let port = &server.port;
    let at = format!("{path}.port");
    report.require(!port.name.is_empty(), &at, "port name must be set");
    if server.bind.starts_with("unix://") {
        report.require(port.number == 0, &at, "port number must be 0 for unix domain socket");
    } else {
        report.port(port.number, &format!("{at}.number"));
        let bound = server.bind.is_empty() || server.bind.parse::<std::net::IpAddr>().is_ok();
        report.require(bound, &format!("{path}.bind"), "bind must be an IP address or unix://");
    }
    if port.target_port.is_some_and(|t| t != 0) {
        report.warning(&at, "targetPort has no impact on Gateways");
    }
    check_tls(server, path, report);
}

fn check_tls(server: &Server, path: &str, report: &mut Report) {
    let protocol = Protocol::parse(&server.port.protocol).filter(|p| *p != Protocol::Udp);
    let Some(protocol) = protocol else {
        let say = format!(
            "invalid protocol {:?}, supported protocols are HTTP, HTTP2, GRPC, GRPC-WEB, MONGO, \
             REDIS, MYSQL, TCP, HTTPS, TLS",
            server.port.protocol
        );
        return report.error(&format!("{path}.port.protocol"), say);
    };
    match &server.tls {
        None => {
            let say = "server must have TLS settings for HTTPS/TLS protocols";
            report.require(!protocol.is_tls(), path, say);
        }
        Some(settings) => {
            if settings.https_redirect && !protocol.is_http() {
                let say = "tls.httpsRedirect should only be used with http servers";
                report.warning(path, say);
            }
            if protocol.is_http() && !settings.https_redirect {
                report.error(path, "server cannot have TLS settings for plain text HTTP ports");
            } else if !protocol.is_http() && !protocol.is_tls() {
                report.error(path, "server cannot have TLS settings for non HTTPS/TLS ports");
            }
            tls::check_server(settings, &format!("{path}.tls"), report);
        }
    }
}

/// `namespace/host` or `host`.
fn check_host(written: &str, path: &str, report: &mut Report) {
    let (namespace, host) = written.split_once('/').unwrap_or(("*", written));
    if !matches!(namespace, "*" | ".") && !is_label(namespace) {
        report.error(path, format!("invalid namespace value {namespace:?} in gateway"));
    }
    if let Err(e) = Host::parse(host) {
        report.error(path, e.to_string());
    } else if !host.contains(['.', '*']) {
        report.error(path, "short names (non FQDN) are not allowed");
    }
}
