//! `connection_keepalive`: whether a peer is still there. It is asked with a PING when the interval is over, and has its
//! timeout to say something, whatever that is.
//!
//! ```text
//! quiet --interval: PING--> asked --timeout, heard--> quiet
//!                               \--timeout, not heard--> gone
//! ```

use super::Keepalive;
use crate::time::Duration;
use h2::{Ping, PingPong};
use std::task::Context;

/// What follows from a deadline.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Alive {
    /// Look again after so long.
    LookIn(Duration),
    /// It has not answered.
    Gone,
}

/// The machine.
pub(super) struct KeepAlive {
    options: Option<Keepalive>,
    pub(super) pings: Option<PingPong>,
    pub(super) heard: bool,
    asked: bool,
}

impl KeepAlive {
    pub(super) fn new(options: Option<Keepalive>) -> KeepAlive {
        KeepAlive { options, pings: None, heard: false, asked: false }
    }

    /// When to look for the first time.
    pub(super) fn begins_in(&self) -> Option<Duration> {
        self.options.map(|options| options.interval)
    }

    /// The deadline has come. If a PING is to be sent, it is h2 that sends it.
    pub(super) fn look(&mut self, context: &mut Context<'_>) -> Option<Alive> {
        let Keepalive { interval, timeout } = self.options?;
        if std::mem::replace(&mut self.asked, false) {
            return Some(match self.heard {
                true => Alive::LookIn(interval.saturating_sub(timeout)),
                false => Alive::Gone,
            });
        }
        (self.asked, self.heard) = (true, false);
        if let Some(pings) = &mut self.pings {
            // The answer to the one before has to be taken before h2 sends another.
            let _ = pings.poll_pong(context);
            let _ = pings.send_ping(Ping::opaque());
        }
        Some(Alive::LookIn(timeout))
    }
}
