//! Nothing reaches a host that the route table did not name, and one request sees one table: no mixture of two.

use super::{Check, Verdict};
use crate::observe::Observation;
use crate::world::World;

/// What a host says when it gets what no route leads to it.
pub const NOBODY: &str = "a request that nobody may send";

/// The check. Routes of version `v` lead cluster number `n` of a target to cluster `(n + v) % clusters`.
#[derive(Debug)]
pub struct Routed {
    clusters: usize,
    newest: u64,
}

impl Routed {
    /// Of a world with so many clusters.
    pub fn new(clusters: usize) -> Routed {
        Routed { clusters, newest: 0 }
    }
}

impl Check for Routed {
    fn name(&self) -> &'static str {
        "routed"
    }

    fn observe(&mut self, what: &Observation, world: &World) -> Verdict {
        match what {
            Observation::Table(version) => self.newest = self.newest.max(*version),
            Observation::HostFault(id, why) if *why == NOBODY => return Err(format!("a host got {NOBODY} ({id})")),
            Observation::Arrived { id, cluster, versions, .. } => {
                let (Some(table), Some(route)) = versions else { return Err(format!("request {id} came without the table's headers")) };
                if table != route {
                    return Err(format!("request {id} went by a table of version {table} and a route of version {route}"));
                }
                if *table > self.newest {
                    return Err(format!("request {id} went by version {table}, which is not there yet"));
                }
                let Some(entry) = world.ledger.get(*id) else { return Err(format!("nobody sent request {id}")) };
                let right = (entry.request.cluster + *table as usize) % self.clusters;
                if *cluster != right {
                    return Err(format!("request {id} reached cluster {cluster}; version {table} leads to {right}"));
                }
            }
            _ => {}
        }
        Ok(())
    }
}
