//! Load balancers.

use super::at::{At, number_of};
use super::common::{read_percent, write_percent};
use crate::message::Msg;
use crate::schema::*;
use ir::{LbCommon, LoadBalancer, LocalityMode, SlowStart};

#[derive(Clone, Copy, PartialEq)]
enum Policy {
    RoundRobin,
    LeastRequest,
    RingHash,
    Random,
    Maglev,
    ClusterProvided,
}

const POLICIES: &[(i32, Policy)] = &[
    (0, Policy::RoundRobin),
    (1, Policy::LeastRequest),
    (2, Policy::RingHash),
    (3, Policy::Random),
    (5, Policy::Maglev),
    (6, Policy::ClusterProvided),
];

pub(super) fn write_balancer(msg: Msg, lb: &LoadBalancer) -> Msg {
    let policy = |p| number_of(POLICIES, p);
    let some = |m: Msg| (!m.is_empty()).then_some(m);
    match lb {
        LoadBalancer::RoundRobin { slow_start } => {
            let config = Msg::new(&ROUND_ROBIN)
                .set_opt("slow_start_config", slow_start.map(write_slow_start));
            msg.set("lb_policy", policy(Policy::RoundRobin))
                .set_opt("round_robin_lb_config", some(config))
        }
        LoadBalancer::LeastRequest { choices, bias, slow_start } => {
            let config = Msg::new(&LEAST_REQUEST)
                .set_opt("choice_count", *choices)
                .set_opt("active_request_bias", bias.map(write_double))
                .set_opt("slow_start_config", slow_start.map(write_slow_start));
            msg.set("lb_policy", policy(Policy::LeastRequest))
                .set_opt("least_request_lb_config", some(config))
        }
        LoadBalancer::Random => msg.set("lb_policy", policy(Policy::Random)),
        LoadBalancer::RingHash { min_size, max_size } => {
            let config = Msg::new(&RING_HASH)
                .set_opt("minimum_ring_size", *min_size)
                .set_opt("maximum_ring_size", *max_size);
            msg.set("lb_policy", policy(Policy::RingHash))
                .set_opt("ring_hash_lb_config", some(config))
        }
        LoadBalancer::Maglev { table_size } => {
            let config = Msg::new(&MAGLEV).set_opt("table_size", *table_size);
            msg.set("lb_policy", policy(Policy::Maglev)).set_opt("maglev_lb_config", some(config))
        }
        LoadBalancer::ClusterProvided => msg.set("lb_policy", policy(Policy::ClusterProvided)),
    }
}

pub(super) fn read_balancer(at: &At) -> LoadBalancer {
    let slow = |config: &Option<At>| {
        config.as_ref().and_then(|c| c.msg("slow_start_config").map(|s| read_slow_start(&s)))
    };
    match at.pick("lb_policy", POLICIES).unwrap_or(Policy::RoundRobin) {
        Policy::RoundRobin => {
            LoadBalancer::RoundRobin { slow_start: slow(&at.msg("round_robin_lb_config")) }
        }
        Policy::LeastRequest => {
            let config = at.msg("least_request_lb_config");
            LoadBalancer::LeastRequest {
                choices: config.as_ref().and_then(|c| c.opt_u32("choice_count")),
                bias: config
                    .as_ref()
                    .and_then(|c| c.msg("active_request_bias"))
                    .map(|b| read_double(&b)),
                slow_start: slow(&config),
            }
        }
        Policy::Random => LoadBalancer::Random,
        Policy::RingHash => {
            let config = at.msg("ring_hash_lb_config");
            let size = |name| config.as_ref().and_then(|c| c.opt_u64(name));
            LoadBalancer::RingHash {
                min_size: size("minimum_ring_size"),
                max_size: size("maximum_ring_size"),
            }
        }
        Policy::Maglev => LoadBalancer::Maglev {
            table_size: at.msg("maglev_lb_config").and_then(|c| c.opt_u64("table_size")),
        },
        Policy::ClusterProvided => LoadBalancer::ClusterProvided,
    }
}

/// Envoy demands a key, though it need not be set.
fn write_double(value: f64) -> Msg {
    Msg::new(&RUNTIME_DOUBLE).set("default_value", value).set("runtime_key", "unused")
}

fn read_double(at: &At) -> f64 {
    at.opt_f64("default_value").unwrap_or(0.0)
}

fn write_slow_start(s: SlowStart) -> Msg {
    Msg::new(&SLOW_START)
        .set("slow_start_window", s.window)
        .set_opt("aggression", s.aggression.map(write_double))
        .set_opt("min_weight_percent", s.min_weight_percent.map(write_percent))
}

fn read_slow_start(at: &At) -> SlowStart {
    SlowStart {
        window: at.duration("slow_start_window").unwrap_or_default(),
        aggression: at.msg("aggression").map(|a| read_double(&a)),
        min_weight_percent: at.msg("min_weight_percent").map(|p| read_percent(&p)),
    }
}

/// `None` where all is default.
pub(super) fn write_common_lb(c: &LbCommon) -> Option<Msg> {
    let msg = Msg::new(&COMMON_LB)
        .set_opt("healthy_panic_threshold", c.panic_threshold.map(write_percent));
    let msg = match c.locality {
        LocalityMode::None => msg,
        LocalityMode::Weighted => {
            msg.set("locality_weighted_lb_config", Msg::new(&LOCALITY_WEIGHTED))
        }
        LocalityMode::ZoneAware => msg.set("zone_aware_lb_config", Msg::new(&ZONE_AWARE)),
    };
    (!msg.is_empty()).then_some(msg)
}

pub(super) fn read_common_lb(at: &At) -> LbCommon {
    let locality = if at.has("locality_weighted_lb_config") {
        LocalityMode::Weighted
    } else if at.has("zone_aware_lb_config") {
        LocalityMode::ZoneAware
    } else {
        LocalityMode::None
    };
    LbCommon {
        panic_threshold: at.msg("healthy_panic_threshold").map(|p| read_percent(&p)),
        locality,
    }
}
