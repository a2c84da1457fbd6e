//! What must hold in every world, one file each. A check sees what clients and hosts see; only [`leaks`] and
//! [`limits`] look at what the proxy holds.

pub mod bodies;
pub mod calm;
pub mod drain;
pub mod ends_once;
pub mod handshakes;
pub mod leaks;
pub mod limits;
pub mod once;
pub mod own_answer;
pub mod recovery;
pub mod retry_budget;
pub mod routed;
pub mod secrecy;
pub mod stats;
pub mod timers;

use crate::observe::Observation;
use crate::world::World;

/// Whether all is well, or why not.
pub type Verdict = Result<(), String>;

/// One thing that must hold.
pub trait Check: std::fmt::Debug {
    /// What it is called.
    fn name(&self) -> &'static str;

    /// Something happened.
    fn observe(&mut self, _what: &Observation, _world: &World) -> Verdict {
        Ok(())
    }

    /// The world has ended.
    fn finish(&mut self, _world: &World) -> Verdict {
        Ok(())
    }
}
