//! What a host chooses for a proxy, besides its config.

use crate::cli::{OnUnsupported, RunArgs};
use crate::logging::{Level, Sink};
use crate::start;
use crate::system;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use weir_core::filter::Registry;
use weir_core::rng::Seed;

/// Most worker threads.
const MOST_WORKERS: u16 = 1024;

/// What a host chooses for a proxy, besides its config. The default is one worker that drains for up to ten minutes and
/// logs nothing.
#[derive(Clone)]
pub struct Options {
    /// Worker threads, 1 to 1024; `None` for as many as the hardware runs at once. They are not tied to processors.
    pub workers: Option<u16>,
    /// Time that a drain may take before what is left is cut (`weir run` has the same default).
    pub drain_time: Duration,
    /// What to do about fields that Weir knows but does not honour.
    pub on_unsupported: OnUnsupported,
    /// Who takes the log's lines; `None`: nobody. Called on the proxy's own threads, so it should be quick.
    pub log: Option<Sink>,
    /// How much is logged. The admin page can change it, for this proxy.
    pub log_level: Level,
    /// For `%HOSTNAME%`; `None` for the system's.
    pub hostname: Option<String>,
    /// All that is drawn is drawn from this; `None` for a seed from the system.
    pub seed: Option<u64>,
    /// Keep a log of what decides everything, to be written to files by [`Proxy::write_input_logs`](super::Proxy::write_input_logs)
    /// and when a worker panics.
    pub record: Option<Record>,
    /// The host's own filters, for configs that name their types. Those that wait are resumed with [`resume`](super::resume).
    pub filters: Registry,
}

/// What is recorded of the past, and where it is written.
#[derive(Clone, Debug)]
pub struct Record {
    /// The folder for files.
    pub folder: PathBuf,
    /// MiB of the past that each worker keeps.
    pub mib: u32,
    /// Record the bytes of bodies too, not only their lengths and digests.
    pub bodies: bool,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            workers: Some(1),
            drain_time: Duration::from_secs(600),
            on_unsupported: OnUnsupported::Error,
            log: None,
            log_level: Level::Info,
            hostname: None,
            seed: None,
            record: None,
            filters: Registry::default(),
        }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options").field("workers", &self.workers).field("drain_time", &self.drain_time).finish_non_exhaustive()
    }
}

impl Options {
    /// What is wrong with them.
    pub(super) fn fault(&self) -> Option<String> {
        match self.workers {
            Some(workers) if !(1..=MOST_WORKERS).contains(&workers) => Some(format!("{workers} workers: 1 to {MOST_WORKERS} are possible")),
            _ => None,
        }
    }

    pub(super) fn args(&self, file: &Path) -> RunArgs {
        let record = self.record.as_ref();
        let mut args = RunArgs::of(file.to_owned());
        args.concurrency = self.workers;
        args.drain_time = self.drain_time.as_secs();
        args.log_level = self.log_level;
        args.on_unsupported = self.on_unsupported;
        args.record = record.map(|record| record.folder.clone());
        args.record_mib = record.map_or(args.record_mib, |record| record.mib.clamp(1, 65536));
        args.record_bodies = record.is_some_and(|record| record.bodies);
        args
    }

    pub(super) fn hostname(&self) -> Arc<str> {
        self.hostname.clone().unwrap_or_else(system::hostname).into()
    }

    pub(super) fn seed(&self) -> Seed {
        self.seed.map_or_else(start::seed, Seed)
    }
}
