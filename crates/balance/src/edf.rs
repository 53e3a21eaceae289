//! Earliest deadline first: weighted turns without randomness. An entry of weight w is due every
//! 1/w; ties go in the order of insertion.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

#[derive(Debug, Default)]
pub(crate) struct Edf {
    heap: BinaryHeap<Entry>,
    now: f64,
    order: u64,
}

#[derive(Debug)]
struct Entry {
    deadline: f64,
    order: u64,
    item: u32,
}

impl Edf {
    pub(crate) fn new(weights: impl IntoIterator<Item = f64>) -> Self {
        let mut edf = Self::default();
        for (item, weight) in (0u32..).zip(weights) {
            edf.add(item, weight);
        }
        edf
    }

    /// The entry that is due. It is put back with the weight that `weight` gives it now.
    pub(crate) fn pick(&mut self, weight: impl FnOnce(u32) -> f64) -> Option<u32> {
        let due = self.heap.pop()?;
        self.now = due.deadline;
        self.add(due.item, weight(due.item));
        Some(due.item)
    }

    fn add(&mut self, item: u32, weight: f64) {
        if weight <= 0.0 {
            return;
        }
        self.order += 1;
        self.heap.push(Entry { deadline: self.now + 1.0 / weight, order: self.order, item });
    }
}

impl Ord for Entry {
    /// Reversed: the heap gives the greatest first.
    fn cmp(&self, other: &Self) -> Ordering {
        other.deadline.total_cmp(&self.deadline).then(other.order.cmp(&self.order))
    }
}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Entry {}

#[cfg(test)]
mod tests {
    use super::*;

    fn turns(weights: &[f64], n: usize) -> String {
        let mut edf = Edf::new(weights.iter().copied());
        (0..n)
            .filter_map(|_| edf.pick(|i| weights[i as usize]))
            .map(|i| char::from(b'a' + i as u8))
            .collect()
    }

    #[test]
    fn turns_follow_the_weights() {
        assert_eq!(turns(&[1.0, 1.0, 1.0], 6), "abcabc");
        assert_eq!(turns(&[1.0, 2.0], 6), "babbab");
        assert_eq!(turns(&[4.0, 1.0], 10), "aaabaaaaba");
        assert_eq!(turns(&[0.0, 1.0], 3), "bbb");
        assert_eq!(turns(&[], 3), "");
    }
}
