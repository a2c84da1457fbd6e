//! Serving, draining, drained: one machine for a connection, a listener and the process.
//!
//! ```text
//! Serving --(handle_drain)--> Draining --(nothing left, or the deadline)--> Drained
//! ```

use crate::id::ListenerId;
use crate::time::Instant;

/// What is drained.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum DrainScope {
    /// Everything; it ends at this time at the latest.
    Process {
        /// When what is left is cut.
        deadline: Instant,
    },
    /// One listener.
    Listener(ListenerId),
    /// New answers carry `Connection: close`, but nothing ends (`/healthcheck/fail`).
    Discourage,
    /// Back to serving after [`DrainScope::Discourage`] (`/healthcheck/ok`).
    Encourage,
}

/// How far a drain is.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Default)]
pub enum DrainPhase {
    /// Not draining.
    #[default]
    Serving,
    /// Idle connections are closed and busy ones end with their exchange.
    Draining,
    /// Nothing is left.
    Drained,
}

impl DrainPhase {
    /// Starts a drain; true if it had not started.
    pub fn start(&mut self) -> bool {
        let started = *self == DrainPhase::Serving;
        if started {
            *self = DrainPhase::Draining;
        }
        started
    }

    /// Ends a drain if nothing is left; true if it ended just now.
    pub fn settle(&mut self, left: usize) -> bool {
        let ended = *self == DrainPhase::Draining && left == 0;
        if ended {
            *self = DrainPhase::Drained;
        }
        ended
    }

    /// Whether a drain has started.
    pub fn is_draining(self) -> bool {
        self != DrainPhase::Serving
    }
}
