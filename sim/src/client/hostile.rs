//! Sends what is not HTTP, or what two readers would read in two ways. None of it may reach a host.

use crate::event::Time;
use crate::peer::{Context, Input, Peer};
use weir_core::rng::Rng;

/// Requests that must be refused. `/evil` is a path that no host may see.
const REFUSED: [&str; 14] = [
    "GET /c0/evil HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    "GET /c0/evil HTTP/1.1\r\n\r\n",
    "GET /c0/evil HTTP/1.1\nHost: a\n\n",
    "POST /c0/evil HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /c0/evil HTTP/1.1\r\nHost: a\r\n\r\n",
    "POST /c0/evil HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
    "POST /c0/evil HTTP/1.1\r\nHost: a\r\nContent-Length: +5\r\n\r\nhello",
    "POST /c0/evil HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    "POST /c0/evil HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "GET /c0/evil HTTP/1.1\r\nHost : a\r\n\r\n",
    "GET /c0/evil HTTP/1.1\r\nHost: a\r\nX: a\r\n b\r\n\r\n",
    "GET /c0/evil HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n",
    "get /c0/evil HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /c0/evil HTTP/3.0\r\nHost: a\r\n\r\n",
    "\x16\x03\x01\x02\x00\x01\x00\x01\u{fc}\x03\x03 evil",
];

/// A client that means harm.
#[derive(Debug)]
pub struct Hostile {
    start: Time,
    attempts: u32,
    stays: bool,
}

/// A client that tries up to ten times.
pub fn draw(start: Time, rng: &mut Rng) -> Hostile {
    Hostile { start, attempts: 1 + rng.below(10) as u32, stays: rng.below(4) == 0 }
}

impl Peer for Hostile {
    fn on(&mut self, input: Input<'_>, context: &mut Context<'_>) {
        match input {
            Input::Start => context.wake(self.start, 0),
            Input::Wake(_) if self.attempts > 0 => {
                self.attempts -= 1;
                context.connect();
            }
            Input::Opened(conn) => {
                let bytes = match context.rng.below(8) {
                    0 => (0..context.rng.below(300)).map(|_| context.rng.below(256) as u8).collect(),
                    // A head that never ends.
                    1 => b"GET /c0/evil HTTP/1.1\r\nHost: a\r\nX: ".iter().copied().chain((0..70_000).map(|_| b'x')).collect(),
                    2 => b"GET /c0/evil HTTP/1.1\r\nHo".to_vec(),
                    _ => REFUSED[context.rng.below(REFUSED.len() as u64) as usize].as_bytes().to_vec(),
                };
                context.send(conn, bytes);
            }
            Input::End(conn) | Input::Broken(conn) => {
                if !self.stays {
                    context.close(conn);
                }
                let pause = context.rng.below(3_000_000);
                context.wake(pause, 0);
            }
            _ => {}
        }
    }
}
