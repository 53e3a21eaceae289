//! Random choices that follow from a seed.

use base::{Env, FixedEnv};

#[derive(Debug)]
pub struct Dice(FixedEnv);

impl Dice {
    pub fn seeded(seed: u64) -> Self {
        Self(FixedEnv::seeded(seed))
    }

    /// For one of several things made from one seed: changing another leaves it as it is.
    pub fn of(seed: u64, index: usize) -> Self {
        Self::seeded(balance::xxh64(format!("{seed}/{index}").as_bytes()))
    }

    pub fn one<T: Clone>(&self, of: &[T]) -> T {
        of[self.below(of.len())].clone()
    }

    /// `n` of them, with repetition.
    pub fn some<T: Clone>(&self, n: usize, of: &[T]) -> Vec<T> {
        (0..n).map(|_| self.one(of)).collect()
    }

    /// `n` different ones, or all there are.
    pub fn different<T: Clone>(&self, n: usize, of: &[T]) -> Vec<T> {
        let mut left = of.to_vec();
        (0..n.min(of.len())).map(|_| left.swap_remove(self.below(left.len()))).collect()
    }

    pub fn below(&self, n: usize) -> usize {
        self.0.below(n as u64) as usize
    }

    /// True in `percent` of all throws.
    pub fn chance(&self, percent: usize) -> bool {
        self.below(100) < percent
    }

    /// What `make` gives, in `percent` of all throws.
    pub fn maybe<T>(&self, percent: usize, make: impl FnOnce() -> T) -> Option<T> {
        self.chance(percent).then(make)
    }
}
