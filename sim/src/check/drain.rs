//! A drain ends by its deadline and loses nothing that had arrived before it began.

use super::{Check, Verdict};
use crate::event::{SECOND, Time};
use crate::observe::{Observation, Outcome};
use crate::world::World;

/// The check.
#[derive(Debug)]
pub struct Drains {
    workers: usize,
    /// No byte takes longer from a client to the proxy; `None` if there is no such bound.
    slowest: Option<Time>,
    /// Every client is well-behaved: a drain ends soon after the last answer.
    prompt: bool,
    last_end: Time,
    began: Option<(Time, Time)>,
    drained: usize,
}

impl Drains {
    /// Of a world with so many workers.
    pub fn new(workers: usize, slowest: Option<Time>, prompt: bool) -> Drains {
        Drains { workers, slowest, prompt, last_end: 0, began: None, drained: 0 }
    }

    /// What an idle connection gets for a request that is on its way, what a closing one gets to close, and what the
    /// network takes for both.
    const PATIENCE: Time = 3 * SECOND;
}

impl Check for Drains {
    fn name(&self) -> &'static str {
        "drain"
    }

    fn observe(&mut self, what: &Observation, world: &World) -> Verdict {
        match what {
            Observation::Drain(deadline) => self.began = Some((world.now, *deadline)),
            Observation::Drained(_) => {
                self.drained += 1;
                let Some((began, deadline)) = self.began else { return Err("a drain ended that was not asked for".to_owned()) };
                if world.now > deadline {
                    return Err("a drain ended after its deadline".to_owned());
                }
                let soon = began.max(self.last_end) + Self::PATIENCE;
                if self.prompt && world.now > soon && world.now == deadline {
                    return Err("a drain went on to its deadline, though nothing was left to answer".to_owned());
                }
            }
            Observation::Sent(id) => {
                if let (Some((began, _)), true) = (self.began, self.prompt)
                    && world.now > began + Self::PATIENCE
                {
                    return Err(format!("request {id} could be sent long after the drain began: nothing told its client to go elsewhere"));
                }
            }
            Observation::Ended(id, outcome) => {
                self.last_end = world.now;
                if *outcome != Outcome::Closed {
                    return Ok(());
                }
                let (Some((began, deadline)), Some(slowest)) = (self.began, self.slowest) else { return Ok(()) };
                let Some(entry) = world.ledger.get(*id) else { return Ok(()) };
                let arrived = entry.sent_whole.is_some_and(|sent| sent + slowest < began);
                if arrived && !entry.disturbed && world.now < deadline {
                    return Err(format!("request {id} had arrived before the drain began, and was not answered"));
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn finish(&mut self, _: &World) -> Verdict {
        match self.began {
            Some(_) if self.drained != self.workers => Err(format!("{} of {} workers have drained", self.drained, self.workers)),
            _ => Ok(()),
        }
    }
}
