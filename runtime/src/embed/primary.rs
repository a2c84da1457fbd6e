//! The thread on which a proxy's primary runs, from its first word to its last.

use super::failure::{Failure, FailureKind};
use super::life::{Life, Mark, Waited};
use super::net::EmbedNet;
use super::options::Options;
use crate::admin::State;
use crate::clock::Clock;
use crate::environment::Environment;
use crate::logging::Control;
use crate::run::{Bound, Host, Order, Outside, Primary, Threads};
use crate::start::{StartError, load_text};
use crate::tls::Table;
use nix::sys::signal::{SigSet, Signal};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::{Notify, mpsc};
use weir_core::config::v3::Diagnostic;

/// A proxy that has started.
pub(super) struct Started {
    pub(super) state: Arc<State<EmbedNet>>,
    pub(super) bound: Bound,
    pub(super) warnings: Vec<Diagnostic>,
    /// Where its log goes.
    pub(super) lines: tracing::Dispatch,
}

/// What the thread is given.
pub(super) struct Birth {
    pub(super) options: Options,
    pub(super) text: String,
    pub(super) file: PathBuf,
    pub(super) mark: Mark,
    pub(super) orders: mpsc::UnboundedReceiver<Order>,
    pub(super) stop: Arc<Notify>,
    pub(super) life: Arc<Life>,
    /// Told once, whether it has started.
    pub(super) started: Sender<Result<Started, Failure>>,
}

/// The thread.
pub(super) fn run(birth: Birth) {
    block_signals();
    birth.mark.set();
    let life = Arc::clone(&birth.life);
    let (logging, lines) = match birth.options.log.clone() {
        Some(sink) => Control::to_sink(birth.options.log_level, sink),
        None => Control::silent(),
    };
    let host = Host { logging, lines: lines.clone(), drain_time: birth.options.drain_time, mark: birth.mark };
    let end = catch_unwind(AssertUnwindSafe(|| tracing::dispatcher::with_default(&lines, || live(birth, host))));
    life.end(end.unwrap_or_else(|_| Waited::Failed("the primary has panicked: the process's panic hook has been told".to_owned())));
}

/// The host's signals are for the host's threads; and a peer that closes early must not end the host by SIGPIPE. Threads
/// that this one begins inherit it. What a fault of the thread itself raises stays as it is.
fn block_signals() {
    let mut set = SigSet::all();
    for own in [Signal::SIGSEGV, Signal::SIGBUS, Signal::SIGFPE, Signal::SIGILL, Signal::SIGTRAP, Signal::SIGABRT, Signal::SIGSYS] {
        set.remove(own);
    }
    let _ = set.thread_block();
}

fn live(birth: Birth, host: Host) -> Waited {
    let Birth { options, text, file, orders, stop, started, .. } = birth;
    let refuse = |error: StartError| drop(started.send(Err(error.into())));
    let runtime = match Builder::new_current_thread().enable_all().build_local(LocalOptions::default()) {
        Ok(runtime) => runtime,
        Err(error) => {
            refuse(error.into());
            return Waited::Drained { cut: 0 };
        }
    };
    runtime.block_on(async {
        let (mut primary, admin) = match start(&options, text, file, host).await {
            Ok((primary, admin, begun)) => {
                let _ = started.send(Ok(begun));
                (primary, admin)
            }
            Err(error) => {
                refuse(error);
                return Waited::Drained { cut: 0 };
            }
        };
        let state = primary.state();
        let stopped = tokio::select! {
            biased;
            () = stop.notified() => true,
            () = primary.serve(orders, admin) => false,
        };
        if stopped {
            primary.cut().await;
        }
        let crashed = primary.crashed().map(str::to_owned);
        let cut = primary.finish().await;
        state.log.end();
        crashed.map_or(Waited::Drained { cut }, Waited::Failed)
    })
}

type Running = (Primary<EmbedNet>, Option<tokio::net::TcpListener>, Started);

async fn start(options: &Options, text: String, file: PathBuf, host: Host) -> Result<Running, StartError> {
    let environment = Environment { filters: options.filters.clone(), ..Environment::system() };
    let ready = load_text(text, &file, options.on_unsupported, &[], &Table::default(), &environment)?;
    let (warnings, lines) = (ready.findings.clone(), host.lines.clone());
    let outside =
        Outside { clock: Clock::start(), seed: options.seed(), hostname: options.hostname(), threads: Threads::Own, tls: environment };
    let (primary, bound, admin) = Primary::start_ready(EmbedNet, options.args(&file), ready, outside, Some(host)).await?;
    bound.tell();
    let state = primary.state();
    Ok((primary, admin, Started { state, bound, warnings, lines }))
}

/// Begins the thread; waits until the proxy has started, or not.
pub(super) fn spawn(
    birth: impl FnOnce(Sender<Result<Started, Failure>>) -> Birth,
) -> Result<(std::thread::JoinHandle<()>, Started), Failure> {
    let (started, wait) = std::sync::mpsc::channel();
    let birth = birth(started);
    let thread = std::thread::Builder::new().name("weir".to_owned()).spawn(move || run(birth)).map_err(StartError::from)?;
    match wait.recv() {
        Ok(Ok(started)) => Ok((thread, started)),
        Ok(Err(failure)) => {
            let _ = thread.join();
            Err(failure)
        }
        Err(_) => {
            let _ = thread.join();
            Err(Failure::new(FailureKind::System, "the proxy panicked while it started; the process's panic hook has said why"))
        }
    }
}
