//! What is meant for TLS never travels without it, and never to a host whose certificate does not fit. (That a client
//! that may not be let in is not served is `routed`'s to say: no host may see what it asks for.) Where no host fits, all
//! there is to answer is 503, or 504 if the request's time is up before the handshake's.

use super::{Check, Verdict};
use crate::observe::{Observation, Outcome};
use crate::world::World;

/// The check.
#[derive(Debug, Default)]
pub struct Secrecy;

impl Check for Secrecy {
    fn name(&self) -> &'static str {
        "secrecy"
    }

    fn observe(&mut self, what: &Observation, world: &World) -> Verdict {
        match what {
            Observation::Leaked(why) => Err((*why).to_owned()),
            Observation::Ended(id, Outcome::Local { status }) if world.is_nobody_fit() && !matches!(status, 503 | 504) => {
                Err(format!("request {id} was answered with {status}, though no host has a certificate that fits"))
            }
            _ => Ok(()),
        }
    }
}
