//! Maglev (Eisenbud et al. 2016, listing 1, with Envoy's weights): a table of prime size that each
//! endpoint fills in the order of its own permutation.

use crate::hash::{xxh64, xxh64_seeded};

const DEFAULT_SIZE: u64 = 65_537;
/// Envoy's limit.
const MAX_SIZE: u64 = 5_000_011;
const NOBODY: u32 = u32::MAX;

#[derive(Debug, Default)]
pub(crate) struct Maglev {
    table: Vec<u32>,
}

struct Candidate {
    member: u32,
    offset: u64,
    skip: u64,
    next: u64,
    weight: f64,
    target: f64,
}

impl Maglev {
    /// `members`: the key that is hashed, and the share of the traffic (all add up to 1).
    pub(crate) fn new(members: &[(String, f64)], size: Option<u64>) -> Self {
        let size = size.unwrap_or(DEFAULT_SIZE).clamp(2, MAX_SIZE);
        let heaviest = members.iter().map(|m| m.1).fold(0.0, f64::max);
        if heaviest <= 0.0 {
            return Self::default();
        }
        // In the order of their keys, so that the order in which they are listed moves nothing.
        let mut listed: Vec<(u32, &(String, f64))> = (0u32..).zip(members).collect();
        listed.sort_by(|(_, a), (_, b)| a.0.cmp(&b.0));
        let mut candidates: Vec<Candidate> = listed
            .into_iter()
            .map(|(member, (key, weight))| Candidate::new(member, key, *weight, size))
            .collect();
        let mut table = vec![NOBODY; size as usize];
        let mut filled = 0;
        let mut round = 1.0;
        while filled < size {
            for candidate in &mut candidates {
                // A member of half the greatest weight gets a place every second round.
                if filled == size || round * candidate.weight < candidate.target {
                    continue;
                }
                candidate.target += heaviest;
                let place = candidate.free_place(&table);
                table[place] = candidate.member;
                filled += 1;
            }
            round += 1.0;
        }
        Self { table }
    }

    pub(crate) fn pick(&self, hash: u64, attempt: u32) -> Option<u32> {
        let hash = if attempt > 0 { hash ^ (u64::MAX - u64::from(attempt) + 1) } else { hash };
        let at = hash.checked_rem(self.table.len() as u64)?;
        Some(self.table[at as usize])
    }
}

impl Candidate {
    fn new(member: u32, key: &str, weight: f64, size: u64) -> Self {
        Self {
            member,
            offset: xxh64(key.as_bytes()) % size,
            skip: xxh64_seeded(key.as_bytes(), 1) % (size - 1) + 1,
            next: 0,
            weight,
            target: 0.0,
        }
    }

    fn free_place(&mut self, table: &[u32]) -> usize {
        let size = table.len() as u64;
        loop {
            let place = ((self.offset + self.skip * self.next) % size) as usize;
            self.next += 1;
            if table[place] == NOBODY {
                return place;
            }
            // Only a size that is not prime can leave places out of reach; a step of one reaches all.
            if self.next > size {
                self.skip = 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(table: &Maglev, member: u32) -> usize {
        table.table.iter().filter(|&&m| m == member).count()
    }

    #[test]
    fn places_follow_the_weights() {
        let members: Vec<_> =
            [0.2, 0.3, 0.5].iter().zip(["a", "b", "c"]).map(|(w, k)| (k.to_owned(), *w)).collect();
        let table = Maglev::new(&members, Some(1009));
        assert_eq!(table.table.len(), 1009);
        for (member, share) in (0u32..).zip([0.2, 0.3, 0.5]) {
            let got = count(&table, member) as f64 / 1009.0;
            assert!((got - share).abs() < 0.01, "member {member}: {got}");
        }
    }

    #[test]
    fn the_order_of_the_members_moves_nothing() {
        let members: Vec<_> = [("10.0.0.9:80", 0.2), ("10.0.0.10:80", 0.3), ("10.0.0.1:80", 0.5)]
            .map(|(key, weight)| (key.to_owned(), weight))
            .into();
        let turned: Vec<_> = members.iter().rev().cloned().collect();
        let (one, two) = (Maglev::new(&members, Some(1009)), Maglev::new(&turned, Some(1009)));
        for hash in 0..1009 {
            let (a, b) = (one.pick(hash, 0).unwrap(), two.pick(hash, 0).unwrap());
            assert_eq!(members[a as usize], turned[b as usize], "{hash}");
        }
    }

    #[test]
    fn a_lost_member_moves_few_other_keys() {
        let members: Vec<_> = (0..5).map(|i| (format!("10.0.0.{i}:80"), 0.2)).collect();
        let rest: Vec<_> = members[..4].iter().map(|m| (m.0.clone(), 0.25)).collect();
        let (before, after) = (Maglev::new(&members, None), Maglev::new(&rest, None));
        let moved = (0..65_537).filter(|&h| {
            let old = before.pick(h, 0).unwrap();
            old != 4 && Some(old) != after.pick(h, 0)
        });
        assert!(moved.count() < 65_537 / 20);
    }

    #[test]
    fn sizes_that_are_not_prime_still_fill_up() {
        let members: Vec<_> = (0..3).map(|i| (format!("h{i}"), 1.0 / 3.0)).collect();
        assert!(Maglev::new(&members, Some(12)).table.iter().all(|&m| m < 3));
    }
}
