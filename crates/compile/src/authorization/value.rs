//! The values of conditions: text with a star at one end, addresses, templates of paths.

use ir::{Cidr, Pattern, Str, StringMatch};
use std::net::{IpAddr, Ipv6Addr};

/// A value that cannot be read, and why.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unread(pub String);

/// `*` is any text but the empty one.
pub(super) fn text(written: &str) -> StringMatch {
    if written == "*" {
        StringMatch::regex(".+")
    } else if let Some(end) = written.strip_prefix('*') {
        StringMatch { pattern: Pattern::Suffix(end.into()), ignore_case: false }
    } else if let Some(start) = written.strip_suffix('*') {
        StringMatch::prefix(start)
    } else {
        StringMatch::exact(written)
    }
}

/// The name in a certificate, of which `spiffe://` is not written.
pub(super) fn principal(written: &str) -> StringMatch {
    if written == "*" {
        StringMatch::regex(".+")
    } else if let Some(end) = written.strip_prefix('*') {
        StringMatch::regex(format!("spiffe://.*{}", quoted(end)))
    } else if let Some(start) = written.strip_suffix('*') {
        StringMatch::prefix(format!("spiffe://{start}"))
    } else {
        StringMatch::exact(format!("spiffe://{written}"))
    }
}

pub(super) fn namespace(written: &str) -> StringMatch {
    StringMatch::regex(format!(".*/ns/{}/.*", quoted(written).replace("\\*", ".*")))
}

/// `account` of the policy's own namespace, or `namespace/account`.
pub(super) fn account(written: &str, own: &str) -> StringMatch {
    let (namespace, account) = written.split_once('/').unwrap_or((own, written));
    let (namespace, account) = (quoted(namespace), quoted(account));
    StringMatch::regex(format!("spiffe://.+/ns/{namespace}/(.+/|)sa/{account}(/.+)?"))
}

pub(super) fn trust_domain(written: &str) -> StringMatch {
    if written.contains('*') {
        let open = quoted(written).replace("\\*", "[^/]*");
        return StringMatch::regex(format!("spiffe://{open}/.*"));
    }
    StringMatch::prefix(format!("spiffe://{written}/"))
}

/// Issuer and subject of `issuer/subject`.
pub(super) fn request_principal(written: &str) -> (StringMatch, StringMatch) {
    let parts = written.rsplit_once('/');
    let (issuer, subject) = match parts {
        Some(parts) => parts,
        None if written == "*" => ("*", "*"),
        None if written.starts_with('*') => ("*", written),
        None if written.ends_with('*') => (written, "*"),
        None => (written, ""),
    };
    (text(issuer), text(subject))
}

pub(super) fn cidr(written: &str) -> Result<Cidr, Unread> {
    let say = || Unread(format!("{written:?} is neither an address nor a range"));
    let (address, bits) = match written.split_once('/') {
        Some((address, bits)) => (address, Some(bits)),
        None => (written, None),
    };
    let base: IpAddr = address.parse().map_err(|_| say())?;
    let most = if base.is_ipv4() { 32 } else { 128 };
    let bits = bits.map_or(Ok(most), str::parse).map_err(|_| say())?;
    if bits > most {
        return Err(say());
    }
    Ok(unmapped(base, bits))
}

/// Where IPv4 arrives by a socket for both, it counts as IPv4.
fn unmapped(base: IpAddr, bits: u8) -> Cidr {
    let mapped = match base {
        IpAddr::V6(v6) if bits >= 96 => Ipv6Addr::to_ipv4_mapped(&v6),
        _ => None,
    };
    match mapped {
        Some(v4) => Cidr { base: v4.into(), bits: bits - 96 },
        None => Cidr { base, bits },
    }
}

pub(super) fn port(written: &str) -> Result<u32, Unread> {
    let port = written.parse::<u16>().ok().filter(|p| *p > 0);
    port.map(u32::from).ok_or_else(|| Unread(format!("{written:?} is not a port number")))
}

/// A path in which `{*}` is one segment and `{**}` any number; `None` where neither is in it.
pub(super) fn template(written: &str) -> Option<Str> {
    let is_one = written.contains("{*}") || written.contains("{**}");
    is_one.then(|| written.replace("{*}", "*").replace("{**}", "**").into())
}

/// The names in `[a][b]`.
pub(super) fn bracketed(written: &str) -> Option<Vec<Str>> {
    let inner = written.strip_prefix('[')?.strip_suffix(']')?;
    let names: Vec<Str> = inner.split("][").map(Str::from).collect();
    names.iter().all(|n| !n.is_empty()).then_some(names)
}

/// As text in a regex.
fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if "\\.+*?()|[]{}^$".contains(c) {
            out.push('\\');
        }
        out.push(c);
    }
    out
}
