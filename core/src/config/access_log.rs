//! Access logs: where the lines go, which exchanges are logged and how a line looks.

use crate::format::Template;
use crate::record::Flags;

/// Where lines go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogSink {
    /// A file, opened for appending.
    File(Box<str>),
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// One access log of a connection manager.
#[derive(Clone, Debug)]
pub struct AccessLog {
    /// Place in [`Config::sinks`](super::Config::sinks).
    pub sink: usize,
    /// How a line looks.
    pub format: LogFormat,
    /// Which exchanges are logged; all if none.
    pub filter: Option<LogFilter>,
}

/// How a line looks.
#[derive(Clone, Debug)]
pub enum LogFormat {
    /// A text template, and what stands for a value that is not known.
    Text(Template, &'static str),
    /// One JSON object a line.
    Json(crate::format::JsonTemplate),
}

/// `envoy.config.accesslog.v3.AccessLogFilter`.
#[derive(Clone, Debug)]
pub enum LogFilter {
    /// By status.
    Status(Comparison),
    /// By duration in milliseconds.
    Duration(Comparison),
    /// If any of these flags is set; if any at all when empty.
    Flags(Vec<Flags>),
    /// If the request's header matches.
    Header(super::HeaderMatch),
    /// Not a request that a health-check filter answered (none does yet, so always true).
    NotHealthCheck,
    /// All of them.
    And(Vec<LogFilter>),
    /// Any of them.
    Or(Vec<LogFilter>),
}

/// `ComparisonFilter`.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Comparison {
    Equal(u64),
    AtLeast(u64),
    AtMost(u64),
    Not(u64),
}

impl Comparison {
    /// Whether `value` passes.
    pub fn holds(self, value: u64) -> bool {
        match self {
            Comparison::Equal(other) => value == other,
            Comparison::AtLeast(other) => value >= other,
            Comparison::AtMost(other) => value <= other,
            Comparison::Not(other) => value != other,
        }
    }
}
