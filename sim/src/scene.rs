//! A world at its beginning, with what must hold in it, and its run.

use crate::check::Check;
use crate::event::Time;
use crate::world::{Report, World};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// A world at its beginning, and what must hold in it.
#[derive(Debug)]
pub struct Scene {
    /// The world.
    pub world: World,
    /// The checks.
    pub checks: Vec<Box<dyn Check>>,
    /// When it ends.
    pub end: Time,
    /// What was drawn, for people; empty unless it was asked for.
    pub about: String,
}

impl Scene {
    /// Runs it.
    pub fn run(&mut self) -> Report {
        self.world.run(self.end, &mut self.checks)
    }

    /// Runs it, and says in a line why it failed if it did. A panic is a failure like any other. `progress` hears now and
    /// then how far it is.
    ///
    /// # Errors
    /// The line.
    pub fn judge(&mut self, mut progress: impl FnMut(Time)) -> Result<Report, String> {
        let report = catch_unwind(AssertUnwindSafe(|| {
            let mut failure = None;
            for part in 1..=100 {
                if failure.is_none() {
                    let until = (u128::from(self.end) * part / 100) as Time;
                    failure = self.world.advance(until, &mut self.checks);
                    progress(until);
                }
            }
            self.world.finish(failure, &mut self.checks)
        }));
        match report {
            Err(_) => Err(format!("a panic at {}", place(self.world.now))),
            Ok(Report { failure: Some((at, check, why)), .. }) => Err(format!("{check} failed at {}: {why}", place(at))),
            Ok(report) => Ok(report),
        }
    }
}

/// A time in seconds, to the nanosecond.
pub fn place(at: Time) -> String {
    format!("{}.{:09} s", at / 1_000_000_000, at % 1_000_000_000)
}
