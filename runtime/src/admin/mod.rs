//! The admin page, on the primary: Envoy's paths, shapes and stat names.

mod pages;
mod prometheus;
mod stats;

use crate::access_log::LogWriter;
use crate::cli::RunArgs;
use crate::command::{Command, Drain};
use crate::logging::{Control, Level};
use crate::net::Net;
use crate::recording::{Recording, Written};
use crate::run::Bound;
use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State as Extract};
use axum::http::{Method, Response, StatusCode, header};
use clap::ValueEnum;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::{Notify, mpsc, oneshot};
use weir_core::Engine;
use weir_core::config::{Config, Listener};
use weir_core::filter::Registry as Filters;
use weir_core::shared::Shared;
use weir_core::stats::{Registry, Totals};

/// What the admin page knows and what it can ask.
pub struct State<N: Net> {
    /// Stats of each worker.
    pub registries: Vec<Arc<Registry>>,
    /// Counts over all workers.
    pub shared: Arc<Shared>,
    /// The workers.
    pub commands: Vec<mpsc::UnboundedSender<Command<N>>>,
    /// What changes.
    pub inner: Mutex<Admin>,
    /// The command line.
    pub args: RunArgs,
    /// The access-log writer.
    pub log: LogWriter,
    /// How inputs are recorded, if they are.
    pub recording: Option<Arc<Recording>>,
    /// The log.
    pub logging: Control,
    /// Time for a drain.
    pub drain_time: Duration,
    /// `/quitquitquit` was asked for.
    pub quit: Notify,
    /// `/drain_listeners` was asked for.
    pub drain: Notify,
}

/// What changes while the process runs.
#[derive(Debug)]
pub struct Admin {
    config: Arc<Config>,
    text: String,
    filters: Filters,
    listeners: BTreeMap<Arc<str>, SocketAddr>,
    draining: bool,
    failed: bool,
    started: Instant,
    loaded: SystemTime,
}

impl Admin {
    /// A process that has just started.
    pub fn new(config: Arc<Config>, text: String, bound: Bound, filters: Filters) -> Admin {
        Admin {
            config,
            text,
            filters,
            listeners: bound.listeners.into_iter().collect(),
            draining: false,
            failed: false,
            started: Instant::now(),
            loaded: SystemTime::now(),
        }
    }
}

impl<N: Net + Send + Sync> State<N> {
    fn admin(&self) -> MutexGuard<'_, Admin> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A drain has begun.
    pub fn set_draining(&self) {
        self.admin().draining = true;
    }

    /// Whether a drain has begun.
    pub fn is_draining(&self) -> bool {
        self.admin().draining
    }

    /// The config in force.
    pub fn config(&self) -> Arc<Config> {
        Arc::clone(&self.admin().config)
    }

    /// Where listeners listen, by name.
    pub fn listeners(&self) -> BTreeMap<Arc<str>, SocketAddr> {
        self.admin().listeners.clone()
    }

    /// The listener of this name, and where it listens.
    pub fn listener(&self, name: &str) -> Option<(Arc<Listener>, SocketAddr)> {
        let admin = self.admin();
        let listener = admin.config.listeners.iter().find(|listener| &*listener.name == name)?;
        Some((Arc::clone(listener), *admin.listeners.get(name)?))
    }

    /// Every stat, as `/stats` shows it.
    pub fn stats_text(&self) -> String {
        stats::page(self, &Query::parse("")).2
    }

    /// The counter or gauge of this name.
    pub fn stat(&self, name: &str) -> Option<u64> {
        stats::snapshot(self).stats.get(name).map(|stat| stat.value)
    }

    /// The config, as `/config_dump` shows it.
    pub fn config_dump(&self) -> String {
        pages::config_dump(self).2
    }

    /// A config was reloaded.
    pub fn replace(&self, config: Arc<Config>, text: String, listeners: Vec<(Arc<str>, SocketAddr)>) {
        let mut admin = self.admin();
        (admin.config, admin.text, admin.loaded) = (config, text, SystemTime::now());
        admin.listeners = listeners.into_iter().collect();
    }

    fn tell(&self, command: impl Fn() -> Command<N>) {
        for worker in &self.commands {
            let _ = worker.send(command());
        }
    }

    fn totals(&self) -> Totals {
        let mut totals = Totals::default();
        self.registries.iter().for_each(|registry| registry.add_to(&mut totals));
        totals
    }

    /// Writes what the workers have recorded to files, and logs which.
    ///
    /// # Errors
    /// Says why there are no files, or not all.
    pub async fn write_input_logs(&self, reason: &'static str) -> Result<Vec<Written>, String> {
        let recording = self.recording.as_ref().ok_or("nothing is recorded; start Weir with --record DIR to change that")?;
        let number = recording.number();
        let mut waits = Vec::new();
        for worker in &self.commands {
            let (written, wait) = oneshot::channel();
            if worker.send(Command::Dump { number, reason, written }).is_ok() {
                waits.push(wait);
            }
        }
        let mut all = Vec::new();
        for wait in waits {
            if let Ok(written) = wait.await {
                all.extend(written.map_err(|error| format!("cannot write an input log: {error}"))?);
            }
        }
        all.iter().for_each(|file| tracing::info!("input log {file}"));
        Ok(all)
    }

