//! What is meant for TLS never travels without it, and never to a host whose certificate does not fit. (That a client
//! that may not be let in is not served is `routed`'s to say: no host may see what it asks for.)

use super::{Check, Verdict};
use crate::observe::Observation;
use crate::world::World;

/// The check.
#[derive(Debug, Default)]
pub struct Secrecy;

impl Check for Secrecy {
    fn name(&self) -> &'static str {
        "secrecy"
    }

    fn observe(&mut self, what: &Observation, _: &World) -> Verdict {
        match what {
            Observation::Leaked(why) => Err((*why).to_owned()),
            _ => Ok(()),
        }
    }
}
