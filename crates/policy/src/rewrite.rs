//! Changes of path and host on the way upstream, and where redirects lead.

use crate::matching::{anywhere, split_query};
use crate::normal::split_port;
use base::Finding;
use ir::{Forward, HostRewrite, Redirect, RedirectPath, RegexRewrite, Str};
use regex::bytes::Regex;
use wire::{Request, RequestHead};

/// A compiled [`RegexRewrite`]: every match in the path is replaced.
#[derive(Clone, Debug)]
pub(crate) struct Substitution {
    regex: Regex,
    with: Vec<u8>,
}

impl Substitution {
    pub fn new(from: &RegexRewrite, path: &str, findings: &mut Vec<Finding>) -> Option<Self> {
        match anywhere(&from.pattern) {
            Ok(regex) => Some(Self { regex, with: replacement(&from.substitution) }),
            Err(e) => {
                findings.push(Finding::error(path, e));
                None
            }
        }
    }

    pub fn apply(&self, path: &[u8]) -> Vec<u8> {
        self.regex.replace_all(path, self.with.as_slice()).into_owned()
    }
}

/// RE2's `\1` in the notation of the crate `regex`.
fn replacement(re2: &str) -> Vec<u8> {
    let mut out = String::new();
    let mut chars = re2.chars();
    while let Some(c) = chars.next() {
        match c {
            '$' => out.push_str("$$"),
            '\\' => match chars.next() {
                Some(d) if d.is_ascii_digit() => out.push_str(&format!("${{{d}}}")),
                Some(other) => out.push(other),
                None => out.push('\\'),
            },
            c => out.push(c),
        }
    }
    out.into_bytes()
}

/// What a route does to the path.
#[derive(Clone, Debug)]
pub(crate) enum PathRewrite {
    Keep,
    /// Replaces the part that the route matched.
    Prefix(Str),
    Regex(Substitution),
}

/// What a route does to the host.
#[derive(Clone, Debug)]
pub enum HostFrom {
    Keep,
    Literal(Str),
    /// The host name of the endpoint, known once one is picked.
    Endpoint,
    Header(Str),
    Path(PathSubstitution),
}

/// A host taken from the path.
#[derive(Clone, Debug)]
pub struct PathSubstitution(Substitution);

#[derive(Clone, Debug)]
pub(crate) struct Rewrites {
    pub path: PathRewrite,
    pub host: HostFrom,
    pub forwarded_host: bool,
}

impl Rewrites {
    pub fn new(from: &Forward, path: &str, findings: &mut Vec<Finding>) -> Self {
        let mut regex = |r: &RegexRewrite, field: &str| {
            Substitution::new(r, &format!("{path}.{field}"), findings)
        };
        let host = match &from.host_rewrite {
            HostRewrite::None => HostFrom::Keep,
            HostRewrite::Literal(host) => HostFrom::Literal(host.clone()),
            HostRewrite::Auto => HostFrom::Endpoint,
            HostRewrite::Header(name) => HostFrom::Header(name.clone()),
            HostRewrite::PathRegex(r) => regex(r, "host_rewrite_path_regex")
                .map_or(HostFrom::Keep, |s| HostFrom::Path(PathSubstitution(s))),
        };
        let path = match &from.regex_rewrite {
            Some(r) => regex(r, "regex_rewrite").map_or(PathRewrite::Keep, PathRewrite::Regex),
            None if from.prefix_rewrite.is_empty() => PathRewrite::Keep,
            None => PathRewrite::Prefix(from.prefix_rewrite.clone()),
        };
        Self { path, host, forwarded_host: from.append_x_forwarded_host }
    }

    /// Rewrites host, then path, of a request whose path matched up to `matched`.
    pub fn apply(&self, request: &mut Request, matched: usize, envoy_headers: bool) {
        let host = match &self.host {
            HostFrom::Keep | HostFrom::Endpoint => None,
            HostFrom::Literal(host) => Some(host.as_bytes().to_vec()),
            HostFrom::Header(name) => request.field(name.as_bytes()).map(<[u8]>::to_vec),
            HostFrom::Path(s) => Some(s.0.apply(split_query(request.path()).0)),
        };
        if let Some(host) = host.filter(|h| !h.is_empty()) {
            set_host(request, &host, self.forwarded_host, envoy_headers);
        }
        let new = match &self.path {
            PathRewrite::Keep => return,
            PathRewrite::Prefix(prefix) => replace_prefix(request.path(), matched, prefix),
            PathRewrite::Regex(s) => {
                let (path, _) = split_query(request.path());
                let mut new = s.apply(path);
                if new.is_empty() {
                    // There is no request for nothing, so Envoy leaves the path as it is.
                    return;
                }
                new.extend_from_slice(&request.path()[path.len()..]);
                new
            }
        };
        if envoy_headers {
            let old = request.path().to_vec();
            request.fields.set(b"x-envoy-original-path", &old);
        }
        request.set_path(&new);
    }
}

/// Gives a request another authority.
pub(crate) fn set_host(
    request: &mut Request,
    host: &[u8],
    forwarded_host: bool,
    envoy_headers: bool,
) {
    if envoy_headers {
        let old = request.authority().to_vec();
        request.fields.set(b"x-envoy-original-host", &old);
    }
    if forwarded_host {
        let old = request.authority().to_vec();
        request.fields.append(b"x-forwarded-host", b",", &old);
    }
    request.set_authority(host);
}

/// The path with its first `matched` bytes replaced.
fn replace_prefix(path: &[u8], matched: usize, with: &str) -> Vec<u8> {
    [with.as_bytes(), &path[matched.min(path.len())..]].concat()
}

/// A compiled [`Redirect`].
#[derive(Clone, Debug)]
pub(crate) struct RedirectRule {
    from: Redirect,
    regex: Option<Substitution>,
}

