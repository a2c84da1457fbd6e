//! A log's entries one after another, for who feeds an engine of their own, as the C ABI's tests do.

use super::LogError;
use super::reading::{Entry, Header, Reader};
use crate::config::Source;
use crate::rng::Seed;
use crate::time::{Instant, Wall};
use bytes::Bytes;

/// The entries of a log, in their order; the last is [`Input::End`](super::Input::End).
#[derive(Debug)]
pub struct Entries {
    reader: Reader<Bytes>,
    header: Header,
}

impl Entries {
    /// Reads the head of a log.
    ///
    /// # Errors
    /// If it is no log, of another version, or cut off.
    pub fn open(log: Bytes) -> Result<Entries, LogError> {
        let mut reader = Reader::new(log);
        let header = reader.header()?;
        Ok(Entries { reader, header })
    }

    /// The seed of the engine.
    pub fn seed(&self) -> Seed {
        Seed(self.header.seed)
    }

    /// What both clocks showed when the log began.
    pub fn began(&self) -> (Instant, Wall) {
        (self.header.now, self.header.wall)
    }

    /// The config that the engine began with.
    pub fn source(&self) -> &Source {
        &self.header.source
    }

    /// How many bytes of the log are read: that much was recorded when the next entry began.
    pub fn position(&self) -> usize {
        self.reader.position()
    }

    /// The next entry.
    ///
    /// # Errors
    /// If the log is damaged or cut off, which it is said to be behind its end too.
    pub fn read(&mut self) -> Result<Entry, LogError> {
        self.reader.entry()
    }
}
