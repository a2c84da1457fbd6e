//! A request that may not be sent twice reaches one host at most, once; and one that may, no more often than its
//! retries and one replay allow.

use super::{Check, Verdict};
use crate::observe::Observation;
use crate::request::Lane;
use crate::world::World;

/// Tries that the retry lane's policy makes, the first included.
pub const RETRY_TRIES: u32 = 3;

/// The check.
#[derive(Debug, Default)]
pub struct Once;

impl Check for Once {
    fn name(&self) -> &'static str {
        "once"
    }

    fn observe(&mut self, what: &Observation, world: &World) -> Verdict {
        let Observation::Arrived { id, .. } = what else { return Ok(()) };
        let Some(entry) = world.ledger.get(*id) else { return Ok(()) };
        let request = &entry.request;
        // A try on a pooled connection that turns out to be closed is replayed once.
        let most = match (request.method.is_idempotent(), request.lane) {
            (false, _) => 1,
            (true, Lane::Retry) => 2 * RETRY_TRIES,
            (true, _) => 2,
        };
        if entry.arrivals > most {
            return Err(format!("{} {id} was sent {} times", request.method.as_str(), entry.arrivals));
        }
        Ok(())
    }
}
