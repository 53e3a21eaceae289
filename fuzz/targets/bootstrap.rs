//! A bootstrap file, JSON or YAML: it is read or refused with findings.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Err(findings) = xds::bootstrap::read(text) {
        assert!(!findings.is_empty());
    }
});
