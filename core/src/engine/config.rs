//! Configs and DNS answers: what changes the set of listeners, clusters and hosts.

use super::chains::Chains;
use super::{Action, Engine, Event, ListenerState};
use crate::cluster::{ClusterDeadline, ClusterState, DnsError, Resolved};
use crate::config::{Config, FilterChain, Listener};
use crate::drain::{DrainPhase, DrainScope};
use crate::exchange::ManagerState;
use crate::id::{ClusterId, HostId, ListenerId, QueryId};
use crate::rng::Rng;
use crate::stats::Scope;
use crate::time::Instant;
use crate::timer::Owner;
use std::sync::Arc;

impl Engine {
    pub(super) fn apply_config(&mut self, config: Arc<Config>, now: Instant) {
        self.config = Arc::clone(&config);
        // Their memory holds on to the config that they began with.
        self.spare.clear();
        self.apply_clusters(&config, now);
        let mut kept = Vec::new();
        for listener in &config.listeners {
            kept.push(self.apply_listener(listener, &config));
        }
        let gone: Vec<ListenerId> = self.listeners.keys().filter(|id| !kept.contains(id)).collect();
        for id in gone {
            self.start_drain(DrainScope::Listener(id), now);
        }
    }

    fn apply_listener(&mut self, listener: &Arc<Listener>, config: &Arc<Config>) -> ListenerId {
        let manager = |chain: &FilterChain| {
            Arc::new(ManagerState {
                snapshot: Arc::clone(config),
                config: Arc::clone(&chain.http),
                stats: self.registry.block(if chain.http.tcp { Scope::Tcp } else { Scope::Http }, &chain.http.stat_prefix),
                buffer_limit: listener.buffer_limit,
            })
        };
        // One that has moved is another: connections to the old address are drained.
        if let Some((id, state)) = self.listeners.iter_mut().find(|(_, state)| is_same(&state.config, listener)) {
            state.config = Arc::clone(listener);
            state.chains.update(listener, manager);
            state.drain = DrainPhase::Serving;
            return id;
        }
        let mut chains = Chains::default();
        chains.update(listener, manager);
        self.listeners.insert(ListenerState {
            config: Arc::clone(listener),
            chains,
            stats: self.registry.block(Scope::Listener, &stat_name(listener)),
            count: self.shared.listener(&listener.name),
            drain: DrainPhase::Serving,
            connections: 0,
        })
    }

    fn apply_clusters(&mut self, config: &Config, now: Instant) {
        let mut old = std::mem::take(&mut self.cluster_names);
        for (name, cluster) in &config.clusters {
            let id = match old.swap_remove(name) {
                Some(id) => {
                    let gone = self.clusters.get_mut(id).map(|state| state.update(Arc::clone(cluster)));
                    self.close_hosts(id, gone.unwrap_or_default(), now);
                    id
                }
                None => {
                    let rng = Rng::new(self.seed.fork("balance").fork(name));
                    self.clusters.insert(ClusterState::new(Arc::clone(cluster), &self.shared, &self.registry, rng))
                }
            };
            self.cluster_names.insert(Arc::clone(name), id);
            self.ask_dns(id);
        }
        for id in old.into_values() {
            self.remove_cluster(id, now);
        }
    }

    /// A cluster that left the config: its idle connections close, busy ones end with their exchange.
    fn remove_cluster(&mut self, id: ClusterId, now: Instant) {
        let Some(cluster) = self.clusters.get_mut(id) else { return };
        cluster.removed = true;
        cluster.deadlines.clear_all();
        let hosts = cluster.hosts.ids();
        self.close_hosts(id, hosts, now);
        self.forget_cluster_if_unused(id);
    }

    /// Forgets a removed cluster once no connection is left and no exchange waits for one.
    pub(super) fn forget_cluster_if_unused(&mut self, id: ClusterId) {
        if self.clusters.get(id).is_some_and(|cluster| cluster.removed && cluster.connections == 0 && !cluster.hosts.has_waiting()) {
            self.clusters.remove(id);
        }
    }

    /// Closes the idle connections of hosts that are gone.
    fn close_hosts(&mut self, id: ClusterId, hosts: Vec<HostId>, now: Instant) {
        for host in hosts {
            let idle = self.clusters.get(id).and_then(|cluster| cluster.hosts.get(host)).map(|host| host.idle());
            for conn in idle.unwrap_or_default() {
                self.retire_upstream(conn, now);
            }
            if let Some(cluster) = self.clusters.get_mut(id) {
                cluster.hosts.forget_if_unused(host);
            }
        }
    }

    /// Asks for every name of a cluster, unless a round of questions is under way.
    fn ask_dns(&mut self, id: ClusterId) {
        let Some(cluster) = self.clusters.get_mut(id) else { return };
        if cluster.is_asking() {
            return;
        }
        for (endpoint, question) in cluster.questions() {
            let query = self.queries.insert(id);
            cluster.asked(query, endpoint);
            self.out.actions.push_back(Action::Resolve { query, question });
        }
    }

    pub(super) fn resolved(&mut self, query: QueryId, result: Result<Resolved, DnsError>, now: Instant) {
        let Some(id) = self.queries.remove(query) else { return };
        let Some(cluster) = self.clusters.get_mut(id) else { return };
        let (refresh, gone) = cluster.answered(query, result);
        if let Some(refresh) = refresh {
            cluster.refresh_at(now + refresh, Owner::Cluster(id), &mut self.timers);
        }
        self.close_hosts(id, gone, now);
    }

    pub(super) fn refresh_cluster(&mut self, id: ClusterId, now: Instant) {
        let Some(cluster) = self.clusters.get_mut(id) else { return };
        if let Some(ClusterDeadline::Refresh) = cluster.deadlines.pop_due(now, Owner::Cluster(id), &mut self.timers) {
            self.ask_dns(id);
        }
    }

    /// The drain of a listener may have ended with its last connection.
    pub(super) fn settle_drain(&mut self, listener: ListenerId) {
        let Some(state) = self.listeners.get_mut(listener) else { return };
        if state.drain.settle(state.connections) {
            let name = Arc::clone(&state.config.name);
            self.out.events.push_back(Event::ListenerDrained { name: Arc::clone(&name) });
            if !self.config.listeners.iter().any(|other| is_same(other, &state.config)) {
                self.listeners.remove(listener);
            }
        }
        self.settle_process_drain();
    }
}

fn is_same(one: &Listener, other: &Listener) -> bool {
    (&one.name, one.bind.address) == (&other.name, other.bind.address)
}

/// Envoy names a listener's stats by its address, with `:` in it replaced.
fn stat_name(listener: &Listener) -> String {
    listener.bind.address.to_string().replace(':', "_")
}
