//! Counters, gauges and histograms by index; names only when somebody asks.
//!
//! A [`Block`] holds the stats of one scope (a cluster, a listener, a connection manager) for one engine.
//! Only its engine writes to it, so a write is a plain load and store; anybody may read. The admin page adds
//! up the blocks of all engines.

mod histogram;
mod scopes;
mod tls;

pub use histogram::{Histogram, Summary};
pub use scopes::{ClusterStat, HttpStat, Kind, ListenerStat, Scope, SecretStat, Timing};

pub use tls::{TLS_CHOICES, TlsChoice};

use crate::tls_info::TlsInfo;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

/// The stats of one scope and one engine.
#[derive(Debug)]
pub struct Block {
    values: Box<[AtomicU64]>,
    codes: OnceLock<Box<[AtomicU64]>>,
    handshakes: OnceLock<Box<[AtomicU64]>>,
    timings: Box<[OnceLock<Histogram>]>,
}

/// A number that names a stat within its scope.
pub trait Stat: Copy {
    /// Its place.
    fn index(self) -> usize;
}

impl Block {
    fn new(scope: Scope) -> Block {
        Block {
            values: scope.stats().iter().map(|_| AtomicU64::new(0)).collect(),
            codes: OnceLock::new(),
            handshakes: OnceLock::new(),
            timings: scope.timings().iter().map(|_| OnceLock::new()).collect(),
        }
    }

    /// Adds to a counter or gauge. Only the engine that owns the block may call this.
    pub fn add(&self, stat: impl Stat, by: u64) {
        if let Some(value) = self.values.get(stat.index()) {
            bump(value, by);
        }
    }

    /// Adds one.
    pub fn inc(&self, stat: impl Stat) {
        self.add(stat, 1);
    }

    /// Takes one from a gauge.
    pub fn dec(&self, stat: impl Stat) {
        self.add(stat, u64::MAX);
    }

    /// Sets a gauge.
    pub fn set(&self, stat: impl Stat, to: u64) {
        if let Some(value) = self.values.get(stat.index()) {
            value.store(to, Relaxed);
        }
    }

    /// Reads a counter or gauge.
    pub fn get(&self, stat: impl Stat) -> u64 {
        self.values.get(stat.index()).map_or(0, |value| value.load(Relaxed))
    }

    /// Counts a response status.
    pub fn count_code(&self, status: u16) {
        let codes = self.codes.get_or_init(|| (0..500).map(|_| AtomicU64::new(0)).collect());
        if let Some(code) = usize::from(status).checked_sub(100).and_then(|at| codes.get(at)) {
            bump(code, 1);
        }
    }

    /// Counts what a TLS handshake agreed on: its version, its cipher and its key exchange.
    pub fn count_tls(&self, tls: &TlsInfo) {
        let counts = self.handshakes.get_or_init(|| TLS_CHOICES.iter().map(|_| AtomicU64::new(0)).collect());
        for (kind, choice) in [(TlsChoice::Version, &tls.version), (TlsChoice::Cipher, &tls.cipher), (TlsChoice::Curve, &tls.curve)] {
            let at = TLS_CHOICES.iter().position(|(of, name)| *of == kind && *name == &**choice);
            if let Some(count) = at.and_then(|at| counts.get(at)) {
                bump(count, 1);
            }
        }
    }

    /// Adds a sample, in milliseconds.
    pub fn time(&self, timing: Timing, ms: u64) {
        if let Some(slot) = self.timings.get(timing as usize) {
            slot.get_or_init(Histogram::default).add(ms);
        }
    }
}

fn bump(value: &AtomicU64, by: u64) {
    value.store(value.load(Relaxed).wrapping_add(by), Relaxed);
}

/// All blocks of one engine, by scope and name. Locked when the config changes and when stats are read,
/// never on the request path.
#[derive(Debug, Default)]
pub struct Registry(RwLock<Blocks>);

type Blocks = BTreeMap<(Scope, Arc<str>), Arc<Block>>;

impl Registry {
    /// The block of a scope, made if there is none.
    pub fn block(&self, scope: Scope, name: &str) -> Arc<Block> {
        let mut blocks = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let block = blocks.entry((scope, name.into())).or_insert_with(|| Arc::new(Block::new(scope)));
        Arc::clone(block)
    }

