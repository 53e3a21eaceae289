//! The head of a request before a route is looked for: what is refused at once, the one canonical form
//! of path, host and fields, and what a proxy adds.

use crate::edge::{self, Via};
use crate::normal::{self, Normalized, PathRules};
use base::Env;
use ir::{HttpManager, Underscores, Upgrade};
use std::net::IpAddr;
use wire::{Request, RequestHead, Version};

/// Why a request gets no further than its head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// HTTP/1.0 where it is not accepted.
    Version,
    /// The client is to ask for this path instead.
    Path(Vec<u8>),
    /// The path holds what is forbidden.
    ForbiddenPath,
    /// A field's name holds an underscore.
    Underscore,
}

impl Refusal {
    pub fn status(&self) -> u16 {
        match self {
            Refusal::Version => 426,
            Refusal::Path(_) => 307,
            Refusal::ForbiddenPath | Refusal::Underscore => 400,
        }
    }

    /// As access logs call it.
    pub fn details(&self) -> &'static str {
        match self {
            Refusal::Version => "low_version",
            Refusal::Path(_) => "path_normalization_redirect",
            Refusal::ForbiddenPath => "path_normalization_failed",
            Refusal::Underscore => "http1.unexpected_underscore",
        }
    }
}

/// Whether the version of the protocol is spoken here; a client that names no host gets one.
pub fn begin(request: &mut Request, manager: &HttpManager) -> Result<(), Refusal> {
    if request.version == Version::Http10 && !manager.http1.accept_http_10 {
        return Err(Refusal::Version);
    }
    let default = &manager.http1.default_host_for_http_10;
    if request.authority().is_empty() && !default.is_empty() {
        request.set_authority(default.as_bytes());
    }
    Ok(())
}

/// Makes the head canonical and adds what the connection manager adds. `port`: where the connection
/// was meant for. Gives the client's address where `x-forwarded-for` is trusted to say it.
pub fn prepare(
    request: &mut Request,
    manager: &HttpManager,
    via: &Via<'_>,
    port: Option<u16>,
    env: &impl Env,
) -> Result<Option<IpAddr>, Refusal> {
    match normal::path(request.path(), PathRules::of(manager)) {
        Normalized::Unchanged => {}
        Normalized::Changed(path) => request.set_path(&path),
        Normalized::Redirect(path) => return Err(Refusal::Path(path)),
        Normalized::Rejected => return Err(Refusal::ForbiddenPath),
    }
    if let Some(port) = port {
        let host = normal::strip_host(request.authority(), manager, port);
        if host.len() != request.authority().len() {
            let host = host.into_owned();
            request.set_authority(&host);
        }
    }
    underscores(request, manager)?;
    Ok(edge::prepare(request, manager, via, env))
}

fn underscores(request: &mut Request, manager: &HttpManager) -> Result<(), Refusal> {
    let has = |name: &[u8]| name.contains(&b'_');
    match manager.common.underscores {
        Underscores::Allow => {}
        Underscores::DropHeader => request.fields.retain(|name, _| !has(name)),
        Underscores::RejectRequest => {
            if request.fields.iter().any(|(name, _)| has(name)) {
                return Err(Refusal::Underscore);
            }
        }
    }
    Ok(())
}

/// Whether the request may change the protocol of its connection, as it wishes to; what the route
/// says comes before what the connection manager says.
pub fn may_upgrade(manager: &HttpManager, route: &[Upgrade], request: &Request) -> bool {
    let kind = if request.method() == b"CONNECT" {
        &b"CONNECT"[..]
    } else {
        let mut wishes = request.fields.values(b"upgrade");
        match (wishes.next(), wishes.next()) {
            (Some(only), None) => only,
            // Several are none that a list could name.
            _ => return false,
        }
    };
    let of = |list: &[Upgrade]| {
        list.iter().find(|u| u.kind.as_bytes().eq_ignore_ascii_case(kind)).map(|u| u.enabled)
    };
    of(route).or_else(|| of(&manager.upgrades)).unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::FixedEnv;
    use ir::{RouteSource, StripPort};

    fn prepared(manager: &HttpManager, path: &str) -> Result<(String, String), Refusal> {
        let mut request = Request::new(b"GET", b"a.example:80", path.as_bytes());
        request.fields.push(b"under_score", b"1");
        let via = Via {
            remote: "10.0.0.1".parse().unwrap(),
            local: "10.0.0.2".parse().unwrap(),
            tls: false,
            peer: None,
        };
        begin(&mut request, manager)?;
        prepare(&mut request, manager, &via, Some(80), &FixedEnv::default())?;
        let text = |b: &[u8]| String::from_utf8(b.to_vec()).unwrap();
        Ok((text(request.authority()), text(request.path())))
    }

    #[test]
    fn heads_are_made_canonical_or_refused() {
        let mut manager = HttpManager::new("in", RouteSource::Rds("r".into()));
        manager.normalize_path = true;
        let as_it_is = Ok(("a.example:80".to_owned(), "/b".to_owned()));
        assert_eq!(prepared(&manager, "/a/../b"), as_it_is);
        manager.strip_host_port = StripPort::Matching;
        assert_eq!(prepared(&manager, "/b"), Ok(("a.example".to_owned(), "/b".to_owned())));
        manager.common.underscores = Underscores::RejectRequest;
        assert_eq!(prepared(&manager, "/b"), Err(Refusal::Underscore));
        manager.escaped_slashes = ir::EscapedSlashes::RejectRequest;
        assert_eq!(prepared(&manager, "/a%2fb"), Err(Refusal::ForbiddenPath));
        manager.escaped_slashes = ir::EscapedSlashes::UnescapeAndRedirect;
        assert_eq!(prepared(&manager, "/a%2fb"), Err(Refusal::Path(b"/a/b".to_vec())));
    }

    #[test]
    fn the_route_decides_on_upgrades_before_the_manager() {
        let mut manager = HttpManager::new("in", RouteSource::Rds("r".into()));
        let upgrade = |enabled| Upgrade { kind: "WebSocket".into(), enabled };
        let mut request = Request::new(b"GET", b"a", b"/");
        request.fields.push(b"upgrade", b"websocket");
        assert!(!may_upgrade(&manager, &[], &request));
        manager.upgrades = vec![upgrade(true)];
        assert!(may_upgrade(&manager, &[], &request));
        assert!(!may_upgrade(&manager, &[upgrade(false)], &request));
    }
}
