//! TLS to a destination without saying whom to trust.

use super::Analyzer;
use crate::catalogue;
use crate::kinds;
use crate::report::Report;
use crate::world::World;
use api::{ClientTlsMode, ClientTlsSettings, DestinationRule, Object};

pub const ANALYZER: Analyzer = Analyzer {
    name: "destinationrule.CaCertificateAnalyzer",
    about: "DestinationRules with TLS say by which certificates the server is checked",
    alone: true,
    run,
};

fn run(world: &World, report: &mut Report) {
    for rule in world.all(kinds::DESTINATION_RULE) {
        let Ok(read) = api::decode::<Object<DestinationRule>>("DestinationRule", &rule.value)
        else {
            continue;
        };
        let spec = &read.object.spec;
        let Some(policy) = &spec.traffic_policy else { continue };
        let selects = spec.workload_selector.is_some();
        let names = [rule.name(), rule.namespace()];
        if let Some(mode) = policy.tls.as_ref().and_then(|t| unverified(t, selects)) {
            let arguments = [names[0], names[1], mode, &spec.host];
            let path = "spec.trafficPolicy.tls";
            report.say(catalogue::NO_SERVER_VERIFICATION, &rule.reference, path, &arguments);
        }
        for (index, port) in policy.port_level_settings.iter().enumerate() {
            if let Some(mode) = port.tls.as_ref().and_then(|t| unverified(t, selects)) {
                let number = port.port.as_ref().map_or(0, |p| p.number).to_string();
                let arguments = [names[0], names[1], mode, &spec.host, &number];
                let path = format!("spec.trafficPolicy.portLevelSettings[{index}].tls");
                report.say(
                    catalogue::NO_SERVER_VERIFICATION_PORT,
                    &rule.reference,
                    path,
                    &arguments,
                );
            }
        }
    }
}

/// The mode, where nothing says whom to trust. A credential counts at sidecars only if the rule selects
/// them.
fn unverified(tls: &ClientTlsSettings, selects: bool) -> Option<&'static str> {
    let mode = match tls.mode {
        ClientTlsMode::Simple => "SIMPLE",
        ClientTlsMode::Mutual => "MUTUAL",
        _ => return None,
    };
    let trusts = !tls.ca_certificates.is_empty() || (selects && !tls.credential_name.is_empty());
    (!trusts && tls.insecure_skip_verify != Some(true)).then_some(mode)
}
