//! Role-based access control: rules for requests and for connections.

use super::address::{read_cidr, write_cidr};
use super::at::{At, Typed, number_of};
use super::authz::{read_metadata_match, write_metadata_match};
use super::common::{read_header_match, read_string_match, write_header_match, write_string_match};
use crate::message::{Msg, Val};
use crate::schema::*;
use ir::{Permission, Principal, Rbac, RbacAction, RbacPolicy, RbacRules, StringMatch};

const ACTIONS: &[(i32, RbacAction)] =
    &[(0, RbacAction::Allow), (1, RbacAction::Deny), (2, RbacAction::Log)];

pub(super) fn write_http(rbac: &Rbac) -> Msg {
    Msg::new(&HTTP_RBAC)
        .set_opt("rules", rbac.rules.as_ref().map(write_rules))
        .set_opt("shadow_rules", rbac.shadow.as_ref().map(write_rules))
        .set("shadow_rules_stat_prefix", &rbac.shadow_prefix)
        .set("rules_stat_prefix", &rbac.rules_prefix)
}

pub(super) fn write_per_route(rbac: &Rbac) -> Msg {
    Msg::new(&HTTP_RBAC_PER_ROUTE).set("rbac", write_http(rbac))
}

pub(super) fn read_http(at: &At) -> Rbac {
    Rbac {
        rules: at.msg("rules").map(|r| read_rules(&r)),
        shadow: at.msg("shadow_rules").map(|r| read_rules(&r)),
        rules_prefix: at.str("rules_stat_prefix"),
        shadow_prefix: at.str("shadow_rules_stat_prefix"),
        stat_prefix: "".into(),
    }
}

/// Without rules a route has none, whatever the chain has.
pub(super) fn read_per_route(at: &At) -> Rbac {
    at.msg("rbac").map(|r| read_http(&r)).unwrap_or_default()
}

pub(super) fn write_network(rbac: &Rbac) -> Msg {
    Msg::new(&NETWORK_RBAC)
        .set_opt("rules", rbac.rules.as_ref().map(write_rules))
        .set_opt("shadow_rules", rbac.shadow.as_ref().map(write_rules))
        .set("stat_prefix", &rbac.stat_prefix)
        .set("shadow_rules_stat_prefix", &rbac.shadow_prefix)
}

pub(super) fn read_network(at: &At) -> Rbac {
    Rbac {
        rules: at.msg("rules").map(|r| read_rules(&r)),
        shadow: at.msg("shadow_rules").map(|r| read_rules(&r)),
        rules_prefix: "".into(),
        shadow_prefix: at.str("shadow_rules_stat_prefix"),
        stat_prefix: at.str("stat_prefix"),
    }
}

fn write_rules(rules: &RbacRules) -> Msg {
    let policy = |policy: &RbacPolicy| {
        Val::Msg(
            Msg::new(&RBAC_POLICY)
                .set("permissions", Val::list(&policy.permissions, write_permission))
                .set("principals", Val::list(&policy.principals, write_principal)),
        )
    };
    let policies = rules.policies.iter().map(|(name, p)| (name.clone(), policy(p))).collect();
    Msg::new(&RBAC_RULES)
        .set("action", number_of(ACTIONS, rules.action))
        .set("policies", Val::Map(policies))
}

fn read_rules(at: &At) -> RbacRules {
    let policy = |at: &At| RbacPolicy {
        permissions: at.each("permissions", read_permission),
        principals: at.each("principals", read_principal),
    };
    RbacRules {
        // Of an unknown action nothing is allowed.
        action: at.pick("action", ACTIONS).unwrap_or_default(),
        policies: at.each_of_map("policies", policy).collect(),
    }
}

fn write_permission(permission: &Permission) -> Msg {
    let msg = Msg::new(&RBAC_PERMISSION);
    let set = |list| Msg::new(&RBAC_PERMISSIONS).set("rules", Val::list(list, write_permission));
    match permission {
        Permission::Any => msg.set("any", true),
        Permission::All(list) => msg.set("and_rules", set(list)),
        Permission::OneOf(list) => msg.set("or_rules", set(list)),
        Permission::Not(inner) => msg.set("not_rule", write_permission(inner)),
        Permission::Header(header) => msg.set("header", write_header_match(header)),
        Permission::Path(path) => msg.set("url_path", write_path(path)),
        Permission::PathTemplate(template) => {
            let config = Msg::new(&URI_TEMPLATE).set("path_template", template);
            let named = Msg::new(&TYPED_EXTENSION_CONFIG).set("name", "uri-template");
            msg.set("uri_template", named.set("typed_config", config.any()))
        }
        Permission::DestinationIp(cidr) => msg.set("destination_ip", write_cidr(cidr)),
        Permission::DestinationPort(port) => msg.set("destination_port", *port),
        Permission::DestinationPorts(start, end) => {
            let range = Msg::new(&INT32_RANGE).set("start", i64::from(*start));
            msg.set("destination_port_range", range.set("end", i64::from(*end)))
        }
        Permission::ServerName(name) => msg.set("requested_server_name", write_string_match(name)),
        Permission::Metadata(m) => msg.set("metadata", write_metadata_match(m)),
    }
}

