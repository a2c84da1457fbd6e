//! Circuit breakers and connection limits hold at every instant, over all workers.

use super::{Check, Verdict};
use crate::observe::Observation;
use crate::world::World;
use std::sync::Arc;

/// The bounds of every cluster and of the listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections to one cluster.
    pub connections: u32,
    /// Requests that wait for a connection.
    pub pending: u32,
    /// Requests on a connection.
    pub requests: u32,
    /// Connections of clients.
    pub clients: u32,
    /// Retries that have not ended (`max_retries`); a share of the load if there is no such bound.
    pub retries: Option<u32>,
}

impl Limits {
    /// Whether something may be refused because others are there.
    pub fn is_tight(&self) -> bool {
        self.pending.min(self.requests).min(self.clients) < 1_000
    }
}

/// The check.
#[derive(Debug)]
pub struct Bounds {
    limits: Limits,
    names: Vec<Arc<str>>,
}

impl Bounds {
    /// For clusters of these names.
    pub fn new(limits: Limits, names: Vec<Arc<str>>) -> Bounds {
        Bounds { limits, names }
    }
}

impl Check for Bounds {
    fn name(&self) -> &'static str {
        "limits"
    }

    fn observe(&mut self, what: &Observation, world: &World) -> Verdict {
        match what {
            Observation::Opening(cluster) => {
                let open = world.open_connections(*cluster);
                if open > self.limits.connections as usize {
                    return Err(format!("{open} connections to cluster {cluster}, {} are allowed", self.limits.connections));
                }
            }
            Observation::Sent(_) if world.open_clients() > self.limits.clients as usize => {
                return Err(format!("{} clients are connected, {} are allowed", world.open_clients(), self.limits.clients));
            }
            Observation::Arrived { cluster, .. } => {
                let shared = world.shared.cluster(&self.names[*cluster]);
                let (requests, pending) = (shared.priorities[0].requests.get(), shared.priorities[0].pending.get());
                if requests > self.limits.requests || pending > self.limits.pending {
                    return Err(format!("{requests} requests and {pending} pending in cluster {cluster}; allowed are {:?}", self.limits));
                }
            }
            _ => {}
        }
        Ok(())
    }
}
