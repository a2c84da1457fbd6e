//! The process's own log, on standard error, with a level that the admin page can change.

use clap::ValueEnum;
use std::io::IsTerminal;
use std::sync::OnceLock;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::{Registry, fmt, registry, reload};

/// How much is logged; Envoy's names.
#[derive(Copy, Clone, Debug, PartialEq, Eq, ValueEnum)]
#[allow(missing_docs)]
pub enum Level {
    Trace,
    Debug,
    Info,
    #[value(alias = "warning")]
    Warn,
    Error,
    #[value(alias = "critical")]
    Off,
}

impl Level {
    /// Envoy's name for the level.
    pub fn name(self) -> &'static str {
        match self {
            Level::Trace => "trace",
            Level::Debug => "debug",
            Level::Info => "info",
            Level::Warn => "warning",
            Level::Error => "error",
            Level::Off => "off",
        }
    }

    /// What `h2` says of its peers is theirs to make it say: it is heard only by who asks for everything.
    fn filter(self) -> Targets {
        let h2 = if matches!(self, Level::Trace | Level::Debug) { self.level() } else { LevelFilter::OFF };
        Targets::new().with_default(self.level()).with_target("h2", h2)
    }

    fn level(self) -> LevelFilter {
        match self {
            Level::Trace => LevelFilter::TRACE,
            Level::Debug => LevelFilter::DEBUG,
            Level::Info => LevelFilter::INFO,
            Level::Warn => LevelFilter::WARN,
            Level::Error => LevelFilter::ERROR,
            Level::Off => LevelFilter::OFF,
        }
    }
}

static HANDLE: OnceLock<reload::Handle<Targets, Registry>> = OnceLock::new();
static CURRENT: std::sync::Mutex<Level> = std::sync::Mutex::new(Level::Info);

/// Starts logging. A second call only sets the level.
pub fn start(level: Level) {
    let (filter, handle) = reload::Layer::new(level.filter());
    let subscriber = registry()
        .with(filter)
        .with(fmt::layer().with_writer(std::io::stderr).with_target(false).with_ansi(std::io::stderr().is_terminal()));
    if tracing::subscriber::set_global_default(subscriber).is_ok() {
        let _ = HANDLE.set(handle);
    }
    set_level(level);
}

/// Changes the level.
pub fn set_level(level: Level) {
    if let Ok(mut current) = CURRENT.lock() {
        *current = level;
    }
    if let Some(handle) = HANDLE.get() {
        let _ = handle.modify(|filter| *filter = level.filter());
    }
}

/// The level.
pub fn level() -> Level {
    CURRENT.lock().map_or(Level::Info, |level| *level)
}