/// What says nothing is an error, and stands for what never holds.
fn read_permission(at: &At) -> Permission {
    let set = |name: &str| at.msg(name).map(|set| set.each("rules", read_permission));
    let found = None
        .or_else(|| set("and_rules").map(Permission::All))
        .or_else(|| set("or_rules").map(Permission::OneOf))
        .or_else(|| at.bool("any").then_some(Permission::Any))
        .or_else(|| at.msg("header").map(|h| Permission::Header(read_header_match(&h))))
        .or_else(|| at.msg("destination_ip").map(|c| Permission::DestinationIp(read_cidr(&c))))
        .or_else(|| at.opt_u32("destination_port").map(Permission::DestinationPort))
        .or_else(|| at.msg("metadata").map(|m| Permission::Metadata(read_metadata_match(&m))))
        .or_else(|| Some(Permission::Not(Box::new(read_permission(&at.msg("not_rule")?)))))
        .or_else(|| {
            let name = at.msg("requested_server_name")?;
            Some(Permission::ServerName(read_string_match(&name)))
        })
        .or_else(|| Some(Permission::Path(read_path(&at.msg("url_path")?))))
        .or_else(|| {
            let range = at.msg("destination_port_range")?;
            let end = |name| i32::try_from(range.i64(name)).unwrap_or(i32::MAX);
            Some(Permission::DestinationPorts(end("start"), end("end")))
        })
        .or_else(|| read_template(&at.msg("uri_template")?));
    found.unwrap_or_else(|| {
        at.error("says nothing that is permitted");
        Permission::OneOf(Vec::new())
    })
}

fn read_template(at: &At) -> Option<Permission> {
    match at.typed("typed_config") {
        Some(Typed::Known(config)) if config.is(&URI_TEMPLATE) => {
            Some(Permission::PathTemplate(config.str("path_template")))
        }
        _ => {
            at.error_in("typed_config", "is no URI template");
            None
        }
    }
}

fn write_principal(principal: &Principal) -> Msg {
    let msg = Msg::new(&RBAC_PRINCIPAL);
    let set = |list| Msg::new(&RBAC_PRINCIPALS).set("ids", Val::list(list, write_principal));
    match principal {
        Principal::Any => msg.set("any", true),
        Principal::All(list) => msg.set("and_ids", set(list)),
        Principal::OneOf(list) => msg.set("or_ids", set(list)),
        Principal::Not(inner) => msg.set("not_id", write_principal(inner)),
        Principal::Authenticated(name) => {
            let by = Msg::new(&RBAC_AUTHENTICATED);
            let name = name.as_ref().map(write_string_match);
            msg.set("authenticated", by.set_opt("principal_name", name))
        }
        Principal::SourceIp(cidr) => msg.set("source_ip", write_cidr(cidr)),
        Principal::DirectRemoteIp(cidr) => msg.set("direct_remote_ip", write_cidr(cidr)),
        Principal::RemoteIp(cidr) => msg.set("remote_ip", write_cidr(cidr)),
        Principal::Header(header) => msg.set("header", write_header_match(header)),
        Principal::Path(path) => msg.set("url_path", write_path(path)),
        Principal::Metadata(m) => msg.set("metadata", write_metadata_match(m)),
    }
}

fn read_principal(at: &At) -> Principal {
    let set = |name: &str| at.msg(name).map(|set| set.each("ids", read_principal));
    let cidr = |name: &str| at.msg(name).map(|c| read_cidr(&c));
    let found = None
        .or_else(|| set("and_ids").map(Principal::All))
        .or_else(|| set("or_ids").map(Principal::OneOf))
        .or_else(|| at.bool("any").then_some(Principal::Any))
        .or_else(|| {
            let name = at.msg("authenticated")?;
            let name = name.msg("principal_name").map(|n| read_string_match(&n));
            Some(Principal::Authenticated(name))
        })
        .or_else(|| cidr("source_ip").map(Principal::SourceIp))
        .or_else(|| cidr("direct_remote_ip").map(Principal::DirectRemoteIp))
        .or_else(|| cidr("remote_ip").map(Principal::RemoteIp))
        .or_else(|| at.msg("header").map(|h| Principal::Header(read_header_match(&h))))
        .or_else(|| at.msg("metadata").map(|m| Principal::Metadata(read_metadata_match(&m))))
        .or_else(|| Some(Principal::Path(read_path(&at.msg("url_path")?))))
        .or_else(|| Some(Principal::Not(Box::new(read_principal(&at.msg("not_id")?)))));
    found.unwrap_or_else(|| {
        at.error("says nobody");
        Principal::OneOf(Vec::new())
    })
}

fn write_path(path: &StringMatch) -> Msg {
    Msg::new(&PATH_MATCHER).set("path", write_string_match(path))
}

fn read_path(at: &At) -> StringMatch {
    at.msg("path").map(|p| read_string_match(&p)).unwrap_or_else(|| {
        at.error_in("path", "is missing");
        StringMatch::exact("")
    })
}
