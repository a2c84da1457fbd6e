//! A timeout fires at its tick: not a nanosecond early or late.

use super::{Check, Verdict};
use crate::event::Time;
use crate::observe::{Observation, Outcome};
use crate::request::Lane;
use crate::world::World;

/// The check. It needs links that delay everything equally and peers that send at once.
#[derive(Debug)]
pub struct Timers {
    /// From a client to the proxy.
    latency: Time,
    /// The timed lane's timeout.
    timeout: Time,
}

impl Timers {
    /// Of a world with this latency and timeout.
    pub fn new(latency: Time, timeout: Time) -> Timers {
        Timers { latency, timeout }
    }
}

impl Check for Timers {
    fn name(&self) -> &'static str {
        "timers"
    }

    fn observe(&mut self, what: &Observation, world: &World) -> Verdict {
        let Observation::Ended(id, Outcome::Local { status: 504 }) = what else { return Ok(()) };
        let Some(entry) = world.ledger.get(*id).filter(|entry| entry.request.lane == Lane::Timed) else { return Ok(()) };
        let Some(sent) = entry.sent_whole else { return Ok(()) };
        let due = sent + self.latency + self.timeout + self.latency;
        if world.now != due {
            let off = world.now as i64 - due as i64;
            return Err(format!("the timeout of request {id} came {off} ns off its tick"));
        }
        Ok(())
    }
}
