//! After the faults stop, goodput comes back: what is asked from then on is answered by the upstreams.

use super::{Check, Verdict};
use crate::observe::{Observation, Outcome};
use crate::world::World;

/// The check.
#[derive(Debug)]
pub struct Recovery {
    /// The requests that are asked once all is well again.
    probes: std::ops::Range<u64>,
    /// Not all clients may connect or ask at once: a late one may still be there, and leave no room.
    crowded: bool,
}

impl Recovery {
    /// Of a world with these probes.
    pub fn new(probes: std::ops::Range<u64>, crowded: bool) -> Recovery {
        Recovery { probes, crowded }
    }
}

impl Check for Recovery {
    fn name(&self) -> &'static str {
        "recovery"
    }

    fn observe(&mut self, what: &Observation, _: &World) -> Verdict {
        match what {
            Observation::Ended(_, Outcome::Refused | Outcome::Local { status: 503 }) if self.crowded => Ok(()),
            Observation::Ended(id, outcome) if self.probes.contains(id) && !matches!(outcome, Outcome::Answered { .. }) => {
                Err(format!("request {id} ended as {outcome:?} after all faults were over"))
            }
            _ => Ok(()),
        }
    }
}
