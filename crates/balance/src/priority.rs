//! How much of the traffic each priority gets, and which priorities are in panic: Envoy's rules.

/// One priority: how many can be used, and how much that is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Census {
    pub number: Amounts,
    /// The numbers again, or the sums of weights where health goes by weight. Panic never does.
    pub weight: Amounts,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Amounts {
    pub all: u64,
    pub healthy: u64,
    pub degraded: u64,
}

/// Percent per priority; the healthy and degraded shares of all priorities add up to 100.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Loads {
    pub healthy: Vec<u64>,
    pub degraded: Vec<u64>,
    /// Here all endpoints are used, healthy or not.
    pub panic: Vec<bool>,
}

pub(crate) fn loads(levels: &[Census], overprovisioning: u64, panic_threshold: u64) -> Loads {
    let share =
        |part: u64, whole: u64| (overprovisioning * part).checked_div(whole).unwrap_or(0).min(100);
    let weights = || levels.iter().map(|l| l.weight);
    let healthy: Vec<u64> = weights().map(|w| share(w.healthy, w.all)).collect();
    let degraded: Vec<u64> = weights().map(|w| share(w.degraded, w.all)).collect();
    let available = healthy.iter().chain(&degraded).sum::<u64>().min(100);
    if available == 0 {
        return nothing_available(levels, panic_threshold);
    }
    let panic: Vec<bool> =
        levels.iter().map(|l| available < 100 && in_panic(l.number, panic_threshold)).collect();
    if panic.iter().all(|&p| p) {
        return by_host_count(levels);
    }
    let mut left = 100;
    let mut spread = |availability: &[u64]| -> Vec<u64> {
        availability
            .iter()
            .map(|a| {
                let load = (a * 100 / available).min(left);
                left -= load;
                load
            })
            .collect()
    };
    let mut out = Loads { healthy: spread(&healthy), degraded: spread(&degraded), panic };
    give_rounding_to_the_first(&mut out, left);
    out
}

/// What integer division left over goes to the first priority that carries anything.
fn give_rounding_to_the_first(loads: &mut Loads, left: u64) {
    let Loads { healthy, degraded, .. } = loads;
    if let Some(load) = healthy.iter_mut().chain(degraded).find(|l| **l > 0) {
        *load += left;
    }
}

fn nothing_available(levels: &[Census], panic_threshold: u64) -> Loads {
    if panic_threshold > 0 {
        return by_host_count(levels);
    }
    let mut none = Loads {
        healthy: vec![0; levels.len()],
        degraded: vec![0; levels.len()],
        panic: vec![false; levels.len()],
    };
    if let Some(first) = none.healthy.first_mut() {
        *first = 100;
    }
    none
}

/// Everything is in panic: each priority in proportion to its hosts.
fn by_host_count(levels: &[Census]) -> Loads {
    let total: u64 = levels.iter().map(|l| l.number.all).sum();
    let healthy: Vec<u64> =
        levels.iter().map(|l| (100 * l.number.all).checked_div(total).unwrap_or(0)).collect();
    let left = 100 - healthy.iter().sum::<u64>();
    let mut out =
        Loads { healthy, degraded: vec![0; levels.len()], panic: vec![true; levels.len()] };
    give_rounding_to_the_first(&mut out, left);
    out
}

fn in_panic(level: Amounts, threshold: u64) -> bool {
    100 * (level.healthy + level.degraded) < threshold * level.all.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn level(all: u64, healthy: u64, degraded: u64) -> Census {
        let number = Amounts { all, healthy, degraded };
        Census { number, weight: number }
    }

    /// Numbers from the tables of Envoy's documentation on priority levels.
    #[test]
    fn traffic_spills_to_the_next_priority() {
        for (healthy0, expected) in [
            (100, [100, 0]),
            (72, [100, 0]),
            (71, [99, 1]),
            (50, [70, 30]),
            (25, [35, 65]),
            (0, [0, 100]),
        ] {
            let got = loads(&[level(100, healthy0, 0), level(100, 100, 0)], 140, 50);
            assert_eq!(got.healthy, expected, "{healthy0} healthy");
            assert_eq!(got.panic, [false, false]);
        }
    }

    #[test]
    fn panic_only_when_all_together_cannot_carry_the_load() {
        let got = loads(&[level(100, 20, 0), level(100, 20, 0)], 140, 50);
        assert_eq!((got.healthy, got.panic), (vec![50, 50], vec![true, true]));
        let got = loads(&[level(100, 5, 0), level(100, 65, 0)], 140, 50);
        assert_eq!((got.healthy, got.panic), (vec![8, 92], vec![true, false]));
        let got = loads(&[level(4, 1, 0)], 140, 0);
        assert_eq!((got.healthy, got.panic), (vec![100], vec![false]));
    }

    #[test]
    fn nothing_healthy() {
        assert_eq!(loads(&[level(3, 0, 0)], 140, 50).panic, [true]);
        assert_eq!(loads(&[level(3, 0, 0)], 140, 0).panic, [false]);
        let spread = loads(&[level(1, 0, 0), level(3, 0, 0)], 140, 50);
        assert_eq!(spread.healthy, [25, 75]);
    }

    #[test]
    fn degraded_come_after_all_healthy() {
        let got = loads(&[level(10, 5, 5), level(10, 0, 0)], 140, 50);
        assert_eq!((got.healthy, got.degraded), (vec![70, 0], vec![30, 0]));
    }

    #[test]
    fn weights_share_the_load_and_numbers_make_the_panic() {
        let number = Amounts { all: 4, healthy: 3, degraded: 0 };
        let light = Census { number, weight: Amounts { all: 10, healthy: 3, degraded: 0 } };
        let got = loads(&[light, level(1, 1, 0)], 140, 50);
        assert_eq!((got.healthy, got.panic), (vec![42, 58], vec![false, false]));
        let got = loads(&[light], 140, 50);
        assert_eq!(got.panic, [false], "three of four are well, however light");
    }
}