    /// Adds what this engine counted to `totals`.
    pub fn add_to(&self, totals: &mut Totals) {
        let blocks = self.0.read().unwrap_or_else(PoisonError::into_inner);
        for ((scope, name), block) in blocks.iter() {
            let total = totals.0.entry((*scope, Arc::clone(name))).or_insert_with(|| Total::new(*scope));
            for (index, (sum, value)) in total.values.iter_mut().zip(&block.values).enumerate() {
                let value = value.load(Relaxed);
                *sum = if scope.is_same_everywhere(index) { value.max(*sum) } else { sum.wrapping_add(value) };
            }
            for (status, count) in block.codes.get().into_iter().flat_map(|codes| (100u16..).zip(codes.iter())) {
                let count = count.load(Relaxed);
                if count > 0 {
                    *total.codes.entry(status).or_default() += count;
                }
            }
            for (sum, count) in total.handshakes.iter_mut().zip(block.handshakes.get().into_iter().flatten()) {
                *sum += count.load(Relaxed);
            }
            for (sum, timing) in total.timings.iter_mut().zip(&block.timings) {
                if let Some(histogram) = timing.get() {
                    histogram.add_to(sum);
                }
            }
        }
    }
}

/// Stats added up over engines.
#[derive(Debug, Default)]
pub struct Totals(pub BTreeMap<(Scope, Arc<str>), Total>);

impl Totals {
    /// Counters and gauges under Envoy's names: `cluster.backend.upstream_rq_total`.
    pub fn named(&self) -> BTreeMap<String, u64> {
        let mut named = BTreeMap::new();
        for ((scope, name), total) in &self.0 {
            let of = format!("{}.{name}", scope.prefix());
            named.extend(scope.stats().iter().zip(&total.values).map(|((stat, _), value)| (format!("{of}.{stat}"), *value)));
            named.extend(total.codes.iter().map(|(status, count)| (format!("{of}.{}{status}", scope.codes()), *count)));
        }
        named
    }
}

/// The totals of one scope.
#[derive(Debug)]
pub struct Total {
    /// Counters and gauges, in the order of [`Scope::stats`].
    pub values: Vec<u64>,
    /// Responses by status.
    pub codes: BTreeMap<u16, u64>,
    /// What TLS handshakes agreed on, in the order of [`TLS_CHOICES`].
    pub handshakes: [u64; TLS_CHOICES.len()],
    /// Histograms, in the order of [`Scope::timings`].
    pub timings: Vec<Summary>,
}

impl Total {
    fn new(scope: Scope) -> Total {
        Total {
            values: vec![0; scope.stats().len()],
            codes: BTreeMap::new(),
            handshakes: [0; TLS_CHOICES.len()],
            timings: vec![Summary::default(); scope.timings().len()],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn engines_add_up() {
        let (a, b) = (Registry::default(), Registry::default());
        for registry in [&a, &b] {
            let block = registry.block(Scope::Cluster, "c");
            block.inc(ClusterStat::RqTotal);
            block.inc(ClusterStat::RqActive);
            block.dec(ClusterStat::RqActive);
            block.count_code(204);
            block.count_tls(&TlsInfo { version: "TLSv1.3".into(), cipher: "?".into(), ..TlsInfo::default() });
            block.time(Timing::RqTime, 7);
            block.set(ClusterStat::MembershipTotal, 3);
        }
        let mut totals = Totals::default();
        a.add_to(&mut totals);
        b.add_to(&mut totals);
        let total = &totals.0[&(Scope::Cluster, "c".into())];
        assert_eq!(total.values[ClusterStat::RqTotal as usize], 2);
        assert_eq!(total.values[ClusterStat::RqActive as usize], 0);
        assert_eq!(total.values[ClusterStat::MembershipTotal as usize], 3, "every engine has the same hosts");
        assert_eq!(total.codes[&204], 2);
        let named: Vec<_> = TLS_CHOICES.iter().zip(total.handshakes).filter(|(_, count)| *count > 0).collect();
        assert_eq!(named, [(&(TlsChoice::Version, "TLSv1.3"), 2)]);
        assert_eq!(total.timings[Timing::RqTime as usize].count, 2);
    }
}
