//! Balancers: weighted round robin, random and least request.

use crate::config::Balance;
use crate::id::HostId;
use crate::rng::Rng;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Draws from the eligible hosts.
#[derive(Debug)]
pub(super) struct Balancer {
    balance: Balance,
    hosts: Vec<(HostId, u32)>,
    /// Sum of the weights up to and including each host.
    sums: Vec<u64>,
    /// Whether all weights are equal.
    even: bool,
    next: usize,
    /// Weighted round robin, earliest deadline first: (when a host is next, when it joined, which).
    turns: BinaryHeap<Reverse<(u64, u64, usize)>>,
    sequence: u64,
}

/// A host of weight w has a turn each `TURN / w`.
const TURN: u64 = 1 << 32;

impl Balancer {
    pub(super) fn new(balance: Balance) -> Balancer {
        Balancer { balance, hosts: Vec::new(), sums: Vec::new(), even: true, next: 0, turns: BinaryHeap::new(), sequence: 0 }
    }

    pub(super) fn refill(&mut self, hosts: Vec<(HostId, u32)>, rng: &mut Rng) {
        self.even = hosts.windows(2).all(|pair| pair[0].1 == pair[1].1);
        let weights = hosts.iter().map(|(_, weight)| u64::from(*weight));
        self.sums = weights
            .scan(0, |sum, weight| {
                *sum += weight;
                Some(*sum)
            })
            .collect();
        self.turns.clear();
        if !self.even {
            for (index, (_, weight)) in hosts.iter().enumerate() {
                self.sequence += 1;
                self.turns.push(Reverse((TURN / u64::from(*weight), self.sequence, index)));
            }
        }
        // Workers start at different hosts, or each host would get bursts as wide as there are workers.
        self.next = rng.below(hosts.len() as u64) as usize;
        self.hosts = hosts;
        for _ in 0..self.next {
            if !self.even {
                self.next_turn();
            }
        }
    }

    pub(super) fn pick(&mut self, rng: &mut Rng, active: impl FnMut(HostId) -> u64) -> Option<HostId> {
        if self.hosts.len() <= 1 {
            return self.hosts.first().map(|(id, _)| *id);
        }
        let index = match self.balance {
            Balance::RoundRobin if self.even => {
                self.next = (self.next + 1) % self.hosts.len();
                self.next
            }
            Balance::RoundRobin => self.next_turn()?,
            Balance::Random => self.draw(rng),
            Balance::LeastRequest { choices } => self.least(rng, choices, active)?,
        };
        self.hosts.get(index).map(|(id, _)| *id)
    }

    fn next_turn(&mut self) -> Option<usize> {
        let Reverse((when, _, index)) = self.turns.pop()?;
        self.sequence += 1;
        self.turns.push(Reverse((when + TURN / u64::from(self.hosts[index].1), self.sequence, index)));
        Some(index)
    }

    fn draw(&self, rng: &mut Rng) -> usize {
        if self.even {
            return rng.below(self.hosts.len() as u64) as usize;
        }
        let point = rng.below(self.sums.last().copied().unwrap_or_default());
        self.sums.partition_point(|sum| *sum <= point)
    }

    /// Of a few drawn hosts, the one with the fewest active requests for its weight. All choices are
    /// different hosts, so two hosts and two choices always give the less loaded one.
    fn least(&self, rng: &mut Rng, choices: u32, mut active: impl FnMut(HostId) -> u64) -> Option<usize> {
        let count = self.hosts.len();
        let mut load = |index: usize| {
            let (id, weight) = self.hosts[index];
            active(id).saturating_add(1).saturating_mul(TURN) / u64::from(weight)
        };
        let first = self.draw(rng);
        let mut best = (load(first), first);
        for _ in 1..choices.min(count as u32) {
            let other = match self.even {
                true => (first + 1 + rng.below(count as u64 - 1) as usize) % count,
                false => self.draw(rng),
            };
            let candidate = (load(other), other);
            if candidate.0 < best.0 {
                best = candidate;
            }
        }
        Some(best.1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Seed;
    use slotmap::SlotMap;

    fn counts(balance: Balance, weights: &[u32], picks: usize, active: impl Fn(usize) -> u64) -> Vec<usize> {
        let (mut rng, mut ids) = (Rng::new(Seed(3)), SlotMap::<HostId, usize>::with_key());
        let hosts: Vec<(HostId, u32)> = weights.iter().enumerate().map(|(index, weight)| (ids.insert(index), *weight)).collect();
        let mut balancer = Balancer::new(balance);
        balancer.refill(hosts, &mut rng);
        let mut counts = vec![0; weights.len()];
        for _ in 0..picks {
            if let Some(id) = balancer.pick(&mut rng, |id| active(ids[id])) {
                counts[ids[id]] += 1;
            }
        }
        counts
    }

    #[test]
    fn round_robin_is_exact() {
        assert_eq!(counts(Balance::RoundRobin, &[1, 2, 3], 6000, |_| 0), [1000, 2000, 3000]);
        assert_eq!(counts(Balance::RoundRobin, &[5, 5, 5], 6000, |_| 0), [2000, 2000, 2000]);
    }

    #[test]
    fn random_follows_weights() {
        let counts = counts(Balance::Random, &[1, 3], 8000, |_| 0);
        assert!((1800..2200).contains(&counts[0]), "{counts:?}");
    }

    #[test]
    fn least_request_avoids_the_busy_host() {
        let balance = Balance::LeastRequest { choices: 2 };
        assert_eq!(counts(balance, &[1, 1], 1000, |host| if host == 0 { 9 } else { 1 }), [0, 1000]);
        let counts = counts(balance, &[1; 4], 4000, |host| if host == 0 { 9 } else { 1 });
        assert!(counts[0] < 100, "{counts:?}");
    }

    #[test]
    fn no_hosts_is_none() {
        assert_eq!(counts(Balance::RoundRobin, &[], 3, |_| 0), Vec::<usize>::new());
    }
}
