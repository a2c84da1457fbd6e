//! After the faults stop, goodput comes back: what is asked from then on is answered by the upstreams.

use super::{Check, Verdict};
use crate::observe::{Observation, Outcome};
use crate::world::World;

/// The check.
#[derive(Debug)]
pub struct Recovery {
    /// The requests that are asked once all is well again.
    probes: std::ops::Range<u64>,
}

impl Recovery {
    /// Of a world with these probes.
    pub fn new(probes: std::ops::Range<u64>) -> Recovery {
        Recovery { probes }
    }
}

impl Check for Recovery {
    fn name(&self) -> &'static str {
        "recovery"
    }

    fn observe(&mut self, what: &Observation, _: &World) -> Verdict {
        match what {
            Observation::Ended(id, outcome) if self.probes.contains(id) && !matches!(outcome, Outcome::Answered { .. }) => {
                Err(format!("request {id} ended as {outcome:?} after all faults were over"))
            }
            _ => Ok(()),
        }
    }
}
