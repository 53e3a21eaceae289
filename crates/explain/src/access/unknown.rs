//! What is not known of a request must not be taken for an answer. Rules are judged twice: as if conditions
//! on it held nowhere, and as if they held wherever a rule wants them to; only what both agree on is told.

use ir::{Permission, Principal, RbacRules};

#[derive(Clone, Copy, Debug)]
pub(super) struct Unknown {
    pub client_ip: bool,
    pub server_ip: bool,
    pub server_name: bool,
}

impl Unknown {
    /// The rules, matching as much (or as little) as they do whatever the unknown turns out to be.
    pub fn bound(self, rules: &RbacRules, matching: bool) -> RbacRules {
        let mut bound = rules.clone();
        for policy in bound.policies.values_mut() {
            policy.permissions.iter_mut().for_each(|p| self.permission(p, matching));
            policy.principals.iter_mut().for_each(|p| self.principal(p, matching));
        }
        bound
    }

    fn permission(self, of: &mut Permission, holds: bool) {
        let unknown = match of {
            Permission::All(list) | Permission::OneOf(list) => {
                return list.iter_mut().for_each(|inner| self.permission(inner, holds));
            }
            Permission::Not(inner) => return self.permission(inner, !holds),
            Permission::DestinationIp(_) => self.server_ip,
            Permission::ServerName(_) => self.server_name,
            _ => false,
        };
        if unknown {
            let never = || Permission::Not(Box::new(Permission::Any));
            *of = if holds { Permission::Any } else { never() };
        }
    }

    fn principal(self, of: &mut Principal, holds: bool) {
        let unknown = match of {
            Principal::All(list) | Principal::OneOf(list) => {
                return list.iter_mut().for_each(|inner| self.principal(inner, holds));
            }
            Principal::Not(inner) => return self.principal(inner, !holds),
            Principal::SourceIp(_) | Principal::DirectRemoteIp(_) | Principal::RemoteIp(_) => {
                self.client_ip
            }
            _ => false,
        };
        if unknown {
            let never = || Principal::Not(Box::new(Principal::Any));
            *of = if holds { Principal::Any } else { never() };
        }
    }
}