    /// Asks each worker's engine.
    async fn ask<T: Send + 'static>(&self, question: impl Fn(&Engine) -> T + Clone + Send + 'static) -> Vec<T> {
        let mut answers = Vec::new();
        for worker in &self.commands {
            let (answer, wait) = oneshot::channel();
            let question = question.clone();
            let inspect = Box::new(move |engine: &Engine| drop(answer.send(question(engine))));
            if worker.send(Command::Inspect(inspect)).is_ok() {
                answers.extend(wait.await.ok());
            }
        }
        answers
    }
}

/// An answer: status, content type, body.
type Page = (StatusCode, &'static str, String);

const TEXT: &str = "text/plain; charset=UTF-8";
const JSON: &str = "application/json";

fn text(body: impl Into<String>) -> Page {
    (StatusCode::OK, TEXT, body.into())
}

/// Serves the admin page.
pub async fn serve<N: Net + Send + Sync>(listener: tokio::net::TcpListener, state: Arc<State<N>>) {
    let router = Router::new().fallback(answer::<N>).with_state(state);
    if let Err(error) = axum::serve(listener, router).await {
        tracing::error!("the admin page has ended: {error}");
    }
}

async fn answer<N: Net + Send + Sync>(Extract(state): Extract<Arc<State<N>>>, request: Request) -> Response<Body> {
    let query = Query::parse(request.uri().query().unwrap_or_default());
    let path = request.uri().path();
    let (status, kind, body) = match COMMANDS.iter().find(|command| command.path == path) {
        Some(command) if command.changes && request.method() != Method::POST => {
            let body = format!("Method {} not allowed, POST required.", request.method());
            (StatusCode::METHOD_NOT_ALLOWED, TEXT, body)
        }
        Some(command) => dispatch(command.path, &state, &query).await,
        None => (StatusCode::NOT_FOUND, TEXT, format!("invalid path. admin commands are:\n{}", help())),
    };
    let response = Response::builder()
        .status(status)
        .header(header::CONTENT_TYPE, kind)
        .header(header::CACHE_CONTROL, "no-cache, max-age=0")
        .header(header::X_CONTENT_TYPE_OPTIONS, "nosniff")
        .header(header::SERVER, "weir")
        .body(Body::from(body));
    response.unwrap_or_default()
}

async fn dispatch<N: Net + Send + Sync>(path: &str, state: &Arc<State<N>>, query: &Query) -> Page {
    match path {
        "/" => (StatusCode::OK, "text/html; charset=UTF-8", pages::home()),
        "/help" => text(format!("admin commands are:\n{}", help())),
        "/ready" => ready(state),
        "/server_info" => (StatusCode::OK, JSON, pages::server_info(state)),
        "/listeners" => pages::listeners(state, query),
        "/clusters" => pages::clusters(state, query).await,
        "/config_dump" => pages::config_dump(state),
        "/memory" => (StatusCode::OK, JSON, pages::memory()),
        "/stats" => stats::page(state, query),
        "/stats/prometheus" => (StatusCode::OK, TEXT, prometheus::page(state, query)),
        "/logging" => change_logging(&state.logging, query),
        "/healthcheck/fail" => {
            state.admin().failed = true;
            state.tell(|| Command::Drain(Drain::Discourage));
            text("OK\n")
        }
        "/healthcheck/ok" => {
            state.admin().failed = false;
            state.tell(|| Command::Drain(Drain::Encourage));
            text("OK\n")
        }
        "/drain_listeners" => {
            drain_listeners(state, query);
            text("OK\n")
        }
        "/write_input_logs" => match state.write_input_logs("admin").await {
            Ok(files) => text(files.iter().map(|file| format!("{file}\n")).collect::<String>()),
            Err(error) => (StatusCode::SERVICE_UNAVAILABLE, TEXT, format!("{error}\n")),
        },
        "/quitquitquit" => {
            state.quit.notify_one();
            text("OK\n")
        }
        other => (StatusCode::NOT_FOUND, TEXT, format!("invalid path {other}")),
    }
}

fn ready<N: Net + Send + Sync>(state: &State<N>) -> Page {
    let admin = state.admin();
    match admin.draining || admin.failed {
        true => (StatusCode::SERVICE_UNAVAILABLE, TEXT, "DRAINING\n".to_owned()),
        false => text("LIVE\n"),
    }
}

/// `graceful`: answers first ask clients to go elsewhere, and listeners close after a while; else they
/// close at once.
fn drain_listeners<N: Net + Send + Sync>(state: &Arc<State<N>>, query: &Query) {
    if query.has("skip_exit") {
        return state.tell(|| Command::Drain(Drain::Discourage));
    }
    if !query.has("graceful") {
        return state.drain.notify_one();
    }
    state.tell(|| Command::Drain(Drain::Discourage));
    let (state, wait) = (Arc::clone(state), state.drain_time);
    tokio::spawn(async move {
        tokio::time::sleep(wait).await;
        state.drain.notify_one();
    });
}

/// `?level=L` sets the level. Weir has one logger.
fn change_logging(logging: &Control, query: &Query) -> Page {
    let usage = "usage: /logging?level=<level> (change all levels)\nlevels: trace debug info warning error critical off \n";
    let listing = || format!("active loggers:\n  weir: {}\n\n", logging.level().name());
    let wanted = query.get("level").or_else(|| query.get("weir"));
    match (wanted, query.is_empty()) {
        (None, true) => text(listing()),
        (None, false) => (StatusCode::BAD_REQUEST, TEXT, format!("error: unknown logger name\n\n{usage}{}", listing())),
        (Some(level), _) => match Level::from_str(level, true) {
            Ok(level) => {
                logging.set_level(level);
                text(listing())
            }
            Err(_) => (StatusCode::BAD_REQUEST, TEXT, format!("error: unknown logger level\n\n{usage}{}", listing())),
        },
    }
}

struct AdminCommand {
    path: &'static str,
    /// Whether it changes something, and so needs POST.
    changes: bool,
    help: &'static str,
}

const fn reads(path: &'static str, help: &'static str) -> AdminCommand {
    AdminCommand { path, changes: false, help }
}

const fn changes(path: &'static str, help: &'static str) -> AdminCommand {
    AdminCommand { path, changes: true, help }
}

const COMMANDS: &[AdminCommand] = &[
    reads("/", "Admin home page"),
    reads(
        "/clusters",
        "upstream cluster status\n      filter: text that the names of clusters must contain\n      format: File format to use; One of (text, json)",
    ),
    reads("/config_dump", "dump current configs"),
    changes(
        "/drain_listeners",
        "drain listeners\n      graceful: ask clients to go elsewhere first, and stop the listeners after the drain time\n      skip_exit: ask clients to go elsewhere, and never stop the listeners",
    ),
    changes("/healthcheck/fail", "cause the server to fail health checks"),
    changes("/healthcheck/ok", "cause the server to pass health checks"),
    reads("/help", "print out list of admin commands"),
    reads("/listeners", "print listener info\n      format: File format to use; One of (text, json)"),
    changes(
        "/logging",
        "query/change logging levels\n      level: desired logging level; One of (, trace, debug, info, warning, error, critical, off)",
    ),
    reads("/memory", "print current memory usage"),
    changes("/quitquitquit", "drain, then exit the server; a second time: exit at once"),
    changes("/write_input_logs", "write what --record has recorded to files, and say which"),
    reads("/ready", "print server state, return 200 if LIVE, otherwise return 503"),
    reads("/server_info", "print server version/status information"),
    reads(
        "/stats",
        "print server stats\n      usedonly: Only include stats that are not zero\n      filter: Regular expression for filtering stats\n      format: Format to use; One of (text, json, prometheus)\n      type: Stat types to include.; One of (All, Counters, Histograms, Gauges)",
    ),
    reads(
        "/stats/prometheus",
        "print server stats in prometheus format\n      usedonly: Only include stats that are not zero\n      filter: Regular expression for filtering stats",
    ),
];

fn help() -> String {
    let line = |command: &AdminCommand| format!("  {}{}: {}\n", command.path, if command.changes { " (POST)" } else { "" }, command.help);
    COMMANDS.iter().map(line).collect()
}

/// A query string.
struct Query(Vec<(String, String)>);

impl Query {
    fn parse(text: &str) -> Query {
        let pairs = text.split('&').filter(|pair| !pair.is_empty());
        Query(pairs.map(|pair| pair.split_once('=').unwrap_or((pair, ""))).map(|(key, value)| (decode(key), decode(value))).collect())
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Undoes percent-encoding.
fn decode(text: &str) -> String {
    let (mut out, mut bytes) = (Vec::new(), text.bytes());
    while let Some(byte) = bytes.next() {
        let hex = |byte: Option<u8>| byte.and_then(|b| (b as char).to_digit(16));
        out.push(match byte {
            b'%' => match (hex(bytes.next()), hex(bytes.next())) {
                (Some(high), Some(low)) => (high * 16 + low) as u8,
                _ => b'?',
            },
            b'+' => b' ',
            other => other,
        });
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries() {
        let query = Query::parse("a=1&b&c=%2Fx+y&a=2&d=%zz");
        assert_eq!((query.get("a"), query.get("b"), query.get("c"), query.get("e")), (Some("1"), Some(""), Some("/x y"), None));
    }
}
