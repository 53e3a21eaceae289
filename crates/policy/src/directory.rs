//! What a proxy's DNS knows of a name: the hosts of its table, the short forms of those that Kubernetes
//! described, wildcards, and all of them with the search domain behind that a resolver tries first.

use ir::{NameInfo, NameTable, Str};
use std::collections::HashMap;
use std::sync::Arc;

/// A name table as one client sees it.
#[derive(Clone, Debug, Default)]
pub struct Directory {
    table: Arc<NameTable>,
    /// Hosts by `reviews.default`.
    short: HashMap<String, Str>,
    namespace: String,
    /// The first domain of the client's search path; empty without one.
    search: String,
}

/// A name that is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known<'a> {
    /// The host in the table.
    pub host: &'a str,
    pub info: &'a NameInfo,
    pub how: How,
    /// What was asked for is another name for this one, which stands for the addresses.
    pub alias_of: Option<String>,
}

/// Why a name means a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    Exact,
    /// As in `reviews`, `reviews.default`, `reviews.default.svc`.
    Short,
    Wildcard,
}

impl Known<'_> {
    fn searched(self, bare: &str) -> Self {
        Known { alias_of: Some(bare.to_owned()), ..self }
    }
}

impl Directory {
    /// For clients in `namespace` whose resolver tries `search` first.
    pub fn new(table: Arc<NameTable>, namespace: &str, search: &str) -> Directory {
        let of_kubernetes = table.hosts.iter().filter(|(_, i)| !i.short_name.is_empty());
        let key = |i: &NameInfo| format!("{}.{}", i.short_name, i.namespace).to_ascii_lowercase();
        let short = of_kubernetes.map(|(host, info)| (key(info), host.clone())).collect();
        let search = search.trim_end_matches('.').to_ascii_lowercase();
        Directory { short, namespace: namespace.to_owned(), search, table }
    }

    pub fn table(&self) -> &Arc<NameTable> {
        &self.table
    }

    /// `asked` in any case, with or without the final dot.
    pub fn look_up(&self, asked: &str) -> Option<Known<'_>> {
        let asked = asked.trim_end_matches('.').to_ascii_lowercase();
        let bare = asked.strip_suffix(&self.search).and_then(|b| b.strip_suffix('.'));
        let bare = bare.filter(|b| !self.search.is_empty() && !b.is_empty());
        self.named(&asked)
            .or_else(|| bare.and_then(|b| Some(self.named(b)?.searched(b))))
            .or_else(|| self.wildcard(&asked))
            .or_else(|| bare.and_then(|b| Some(self.wildcard(b)?.searched(b))))
    }

    fn named(&self, name: &str) -> Option<Known<'_>> {
        self.known(name, How::Exact).or_else(|| {
            let in_namespace = || self.short.get(&format!("{name}.{}", self.namespace));
            let host = self.short.get(name.strip_suffix(".svc").unwrap_or(name));
            self.known(host.or_else(in_namespace)?, How::Short)
        })
    }

    fn wildcard(&self, name: &str) -> Option<Known<'_>> {
        let mut rest = name;
        while let Some((_, parent)) = rest.split_once('.') {
            if let Some(known) = self.known(&format!("*.{parent}"), How::Wildcard) {
                return Some(known);
            }
            rest = parent;
        }
        None
    }

    fn known(&self, host: &str, how: How) -> Option<Known<'_>> {
        let (host, info) = self.table.hosts.get_key_value(host)?;
        Some(Known { host, info, how, alias_of: None })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory() -> Directory {
        let host = |host: &str, short: &str, namespace: &str| {
            let info = NameInfo {
                ips: vec![[10, 0, 0, 1].into()],
                short_name: short.into(),
                namespace: namespace.into(),
                ..NameInfo::default()
            };
            (Str::from(host), info)
        };
        let hosts = [
            host("web.shop.svc.cluster.local", "web", "shop"),
            host("web.other.svc.cluster.local", "web", "other"),
            host("db-0.db.shop.svc.cluster.local", "db-0.db", "shop"),
            host("api.example.com", "", ""),
            host("*.wild.org", "", ""),
            host("deep.wild.org", "", ""),
        ];
        let table = NameTable { hosts: hosts.into() };
        Directory::new(Arc::new(table), "shop", "shop.svc.cluster.local")
    }

    #[test]
    fn names_mean_hosts_as_resolvers_write_them() {
        use How::{Exact, Short, Wildcard};
        let table: &[(&str, Option<(&str, How, Option<&str>)>)] = &[
            ("web.shop.svc.cluster.local", Some(("web.shop.svc.cluster.local", Exact, None))),
            ("WEB.Shop.svc.cluster.local.", Some(("web.shop.svc.cluster.local", Exact, None))),
            ("web", Some(("web.shop.svc.cluster.local", Short, None))),
            ("web.other", Some(("web.other.svc.cluster.local", Short, None))),
            ("web.other.svc", Some(("web.other.svc.cluster.local", Short, None))),
            ("db-0.db", Some(("db-0.db.shop.svc.cluster.local", Short, None))),
            (
                "web.other.shop.svc.cluster.local",
                Some(("web.other.svc.cluster.local", Short, Some("web.other"))),
            ),
            ("api.example.com", Some(("api.example.com", Exact, None))),
            (
                "api.example.com.shop.svc.cluster.local",
                Some(("api.example.com", Exact, Some("api.example.com"))),
            ),
            // Only the first search domain is tried for the resolver.
            ("api.example.com.svc.cluster.local", None),
            ("a.wild.org", Some(("*.wild.org", Wildcard, None))),
            ("a.b.wild.org", Some(("*.wild.org", Wildcard, None))),
            ("deep.wild.org", Some(("deep.wild.org", Exact, None))),
            ("a.deep.wild.org", Some(("*.wild.org", Wildcard, None))),
            (
                "a.wild.org.shop.svc.cluster.local",
                Some(("*.wild.org", Wildcard, Some("a.wild.org"))),
            ),
            ("wild.org", None),
            ("api", None),
            ("web.third", None),
            ("shop.svc.cluster.local", None),
            ("", None),
            (".", None),
        ];
        let directory = directory();
        for (asked, expected) in table {
            let found = directory.look_up(asked);
            let found = found.as_ref().map(|k| (k.host, k.how, k.alias_of.as_deref()));
            assert_eq!(found, *expected, "{asked}");
        }
    }
}
