//! When endpoints are left out, for how long, and who comes back.

use super::*;
use base::FixedEnv;

fn judge(config: &OutlierDetection, outcomes: &[Outcome]) -> Vec<bool> {
    let (rules, env, mut record) = (Rules::new(config), FixedEnv::seeded(1), Record::default());
    outcomes.iter().map(|o| rules.judge(&mut record, *o, &env)).collect()
}

#[test]
fn only_failures_in_a_row_count() {
    use Outcome::Status as S;
    let config = OutlierDetection { consecutive_5xx: Some(3), ..OutlierDetection::default() };
    assert_eq!(
        judge(&config, &[S(500), S(503), S(200), S(500), S(500), S(501)]),
        [false, false, false, false, false, true]
    );
    let gateway = OutlierDetection {
        consecutive_5xx: Some(0),
        consecutive_gateway_failure: Some(2),
        enforcing_consecutive_gateway_failure: Some(100),
        ..OutlierDetection::default()
    };
    assert_eq!(judge(&gateway, &[S(503), S(500), S(502), S(504)]), [false, false, false, true]);
}

#[test]
fn local_failures_count_as_5xx_unless_split() {
    let fail = [Outcome::Local(LocalFailure::Connect); 2];
    let together = OutlierDetection { consecutive_5xx: Some(2), ..OutlierDetection::default() };
    assert_eq!(judge(&together, &fail), [false, true]);
    // A connection alone says nothing of the requests on it, but for TCP it is all there is.
    assert_eq!(judge(&together, &[fail[0], Outcome::Connected, fail[1]]), [false, false, true]);
    assert_eq!(judge(&together, &[fail[0], Outcome::Established, fail[1]]), [false; 3]);
    let split = OutlierDetection {
        consecutive_5xx: Some(1),
        split_external_local_origin_errors: true,
        consecutive_local_origin_failure: Some(2),
        ..OutlierDetection::default()
    };
    assert_eq!(judge(&split, &fail), [false, true]);
    for connected in [Outcome::Connected, Outcome::Established] {
        assert_eq!(judge(&split, &[fail[0], connected, fail[1]]), [false; 3]);
    }
    assert_eq!(judge(&split, &[fail[0], Outcome::Status(200), fail[1]]), [false, false, true]);
}

fn at(seconds: u64) -> Instant {
    Instant(seconds * 1_000_000_000)
}

/// The looks from `from` to `to`, each as the caller of the rules does it.
fn looks(rules: &Rules, record: &mut Record, from: u64, to: u64) -> bool {
    let Some(due) = rules.look(at(from), at(to)) else { return false };
    let back = rules.pardon(record, at(from), due);
    rules.begin(record, at(from), due);
    back
}

#[test]
fn ejections_get_longer_and_end() {
    let rules = Rules::new(&OutlierDetection::default());
    let mut record = Record::default();
    assert_eq!(rules.eject(&mut record, 0, 10, at(0)), Change::Ejected);
    assert!(!looks(&rules, &mut record, 0, 29));
    assert!(looks(&rules, &mut record, 20, 30) && !record.is_ejected());
    rules.eject(&mut record, 0, 10, at(31));
    assert!(!looks(&rules, &mut record, 30, 90), "the second ejection lasts twice as long");
    assert!(looks(&rules, &mut record, 90, 100));
}

#[test]
fn who_stays_well_is_pardoned_look_by_look() {
    let rules = Rules::new(&OutlierDetection::default());
    let mut record = Record::default();
    for _ in 0..50 {
        record.ejected_at = None;
        rules.eject(&mut record, 0, 10, at(0));
    }
    assert_eq!(record.backoff, 11, "no further than to the longest ejection");
    assert!(!looks(&rules, &mut record, 0, 290));
    assert!(looks(&rules, &mut record, 290, 300));
    assert_eq!(record.backoff, 11, "well for no interval yet");
    looks(&rules, &mut record, 300, 310);
    assert_eq!(record.backoff, 10);
    // Nobody asked for a while, so that several looks are made up for at once.
    looks(&rules, &mut record, 310, 345);
    assert_eq!(record.backoff, 7);
    rules.eject(&mut record, 0, 10, at(350));
    assert!(looks(&rules, &mut record, 350, 610), "8 times 30 s, and two looks more");
    assert_eq!(record.backoff, 6);
}

#[test]
fn no_more_than_the_allowed_share_is_out() {
    let config = OutlierDetection { max_ejection_percent: Some(50), ..OutlierDetection::default() };
    let rules = Rules::new(&config);
    let eject = |out| rules.eject(&mut Record::default(), out, 4, Instant(0));
    assert_eq!([eject(0), eject(1), eject(2)], [Change::Ejected, Change::Ejected, Change::Nothing]);
    let third = |percent, of| {
        let config =
            OutlierDetection { max_ejection_percent: Some(percent), ..OutlierDetection::default() };
        Rules::new(&config).eject(&mut Record::default(), 0, of, Instant(0))
    };
    assert_eq!((third(33, 3), third(34, 3)), (Change::Nothing, Change::Ejected));
    let never = Rules::new(&OutlierDetection {
        max_ejection_percent: Some(0),
        ..OutlierDetection::default()
    });
    assert_eq!(never.eject(&mut Record::default(), 0, 4, Instant(0)), Change::Nothing);
}

#[test]
fn the_odd_one_out_is_found_by_its_success_rate() {
    for (origin, apart) in [(Origin::Answers, false), (Origin::Connections, true)] {
        let rules = Rules::new(&OutlierDetection {
            split_external_local_origin_errors: apart,
            ..OutlierDetection::default()
        });
        let env = FixedEnv::seeded(1);
        let mut records: Vec<_> =
            [100, 99, 100, 98, 100, 10].map(|good| of_100(&rules, good)).into();
        let floor = rules.floor(origin, records.iter()).expect("enough requests");
        let below = |r: &Record| rules.below(origin, r, floor, &env);
        let found: Vec<_> = records.iter().map(below).collect();
        assert_eq!(found, [false, false, false, false, false, true], "{origin:?}");
        // Who is out already is neither compared nor ejected again.
        records[5].ejected_at = Some(at(0));
        let floor = rules.floor(origin, records.iter()).expect("five are left");
        assert!(floor > 90.0 && !rules.below(origin, &records[5], floor, &env));
        records.iter_mut().for_each(|r| rules.begin(r, at(0), at(10)));
        assert_eq!(rules.floor(origin, records.iter()), None, "a new interval began");
    }
}

/// After so many successes, and failures up to 100.
fn of_100(rules: &Rules, good: u32) -> Record {
    let mut record = Record::default();
    for n in 0..100 {
        let outcome = match n < good {
            true => Outcome::Established,
            // Never enough in a row for anything else.
            false => Outcome::Local(LocalFailure::Reset),
        };
        rules.judge(&mut record, outcome, &FixedEnv::seeded(1));
    }
    record
}
