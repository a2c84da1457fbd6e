//! What must be exact over all workers: limits, and the counts that they bound.
//!
//! Everything here is an atomic or is locked only while a config is applied. What it answers is an input of
//! the engine that asked, like any other.

use crate::config::{Breakers, RetryBudget};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::AcqRel, Ordering::Acquire, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

/// State that all engines of a process share.
#[derive(Debug, Default)]
pub struct Shared {
    /// Downstream connections over all listeners.
    pub connections: Count,
    listeners: Mutex<BTreeMap<Arc<str>, Arc<Count>>>,
    clusters: Mutex<BTreeMap<Arc<str>, Arc<SharedCluster>>>,
    /// Numbers for connections, unique in the process.
    next_connection: AtomicU64,
}

impl Shared {
    /// The connection count of a listener.
    pub fn listener(&self, name: &Arc<str>) -> Arc<Count> {
        let mut listeners = self.listeners.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(listeners.entry(Arc::clone(name)).or_default())
    }

    /// The counts of a cluster.
    pub fn cluster(&self, name: &Arc<str>) -> Arc<SharedCluster> {
        let mut clusters = self.clusters.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(clusters.entry(Arc::clone(name)).or_default())
    }

    /// The next connection's number.
    pub fn number_connection(&self) -> u64 {
        self.next_connection.fetch_add(1, Relaxed)
    }
}

/// A count with a bound that is asked at every step up.
#[derive(Debug, Default)]
pub struct Count(AtomicU32);

impl Count {
    /// Counts one more unless there are `max` already.
    #[must_use]
    pub fn try_acquire(&self, max: u32) -> bool {
        self.0.fetch_update(AcqRel, Acquire, |n| (n < max).then_some(n + 1)).is_ok()
    }

    /// One less. Every acquired one is released once.
    pub fn release(&self) {
        let before = self.0.fetch_sub(1, AcqRel);
        debug_assert!(before > 0, "released more than was acquired");
    }

    /// How many there are.
    pub fn get(&self) -> u32 {
        self.0.load(Acquire)
    }
}

/// The counts of one cluster.
#[derive(Debug, Default)]
pub struct SharedCluster {
    /// By priority: default, high.
    pub priorities: [SharedBreakers; 2],
    hosts: Mutex<BTreeMap<SocketAddr, Arc<SharedHost>>>,
}

impl SharedCluster {
    /// The counts of a host; hosts that nobody uses any more are forgotten.
    pub fn host(&self, address: SocketAddr) -> Arc<SharedHost> {
        let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(hosts.entry(address).or_default())
    }

    /// Forgets the hosts that no engine uses.
    pub fn forget_unused_hosts(&self) {
        self.hosts.lock().unwrap_or_else(PoisonError::into_inner).retain(|_, host| Arc::strong_count(host) > 1);
    }
}

/// The counts that circuit breakers bound.
#[derive(Debug, Default)]
pub struct SharedBreakers {
    /// Upstream connections.
    pub connections: Count,
    /// Requests that wait for a connection.
    pub pending: Count,
    /// Requests on a connection.
    pub requests: Count,
    /// Retries that have not ended.
    pub retries: Count,
    /// Requests that wait because `connections` is at its bound.
    pub starved: Count,
}

impl SharedBreakers {
    /// Counts one more retry if the budget, and `more` on top of it, allows.
    #[must_use]
    pub fn try_retry(&self, breakers: &Breakers, more: u32) -> bool {
        let max = match breakers.retries {
            RetryBudget::Count(max) => max,
            RetryBudget::Share { percent, min_concurrency } => {
                let active = self.requests.get().saturating_add(self.pending.get());
                ((percent / 100.0 * f64::from(active)) as u32).max(min_concurrency)
            }
        };
        self.retries.try_acquire(max.saturating_add(more))
    }
}

/// The counts of one host.
#[derive(Debug, Default)]
pub struct SharedHost {
    active: AtomicU32,
    /// Requests sent to it.
    pub requests: AtomicU64,
    /// Requests that failed: resets and 5xx.
    pub errors: AtomicU64,
    /// Connections that could not be made.
    pub connect_failures: AtomicU64,
    /// Connections made.
    pub connections_total: AtomicU64,
    /// Open connections.
    pub connections: AtomicU32,
}

impl SharedHost {
    /// A request starts.
    pub fn start(&self) {
        self.active.fetch_add(1, Relaxed);
        self.requests.fetch_add(1, Relaxed);
    }

    /// A request ends.
    pub fn end(&self) {
        self.active.fetch_sub(1, Relaxed);
    }

    /// Requests under way.
    pub fn active(&self) -> u32 {
        self.active.load(Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_never_passes_its_bound() {
        let count = Arc::new(Count::default());
        let got: usize = (0..10).filter(|_| count.try_acquire(4)).count();
        assert_eq!((got, count.get()), (4, 4));
        count.release();
        assert!(count.try_acquire(4) && !count.try_acquire(4));
    }

    #[test]
    fn a_retry_budget_follows_the_load_but_leaves_a_few() {
        let shared = SharedBreakers::default();
        let breakers = Breakers::default();
        assert_eq!((0..10).filter(|_| shared.try_retry(&breakers, 0)).count(), 3);
        (0..50).for_each(|_| assert!(shared.requests.try_acquire(100)));
        assert_eq!((0..20).filter(|_| shared.try_retry(&breakers, 0)).count(), 7);
    }
}
