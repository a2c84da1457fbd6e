//! The hosts of a cluster and the choice among them.

use super::Host;
use super::balance::Balancer;
use crate::answers::Answers;
use crate::config::{Balance, LbEndpoint};
use crate::id::HostId;
use crate::rng::Rng;
use crate::shared::SharedCluster;
use slotmap::SlotMap;
use std::net::SocketAddr;
use std::sync::Arc;

/// Share of healthy hosts below which all hosts are used (`healthy_panic_threshold`), in percent.
const PANIC_PERCENT: usize = 50;

/// The hosts of one cluster.
#[derive(Debug)]
pub struct HostSet {
    all: SlotMap<HostId, Host>,
    /// Members in the order of the config, removed ones left out.
    members: Vec<HostId>,
    balancer: Balancer,
    rng: Rng,
}

impl HostSet {
    /// No hosts yet.
    pub fn new(balance: Balance, rng: Rng) -> HostSet {
        HostSet { all: SlotMap::with_key(), members: Vec::new(), balancer: Balancer::new(balance), rng }
    }

    /// How many members there are.
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// How many members are healthy.
    pub fn healthy(&self) -> usize {
        self.members.iter().filter(|id| self.all.get(**id).is_some_and(|host| host.healthy)).count()
    }

    /// A host, removed ones included.
    pub fn get(&self, id: HostId) -> Option<&Host> {
        self.all.get(id)
    }

    /// A host, removed ones included.
    pub fn get_mut(&mut self, id: HostId) -> Option<&mut Host> {
        self.all.get_mut(id)
    }

    /// Members in order.
    pub fn members(&self) -> impl Iterator<Item = (HostId, &Host)> {
        self.members.iter().filter_map(|id| Some((*id, self.all.get(*id)?)))
    }

    /// Every host that still has connections or is a member.
    pub fn ids(&self) -> Vec<HostId> {
        self.all.keys().collect()
    }

    /// Forgets a removed host whose last connection is gone.
    pub fn forget_if_unused(&mut self, id: HostId) {
        if self.all.get(id).is_some_and(|host| host.removed && !host.is_used()) {
            self.all.remove(id);
        }
    }

    /// Whether some exchange waits for a connection.
    pub fn has_waiting(&self) -> bool {
        self.all.values().any(|host| host.pools().any(|pool| pool.waiting() > 0))
    }

    /// Draws hosts in another way from now on.
    pub fn set_balance(&mut self, balance: Balance) {
        self.balancer = Balancer::new(balance);
        self.refill();
    }

    /// Makes `wanted` the members. Hosts that stay keep their pools; answers those that are gone.
    pub(super) fn replace(&mut self, wanted: &[(SocketAddr, &LbEndpoint)], shared: &SharedCluster) -> Vec<HostId> {
        let mut old = std::mem::take(&mut self.members);
        for (address, endpoint) in wanted {
            let known = old.iter().position(|id| self.all.get(*id).is_some_and(|host| host.address == *address));
            let id = match known {
                Some(at) => old.remove(at),
                None => self.all.insert(Host::new(*address, shared.host(*address))),
            };
            if let Some(host) = self.all.get_mut(id) {
                (host.weight, host.healthy, host.hostname) = (endpoint.weight.max(1), endpoint.healthy, Arc::clone(&endpoint.hostname));
            }
            self.members.push(id);
        }
        for id in &old {
            if let Some(host) = self.all.get_mut(*id) {
                host.removed = true;
            }
        }
        self.refill();
        old
    }

    fn refill(&mut self) {
        let healthy = self.healthy();
        let panic = healthy * 100 < self.members.len() * PANIC_PERCENT;
        let eligible = self.members().filter(|(_, host)| panic || host.healthy).map(|(id, host)| (id, host.weight)).collect();
        self.balancer.refill(eligible, &mut self.rng);
    }

    /// Chooses a host; `tried` ones only if `attempts` draws brought nothing else.
    pub fn pick(&mut self, tried: &[HostId], attempts: u32, answers: &mut Answers) -> Option<HostId> {
        let mut picked = None;
        for _ in 0..=attempts.min(if tried.is_empty() { 0 } else { attempts }) {
            let all = &self.all;
            let active = |id: HostId| answers.number(|| all.get(id).map_or(u64::MAX, |host| u64::from(host.shared.active())));
            picked = self.balancer.pick(&mut self.rng, active);
            if picked.is_none_or(|id| !tried.contains(&id)) {
                break;
            }
        }
        picked
    }
}
