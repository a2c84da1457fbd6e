//! Connects though it will not, or should not, be let in, and asks for what no host may see.

use crate::event::Time;
use crate::peer::{Context, Input, Peer};
use weir_core::rng::Rng;

/// A client that tries a few times. What is wrong with it is its TLS.
#[derive(Debug)]
pub struct Misfit {
    start: Time,
    attempts: u32,
}

/// A client that tries up to four times.
pub fn draw(start: Time, rng: &mut Rng) -> Misfit {
    Misfit { start, attempts: 1 + rng.below(4) as u32 }
}

impl Peer for Misfit {
    fn on(&mut self, input: Input<'_>, context: &mut Context<'_>) {
        match input {
            Input::Start => context.wake(self.start, 0),
            Input::Wake(_) if self.attempts > 0 => {
                self.attempts -= 1;
                context.connect();
            }
            Input::Opened(conn) => context.send(conn, "GET /c0/evil HTTP/1.1\r\nHost: a\r\n\r\n"),
            Input::End(conn) | Input::Broken(conn) => {
                context.close(conn);
                let pause = context.rng.below(3_000_000);
                context.wake(pause, 0);
            }
            _ => {}
        }
    }
}
