//! Bodies are the same byte for byte on both sides, or their end says that they are not whole. The peers compare;
//! this check only listens to them.

use super::{Check, Verdict};
use crate::observe::Observation;
use crate::world::World;

/// The check.
#[derive(Debug, Default)]
pub struct Bodies;

impl Check for Bodies {
    fn name(&self) -> &'static str {
        "bodies"
    }

    fn observe(&mut self, what: &Observation, _: &World) -> Verdict {
        match what {
            Observation::ClientFault(id, why) if *why != super::own_answer::OTHER => Err(format!("the client of request {id} got {why}")),
            Observation::HostFault(id, why) if *why != super::routed::NOBODY => Err(format!("a host got {why} (request {id})")),
            _ => Ok(()),
        }
    }
}
