//! Circuit breakers: how many connections, waiting requests, requests and retries a cluster may have
//! at once, over all workers.

use ir::{Address, CircuitBreakers, RetryBudget};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

/// What is limited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Limit {
    Connections,
    Pending,
    Requests,
    Retries,
}

/// The counts of one cluster, shared by all workers. Keep it when the cluster's limits change.
#[derive(Debug, Default)]
pub struct Usage {
    counts: [AtomicU32; 4],
    /// Endpoints that are ejected, by so many workers: for whoever looks from outside.
    ejected: Mutex<BTreeMap<Address, u32>>,
}

impl Usage {
    pub fn get(&self, limit: Limit) -> u32 {
        self.counts[limit as usize].load(Relaxed)
    }

    /// The endpoints that any worker leaves out.
    pub fn ejected(&self) -> BTreeSet<Address> {
        self.ejected.lock().unwrap_or_else(PoisonError::into_inner).keys().cloned().collect()
    }

    /// One worker leaves `now` out, and `before` until now.
    pub(crate) fn leave_out(&self, before: &BTreeSet<Address>, now: &BTreeSet<Address>) {
        let mut all = self.ejected.lock().unwrap_or_else(PoisonError::into_inner);
        for address in now.difference(before) {
            *all.entry(address.clone()).or_default() += 1;
        }
        for address in before.difference(now) {
            if let Some(n) = all.get_mut(address) {
                *n -= 1;
            }
        }
        all.retain(|_, n| *n > 0);
    }
}

/// One worker's view of a cluster's limits.
#[derive(Debug)]
pub struct Breakers {
    usage: Arc<Usage>,
    limits: [u32; 4],
    budget: Option<RetryBudget>,
}

/// A place that is held until dropped.
#[derive(Debug)]
pub struct Permit {
    breakers: Rc<Breakers>,
    limit: Limit,
}

impl Breakers {
    pub fn new(config: &CircuitBreakers, usage: Arc<Usage>) -> Rc<Self> {
        Rc::new(Self {
            usage,
            limits: [
                config.max_connections.unwrap_or(1024),
                config.max_pending_requests.unwrap_or(1024),
                config.max_requests.unwrap_or(1024),
                config.max_retries.unwrap_or(3),
            ],
            budget: config.retry_budget,
        })
    }

    /// Takes a place, or says that there is none (`None`: overflow).
    pub fn enter(self: &Rc<Self>, limit: Limit) -> Option<Permit> {
        let count = &self.usage.counts[limit as usize];
        if count.fetch_add(1, Relaxed) >= self.max(limit) {
            count.fetch_sub(1, Relaxed);
            return None;
        }
        Some(Permit { breakers: self.clone(), limit })
    }

    /// Takes a place even if there is none.
    pub fn enter_anyway(self: &Rc<Self>, limit: Limit) -> Permit {
        self.usage.counts[limit as usize].fetch_add(1, Relaxed);
        Permit { breakers: self.clone(), limit }
    }

    /// How many there may be now; a retry budget follows the number of requests.
    pub fn max(&self, limit: Limit) -> u32 {
        match (limit, self.budget) {
            (Limit::Retries, Some(budget)) => self.budgeted_retries(budget),
            _ => self.limits[limit as usize],
        }
    }

    fn budgeted_retries(&self, budget: RetryBudget) -> u32 {
        let busy = u64::from(self.usage.get(Limit::Requests) + self.usage.get(Limit::Pending));
        let share = busy * u64::from(budget.percent_milli.unwrap_or(20_000)) / 100_000;
        u32::try_from(share).unwrap_or(u32::MAX).max(budget.min_concurrency.unwrap_or(3))
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.breakers.usage.counts[self.limit as usize].fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_taken_and_given_back() {
        let config = CircuitBreakers { max_connections: Some(2), ..CircuitBreakers::default() };
        let usage = Arc::new(Usage::default());
        let one = Breakers::new(&config, usage.clone());
        let other = Breakers::new(&config, usage.clone());
        let first = one.enter(Limit::Connections);
        assert!(first.is_some() && other.enter(Limit::Connections).is_some());
        let _second = other.enter(Limit::Connections).expect("the place before was given back");
        assert!(one.enter(Limit::Connections).is_none(), "two workers share the limit");
        drop(first);
        assert!(one.enter(Limit::Connections).is_some());
        assert_eq!(usage.get(Limit::Connections), 1);
        assert!(one.enter(Limit::Requests).is_some(), "limits are independent");
    }

    #[test]
    fn the_retry_budget_follows_the_requests() {
        let budget = RetryBudget { percent_milli: Some(20_000), min_concurrency: Some(1) };
        let config = CircuitBreakers { retry_budget: Some(budget), ..CircuitBreakers::default() };
        let breakers = Breakers::new(&config, Arc::default());
        assert_eq!(breakers.max(Limit::Retries), 1);
        let requests: Vec<_> = (0..20).map(|_| breakers.enter(Limit::Requests)).collect();
        assert_eq!(breakers.max(Limit::Retries), 4);
        drop(requests);
    }
}
