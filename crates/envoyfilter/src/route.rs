//! Patches of route tables: the table, its virtual hosts, their routes.

use crate::insert::{self, lists_of};
use crate::merge::merge;
use crate::message::{list_mut, text, texts};
use crate::read::Patch;
use crate::select::in_context;
use api::{ApplyTo, PatchContext, PatchOperation, RouteAction, RouteConfigurationMatch};
use prost_reflect::{DynamicMessage, Value};

/// Patches one table. Tables are never removed: something refers to them.
pub(crate) fn patch(table: &mut DynamicMessage, patches: &[&Patch], context: PatchContext) {
    let name = text(table, "name");
    let mine = |to: ApplyTo| {
        patches
            .iter()
            .copied()
            .filter(move |p| p.apply_to == to && in_context(p, context))
            .filter(|p| p.when.route_configuration.as_ref().is_none_or(|m| is(m, &name, context)))
    };
    for patch in mine(ApplyTo::RouteConfiguration) {
        if let (Some(lists), Some(value)) = (lists_of(patch.operation), &patch.value) {
            merge(table, value, lists);
        }
    }
    for patch in mine(ApplyTo::VirtualHost) {
        // Hosts have no order: there is no first or last.
        let relative = matches!(
            patch.operation,
            PatchOperation::InsertFirst
                | PatchOperation::InsertBefore
                | PatchOperation::InsertAfter
        );
        if let Some(hosts) = list_mut(table, "virtual_hosts").filter(|_| !relative) {
            let is = |h: &DynamicMessage| is_host(patch, h);
            insert::apply(hosts, patch.operation, patch.value.as_ref(), true, is);
        }
    }
    for patch in mine(ApplyTo::HttpRoute) {
        let hosts = list_mut(table, "virtual_hosts").map(|l| l.iter_mut()).into_iter().flatten();
        for host in hosts.filter_map(Value::as_message_mut).filter(|h| is_host(patch, h)) {
            routes(host, patch);
        }
    }
}

fn routes(host: &mut DynamicMessage, patch: &Patch) {
    let by = patch.when.route_configuration.as_ref().and_then(|r| r.vhost.as_ref());
    let by = by.and_then(|h| h.route.as_ref());
    let is = |route: &DynamicMessage| {
        by.is_none_or(|by| {
            (by.name.is_empty() || by.name == text(route, "name")) && does(by.action, route)
        })
    };
    if let Some(list) = list_mut(host, "routes") {
        insert::apply(list, patch.operation, patch.value.as_ref(), by.is_some(), is);
    }
}

fn does(action: RouteAction, route: &DynamicMessage) -> bool {
    match action {
        RouteAction::Any => true,
        RouteAction::Route => route.has_field_by_name("route"),
        RouteAction::Redirect => route.has_field_by_name("redirect"),
        RouteAction::DirectResponse => route.has_field_by_name("direct_response"),
    }
}

fn is_host(patch: &Patch, host: &DynamicMessage) -> bool {
    let by = patch.when.route_configuration.as_ref().and_then(|r| r.vhost.as_ref());
    by.is_none_or(|by| {
        (by.name.is_empty() || by.name == text(host, "name"))
            && (by.domain_name.is_empty() || texts(host, "domains").contains(&by.domain_name))
    })
}

fn is(by: &RouteConfigurationMatch, name: &str, context: PatchContext) -> bool {
    let said = Said::of(name, context);
    (by.name.is_empty() || by.name == name)
        && (by.port_number == 0 || said.port == Some(by.port_number))
        && (context != PatchContext::Gateway
            || (by.port_name.is_empty() || by.port_name == said.port_name)
                && (by.gateway.is_empty() || by.gateway == said.gateway))
}

/// What the name of a table says: `9080`, `inbound|9080||`, `http.80`, `https.443.<port>.<gateway>.<ns>`.
struct Said {
    port: Option<u32>,
    port_name: String,
    gateway: String,
}

impl Said {
    fn of(name: &str, context: PatchContext) -> Said {
        let mut said = Said { port: None, port_name: String::new(), gateway: String::new() };
        if context == PatchContext::Gateway {
            let parts: Vec<&str> = name.split('.').collect();
            said.port = parts.get(1).and_then(|p| p.parse().ok());
            if let [_, _, port, gateway, namespace] = parts[..] {
                port.clone_into(&mut said.port_name);
                said.gateway = format!("{namespace}/{gateway}");
            }
        } else if let Some(rest) = name.strip_prefix("inbound|") {
            said.port = rest.split('|').next().and_then(|p| p.parse().ok());
        } else {
            said.port = name.parse().ok();
        }
        said
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_told_by_what_their_name_says() {
        let port = |port_number| RouteConfigurationMatch { port_number, ..Default::default() };
        assert!(is(&port(9080), "9080", PatchContext::SidecarOutbound));
        assert!(!is(&port(9081), "9080", PatchContext::SidecarOutbound));
        assert!(is(&port(80), "inbound|80||", PatchContext::SidecarInbound));
        assert!(is(&port(80), "http.80", PatchContext::Gateway));
        let named = RouteConfigurationMatch {
            port_name: "https".into(),
            gateway: "prod/gw".into(),
            ..port(443)
        };
        assert!(is(&named, "https.443.https.gw.prod", PatchContext::Gateway));
        assert!(!is(&named, "https.443.https.gw.test", PatchContext::Gateway));
        assert!(!is(&named, "http.443", PatchContext::Gateway));
    }
}
