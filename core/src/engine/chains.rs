//! A listener's filter chains in one engine.
//!
//! A chain keeps its place for as long as a connection came in by it. A new config's chain takes the place of the one
//! with the same criteria and the same TLS: its connections go on under the new config. One that has no successor is
//! gone: its connections keep the config that they have, and end with their next answer.

use crate::config::{FilterChain, Listener};
use crate::exchange::ManagerState;
use crate::listener::{Arrival, ChainMatch, choose};
use crate::stats::HttpStat;
use std::sync::Arc;

/// The chains of one listener, by place.
#[derive(Debug, Default)]
pub(super) struct Chains {
    places: Vec<ChainState>,
    /// The default chain's place.
    default: Option<usize>,
    /// The one chain that fits everything.
    only: Option<usize>,
    /// The choice needs a client's first bytes.
    pub(super) inspecting: bool,
}

/// One chain.
#[derive(Debug)]
pub(super) struct ChainState {
    pub(super) config: Arc<FilterChain>,
    pub(super) manager: Arc<ManagerState>,
    /// Not of the present config.
    gone: bool,
    is_default: bool,
    connections: usize,
}

impl Chains {
    /// Takes a new config's chains.
    pub(super) fn update(&mut self, listener: &Listener, manager: impl Fn(&FilterChain) -> Arc<ManagerState>) {
        let old = std::mem::take(self);
        self.places = old.places;
        self.places.iter_mut().for_each(|chain| chain.gone = true);
        for config in &listener.chains {
            self.place(config, manager(config), false);
        }
        self.default = listener.default_chain.as_ref().map(|config| self.place(config, manager(config), true));
        while self.places.pop_if(|chain| chain.gone && chain.connections == 0).is_some() {}
        let mut fit = self.places.iter().enumerate().filter(|(_, chain)| !chain.gone && !chain.is_default);
        self.only = match (fit.next(), fit.next()) {
            (Some((place, chain)), None) if chain.config.on == ChainMatch::default() => Some(place),
            _ => None,
        };
        self.inspecting = listener.is_inspecting();
    }

    fn place(&mut self, config: &Arc<FilterChain>, manager: Arc<ManagerState>, is_default: bool) -> usize {
        let same = |chain: &ChainState| {
            chain.gone && chain.is_default == is_default && chain.config.on == config.on && chain.config.tls == config.tls
        };
        let found = self.places.iter().position(same).or_else(|| self.places.iter().position(|chain| chain.gone && chain.connections == 0));
        let connections = found.map_or(0, |at| self.places[at].connections);
        let state = ChainState { config: Arc::clone(config), manager, gone: false, is_default, connections };
        match found {
            Some(at) => {
                self.places[at] = state;
                at
            }
            None => {
                self.places.push(state);
                self.places.len() - 1
            }
        }
    }

    /// The chain for a connection.
    pub(super) fn choose(&self, arrival: &Arrival<'_>) -> Option<usize> {
        if self.only.is_some() {
            return self.only;
        }
        let chains = self.places.iter().enumerate().filter(|(_, chain)| !chain.gone && !chain.is_default);
        choose(chains.map(|(place, chain)| (place, &chain.config.on)), arrival).or(self.default)
    }

    /// The chain at a place.
    pub(super) fn get(&self, place: Option<usize>) -> Option<&ChainState> {
        self.places.get(place?)
    }

    /// Any chain: one that stands in until the right one is known.
    pub(super) fn any(&self) -> Option<&ChainState> {
        self.places.first()
    }

    /// Whether connections of this chain are to end.
    pub(super) fn is_gone(&self, place: Option<usize>) -> bool {
        self.get(place).is_some_and(|chain| chain.gone)
    }

    /// A connection comes in by this chain, and is counted there.
    pub(super) fn join(&mut self, place: usize) {
        if let Some(chain) = self.places.get_mut(place) {
            chain.connections += 1;
            chain.manager.stats.inc(HttpStat::CxTotal);
            chain.manager.stats.inc(HttpStat::CxActive);
        }
    }

    /// It is gone.
    pub(super) fn left(&mut self, place: Option<usize>) {
        if let Some(chain) = place.and_then(|place| self.places.get_mut(place)) {
            chain.connections -= 1;
        }
    }
}
