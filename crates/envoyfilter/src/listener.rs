//! Patches of listeners: the listener itself, then its listener filters, then its chains with their network
//! filters, and within the HTTP connection manager the HTTP filters and an inline route table.

use crate::insert::{self, lists_of};
use crate::merge::merge;
use crate::message::{child, child_mut, is_any, list_mut, number, pack, text, texts, unpack};
use crate::patcher::Side;
use crate::read::{HTTP_CONNECTION_MANAGER, Patch, canonical};
use crate::route;
use crate::select::in_context;
use api::{ApplyTo, FilterChainMatch, ListenerMatch, PatchContext, PatchOperation};
use prost_reflect::{DynamicMessage, Value};

/// The listener that all inbound connections come through: its chains stand for ports.
const VIRTUAL_INBOUND: &str = "virtualInbound";
const VIRTUAL_OUTBOUND: &str = "virtualOutbound";
const INBOUND: u64 = 1;

/// Patches one listener; `false`: it is removed.
pub(crate) fn patch(listener: &mut DynamicMessage, patches: &[&Patch], side: Side) -> bool {
    let context = side.of_listener(listener);
    let mine = |to: ApplyTo| {
        patches.iter().copied().filter(move |p| p.apply_to == to && in_context(p, context))
    };
    let at = Place::of(listener);
    for patch in mine(ApplyTo::Listener).filter(|p| at.suits(p)) {
        if patch.operation == PatchOperation::Remove {
            return false;
        }
        if let (Some(lists), Some(value)) = (lists_of(patch.operation), &patch.value) {
            merge(listener, value, lists);
        }
    }
    for patch in mine(ApplyTo::ListenerFilter).filter(|p| at.suits(p)) {
        listener_filter(listener, patch);
    }
    chains(listener, &at, mine(ApplyTo::FilterChain));
    for_each_chain(listener, |chain| {
        let network = mine(ApplyTo::NetworkFilter).filter(|p| at.suits(p) && at.has(chain, p));
        for patch in network.collect::<Vec<_>>() {
            network_filter(chain, patch);
        }
        within_http(chain, &at, patches, context);
    });
    true
}

/// What a listener is told by.
struct Place {
    name: String,
    port: u64,
}

impl Place {
    fn of(listener: &DynamicMessage) -> Place {
        let address = child(listener, "address").and_then(|a| child(a, "socket_address"));
        let port = address.map_or(0, |a| number(a, "port_value"));
        Place { name: text(listener, "name"), port }
    }

    fn suits(&self, patch: &Patch) -> bool {
        let Some(by) = &patch.when.listener else { return true };
        let any_port = [VIRTUAL_INBOUND, VIRTUAL_OUTBOUND].contains(&&*self.name);
        (by.name.is_empty() || by.name == self.name)
            && (by.port_number == 0 || any_port || u64::from(by.port_number) == self.port)
    }

    fn has(&self, chain: &DynamicMessage, patch: &Patch) -> bool {
        let Some(by) = &patch.when.listener else { return true };
        let when = child(chain, "filter_chain_match");
        let port = when.map_or(0, |m| number(m, "destination_port"));
        if self.name == VIRTUAL_INBOUND && by.port_number != 0 && u64::from(by.port_number) != port
        {
            return false;
        }
        by.filter_chain.as_ref().is_none_or(|c| chain_matches(c, chain, when))
    }
}

fn chain_matches(
    by: &FilterChainMatch,
    chain: &DynamicMessage,
    when: Option<&DynamicMessage>,
) -> bool {
    let list = |name: &str| when.map(|m| texts(m, name)).unwrap_or_default();
    let protocols = list("application_protocols");
    let wanted = by.application_protocols.split(',').map(str::trim).filter(|p| !p.is_empty());
    (by.name.is_empty() || by.name == text(chain, "name"))
        && (by.sni.is_empty() || list("server_names").contains(&by.sni))
        && (by.transport_protocol.is_empty()
            || when.is_some_and(|m| text(m, "transport_protocol") == by.transport_protocol))
        && wanted.into_iter().all(|p| protocols.iter().any(|have| have == p))
        && (by.destination_port == 0
            || when
                .is_some_and(|m| number(m, "destination_port") == u64::from(by.destination_port)))
}

impl Side {
    fn of_listener(self, listener: &DynamicMessage) -> PatchContext {
        match self {
            Side::Gateway => PatchContext::Gateway,
            Side::Sidecar if number(listener, "traffic_direction") == INBOUND => {
                PatchContext::SidecarInbound
            }
            Side::Sidecar => PatchContext::SidecarOutbound,
        }
    }
}

