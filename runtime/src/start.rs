//! What happens before anything runs: the config is loaded, sockets are opened, names are resolved. Everything
//! that can fail is here, and nothing here has an effect that outlives a failure.

use crate::access_log;
use crate::cli::OnUnsupported;
use crate::environment::Environment;
use crate::net::Net;
use crate::resolver::Resolver;
use crate::tls::Table;
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use weir_core::Engine;
use weir_core::cluster::{ClusterState, DnsError, Question, Resolved};
use weir_core::config::{Bind, Config, LogSink, v3};
use weir_core::engine::Action;
use weir_core::rng::Seed;
use weir_core::shared::Shared;
use weir_core::stats::Registry;
use weir_core::time::Instant;

/// Why the process did not start, in one line.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The config file cannot be read.
    #[error("cannot read the config {}: {error}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// The config is wrong; the diagnostics have been printed.
    #[error("the config {} was refused: {errors} {}; see above", path.display(), if *errors == 1 { "finding" } else { "findings" })]
    Config {
        /// The file.
        path: PathBuf,
        /// How many findings refused it.
        errors: usize,
        /// All findings, in the order of the file.
        findings: Vec<v3::Diagnostic>,
    },
    /// A listener's address is taken, not ours, or not allowed.
    #[error("listener {name}: cannot listen on {address}: {error}")]
    Listen {
        /// The listener.
        name: String,
        /// Its address.
        address: SocketAddr,
        /// What the system says.
        error: io::Error,
    },
    /// A cluster's name does not resolve.
    #[error("cluster {cluster}: {error}")]
    Resolve {
        /// The cluster.
        cluster: String,
        /// Why.
        error: DnsError,
    },
    /// An access log cannot be opened.
    #[error(transparent)]
    AccessLog(#[from] access_log::OpenError),
    /// Input logs could not be written.
    #[error("cannot record to the folder {}: {error}", path.display())]
    Record {
        /// The folder.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// The system refuses threads, or the like.
    #[error("cannot start: {0}")]
    System(#[from] io::Error),
}

/// A config that can be run.
#[derive(Debug)]
pub struct Ready {
    /// The config.
    pub config: Config,
    /// What it was read from.
    pub text: String,
    /// Its TLS settings.
    pub tls: Table,
    /// What was found and does not refuse it.
    pub findings: Vec<v3::Diagnostic>,
}

/// Reads and loads a config file, printing what is wrong with it.
///
/// # Errors
/// If the file cannot be read, or is wrong.
pub fn load(path: &Path, on_unsupported: OnUnsupported, environment: &Environment) -> Result<Ready, StartError> {
    load_text(read(path)?, path, on_unsupported, &[], &Table::default(), environment)
}

/// Reads a config file.
pub(crate) fn read(path: &Path) -> Result<String, StartError> {
    std::fs::read_to_string(path).map_err(|error| StartError::Read { path: path.to_owned(), error })
}

/// Loads a config that follows one with these sinks and TLS settings, logging what is wrong with it. `path` is its name.
pub(crate) fn load_text(
    text: String,
    path: &Path,
    on_unsupported: OnUnsupported,
    sinks: &[LogSink],
    tls: &Table,
    environment: &Environment,
) -> Result<Ready, StartError> {
    let (loaded, tls) = check(&text, &path.display().to_string(), sinks, tls, environment);
    let refused = report(&loaded.diagnostics, on_unsupported);
    match loaded.config {
        Some(config) if refused == 0 => Ok(Ready { config, text, tls, findings: loaded.diagnostics }),
        _ => Err(StartError::Config { path: path.to_owned(), errors: refused.max(1), findings: loaded.diagnostics }),
    }
}

/// Loads a config and makes its TLS settings ready. What is wrong with either is told in the order of the file.
pub fn check(text: &str, file: &str, sinks: &[LogSink], before: &Table, environment: &Environment) -> (v3::Loaded, Table) {
    let mut loaded = v3::load_with(text, file, sinks, &environment.filters);
    let Some(config) = &loaded.config else { return (loaded, Table::default()) };
    let made = Table::make(config, before, environment);
    if made.is_wrong() {
        loaded.config = None;
    }
    loaded.diagnostics.extend(made.findings);
    loaded.diagnostics.sort_by_key(|finding| finding.pos);
    (loaded, made.table)
}

/// Logs findings; answers how many refuse the config.
pub(crate) fn report(findings: &[v3::Diagnostic], on_unsupported: OnUnsupported) -> usize {
    let mut refused = 0;
    for finding in findings {
        let fatal = match finding.severity {
            v3::Severity::Error => true,
            v3::Severity::Unsupported => on_unsupported == OnUnsupported::Error,
            v3::Severity::Warning => false,
        };
        refused += usize::from(fatal);
        if fatal {
            tracing::error!("{finding}");
        } else {
            tracing::warn!("{finding}");
        }
    }
    refused
}

/// A seed from the system: production's one draw of entropy for decisions.
pub(crate) fn seed() -> Seed {
    use std::hash::{BuildHasher, Hasher, RandomState};
    Seed(RandomState::new().build_hasher().finish())
}

/// One socket a worker, or one for the first worker only if ports are not to be shared; none if only calls come in.
pub(crate) fn open_listener<N: Net>(
    net: &N,
    name: &Arc<str>,
    bind: &Bind,
    workers: usize,
    own: &[SocketAddr],
) -> Result<(Vec<N::Bound>, SocketAddr), StartError> {
    let fault = |error| StartError::Listen { name: name.to_string(), address: bind.address, error };
    if bind.calls_only {
        return Ok((Vec::new(), bind.address));
    }
    if bind.reuse_port && bind.address.port() != 0 && !own.contains(&bind.address) {
        // SO_REUSEPORT would let us share a port with another process of the same user, unnoticed.
        drop(net.listen(&Bind { reuse_port: false, ..bind.clone() }).map_err(fault)?);
    }
    let (first, address) = net.listen(bind).map_err(fault)?;
    let mut sockets = vec![first];
    if bind.reuse_port {
        let bind = Bind { address, ..bind.clone() };
        for _ in 1..workers {
            sockets.push(net.listen(&bind).map_err(fault)?.0);
        }
    }
    Ok((sockets, address))
}

pub(crate) async fn open_admin(address: SocketAddr) -> Result<tokio::net::TcpListener, StartError> {
    let opened = tokio::net::TcpListener::bind(address).await;
    opened.map_err(|error| StartError::Listen { name: "admin".to_owned(), address, error })
}

/// What names resolve to.
pub(crate) type Answers = BTreeMap<Question, Resolved>;

/// A new engine asks for its clusters' names: the answers are there already, so it never serves without hosts.
pub(crate) fn warm(engine: &mut Engine, answers: &Answers, now: Instant) {
    while let Some(action) = engine.poll_action() {
        if let Action::Resolve { query, question } = action {
            let answer = answers.get(&question).cloned();
            engine.handle_resolved(query, answer.ok_or_else(|| DnsError("not resolved at the start".into())), now);
        }
    }
}

/// Resolves every name of the config once: a name that does not resolve at the start is most likely wrong.
pub(crate) async fn resolve_all(config: &Config) -> Result<(Option<Resolver>, Answers), StartError> {
    let probe = Shared::default();
    let registry = Registry::default();
    let (mut resolver, mut answers) = (None, Answers::new());
    for cluster in config.clusters.values() {
        let rng = weir_core::rng::Rng::new(Seed(0));
        let questions = ClusterState::new(Arc::clone(cluster), &probe, &registry, rng).questions();
        for (_, question) in questions {
            let fault = |error| StartError::Resolve { cluster: cluster.name.to_string(), error };
            if resolver.is_none() {
                resolver = Some(Resolver::from_system().map_err(fault)?);
            }
            if let Some(resolver) = &resolver {
                let answer = resolver.resolve(&question).await.map_err(fault)?;
                answers.insert(question, answer);
            }
        }
    }
    Ok((resolver, answers))
}
