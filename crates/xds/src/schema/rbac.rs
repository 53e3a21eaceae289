//! Role-based access control. One row a field: `yes` is honoured, `fine` is harmless and says why, `no` is
//! refused.

use super::authz::METADATA_MATCHER;
use super::core::{CIDR_RANGE, INT32_RANGE, STRING_MATCHER, TYPED_EXTENSION_CONFIG};
use super::route::HEADER_MATCHER;
use super::row::*;
use super::{Enum, Message};

pub static HTTP_RBAC: Message = Message::plain(
    "envoy.extensions.filters.http.rbac.v3.RBAC",
    &[
        yes(1, "rules", msg(&RBAC_RULES)),
        yes(2, "shadow_rules", msg(&RBAC_RULES)),
        yes(3, "shadow_rules_stat_prefix", STRING),
        no(4, "matcher"),
        no(5, "shadow_matcher"),
        yes(6, "rules_stat_prefix", STRING),
        fine(7, "track_per_rule_stats", "the log names the policy of each denial"),
    ],
);

pub static HTTP_RBAC_PER_ROUTE: Message = Message::plain(
    "envoy.extensions.filters.http.rbac.v3.RBACPerRoute",
    &[yes(2, "rbac", msg(&HTTP_RBAC))],
);

pub static NETWORK_RBAC: Message = Message::plain(
    "envoy.extensions.filters.network.rbac.v3.RBAC",
    &[
        yes(1, "rules", msg(&RBAC_RULES)),
        yes(2, "shadow_rules", msg(&RBAC_RULES)),
        yes(3, "stat_prefix", STRING),
        no(4, "enforcement_type"),
        yes(5, "shadow_rules_stat_prefix", STRING),
        no(6, "matcher"),
        no(7, "shadow_matcher"),
        no(8, "delay_deny"),
    ],
);

pub static RBAC_RULES: Message = Message::plain(
    "envoy.config.rbac.v3.RBAC",
    &[
        yes(1, "action", enumeration(&RBAC_ACTION)),
        yes(2, "policies", msg(&RBAC_POLICY)).map(),
        no(3, "audit_logging_options"),
    ],
);

pub static RBAC_ACTION: Enum =
    Enum::new("envoy.config.rbac.v3.RBAC.Action", &[(0, "ALLOW"), (1, "DENY"), (2, "LOG")]);

pub static RBAC_POLICY: Message = Message::plain(
    "envoy.config.rbac.v3.Policy",
    &[
        yes(1, "permissions", msg(&RBAC_PERMISSION)).many(),
        yes(2, "principals", msg(&RBAC_PRINCIPAL)).many(),
        no(3, "condition"),
        no(4, "checked_condition"),
        no(5, "cel_config"),
    ],
);

pub static RBAC_PERMISSION: Message = Message::plain(
    "envoy.config.rbac.v3.Permission",
    &[
        yes(1, "and_rules", msg(&RBAC_PERMISSIONS)).choice(1),
        yes(2, "or_rules", msg(&RBAC_PERMISSIONS)).choice(1),
        yes(3, "any", BOOL).choice(1),
        yes(4, "header", msg(&HEADER_MATCHER)).choice(1),
        yes(5, "destination_ip", msg(&CIDR_RANGE)).choice(1),
        yes(6, "destination_port", UINT32).choice(1),
        yes(7, "metadata", msg(&METADATA_MATCHER)).choice(1),
        yes(8, "not_rule", msg(&RBAC_PERMISSION)).choice(1),
        yes(9, "requested_server_name", msg(&STRING_MATCHER)).choice(1),
        yes(10, "url_path", msg(&PATH_MATCHER)).choice(1),
        yes(11, "destination_port_range", msg(&INT32_RANGE)).choice(1),
        no(12, "matcher").choice(1),
        yes(13, "uri_template", msg(&TYPED_EXTENSION_CONFIG)).choice(1),
        no(14, "sourced_metadata").choice(1),
    ],
);

pub static RBAC_PERMISSIONS: Message = Message::plain(
    "envoy.config.rbac.v3.Permission.Set",
    &[yes(1, "rules", msg(&RBAC_PERMISSION)).many()],
);

pub static RBAC_PRINCIPAL: Message = Message::plain(
    "envoy.config.rbac.v3.Principal",
    &[
        yes(1, "and_ids", msg(&RBAC_PRINCIPALS)).choice(1),
        yes(2, "or_ids", msg(&RBAC_PRINCIPALS)).choice(1),
        yes(3, "any", BOOL).choice(1),
        yes(4, "authenticated", msg(&RBAC_AUTHENTICATED)).choice(1),
        yes(5, "source_ip", msg(&CIDR_RANGE)).choice(1),
        yes(6, "header", msg(&HEADER_MATCHER)).choice(1),
        yes(7, "metadata", msg(&METADATA_MATCHER)).choice(1),
        yes(8, "not_id", msg(&RBAC_PRINCIPAL)).choice(1),
        yes(9, "url_path", msg(&PATH_MATCHER)).choice(1),
        yes(10, "direct_remote_ip", msg(&CIDR_RANGE)).choice(1),
        yes(11, "remote_ip", msg(&CIDR_RANGE)).choice(1),
        no(12, "filter_state").choice(1),
        no(13, "sourced_metadata").choice(1),
        no(14, "custom").choice(1),
    ],
);

pub static RBAC_PRINCIPALS: Message = Message::plain(
    "envoy.config.rbac.v3.Principal.Set",
    &[yes(1, "ids", msg(&RBAC_PRINCIPAL)).many()],
);

pub static RBAC_AUTHENTICATED: Message = Message::plain(
    "envoy.config.rbac.v3.Principal.Authenticated",
    &[yes(2, "principal_name", msg(&STRING_MATCHER))],
);

pub static PATH_MATCHER: Message = Message::plain(
    "envoy.type.matcher.v3.PathMatcher",
    &[yes(1, "path", msg(&STRING_MATCHER)).choice(1)],
);

pub static URI_TEMPLATE: Message = Message::plain(
    "envoy.extensions.path.match.uri_template.v3.UriTemplateMatchConfig",
    &[yes(1, "path_template", STRING)],
);

/// Everything above, for look-up by name.
pub(super) static ALL: &[&Message] = &[
    &HTTP_RBAC,
    &HTTP_RBAC_PER_ROUTE,
    &NETWORK_RBAC,
    &RBAC_RULES,
    &RBAC_POLICY,
    &RBAC_PERMISSION,
    &RBAC_PERMISSIONS,
    &RBAC_PRINCIPAL,
    &RBAC_PRINCIPALS,
    &RBAC_AUTHENTICATED,
    &PATH_MATCHER,
    &URI_TEMPLATE,
];
