//! The filters of a connection manager, compiled: those that have a part in requests, in their order.

use crate::guard::Guard;
use crate::runtime::ManagerRt;
use base::Finding;
use ir::{HttpFilter, HttpFilterConfig, HttpManager, Str};
use policy::authz::AuthzRule;
use policy::coding::compress::CompressRule;
use policy::fault::FaultRule;
use policy::jwt::TokenRule;
use policy::rate_limit::{LimitRule, ServiceRule};
use policy::to_metadata::ToMetadata;
use std::sync::Arc;
use telemetry::Registry;

/// One filter. It may change a request, and answer in place of whatever its route says.
#[derive(Debug)]
pub struct Step {
    /// The filter's name, by which routes say their own.
    pub name: Str,
    /// Only routes that configure it run it.
    pub off: bool,
    pub filter: Filter,
}

#[derive(Debug)]
pub enum Filter {
    Fault(FaultRule),
    /// What it does is said by routes.
    Cors,
    Limit(Arc<LimitRule>),
    Ask(Box<ServiceRule>),
    Authz(Box<AuthzRule>),
    Guard(Box<Guard>),
    /// Bytes that are kept of a body.
    Buffer(u32),
    ToMetadata(ToMetadata),
    /// gRPC-Web to gRPC, and back.
    Web,
    Tokens(Box<TokenRule>),
    Compress(Box<CompressRule>),
}

/// `old` lends what its filters have counted.
pub fn steps(
    config: &HttpManager,
    old: Option<&ManagerRt>,
    path: &str,
    registry: &Registry,
    findings: &mut Vec<Finding>,
) -> Vec<Step> {
    let mut steps = Vec::new();
    for filter in &config.filters {
        let at = format!("{path}.http_filters[{}]", filter.name);
        let compiled = match &filter.config {
            HttpFilterConfig::Fault(fault) => Filter::Fault(FaultRule::new(fault, &at, findings)),
            HttpFilterConfig::Cors(_) => Filter::Cors,
            HttpFilterConfig::LocalRateLimit(limit) => {
                let rule = LimitRule::new(limit, &at, findings);
                let kept = old.and_then(|old| limit_of(old, filter));
                Filter::Limit(kept.cloned().unwrap_or_else(|| Arc::new(rule)))
            }
            HttpFilterConfig::RateLimit(limit) => {
                Filter::Ask(Box::new(ServiceRule::new(limit, &at, findings)))
            }
            HttpFilterConfig::Rbac(rbac) => {
                let prefix = &config.stat_prefix;
                Filter::Guard(Box::new(Guard::http(rbac, prefix, &at, registry, findings)))
            }
            HttpFilterConfig::ExtAuthz(authz) => {
                Filter::Authz(Box::new(AuthzRule::new(authz, &at, findings)))
            }
            HttpFilterConfig::Buffer(max) => Filter::Buffer(*max),
            HttpFilterConfig::JwtAuthn(jwt) => {
                Filter::Tokens(Box::new(TokenRule::new(jwt, &at, findings)))
            }
            HttpFilterConfig::HeaderToMetadata(config) => {
                Filter::ToMetadata(ToMetadata::new(config, &at, findings))
            }
            HttpFilterConfig::GrpcWeb => Filter::Web,
            HttpFilterConfig::Compressor(config) => {
                Filter::Compress(Box::new(CompressRule::new(config)))
            }
            _ => continue,
        };
        steps.push(Step { name: filter.name.clone(), off: filter.disabled, filter: compiled });
    }
    steps
}

/// The limit of the same filter, with what it has counted.
fn limit_of<'o>(old: &'o ManagerRt, filter: &HttpFilter) -> Option<&'o Arc<LimitRule>> {
    let same = |f: &&HttpFilter| f.name == filter.name && f.config == filter.config;
    old.config.filters.iter().find(same)?;
    old.steps.iter().find_map(|step| match &step.filter {
        Filter::Limit(rule) if step.name == filter.name => Some(rule),
        _ => None,
    })
}
