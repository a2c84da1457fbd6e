//! The process's clock: tokio's, so that a paused or simulated runtime is followed.

use std::time::{SystemTime, UNIX_EPOCH};
use weir_core::time::{Instant, Wall};

/// Nanoseconds since the process began to count. All threads share one origin.
#[derive(Copy, Clone, Debug)]
pub struct Clock {
    origin: tokio::time::Instant,
    /// What the wall clock showed at the origin, where time is simulated.
    epoch: Option<Wall>,
}

impl Clock {
    /// A clock that starts now, beside the system's wall clock.
    pub fn start() -> Clock {
        Clock { origin: tokio::time::Instant::now(), epoch: None }
    }

    /// A clock that starts now, when the wall clock shows `epoch`, and moves with it.
    pub fn simulated(epoch: Wall) -> Clock {
        Clock { origin: tokio::time::Instant::now(), epoch: Some(epoch) }
    }

    /// Now, as core counts.
    pub fn now(&self) -> Instant {
        Instant::from_nanos(self.origin.elapsed().as_nanos() as u64)
    }

    /// When core's instant is, as tokio counts.
    pub fn to_tokio(&self, at: Instant) -> tokio::time::Instant {
        self.origin + std::time::Duration::from_nanos(at.as_nanos())
    }

    /// What the wall clock shows.
    pub fn wall(&self) -> Wall {
        match self.epoch {
            Some(epoch) => epoch.after(self.origin.elapsed()),
            None => {
                let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                Wall::from_nanos(since.as_nanos() as u64)
            }
        }
    }
}
