//! The log, with a level that the admin page can change: the process's own, on standard error, or one of an embedded
//! proxy, whose lines its host takes.

use clap::ValueEnum;
use std::fmt::Write;
use std::io::IsTerminal;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, LazyLock, Mutex, OnceLock, PoisonError};
use tracing::field::{Field, Visit};
use tracing::{Dispatch, Event, Subscriber};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
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

/// The level of a log, and what changes it. Clones are of the same log.
#[derive(Clone, Debug)]
pub struct Control(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    level: Mutex<Level>,
    handle: OnceLock<reload::Handle<Targets, Registry>>,
}

/// Where a log's lines go that isn't the process's own: called from any of a proxy's threads, with each line once.
pub type Sink = Arc<dyn Fn(Level, &str) + Send + Sync>;

static PROCESS: LazyLock<Control> = LazyLock::new(|| Control::new(Level::Info));

impl Control {
    fn new(level: Level) -> Control {
        Control(Arc::new(Inner { level: Mutex::new(level), handle: OnceLock::new() }))
    }

    /// The process's own log.
    pub fn process() -> Control {
        PROCESS.clone()
    }

    /// A log of its own, and what to make the default of the threads that write to it.
    pub fn to_sink(level: Level, sink: Sink) -> (Control, Dispatch) {
        let control = Control::new(level);
        let (filter, handle) = reload::Layer::new(level.filter());
        let _ = control.0.handle.set(handle);
        (control, Dispatch::new(registry().with(filter).with(Lines(sink))))
    }

    /// A log that nobody reads.
    pub fn silent() -> (Control, Dispatch) {
        (Control::new(Level::Off), Dispatch::none())
    }

    /// Changes the level.
    pub fn set_level(&self, level: Level) {
        *self.0.level.lock().unwrap_or_else(PoisonError::into_inner) = level;
        if let Some(handle) = self.0.handle.get() {
            let _ = handle.modify(|filter| *filter = level.filter());
        }
    }

    /// The level.
    pub fn level(&self) -> Level {
        *self.0.level.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Starts the process's log. A second call only sets the level.
pub fn start(level: Level) {
    let (filter, handle) = reload::Layer::new(level.filter());
    let subscriber = registry()
        .with(filter)
        .with(fmt::layer().with_writer(std::io::stderr).with_target(false).with_ansi(std::io::stderr().is_terminal()));
    if tracing::subscriber::set_global_default(subscriber).is_ok() {
        let _ = PROCESS.0.handle.set(handle);
    }
    PROCESS.set_level(level);
}

/// Makes a line of each event.
struct Lines(Sink);

impl<S: Subscriber> Layer<S> for Lines {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut line = Line(String::new());
        event.record(&mut line);
        let level = match *event.metadata().level() {
            tracing::Level::TRACE => Level::Trace,
            tracing::Level::DEBUG => Level::Debug,
            tracing::Level::INFO => Level::Info,
            tracing::Level::WARN => Level::Warn,
            tracing::Level::ERROR => Level::Error,
        };
        // A host's panic is the host's: its own hook has reported it, and no worker ends by it.
        let _ = catch_unwind(AssertUnwindSafe(|| (self.0)(level, &line.0)));
    }
}

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        let blank = if self.0.is_empty() { "" } else { " " };
        let _ = match field.name() {
            "message" => write!(self.0, "{blank}{value:?}"),
            name => write!(self.0, "{blank}{name}={value:?}"),
        };
    }
}
