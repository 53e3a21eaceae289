//! What a route, its virtual host or a weighted cluster says of a filter, compiled.

use crate::authz::AuthzOwn;
use crate::cors::CorsRule;
use crate::fault::FaultRule;
use crate::rate_limit::LimitRule;
use crate::rbac::RbacRule;
use crate::to_metadata::ToMetadata;
use base::Finding;
use ir::HttpFilterConfig;
use std::sync::Arc;

#[derive(Debug)]
pub enum FilterRule {
    Fault(FaultRule),
    Cors(CorsRule),
    Limit(Arc<LimitRule>),
    Authz(Box<AuthzOwn>),
    Rbac(Box<RbacRule>),
    /// Bytes that are kept of a body.
    Buffer(u32),
    ToMetadata(ToMetadata),
    /// The requirement of tokens that counts here.
    Tokens(ir::Str),
    Disabled,
}

impl FilterRule {
    /// `None`: nothing that is asked for by request.
    pub(crate) fn new(
        config: &HttpFilterConfig,
        path: &str,
        findings: &mut Vec<Finding>,
    ) -> Option<Self> {
        Some(match config {
            HttpFilterConfig::Fault(fault) => {
                FilterRule::Fault(FaultRule::new(fault, path, findings))
            }
            HttpFilterConfig::Cors(Some(cors)) => {
                FilterRule::Cors(CorsRule::new(cors, path, findings))
            }
            HttpFilterConfig::LocalRateLimit(limit) => {
                FilterRule::Limit(Arc::new(LimitRule::new(limit, path, findings)))
            }
            HttpFilterConfig::AuthzSettings(settings) => {
                FilterRule::Authz(Box::new(AuthzOwn::new(settings, path, findings)))
            }
            HttpFilterConfig::Rbac(rbac) => {
                FilterRule::Rbac(Box::new(RbacRule::new(rbac, path, findings)))
            }
            HttpFilterConfig::Buffer(max) => FilterRule::Buffer(*max),
            HttpFilterConfig::HeaderToMetadata(config) => {
                FilterRule::ToMetadata(ToMetadata::new(config, path, findings))
            }
            HttpFilterConfig::JwtPerRoute(own) => FilterRule::Tokens(own.requirement.clone()),
            HttpFilterConfig::Disabled => FilterRule::Disabled,
            _ => return None,
        })
    }
}
