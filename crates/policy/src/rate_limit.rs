//! Rate limits: which descriptors a request has, and, where the proxy itself counts, whether the buckets that
//! it belongs to have a token left.

use crate::bucket::{Bucket, Left};
use crate::headers::HeaderRules;
use crate::matching::HeaderMatcher;
use base::{Env, Finding};
use ir::{
    GlobalRateLimit, HeaderOps, LocalRateLimit, RateLimit, RateLimitAction, Str, VhRateLimits,
};
use std::borrow::Cow;
use std::net::IpAddr;
use wire::RequestHead;

/// A compiled [`LocalRateLimit`], with its buckets; shared by all workers.
#[derive(Debug)]
pub struct LimitRule {
    pub stat_prefix: Str,
    pub status: u16,
    /// What is added to a refusal, and to a request that is let through although it is over the limit.
    pub headers: HeaderRules,
    /// Answers tell how much is left.
    pub tells: bool,
    pub resource_exhausted: bool,
    /// In parts of a million.
    enabled: u32,
    enforced: u32,
    whole: Option<Bucket>,
    /// The slowest first.
    descriptors: Vec<(Vec<(Str, Str)>, Bucket)>,
    always_whole: bool,
    stage: u32,
    vh: VhRateLimits,
    own: Vec<DescriptorRule>,
}

/// A compiled [`RateLimit`].
#[derive(Debug)]
pub struct DescriptorRule {
    stage: u32,
    actions: Vec<ActionRule>,
}

#[derive(Debug)]
enum ActionRule {
    Cluster,
    Remote,
    Header { name: Str, key: Str, skip: bool },
    Fixed { key: Str, value: Str },
    Match { key: Str, value: Str, expect: bool, headers: Vec<HeaderMatcher> },
}

/// The request, as far as it makes descriptors.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a, H> {
    pub head: &'a H,
    /// `None`: the request is not to be forwarded.
    pub cluster: Option<&'a str>,
    pub remote: Option<IpAddr>,
    pub route: &'a [DescriptorRule],
    pub host: &'a [DescriptorRule],
    pub include_host: bool,
}

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judged {
    /// It is not counted.
    NotAsked,
    Within(Option<Left>),
    /// Over the limit; refused only if that is enforced.
    Over {
        enforced: bool,
        left: Left,
    },
}

impl LimitRule {
    pub fn new(from: &LocalRateLimit, path: &str, findings: &mut Vec<Finding>) -> Self {
        let headers = HeaderOps {
            response_add: from.response_headers.clone(),
            request_add: from.request_headers.clone(),
            ..HeaderOps::default()
        };
        let share = |f: Option<ir::Fraction>| f.map_or(0, |f| f.per_million());
        let descriptors = from.descriptors.iter();
        let mut descriptors: Vec<_> =
            descriptors.map(|d| (d.entries.clone(), Bucket::new(&d.bucket))).collect();
        descriptors.sort_by_key(|(_, bucket)| std::cmp::Reverse(bucket.pace()));
        Self {
            stat_prefix: from.stat_prefix.clone(),
            status: from.status.filter(|s| *s >= 400).unwrap_or(429),
            headers: HeaderRules::new(&headers, path, findings),
            tells: from.ratelimit_headers,
            resource_exhausted: from.resource_exhausted,
            enabled: share(from.enabled),
            enforced: share(from.enforced),
            whole: from.bucket.as_ref().map(Bucket::new),
            descriptors,
            always_whole: from.always_consume_default.unwrap_or(true),
            stage: from.stage,
            vh: from.vh_rate_limits,
            own: DescriptorRule::all(&from.rate_limits, path, findings),
        }
    }

    pub fn judge<H: RequestHead>(&self, subject: &Subject<'_, H>, env: &impl Env) -> Judged {
        let hit = |share: u32| env.below(1_000_000) < u64::from(share);
        if !hit(self.enabled) {
            return Judged::NotAsked;
        }
        match self.take(&self.descriptors_of(subject), env) {
            Ok(left) => Judged::Within(left),
            Err(left) => Judged::Over { enforced: hit(self.enforced), left },
        }
    }

    /// Takes a token from each bucket that the request belongs to, up to one that has none.
    fn take(&self, wanted: &Descriptors<'_>, env: &impl Env) -> Result<Option<Left>, Left> {
        let is = |entries: &[(Str, Str)]| {
            wanted.iter().any(|w| {
                w.len() == entries.len()
                    && w.iter()
                        .zip(entries)
                        .all(|((k, v), (key, value))| **k == **key && **v == **value)
            })
        };
        let named: Vec<&Bucket> =
            self.descriptors.iter().filter(|(e, _)| is(e)).map(|(_, b)| b).collect();
        let whole = self.whole.as_ref().filter(|_| named.is_empty() || self.always_whole);
        let mut least: Option<Left> = None;
        for bucket in named.into_iter().chain(whole) {
            let now = env.now();
            let taken = bucket.take(now);
            let left = bucket.left(now);
            if !taken {
                return Err(left);
            }
            least = Some(least.filter(|l| l.remaining <= left.remaining).unwrap_or(left));
        }
        Ok(least)
    }

