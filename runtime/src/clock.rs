//! The process's clock: tokio's, so that a paused or simulated runtime is followed.

use std::time::{SystemTime, UNIX_EPOCH};
use weir_core::time::{Instant, Wall};

/// Nanoseconds since the process began to count. All threads share one origin.
#[derive(Copy, Clone, Debug)]
pub struct Clock {
    origin: tokio::time::Instant,
}

impl Clock {
    /// A clock that starts now.
    pub fn start() -> Clock {
        Clock { origin: tokio::time::Instant::now() }
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
    pub fn wall() -> Wall {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Wall::from_nanos(since.as_nanos() as u64)
    }
}
