//! Where nothing goes wrong, nothing goes wrong: in a world without faults, with hosts that behave and clients that
//! stay, every request is answered by its upstream.

use super::{Check, Verdict};
use crate::observe::{Observation, Outcome};
use crate::world::World;

/// The check.
#[derive(Debug, Default)]
pub struct Calm {
    draining: bool,
}

impl Check for Calm {
    fn name(&self) -> &'static str {
        "calm"
    }

    fn observe(&mut self, what: &Observation, world: &World) -> Verdict {
        match what {
            Observation::Drain(_) => self.draining = true,
            Observation::Ended(id, outcome) => {
                let lost = !matches!(outcome, Outcome::Answered { .. });
                // A request whose body is too large to be kept cannot be sent again, though it was not looked at.
                let disturbed = world.ledger.get(*id).is_some_and(|entry| entry.disturbed);
                if lost && !disturbed && !self.draining {
                    return Err(format!("request {id} ended as {outcome:?} in a world where nothing is wrong"));
                }
            }
            _ => {}
        }
        Ok(())
    }
}
