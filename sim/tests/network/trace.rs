//! Everything that is said in a simulation, as a number: every event of every crate, at every level, with simulated time.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};
use tracing_subscriber::fmt::MakeWriter;
use weir_core::digest::Digest;

#[derive(Clone, Default)]
struct Hash(Arc<Mutex<(u64, Digest)>>);

impl Write for Hash {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut state = self.0.lock().map_err(|_| io::ErrorKind::Other)?;
        state.0 += 1;
        state.1.bytes(bytes);
        state.1.word(turmoil::sim_elapsed().map_or(0, |elapsed| elapsed.as_nanos() as u64));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Hash {
    type Writer = Hash;

    fn make_writer(&self) -> Hash {
        self.clone()
    }
}

/// Does something; answers how many events were told meanwhile, and their hash.
pub(crate) fn hash_of(run: impl FnOnce()) -> (u64, u64) {
    let hash = Hash::default();
    let subscriber =
        tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).without_time().with_ansi(false).with_writer(hash.clone()).finish();
    tracing::subscriber::with_default(subscriber, run);
    let state = hash.0.lock().map(|state| (state.0, state.1.value()));
    state.unwrap_or_default()
}
