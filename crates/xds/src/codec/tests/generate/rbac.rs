//! Role-based access control.

use super::Gen;
use ir::{Permission, Principal, Rbac, RbacAction, RbacPolicy, RbacRules};

impl Gen {
    /// Of requests.
    pub(super) fn http_rbac(&self) -> Rbac {
        Rbac {
            rules: self.opt(|| self.rbac_rules()),
            shadow: self.opt(|| self.rbac_rules()),
            rules_prefix: self.text(),
            shadow_prefix: self.text(),
            stat_prefix: "".into(),
        }
    }

    /// Of connections.
    pub(super) fn network_rbac(&self) -> Rbac {
        Rbac { rules_prefix: "".into(), stat_prefix: self.text(), ..self.http_rbac() }
    }

    fn rbac_rules(&self) -> RbacRules {
        let policy = || RbacPolicy {
            permissions: self.some_of(|| self.permission(3)),
            principals: self.some_of(|| self.principal(3)),
        };
        RbacRules {
            action: self.one_of(&[RbacAction::Allow, RbacAction::Deny, RbacAction::Log]),
            policies: self.some_of(|| (self.word(), policy())).into_iter().collect(),
        }
    }

    fn permission(&self, depth: u32) -> Permission {
        let set = || self.some_of(|| self.permission(depth - 1));
        match self.below(if depth > 0 { 13 } else { 9 }) {
            0 => Permission::Any,
            1 => Permission::Header(self.header_match()),
            2 => Permission::Path(self.string_match()),
            3 => Permission::PathTemplate(self.text()),
            4 => Permission::DestinationIp(self.cidr()),
            5 => Permission::DestinationPort(self.u32()),
            6 => Permission::DestinationPorts(self.below(100) as i32, self.below(1000) as i32),
            7 => Permission::ServerName(self.string_match()),
            8 => Permission::Metadata(self.metadata_match()),
            9 => Permission::All(set()),
            10 => Permission::OneOf(set()),
            _ => Permission::Not(Box::new(self.permission(depth - 1))),
        }
    }

    fn principal(&self, depth: u32) -> Principal {
        let set = || self.some_of(|| self.principal(depth - 1));
        match self.below(if depth > 0 { 13 } else { 9 }) {
            0 => Principal::Any,
            1 => Principal::Authenticated(self.opt(|| self.string_match())),
            2 => Principal::SourceIp(self.cidr()),
            3 => Principal::DirectRemoteIp(self.cidr()),
            4 => Principal::RemoteIp(self.cidr()),
            5 => Principal::Header(self.header_match()),
            6 => Principal::Path(self.string_match()),
            7 => Principal::Metadata(self.metadata_match()),
            8 if depth == 0 => Principal::Path(self.string_match()),
            8 => Principal::All(set()),
            9 => Principal::OneOf(set()),
            _ => Principal::Not(Box::new(self.principal(depth - 1))),
        }
    }
}
