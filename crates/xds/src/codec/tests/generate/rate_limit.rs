//! Rate limits.

use super::Gen;
use ir::{
    GlobalRateLimit, LimitDescriptor, LocalRateLimit, RateLimit, RateLimitAction, TokenBucket,
    VhRateLimits,
};
use std::time::Duration;

impl Gen {
    pub(super) fn rate_limit(&self) -> RateLimit {
        let actions = self.some_of(|| match self.below(5) {
            0 => RateLimitAction::DestinationCluster,
            1 => RateLimitAction::RemoteAddress,
            2 => RateLimitAction::RequestHeader {
                header: self.word(),
                key: self.word(),
                skip_if_absent: self.yes(),
            },
            3 => RateLimitAction::GenericKey { key: self.text(), value: self.word() },
            _ => RateLimitAction::HeaderValueMatch {
                key: self.text(),
                value: self.word(),
                expect: self.yes(),
                headers: self.some_of(|| self.header_match()),
            },
        });
        RateLimit { stage: self.below(10) as u32, actions }
    }

    pub(super) fn local_rate_limit(&self) -> LocalRateLimit {
        let all = [VhRateLimits::Override, VhRateLimits::Include, VhRateLimits::Ignore];
        LocalRateLimit {
            stat_prefix: self.word(),
            status: self.opt(|| 400 + self.below(200) as u16),
            bucket: self.opt(|| self.bucket()),
            enabled: self.opt(|| self.runtime_fraction()),
            enforced: self.opt(|| self.runtime_fraction()),
            response_headers: self.header_ops().response_add,
            request_headers: self.header_ops().request_add,
            descriptors: self.some_of(|| LimitDescriptor {
                entries: self.some_of(|| (self.word(), self.word())),
                bucket: self.bucket(),
            }),
            stage: self.below(10) as u32,
            vh_rate_limits: self.one_of(&all),
            always_consume_default: self.opt(|| self.yes()),
            ratelimit_headers: self.yes(),
            resource_exhausted: self.yes(),
            rate_limits: self.some_of(|| self.rate_limit()),
        }
    }

    pub(super) fn global_rate_limit(&self) -> GlobalRateLimit {
        GlobalRateLimit {
            domain: self.word(),
            cluster: self.word(),
            stage: self.below(10) as u32,
            timeout: self.opt(|| self.duration()),
            failure_mode_deny: self.yes(),
            status: self.opt(|| 400 + self.below(200) as u16),
            status_on_error: self.opt(|| 400 + self.below(200) as u16),
            response_headers: self.header_ops().response_add,
            silent: self.yes(),
            resource_exhausted: self.yes(),
            rate_limits: self.some_of(|| self.rate_limit()),
        }
    }

    fn bucket(&self) -> TokenBucket {
        let interval = Duration::from_millis(50) + self.duration();
        TokenBucket { max: self.u32(), per_fill: 1 + self.below(1000) as u32, interval }
    }
}
