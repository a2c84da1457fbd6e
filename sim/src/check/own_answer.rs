//! Nobody gets the answer to another request.

use super::{Check, Verdict};
use crate::observe::Observation;
use crate::world::World;

/// What a client says when it does.
pub const OTHER: &str = "the answer to another request";

/// The check.
#[derive(Debug, Default)]
pub struct OwnAnswer;

impl Check for OwnAnswer {
    fn name(&self) -> &'static str {
        "own_answer"
    }

    fn observe(&mut self, what: &Observation, _: &World) -> Verdict {
        match what {
            Observation::ClientFault(id, why) if *why == OTHER => Err(format!("request {id} got {OTHER}")),
            _ => Ok(()),
        }
    }
}
