//! Everything that is said in a simulation, as a number: every event of every crate, at every level, with simulated time.
//! `WEIR_NETWORK_TRACE=FILE` writes it down, too: where two processes differ, `diff` shows what came first.

use std::fs::File;
use std::io::{self, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tracing_subscriber::fmt::MakeWriter;
use weir_core::digest::Digest;

#[derive(Clone, Default)]
struct Trace(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    events: u64,
    digest: Digest,
    file: Option<File>,
}

/// Simulated time. What is done to a host from outside (a crash, say) has none: there turmoil adds real time.
fn elapsed() -> Duration {
    let is_inside = tokio::runtime::Handle::try_current().is_ok();
    if is_inside { turmoil::sim_elapsed().unwrap_or_default() } else { Duration::ZERO }
}

impl Write for Trace {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut state = self.0.lock().map_err(|_| io::ErrorKind::Other)?;
        state.events += 1;
        state.digest.bytes(bytes);
        state.digest.word(elapsed().as_nanos() as u64);
        if let Some(file) = &mut state.file {
            write!(file, "{:?} ", elapsed())?;
            file.write_all(bytes)?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Trace {
    type Writer = Trace;

    fn make_writer(&self) -> Trace {
        self.clone()
    }
}

/// Does something; answers how many events were told meanwhile, and their hash.
pub(crate) fn hash_of(run: impl FnOnce()) -> (u64, u64) {
    let trace = Trace::default();
    if let (Some(path), Ok(mut state)) = (std::env::var_os("WEIR_NETWORK_TRACE"), trace.0.lock()) {
        state.file = File::create(path).ok();
    }
    let subscriber =
        tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).without_time().with_ansi(false).with_writer(trace.clone()).finish();
    tracing::subscriber::with_default(subscriber, run);
    let state = trace.0.lock().map(|state| (state.events, state.digest.value()));
    state.unwrap_or_default()
}
