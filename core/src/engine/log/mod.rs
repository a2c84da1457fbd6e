//! The input log: everything that decides what an engine does, in a file that gives the same run again.
//!
//! A log begins with a head (the version of the format, what made it, the seed, both clocks, the first config as it was
//! written) and goes on with an entry for each call of a `handle_*`, and of `poll_transmit`, with its arguments and with
//! what `Shared` answered on the way. Each entry ends with a byte of the engine's running digest, so a replay that takes
//! another turn is noticed at the entry where it does; the last entry has the whole digest, and behind it
//! stands a checksum of all bytes before. Numbers are LEB128, times are
//! differences.
//!
//! Bytes of bodies decide nothing: unless they are asked for, the log has their lengths and digests only (of long
//! pieces, of samples: see [`sample`](crate::digest::sample)), and a replay puts zeros in their place. The digest takes in heads, framing, actions and events byte for byte, and bodies by their
//! length, so it is the same with and without them.

mod entries;
mod filter;
mod format;
mod reading;
mod recorder;
mod replay;
mod tls;

pub use entries::Entries;
pub use format::{Input, Piece};
pub use reading::Entry;
pub(super) use recorder::Recorder;
pub use recorder::{Log, RecordOptions};
pub use replay::{Replay, Summary};

use crate::time::Duration;

/// The version of the format that this build reads and writes.
pub const VERSION: u64 = 4;

/// Why a log cannot be replayed, or not to its end.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LogError {
    /// It is something else.
    #[error("this is not an input log of Weir: it does not begin with `WEIRLOG`")]
    NotALog,
    /// It was written in another version of the format.
    #[error(
        "this input log has version {found}, written by {made_by}; this build reads version {VERSION}: replay it with a build that wrote it"
    )]
    Version {
        /// Its version.
        found: u64,
        /// What wrote it.
        made_by: Box<str>,
    },
    /// It ends in the middle.
    #[error("the log is cut off at byte {at}, in entry {}; read so far: {} over {}", entries + 1, count(*entries, "entry", "entries"), span(*time))]
    CutOff {
        /// Where it ends.
        at: usize,
        /// Whole entries before.
        entries: u64,
        /// The time of the last of them, since the log began.
        time: Duration,
    },
    /// Something in it cannot be.
    #[error("the log is damaged, at byte {at}, in entry {}: {what}; read so far: {} over {}", entries + 1, count(*entries, "entry", "entries"), span(*time))]
    Damaged {
        /// Where.
        at: usize,
        /// What is wrong.
        what: &'static str,
        /// Whole entries before.
        entries: u64,
        /// The time of the last of them, since the log began.
        time: Duration,
    },
    /// Its config does not load in this build.
    #[error("the config of the log is refused by this build:\n{0}")]
    Config(String),
    /// The replay decided something else than the run that was recorded.
    #[error("entry {entry}, {} after the beginning, goes another way than it was recorded ({what}): the log is damaged, was made by another build, or the engine is not deterministic", span(*time))]
    Diverged {
        /// Which entry, from one.
        entry: u64,
        /// Its time, since the log began.
        time: Duration,
        /// What the entry is.
        what: &'static str,
    },
}

fn count(number: u64, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

/// A time in seconds, to the microsecond.
pub(crate) fn span(time: Duration) -> String {
    format!("{}.{:06} s", time.as_secs(), time.subsec_micros())
}
