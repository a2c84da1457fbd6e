//! Where input logs go: how much of the past a worker keeps in memory, and how it is written to files.
//!
//! A log replays only from its beginning, so a worker that has recorded half of what it may keep begins anew: an engine
//! with a log of its own takes the connections to come, and the one before serves what it has to its end (see
//! [`thread`](crate::thread)). So the last half of what may be kept, at least, can always be replayed.

use crate::cli::RunArgs;
use std::cell::Cell;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use weir_core::engine::log::{Log, RecordOptions};

/// What `--record` asks for.
#[derive(Debug)]
pub struct Recording {
    folder: PathBuf,
    /// Bytes that a worker keeps.
    pub limit: usize,
    bodies: bool,
}

/// Sets of files that this process has written: several proxies of it may write to one folder.
static DUMPS: AtomicU32 = AtomicU32::new(0);

/// A log that was written to a file.
#[derive(Clone, Debug)]
pub struct Written {
    /// The file.
    pub path: PathBuf,
    /// Its entries.
    pub entries: u64,
    /// Its digest.
    pub digest: u64,
}

impl std::fmt::Display for Written {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {} entries, digest {:016x}", self.path.display(), self.entries, self.digest)
    }
}

/// A log of one worker's, and which of its engines recorded it.
pub type Segment = (u32, Log);

impl Recording {
    /// What the command line asks for. Makes the folder, and sees whether files can be written there.
    ///
    /// # Errors
    /// If not.
    pub fn of(args: &RunArgs) -> io::Result<Option<Arc<Recording>>> {
        let Some(folder) = args.record.clone() else { return Ok(None) };
        fs::create_dir_all(&folder)?;
        let probe = folder.join(format!(".weir-{}", std::process::id()));
        fs::write(&probe, b"")?;
        fs::remove_file(&probe)?;
        let limit = args.record_mib as usize * 1024 * 1024;
        Ok(Some(Arc::new(Recording { folder, limit, bodies: args.record_bodies })))
    }

    /// How an engine records.
    pub fn options(&self, worker: usize, generation: u32) -> RecordOptions {
        let about = format!("process {}, worker {worker}, engine {generation}", std::process::id());
        RecordOptions { bodies: self.bodies, about: about.into() }
    }

    /// A number for a set of files that belong together.
    pub fn number(&self) -> u32 {
        DUMPS.fetch_add(1, Relaxed)
    }

    /// Writes a worker's logs to files. A file has its name only once it is whole.
    ///
    /// # Errors
    /// If one cannot be written.
    pub fn write(&self, number: u32, reason: &str, worker: usize, segments: Vec<Segment>) -> io::Result<Vec<Written>> {
        let write = |(generation, log): Segment| {
            let name = format!("{}-{number}-{reason}-worker{worker}-{generation}.weirlog", std::process::id());
            let path = self.folder.join(name);
            write_whole(&path, &log)?;
            Ok(Written { path, entries: log.entries, digest: log.digest })
        };
        segments.into_iter().map(write).collect()
    }
}

thread_local! {
    static OUTLIVES_PANICS: Cell<bool> = const { Cell::new(false) };
}

/// The calling thread does something about a panic itself: it is not to end the process at once.
pub fn outlive_panics() {
    OUTLIVES_PANICS.set(true);
}

/// Whether the calling thread does something about a panic itself.
pub fn outlives_panics() -> bool {
    OUTLIVES_PANICS.get()
}

/// Heads hold cookies and credentials: the file is for its owner alone.
fn write_whole(path: &Path, log: &Log) -> io::Result<()> {
    let begun = path.with_extension("part");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&begun)?;
    for piece in &log.pieces {
        file.write_all(piece)?;
    }
    file.sync_all()?;
    fs::rename(&begun, path)
}
