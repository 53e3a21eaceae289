//! Circuit breakers and outlier detection.

use super::at::At;
use super::common::{read_percent, write_percent};
use crate::message::{Msg, Val};
use crate::schema::*;
use ir::{CircuitBreakers, OutlierDetection, RetryBudget};

/// `None` where all is default.
pub(super) fn write_breakers(b: &CircuitBreakers) -> Option<Msg> {
    let budget = |r: &RetryBudget| {
        Msg::new(&RETRY_BUDGET)
            .set_opt(
                "budget_percent",
                r.percent_milli.map(|m| write_percent(f64::from(m) / 1000.0)),
            )
            .set_opt("min_retry_concurrency", r.min_concurrency)
    };
    let thresholds = Msg::new(&THRESHOLDS)
        .set_opt("max_connections", b.max_connections)
        .set_opt("max_pending_requests", b.max_pending_requests)
        .set_opt("max_requests", b.max_requests)
        .set_opt("max_retries", b.max_retries)
        .set_opt("retry_budget", b.retry_budget.as_ref().map(budget))
        .set("track_remaining", b.track_remaining);
    let list = |t| Msg::new(&CIRCUIT_BREAKERS).set("thresholds", vec![Val::Msg(t)]);
    (!thresholds.is_empty()).then(|| list(thresholds))
}

/// Those of the default priority: no route asks for the other.
pub(super) fn read_breakers(at: &At) -> CircuitBreakers {
    let all = at
        .each("thresholds", |t| (t.pick("priority", &[(0, true), (1, false)]), read_thresholds(t)));
    all.into_iter()
        .find(|(priority, _)| *priority == Some(true))
        .map(|(_, t)| t)
        .unwrap_or_default()
}

fn read_thresholds(at: &At) -> CircuitBreakers {
    let milli = |p: At| (read_percent(&p) * 1000.0).round().clamp(0.0, 100_000.0) as u32;
    CircuitBreakers {
        max_connections: at.opt_u32("max_connections"),
        max_pending_requests: at.opt_u32("max_pending_requests"),
        max_requests: at.opt_u32("max_requests"),
        max_retries: at.opt_u32("max_retries"),
        track_remaining: at.bool("track_remaining"),
        retry_budget: at.msg("retry_budget").map(|r| RetryBudget {
            percent_milli: r.msg("budget_percent").map(milli),
            min_concurrency: r.opt_u32("min_retry_concurrency"),
        }),
    }
}

pub(super) fn write_outliers(o: &OutlierDetection) -> Msg {
    Msg::new(&OUTLIER_DETECTION)
        .set_opt("consecutive_5xx", o.consecutive_5xx)
        .set_opt("interval", o.interval)
        .set_opt("base_ejection_time", o.base_ejection_time)
        .set_opt("max_ejection_time", o.max_ejection_time)
        .set_opt("max_ejection_percent", o.max_ejection_percent)
        .set_opt("enforcing_consecutive_5xx", o.enforcing_consecutive_5xx)
        .set_opt("consecutive_gateway_failure", o.consecutive_gateway_failure)
        .set_opt("enforcing_consecutive_gateway_failure", o.enforcing_consecutive_gateway_failure)
        .set("split_external_local_origin_errors", o.split_external_local_origin_errors)
        .set_opt("consecutive_local_origin_failure", o.consecutive_local_origin_failure)
        .set_opt(
            "enforcing_consecutive_local_origin_failure",
            o.enforcing_consecutive_local_origin_failure,
        )
        .set_opt("enforcing_success_rate", o.enforcing_success_rate)
        .set_opt("success_rate_minimum_hosts", o.success_rate_minimum_hosts)
        .set_opt("success_rate_request_volume", o.success_rate_request_volume)
        .set_opt("success_rate_stdev_factor", o.success_rate_stdev_factor)
        .set_opt("enforcing_local_origin_success_rate", o.enforcing_local_origin_success_rate)
}

pub(super) fn read_outliers(at: &At) -> OutlierDetection {
    OutlierDetection {
        consecutive_5xx: at.opt_u32("consecutive_5xx"),
        interval: at.duration("interval"),
        base_ejection_time: at.duration("base_ejection_time"),
        max_ejection_time: at.duration("max_ejection_time"),
        max_ejection_percent: at.opt_u32("max_ejection_percent"),
        enforcing_consecutive_5xx: at.opt_u32("enforcing_consecutive_5xx"),
        consecutive_gateway_failure: at.opt_u32("consecutive_gateway_failure"),
        enforcing_consecutive_gateway_failure: at.opt_u32("enforcing_consecutive_gateway_failure"),
        split_external_local_origin_errors: at.bool("split_external_local_origin_errors"),
        consecutive_local_origin_failure: at.opt_u32("consecutive_local_origin_failure"),
        enforcing_consecutive_local_origin_failure: at
            .opt_u32("enforcing_consecutive_local_origin_failure"),
        enforcing_success_rate: at.opt_u32("enforcing_success_rate"),
        success_rate_minimum_hosts: at.opt_u32("success_rate_minimum_hosts"),
        success_rate_request_volume: at.opt_u32("success_rate_request_volume"),
        success_rate_stdev_factor: at.opt_u32("success_rate_stdev_factor"),
        enforcing_local_origin_success_rate: at.opt_u32("enforcing_local_origin_success_rate"),
    }
}