    fn descriptors_of<'s, H: RequestHead>(&'s self, subject: &Subject<'s, H>) -> Descriptors<'s> {
        // Without buckets of their own nobody looks for descriptors.
        if self.descriptors.is_empty() {
            return Vec::new();
        }
        subject.descriptors(&self.own, self.vh, self.stage)
    }
}

/// The entries of each descriptor.
pub type Descriptors<'s> = Vec<Vec<(&'s str, Cow<'s, str>)>>;

impl<'s, H: RequestHead> Subject<'s, H> {
    /// The descriptors of this stage that the request has: by the filter's own rules, if it has any, else
    /// by those of its route and virtual host.
    fn descriptors(
        &self,
        own: &'s [DescriptorRule],
        vh: VhRateLimits,
        stage: u32,
    ) -> Descriptors<'s> {
        let (mut route, mut host): (&[_], &[_]) = (self.route, &[]);
        if own.is_empty() {
            let both = match vh {
                VhRateLimits::Override => route.is_empty() || self.include_host,
                VhRateLimits::Include => true,
                VhRateLimits::Ignore => false,
            };
            if both {
                host = self.host;
            }
        } else {
            route = own;
        }
        let rules = route.iter().chain(host).filter(|r| r.stage == stage);
        rules.filter_map(|rule| rule.entries(self)).collect()
    }
}

/// A compiled [`GlobalRateLimit`].
#[derive(Debug)]
pub struct ServiceRule {
    pub config: GlobalRateLimit,
    /// What is added to a refusal.
    pub headers: HeaderRules,
    own: Vec<DescriptorRule>,
}

impl ServiceRule {
    pub fn new(from: &GlobalRateLimit, path: &str, findings: &mut Vec<Finding>) -> Self {
        let headers =
            HeaderOps { response_add: from.response_headers.clone(), ..HeaderOps::default() };
        Self {
            headers: HeaderRules::new(&headers, path, findings),
            own: DescriptorRule::all(&from.rate_limits, path, findings),
            config: from.clone(),
        }
    }

    /// What the service is asked about; nothing where it need not be asked.
    pub fn descriptors<'s, H: RequestHead>(&'s self, subject: &Subject<'s, H>) -> Descriptors<'s> {
        subject.descriptors(&self.own, VhRateLimits::Override, self.config.stage)
    }
}

impl DescriptorRule {
    pub fn all(from: &[RateLimit], path: &str, findings: &mut Vec<Finding>) -> Vec<Self> {
        let mut action = |action: &RateLimitAction| match action {
            RateLimitAction::DestinationCluster => ActionRule::Cluster,
            RateLimitAction::RemoteAddress => ActionRule::Remote,
            RateLimitAction::RequestHeader { header, key, skip_if_absent } => {
                ActionRule::Header { name: header.clone(), key: key.clone(), skip: *skip_if_absent }
            }
            RateLimitAction::GenericKey { key, value } => {
                ActionRule::Fixed { key: or(key, "generic_key"), value: value.clone() }
            }
            RateLimitAction::HeaderValueMatch { key, value, expect, headers } => {
                ActionRule::Match {
                    key: or(key, "header_match"),
                    value: value.clone(),
                    expect: *expect,
                    headers: headers
                        .iter()
                        .map(|h| HeaderMatcher::new(h, path, findings))
                        .collect(),
                }
            }
        };
        let rule = |rule: &RateLimit| Self {
            stage: rule.stage,
            actions: rule.actions.iter().map(&mut action).collect(),
        };
        from.iter().map(rule).collect()
    }

    /// `None`: one of the actions has nothing to say about the request.
    fn entries<'s, H: RequestHead>(
        &'s self,
        subject: &Subject<'s, H>,
    ) -> Option<Vec<(&'s str, Cow<'s, str>)>> {
        let mut entries = Vec::with_capacity(self.actions.len());
        for action in &self.actions {
            entries.push(match action {
                ActionRule::Cluster => ("destination_cluster", subject.cluster?.into()),
                ActionRule::Remote => ("remote_address", subject.remote?.to_string().into()),
                ActionRule::Fixed { key, value } => (&**key, (&**value).into()),
                ActionRule::Header { name, key, skip } => {
                    match subject.head.field(name.as_bytes()) {
                        Some(value) => (&**key, String::from_utf8_lossy(value)),
                        None if *skip => continue,
                        None => return None,
                    }
                }
                ActionRule::Match { key, value, expect, headers } => {
                    let matches = headers.iter().all(|h| h.matches(subject.head));
                    if matches != *expect {
                        return None;
                    }
                    (&**key, (&**value).into())
                }
            });
        }
        Some(entries)
    }
}

