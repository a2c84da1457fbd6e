//! Retries never pass their bound: `max_retries`, or a fifth of the load but at least three.

use super::{Check, Verdict};
use crate::observe::Observation;
use crate::world::World;
use std::sync::Arc;
use weir_core::shared::SharedCluster;

/// Share of the requests that are active, in percent, and retries that are allowed in any case, where the config names no
/// bound: Weir's own defaults.
const SHARE: (u32, u32) = (20, 3);

/// The check.
#[derive(Debug)]
pub struct RetryBudget {
    bound: Option<u32>,
    clusters: Vec<Watched>,
}

#[derive(Debug)]
struct Watched {
    name: Arc<str>,
    shared: Option<Arc<SharedCluster>>,
    /// Most requests that were active at once so far: no budget was ever larger than its share of them.
    most_active: u32,
}

impl RetryBudget {
    /// With this bound, for clusters of these names.
    pub fn new(bound: Option<u32>, names: Vec<Arc<str>>) -> RetryBudget {
        RetryBudget { bound, clusters: names.into_iter().map(|name| Watched { name, shared: None, most_active: 0 }).collect() }
    }
}

impl Check for RetryBudget {
    fn name(&self) -> &'static str {
        "retry_budget"
    }

    fn observe(&mut self, what: &Observation, world: &World) -> Verdict {
        let (Observation::Arrived { .. } | Observation::Sent(_) | Observation::Ended(..)) = what else { return Ok(()) };
        for Watched { name, shared, most_active } in &mut self.clusters {
            let shared = shared.get_or_insert_with(|| world.shared.cluster(name));
            let breakers = &shared.priorities[0];
            // One that is counted now may have been among the active ones that allowed another.
            *most_active = (*most_active).max(breakers.requests.get() + breakers.pending.get() + breakers.retries.get() + 1);
            let bound = self.bound.unwrap_or(SHARE.1.max(*most_active * SHARE.0 / 100));
            let retries = breakers.retries.get();
            if retries > bound {
                return Err(format!("{retries} retries at once in cluster {name}, {bound} are allowed"));
            }
        }
        Ok(())
    }
}
