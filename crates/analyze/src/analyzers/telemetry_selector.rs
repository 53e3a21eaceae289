//! Telemetries: of several for one workload only one counts.

use super::Analyzer;
use super::selectors::Policies;
use crate::catalogue;
use crate::kinds;

pub const ANALYZER: Analyzer = Analyzer {
    name: "telemetry.SelectorAnalyzer",
    about: "each workload obeys one Telemetry with a selector",
    alone: false,
    run: |world, report| TELEMETRIES.check_selectors(world, report),
};

pub const TELEMETRIES: Policies = Policies {
    kind: kinds::TELEMETRY,
    selector: &["selector", "matchLabels"],
    conflict: catalogue::CONFLICTING_TELEMETRIES,
    several: catalogue::TELEMETRIES_WITHOUT_SELECTOR,
};
