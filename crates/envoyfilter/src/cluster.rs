//! Patches of clusters.

use crate::insert::lists_of;
use crate::merge::merge;
use crate::message::text;
use crate::patcher::Side;
use crate::read::Patch;
use crate::select::in_context;
use api::{ApplyTo, ClusterMatch, PatchContext, PatchOperation};
use prost_reflect::DynamicMessage;

/// Patches one cluster; `false`: it is removed.
pub(crate) fn patch<'a>(
    cluster: &mut DynamicMessage,
    patches: impl Iterator<Item = &'a Patch>,
    side: Side,
) -> bool {
    let name = text(cluster, "name");
    let context = side.of_cluster(&name);
    for patch in patches.filter(|p| p.apply_to == ApplyTo::Cluster && in_context(p, context)) {
        if !patch.when.cluster.as_ref().is_none_or(|m| matches(m, &name)) {
            continue;
        }
        if patch.operation == PatchOperation::Remove {
            return false;
        }
        if let (Some(lists), Some(value)) = (lists_of(patch.operation), &patch.value) {
            merge(cluster, value, lists);
        }
    }
    true
}

impl Side {
    fn of_cluster(self, name: &str) -> PatchContext {
        match self {
            Side::Gateway => PatchContext::Gateway,
            Side::Sidecar if name.starts_with("inbound|") || name.starts_with("Inbound") => {
                PatchContext::SidecarInbound
            }
            Side::Sidecar => PatchContext::SidecarOutbound,
        }
    }
}

/// A whole name decides alone; else the parts of `outbound|<port>|<subset>|<host>`.
fn matches(by: &ClusterMatch, name: &str) -> bool {
    if !by.name.is_empty() {
        return by.name == name;
    }
    let mut parts = name.splitn(4, '|').skip(1);
    let mut part = || parts.next().unwrap_or_default();
    let (port, subset, host) = (part(), part(), part());
    (by.subset.is_empty() || by.subset == subset)
        && (by.service.is_empty() || by.service == host)
        && (by.port_number == 0 || by.port_number.to_string() == port)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clusters_are_told_by_name_or_by_what_their_name_says() {
        let by = |service: &str, subset: &str, port_number: u32| ClusterMatch {
            service: service.to_owned(),
            subset: subset.to_owned(),
            port_number,
            name: String::new(),
        };
        let name = "outbound|80|v1|a.default.svc.cluster.local";
        assert!(matches(&by("a.default.svc.cluster.local", "v1", 80), name));
        assert!(matches(&by("", "", 0), name));
        assert!(!matches(&by("b.default.svc.cluster.local", "", 0), name));
        assert!(!matches(&by("", "v2", 0), name));
        assert!(!matches(&by("", "", 81), name));
        let named = ClusterMatch { name: "x".into(), ..by("nobody", "", 9) };
        assert!(matches(&named, "x") && !matches(&named, name));
    }
}
