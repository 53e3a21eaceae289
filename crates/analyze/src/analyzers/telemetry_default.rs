//! Telemetries: of several for a whole namespace only one counts.

use super::Analyzer;
use super::telemetry_selector::TELEMETRIES;

pub const ANALYZER: Analyzer = Analyzer {
    name: "telemetry.DefaultSelectorAnalyzer",
    about: "each namespace has one Telemetry without a selector",
    alone: false,
    run: |world, report| TELEMETRIES.check_defaults(world, report),
};