impl RedirectRule {
    pub fn new(from: &Redirect, path: &str, findings: &mut Vec<Finding>) -> Self {
        let regex = match &from.path {
            RedirectPath::Regex(r) => {
                Substitution::new(r, &format!("{path}.regex_rewrite"), findings)
            }
            _ => None,
        };
        Self { from: from.clone(), regex }
    }

    pub fn status(&self) -> u16 {
        self.from.code.status()
    }

    /// The value of `location`; `matched` bytes of the path were matched by the route.
    pub fn location(&self, head: &impl RequestHead, matched: usize) -> Vec<u8> {
        let scheme = match &self.from {
            r if r.https => b"https",
            r if !r.scheme.is_empty() => r.scheme.as_bytes(),
            _ => head.scheme(),
        };
        let mut out = [scheme, b"://"].concat();
        out.extend_from_slice(&self.host(head, scheme));
        out.extend_from_slice(&self.path(head.path(), matched));
        out
    }

    fn host(&self, head: &impl RequestHead, scheme: &[u8]) -> Vec<u8> {
        let authority = head.authority();
        let (name, port) = split_port(authority);
        // The port is judged by what was forwarded, the scheme by what became of it.
        let before = head.get(b"x-forwarded-proto").unwrap_or(head.scheme());
        let was = |scheme: &[u8]| before.eq_ignore_ascii_case(scheme);
        let default = (was(b"http") && port == Some(80)) || (was(b"https") && port == Some(443));
        let chosen = match &self.from.host {
            host if !host.is_empty() => host.as_bytes(),
            _ if self.from.port != 0 || (scheme != before && default) => name,
            _ => authority,
        };
        match self.from.port {
            0 => chosen.to_vec(),
            port => [chosen, b":", port.to_string().as_bytes()].concat(),
        }
    }

    fn path(&self, path: &[u8], matched: usize) -> Vec<u8> {
        let (only, query) = split_query(path);
        let mut new = match &self.from.path {
            RedirectPath::Keep => only.to_vec(),
            RedirectPath::Replace(with) => with.as_bytes().to_vec(),
            RedirectPath::Prefix(with) => replace_prefix(only, matched, with),
            RedirectPath::Regex(_) => {
                self.regex.as_ref().map_or_else(|| only.to_vec(), |s| s.apply(only))
            }
        };
        let has_query = memchr::memchr(b'?', &new).is_some();
        if !self.from.strip_query && !has_query && only.len() < path.len() {
            new.push(b'?');
            new.extend_from_slice(query);
        }
        new
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ir::Destination;

    fn forward() -> Forward {
        Forward::to(Destination::Cluster("c".into()))
    }

    fn rewritten(forward: &Forward, path: &str, matched: usize) -> (String, String) {
        let mut request = Request::new(b"GET", b"old:80", path.as_bytes());
        let mut findings = Vec::new();
        Rewrites::new(forward, "", &mut findings).apply(&mut request, matched, true);
        assert_eq!(findings, []);
        let text = |b: &[u8]| String::from_utf8_lossy(b).into_owned();
        (text(request.authority()), text(request.path()))
    }

    #[test]
    fn paths_and_hosts_are_rewritten() {
        let prefix = |p: &str| Forward { prefix_rewrite: p.into(), ..forward() };
        let regex = |p: &str, s: &str| RegexRewrite { pattern: p.into(), substitution: s.into() };
        let path = |p: &str, s: &str| Forward { regex_rewrite: Some(regex(p, s)), ..forward() };
        let host = |h| Forward { host_rewrite: h, ..forward() };
        let table = [
            (forward(), "/a?q", 2, "old:80", "/a?q"),
            (prefix("/x"), "/a/b?q=/a", 2, "old:80", "/x/b?q=/a"),
            (prefix("/"), "/a/b", 3, "old:80", "/b"),
            (path("/+$", ""), "/?q", 0, "old:80", "/?q"),
            (path("/v(\\d+)/", "/version-\\1$/"), "/v1/v2/?v3", 0, "old:80", "/version-1$/v2/?v3"),
            (host(HostRewrite::Literal("new".into())), "/", 1, "new", "/"),
            (
                host(HostRewrite::PathRegex(regex("^/([a-z]+)/.*$", "\\1"))),
                "/ab/c",
                1,
                "ab",
                "/ab/c",
            ),
        ];
        for (forward, path, matched, host, expected) in table {
            let expected = (host.to_owned(), expected.to_owned());
            assert_eq!(rewritten(&forward, path, matched), expected, "{forward:?}");
        }
    }

    #[test]
    fn redirects() {
        let r = Redirect::default;
        let table = [
            (Redirect { https: true, ..r() }, "https://h/a/b?q"),
            (Redirect { host: "x".into(), ..r() }, "http://x/a/b?q"),
            (Redirect { port: 8443, https: true, ..r() }, "https://h:8443/a/b?q"),
            (Redirect { path: RedirectPath::Replace("/n".into()), ..r() }, "http://h:80/n?q"),
            (Redirect { path: RedirectPath::Replace("/n?z".into()), ..r() }, "http://h:80/n?z"),
            (Redirect { path: RedirectPath::Prefix("/n".into()), ..r() }, "http://h:80/n/b?q"),
            (Redirect { strip_query: true, scheme: "ftp".into(), ..r() }, "ftp://h/a/b"),
        ];
        let request = Request::new(b"GET", b"h:80", b"/a/b?q");
        for (redirect, expected) in table {
            let rule = RedirectRule::new(&redirect, "", &mut Vec::new());
            let location = String::from_utf8(rule.location(&request, 2)).unwrap();
            assert_eq!(location, expected, "{redirect:?}");
        }
    }
}