fn or(key: &Str, default: &str) -> Str {
    if key.is_empty() { default.into() } else { key.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::FixedEnv;
    use ir::{Fraction, LimitDescriptor, TokenBucket};
    use std::time::Duration;
    use wire::Request;

    fn bucket(max: u32) -> TokenBucket {
        TokenBucket { max, per_fill: max, interval: Duration::from_secs(60) }
    }

    fn limit() -> LocalRateLimit {
        let entries = vec![("header_match".into(), "page".into())];
        LocalRateLimit {
            stat_prefix: "a".into(),
            bucket: Some(bucket(4)),
            enabled: Some(Fraction::percent(100)),
            enforced: Some(Fraction::percent(100)),
            descriptors: vec![LimitDescriptor { entries, bucket: bucket(2) }],
            ..LocalRateLimit::default()
        }
    }

    fn page(name: &str) -> Vec<RateLimit> {
        let pattern = ir::Pattern::Prefix("/page".into());
        let header = ir::HeaderMatch {
            name: ":path".into(),
            condition: ir::HeaderCondition::Value(ir::StringMatch { pattern, ignore_case: false }),
            invert: false,
            missing_as_empty: false,
        };
        let action = RateLimitAction::HeaderValueMatch {
            key: "".into(),
            value: name.into(),
            expect: true,
            headers: vec![header],
        };
        vec![RateLimit { stage: 0, actions: vec![action] }]
    }

    /// What happens to requests for these paths, one after the other.
    fn fates(limit: &LocalRateLimit, rules: &[RateLimit], paths: &[&str]) -> Vec<bool> {
        let mut findings = Vec::new();
        let rule = LimitRule::new(limit, "", &mut findings);
        let rules = DescriptorRule::all(rules, "", &mut findings);
        assert!(findings.is_empty(), "{findings:?}");
        let env = FixedEnv::seeded(1);
        let judge = |path: &&str| {
            let head = Request::new(b"GET", b"h", path.as_bytes());
            let subject = Subject {
                head: &head,
                cluster: Some("c"),
                remote: Some([1, 2, 3, 4].into()),
                route: &rules,
                host: &[],
                include_host: false,
            };
            matches!(rule.judge(&subject, &env), Judged::Over { enforced: true, .. })
        };
        paths.iter().map(judge).collect()
    }

    #[test]
    fn descriptors_have_buckets_of_their_own_and_count_for_the_whole() {
        let paths = ["/page", "/page", "/page", "/", "/", "/"];
        let over = [false, false, true, false, false, true];
        assert_eq!(fates(&limit(), &page("page"), &paths), over);
        let apart = LocalRateLimit { always_consume_default: Some(false), ..limit() };
        let over = [false, false, true, false, false, false];
        assert_eq!(fates(&apart, &page("page"), &paths), over);
        // Another value is another descriptor.
        let over = [false, false, false, false, true, true];
        assert_eq!(fates(&limit(), &page("other"), &paths), over);
    }

    #[test]
    fn nobody_is_refused_unless_that_is_enabled_and_enforced() {
        for limit in [
            LocalRateLimit { enabled: None, ..limit() },
            LocalRateLimit { enforced: None, ..limit() },
        ] {
            assert_eq!(fates(&limit, &[], &["/"; 6]), [false; 6]);
        }
    }

    #[test]
    fn a_descriptor_needs_all_its_entries() {
        let rules = |skip_if_absent| {
            let header = RateLimitAction::RequestHeader {
                header: "x".into(),
                key: "x".into(),
                skip_if_absent,
            };
            let fixed = RateLimitAction::GenericKey { key: "".into(), value: "v".into() };
            [RateLimit { stage: 0, actions: vec![header, fixed] }]
        };
        let entries = vec![("generic_key".into(), "v".into())];
        let descriptors = vec![LimitDescriptor { entries, bucket: bucket(1) }];
        let limit = LocalRateLimit { descriptors, ..limit() };
        assert_eq!(fates(&limit, &rules(false), &["/"; 3]), [false; 3]);
        assert_eq!(fates(&limit, &rules(true), &["/"; 3]), [false, true, true]);
    }
}
