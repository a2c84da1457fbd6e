//! Every request ends, and ends once: with an answer, or with a close after which the client may safely send it
//! again. That is so if it was never seen by a host, or may be sent twice anyway.

use super::{Check, Verdict};
use crate::event::Time;
use crate::observe::{Observation, Outcome};
use crate::world::World;

/// The check.
#[derive(Debug)]
pub struct EndsOnce {
    /// Timeouts of the plain, the retrying and the timed lane: what takes longer may be cut.
    timeouts: [Time; 3],
    ended: Vec<u64>,
    cut_at: Option<Time>,
}

impl EndsOnce {
    /// With these timeouts of the plain, the retrying and the timed lane.
    pub fn new(timeouts: [Time; 3]) -> EndsOnce {
        EndsOnce { timeouts, ended: Vec::new(), cut_at: None }
    }
}

impl Check for EndsOnce {
    fn name(&self) -> &'static str {
        "ends_once"
    }

    fn observe(&mut self, what: &Observation, world: &World) -> Verdict {
        let (id, outcome) = match what {
            Observation::Drain(deadline) => {
                self.cut_at = Some(*deadline);
                return Ok(());
            }
            Observation::Again(id) if world.ledger.get(*id).is_some_and(|entry| entry.arrivals > 0) => {
                return Err(format!("request {id} reached a host, though an answer before it said that it would not"));
            }
            Observation::Ended(id, outcome) => (*id, outcome),
            _ => return Ok(()),
        };
        let (word, bit) = ((id / 64) as usize, 1 << (id % 64));
        if self.ended.len() <= word {
            self.ended.resize(word + 1, 0);
        }
        if self.ended[word] & bit != 0 {
            return Err(format!("request {id} ended twice, the second time as {outcome:?}"));
        }
        self.ended[word] |= bit;
        let Some(entry) = world.ledger.get(id) else { return Ok(()) };
        let late = self.cut_at.is_some_and(|at| world.now >= at);
        let again = entry.request.method.is_idempotent() || entry.arrivals == 0;
        if *outcome == Outcome::Closed && !again && !late {
            return Err(format!(
                "the connection was closed without an answer to {} {id}, which a host has seen",
                entry.request.method.as_str()
            ));
        }
        let timeout = self.timeouts[entry.request.lane as usize];
        let timed_out = entry.sent_whole.is_some_and(|at| world.now >= at.saturating_add(timeout));
        if *outcome == Outcome::Cut && !entry.disturbed && !late && !timed_out {
            return Err(format!("the answer to {id} was cut, though its host sent all of it"));
        }
        Ok(())
    }

    fn finish(&mut self, world: &World) -> Verdict {
        let open = |entry: &&crate::observe::Entry| entry.sent.is_some() && entry.outcome.is_none();
        match world.ledger.entries.iter().find(open) {
            Some(entry) => Err(format!("request {} never ended", entry.request.id)),
            None => Ok(()),
        }
    }
}
