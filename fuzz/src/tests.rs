//! Without a fuzzer: each target takes its seeds, and what is near to them.

use super::*;

#[test]
fn every_target_takes_its_seeds_cut_and_bent() {
    for target in TARGETS {
        let seeds = (target.seeds)();
        assert!(!seeds.is_empty(), "{} has no seeds", target.name);
        (target.run)(&[]);
        for seed in seeds {
            (target.run)(&seed);
            for at in (0..seed.len()).step_by(seed.len() / 16 + 1) {
                (target.run)(&seed[..at]);
                let mut bent = seed.clone();
                bent[at] ^= 0x55;
                (target.run)(&bent);
            }
        }
    }
}
