//! Time as core sees it: values that the driver passes in.
//!
//! Core never reads a clock. [`Instant`] counts nanoseconds since an origin that the driver picks (the start
//! of the process, or zero in a simulation) and only ever grows; [`Wall`] is calendar time, used where a
//! person or a peer reads it (`Date`, access logs), never for a decision about duration.

use std::ops::{Add, Sub};
pub use std::time::Duration;

/// A point on the driver's monotonic clock, in nanoseconds since the driver's origin.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Instant(u64);

impl Instant {
    /// The driver's origin.
    pub const ZERO: Instant = Instant(0);
    /// Later than anything that happens; stands for "never".
    pub const NEVER: Instant = Instant(u64::MAX);

    /// The instant `nanos` nanoseconds after the origin.
    pub const fn from_nanos(nanos: u64) -> Instant {
        Instant(nanos)
    }

    /// Nanoseconds since the origin.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// Time since `earlier`, zero if `earlier` is later.
    pub fn since(self, earlier: Instant) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Instant {
    type Output = Instant;

    /// Saturates at [`Instant::NEVER`], so that an absurd timeout is one that never fires.
    fn add(self, by: Duration) -> Instant {
        let nanos = u64::try_from(by.as_nanos()).unwrap_or(u64::MAX);
        Instant(self.0.saturating_add(nanos))
    }
}

impl Sub for Instant {
    type Output = Duration;

    fn sub(self, earlier: Instant) -> Duration {
        self.since(earlier)
    }
}

impl std::fmt::Debug for Instant {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{:09}s", self.0 / 1_000_000_000, self.0 % 1_000_000_000)
    }
}

/// Calendar time: nanoseconds since 1970-01-01T00:00:00Z.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct Wall(u64);

impl Wall {
    /// The wall time `nanos` nanoseconds after the Unix epoch.
    pub const fn from_nanos(nanos: u64) -> Wall {
        Wall(nanos)
    }

    /// Nanoseconds since the Unix epoch.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// `by` later.
    pub fn after(self, by: Duration) -> Wall {
        Wall(self.0.saturating_add(u64::try_from(by.as_nanos()).unwrap_or(u64::MAX)))
    }

    /// Whole seconds since the Unix epoch.
    pub const fn as_secs(self) -> u64 {
        self.0 / 1_000_000_000
    }
}

/// Tells wall time from the monotonic clock: the last pair that the driver gave, carried forward.
#[derive(Copy, Clone, Debug)]
pub struct WallClock {
    wall: Wall,
    at: Instant,
}

impl WallClock {
    /// Wall time was `wall` at `at`.
    pub fn new(wall: Wall, at: Instant) -> WallClock {
        WallClock { wall, at }
    }

    /// Wall time at `now`.
    pub fn at(&self, now: Instant) -> Wall {
        Wall(self.wall.0.saturating_add(now.0).saturating_sub(self.at.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adding_saturates_and_subtracting_never_goes_below_zero() {
        assert_eq!(Instant::from_nanos(5) + Duration::MAX, Instant::NEVER);
        assert_eq!(Instant::from_nanos(5) - Instant::from_nanos(9), Duration::ZERO);
        assert_eq!(format!("{:?}", Instant::from_nanos(1_500_000_000)), "1.500000000s");
    }

    #[test]
    fn wall_time_is_carried_forward() {
        let clock = WallClock::new(Wall::from_nanos(1_000), Instant::from_nanos(400));
        assert_eq!(clock.at(Instant::from_nanos(500)).as_nanos(), 1_100);
    }
}
