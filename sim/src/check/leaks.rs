//! When all is over, nothing is held.

use super::{Check, Verdict};
use crate::world::World;
use std::sync::Arc;

/// The check.
#[derive(Debug)]
pub struct Leaks {
    names: Vec<Arc<str>>,
    /// A host may be of several clusters: connections cannot be told apart by cluster.
    together: bool,
}

impl Leaks {
    /// In clusters of these names.
    pub fn new(names: Vec<Arc<str>>) -> Leaks {
        Leaks { names, together: false }
    }

    /// In clusters of these names, which may share hosts.
    pub fn together(names: Vec<Arc<str>>) -> Leaks {
        Leaks { names, together: true }
    }
}

impl Check for Leaks {
    fn name(&self) -> &'static str {
        "leaks"
    }

    fn finish(&mut self, world: &World) -> Verdict {
        for (index, engine) in world.engines().enumerate() {
            let (exchanges, connections) = (engine.exchanges(), engine.downstream_connections());
            if exchanges + connections > 0 {
                return Err(format!("engine {index} holds {exchanges} exchanges and {connections} connections of clients"));
            }
            if engine.streams() > 0 {
                return Err(format!("engine {index} holds {} streams of HTTP/2 connections", engine.streams()));
            }
        }
        let counted = world.shared.connections.get();
        if counted != 0 {
            return Err(format!("{counted} connections of clients are counted"));
        }
        let mut all = 0;
        for (cluster, name) in self.names.iter().enumerate() {
            let shared = world.shared.cluster(name);
            for (priority, breakers) in shared.priorities.iter().enumerate() {
                let held = [&breakers.pending, &breakers.requests, &breakers.retries, &breakers.starved].map(|count| count.get());
                if held != [0; 4] {
                    return Err(format!("cluster {name} counts pending, requests, retries, starved {held:?} in priority {priority}"));
                }
            }
            let counted: u32 = shared.priorities.iter().map(|breakers| breakers.connections.get()).sum();
            let open = world.open_connections(cluster);
            all += counted as usize;
            if !self.together && counted as usize != open {
                return Err(format!("cluster {name} counts {counted} connections, {open} are open"));
            }
        }
        let open: usize = (0..world.clusters()).map(|cluster| world.open_connections(cluster)).sum();
        if all != open {
            return Err(format!("{all} connections to hosts are counted, {open} are open"));
        }
        Ok(())
    }
}