fn listener_filter(listener: &mut DynamicMessage, patch: &Patch) {
    let name = patch.when.listener.as_ref().map_or("", |l| l.listener_filter.as_str());
    // Without a name everything would be merged into, or removed.
    let relative = matches!(patch.operation, PatchOperation::Remove | PatchOperation::Merge);
    if relative && name.is_empty() {
        return;
    }
    if let Some(list) = list_mut(listener, "listener_filters") {
        let is = |m: &DynamicMessage| is_named(m, name);
        insert::apply(list, patch.operation, patch.value.as_ref(), !name.is_empty(), is);
    }
}

fn chains<'a>(listener: &mut DynamicMessage, at: &Place, patches: impl Iterator<Item = &'a Patch>) {
    for patch in patches.filter(|p| at.suits(p)) {
        if let Some(list) = list_mut(listener, "filter_chains") {
            insert::apply(list, patch.operation, patch.value.as_ref(), false, |c| at.has(c, patch));
        }
        let Some(chain) = child_mut(listener, "default_filter_chain") else { continue };
        if !at.has(chain, patch) {
            continue;
        }
        if patch.operation == PatchOperation::Remove {
            listener.clear_field_by_name("default_filter_chain");
        } else if let (Some(lists), Some(value)) = (lists_of(patch.operation), &patch.value) {
            merge(chain, value, lists);
        }
    }
}

fn for_each_chain(listener: &mut DynamicMessage, mut change: impl FnMut(&mut DynamicMessage)) {
    let list = list_mut(listener, "filter_chains").map(|l| l.iter_mut()).into_iter().flatten();
    list.filter_map(Value::as_message_mut).for_each(&mut change);
    if let Some(chain) = child_mut(listener, "default_filter_chain") {
        change(chain);
    }
}

fn network_filter(chain: &mut DynamicMessage, patch: &Patch) {
    let name = filter_name(patch.when.listener.as_ref());
    if let Some(list) = list_mut(chain, "filters") {
        let is = |m: &DynamicMessage| is_named(m, name);
        insert::apply(list, patch.operation, patch.value.as_ref(), !name.is_empty(), is);
    }
}

/// HTTP filters and inline routes of each HTTP connection manager of the chain.
fn within_http(chain: &mut DynamicMessage, at: &Place, patches: &[&Patch], context: PatchContext) {
    let filters: Vec<&Patch> = patches
        .iter()
        .copied()
        .filter(|p| p.apply_to == ApplyTo::HttpFilter && in_context(p, context))
        .filter(|p| at.suits(p) && at.has(chain, p))
        .collect();
    let routes: Vec<&Patch> =
        patches.iter().copied().filter(|p| is_of_routes(p.apply_to)).collect();
    if filters.is_empty() && routes.is_empty() {
        return;
    }
    let list = list_mut(chain, "filters").map(|l| l.iter_mut()).into_iter().flatten();
    for filter in list.filter_map(Value::as_message_mut) {
        let name = text(filter, "name");
        let config = child_mut(filter, "typed_config").filter(|c| is_any(c));
        let (Some(config), true) = (config, canonical(&name) == HTTP_CONNECTION_MANAGER) else {
            continue;
        };
        let Some(mut http) = unpack(config) else { continue };
        for patch in &filters {
            http_filter(&mut http, &name, patch);
        }
        if let Some(table) = child_mut(&mut http, "route_config") {
            route::patch(table, &routes, context);
        }
        if let Some(any) = pack(&http) {
            *config = any;
        }
    }
}

fn is_of_routes(to: ApplyTo) -> bool {
    matches!(to, ApplyTo::RouteConfiguration | ApplyTo::VirtualHost | ApplyTo::HttpRoute)
}

fn http_filter(http: &mut DynamicMessage, manager: &str, patch: &Patch) {
    let by = patch.when.listener.as_ref();
    let outer = filter_name(by);
    if !outer.is_empty() && canonical(outer) != canonical(manager) {
        return;
    }
    let chain = by.and_then(|l| l.filter_chain.as_ref());
    let inner = chain.and_then(|c| c.filter.as_ref()).and_then(|f| f.sub_filter.as_ref());
    let name = inner.map_or("", |s| s.name.as_str());
    if let Some(list) = list_mut(http, "http_filters") {
        let is = |m: &DynamicMessage| is_named(m, name);
        insert::apply(list, patch.operation, patch.value.as_ref(), !name.is_empty(), is);
    }
}

fn filter_name(by: Option<&ListenerMatch>) -> &str {
    let chain = by.and_then(|l| l.filter_chain.as_ref());
    chain.and_then(|c| c.filter.as_ref()).map_or("", |f| f.name.as_str())
}

/// No name is anybody's.
fn is_named(filter: &DynamicMessage, name: &str) -> bool {
    name.is_empty() || canonical(&text(filter, "name")) == canonical(name)
}
