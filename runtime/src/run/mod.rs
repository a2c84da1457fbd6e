//! The life of the process: start, serve, reload, drain, end.

mod drain;
mod outside;
mod reload;
mod signals;
mod spawn;
mod upcalls;

use crate::access_log::{self, LogWriter};
use crate::admin::{self, Admin, State};
use crate::cli::RunArgs;
use crate::clock::Clock;
use crate::command::{Command, Upcall};
use crate::environment::Environment;
use crate::logging::Control;
use crate::net::{Net, TokioNet};
use crate::recording::Recording;
use crate::resolver::Resolver;
use crate::start::{Ready, StartError, load, open_admin, open_listener, report, resolve_all, seed, warm};
use crate::system;
use crate::thread::ThreadParts;
use crate::tls::Table;
use crate::tls::watch::Watch;
pub(crate) use outside::Host;
pub use outside::{Bound, Order, Outside, Threads};
pub use reload::{Update, UpdateError};
use signals::Signals;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::mpsc;
use weir_core::Engine;
use weir_core::config::{Bind, Config};
use weir_core::shared::Shared;
use weir_core::stats::Registry;

/// A running proxy, as its primary thread sees it.
pub struct Primary<N: Net> {
    net: N,
    args: RunArgs,
    config: Arc<Config>,
    text: String,
    /// The config's TLS settings.
    tls: Arc<Table>,
    environment: Environment,
    watch: Watch,
    /// The stats that this thread counts.
    own: Arc<Registry>,
    /// Open listeners: what they are bound to, and where that turned out to be.
    listeners: BTreeMap<Arc<str>, (Bind, SocketAddr)>,
    workers: Vec<WorkerHandle<N>>,
    upcalls: mpsc::UnboundedReceiver<Upcall>,
    log: LogWriter,
    resolver: Option<Resolver>,
    state: Arc<State<N>>,
    drain_time: Duration,
    draining: bool,
    drained: usize,
    cut: u32,
    crashed: Option<String>,
}

struct WorkerHandle<N: Net> {
    commands: mpsc::UnboundedSender<Command<N>>,
    running: Running,
}

enum Running {
    Thread(JoinHandle<()>),
    Task(tokio::task::JoinHandle<()>),
}

/// Runs the proxy until it has drained. Answers how many exchanges were cut.
pub fn run(args: RunArgs) -> Result<u32, StartError> {
    let environment = Environment::process();
    let ready = load(&args.config, args.on_unsupported, &environment)?;
    run_config(args, ready, environment, |_| {})
}

/// Runs a config that is loaded already; calls `ready` once everything listens.
pub fn run_config(args: RunArgs, config: Ready, tls: Environment, ready: impl FnOnce(&Bound)) -> Result<u32, StartError> {
    let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default())?;
    runtime.block_on(async {
        let signals = Signals::register()?;
        let outside = Outside { clock: Clock::start(), seed: seed(), hostname: system::hostname().into(), threads: Threads::Own, tls };
        let (mut primary, bound, admin) = Primary::start_ready(TokioNet, args, config, outside, None).await?;
        bound.tell();
        ready(&bound);
        let (orders, received) = mpsc::unbounded_channel();
        tokio::task::spawn_local(signals.forward(orders));
        primary.serve(received, admin).await;
        Ok(primary.finish().await)
    })
}

impl<N: Net + Send + Sync> Primary<N> {
    /// Starts a process. Everything that can fail comes first; nothing is started before all of it has worked.
    ///
    /// # Errors
    /// Says what could not be had: an address, a name, a file.
    pub async fn start(
        net: N,
        args: RunArgs,
        config: Config,
        text: String,
        outside: Outside,
    ) -> Result<(Primary<N>, Bound, Option<tokio::net::TcpListener>), StartError> {
        let made = Table::make(&config, &Table::default(), &outside.tls);
        match report(&made.findings, args.on_unsupported) {
            0 => Primary::start_ready(net, args, Ready { config, text, tls: made.table, findings: made.findings }, outside, None).await,
            errors => Err(StartError::Config { path: args.config, errors, findings: made.findings }),
        }
    }

    pub(crate) async fn start_ready(
        net: N,
        args: RunArgs,
        ready: Ready,
        outside: Outside,
        host: Option<Host>,
    ) -> Result<(Primary<N>, Bound, Option<tokio::net::TcpListener>), StartError> {
        let Ready { mut config, text, tls, .. } = ready;
        let Outside { clock, seed, hostname, threads, tls: environment } = outside;
        let tls = Arc::new(tls);
        config.hostname = hostname;
        let config = Arc::new(config);
        let workers = args.concurrency.map_or_else(system::hardware_threads, usize::from);
        let recording = Recording::of(&args);
        let recording = recording.map_err(|error| StartError::Record { path: args.record.clone().unwrap_or_default(), error })?;
        let sinks = access_log::open(&config.sinks)?;
        let mut bound = Bound::default();
        let (mut listeners, mut sockets) = (BTreeMap::new(), Vec::new());
        for listener in &config.listeners {
            let (opened, address) = open_listener(&net, &listener.name, &listener.bind, workers, &[])?;
            bound.listeners.push((Arc::clone(&listener.name), address));
            listeners.insert(Arc::clone(&listener.name), (listener.bind.clone(), address));
            sockets.push((Arc::clone(&listener.name), opened));
        }
        let admin = match &config.admin {
            Some(admin) => Some(open_admin(admin.address).await?),
            None => None,
        };
        bound.admin = admin.as_ref().and_then(|listener| listener.local_addr().ok());
        let (resolver, answers) = resolve_all(&config).await?;
        let log = LogWriter::start(sinks)?;

        let shared = Arc::new(Shared::default());
        let (upcall, upcalls) = mpsc::unbounded_channel();
        let own = Arc::new(Registry::default());
        let (mut handles, mut registries) = (Vec::new(), vec![Arc::clone(&own)]);
        let mut shares: Vec<Vec<(Arc<str>, N::Bound)>> = (0..workers).map(|_| Vec::new()).collect();
        for (name, opened) in sockets {
            for (share, socket) in shares.iter_mut().zip(opened) {
                share.push((Arc::clone(&name), socket));
            }
        }
        for (index, share) in shares.into_iter().enumerate() {
            let seed = seed.fork(&format!("worker-{index}"));
            let mut engine = Engine::new(Arc::clone(&config), Arc::clone(&shared), seed, clock.now(), clock.wall());
            if let Some(recording) = &recording {
                engine.start_recording(&recording.options(index, 0), clock.now());
            }
            warm(&mut engine, &answers, clock.now());
            registries.push(engine.stats());
            // With a worker for each processor each has its own; fewer leave the choice to the kernel.
            let pinned = workers == system::hardware_threads() && host.is_none();
            let (net, upcalls, log) = (net.clone(), upcall.clone(), log.clone());
            let parts = ThreadParts { net, index, clock, engine, upcalls, log, tls: Arc::clone(&tls), recording: recording.clone() };
            handles.push(match threads {
                Threads::Own => match &host {
                    None => spawn::own(parts, pinned, share)?,
                    Some(host) => spawn::hosted(parts, host, share)?,
                },
                Threads::Here => spawn::task(parts, share),
            });
        }
        let drain_time = host.as_ref().map_or(Duration::from_secs(args.drain_time), |host| host.drain_time);
        let state = Arc::new(State {
            registries,
            shared,
            commands: handles.iter().map(|handle| handle.commands.clone()).collect(),
            inner: std::sync::Mutex::new(Admin::new(Arc::clone(&config), text.clone(), bound.clone(), environment.filters.clone())),
            args: args.clone(),
            log: log.clone(),
            recording,
            logging: host.as_ref().map_or_else(Control::process, |host| host.logging.clone()),
            drain_time,
            quit: tokio::sync::Notify::new(),
            drain: tokio::sync::Notify::new(),
        });
        let mut watch = Watch::default();
        watch.set(tls.folders());
        let primary = Primary {
            net,
            args,
            config,
            text,
            tls,
            environment,
            watch,
            own,
            listeners,
            workers: handles,
            upcalls,
            log,
            resolver,
            state,
            drain_time,
            draining: false,
            drained: 0,
            cut: 0,
            crashed: None,
        };
        Ok((primary, bound, admin))
    }

    /// What admin pages, and who embeds the proxy, can ask.
    pub(crate) fn state(&self) -> Arc<State<N>> {
        Arc::clone(&self.state)
    }

    /// What is known about the worker that has panicked, if one has.
    pub(crate) fn crashed(&self) -> Option<&str> {
        self.crashed.as_deref()
    }

    /// Serves until a drain has ended, or a worker.
    pub async fn serve(&mut self, mut orders: mpsc::UnboundedReceiver<Order>, admin: Option<tokio::net::TcpListener>) {
        let page = admin.map(|listener| tokio::task::spawn_local(admin::serve(listener, Arc::clone(&self.state))));
        let state = Arc::clone(&self.state);
        let (renewed, mut files) = mpsc::unbounded_channel();
        let watching = tokio::task::spawn_local(self.watch.tell(renewed));
        while self.drained < self.workers.len() && self.crashed.is_none() {
            tokio::select! {
                biased;
                Some(order) = orders.recv() => match order {
                    Order::Drain(why) => self.drain_on(why).await,
                    Order::BeginDrain(why) if !self.draining => self.drain_on(why).await,
                    Order::BeginDrain(_) => {}
                    Order::Reload => self.reload().await,
                    Order::WriteLogs => self.write_logs(),
                    Order::Update(update) => self.update(*update).await,
                },
                Some(()) = files.recv() => self.refresh_tls(),
                () = state.quit.notified() => self.drain_on("/quitquitquit").await,
                () = state.drain.notified() => self.drain_listeners().await,
                upcall = self.upcalls.recv() => match upcall {
                    Some(upcall) => self.upcall(upcall),
                    None => break,
                },
            }
        }
        watching.abort();
        if let Some(page) = page {
            page.abort();
        }
    }

    fn write_logs(&self) {
        let state = Arc::clone(&self.state);
        tokio::task::spawn_local(async move {
            if let Err(error) = state.write_input_logs("signal").await {
                tracing::error!("SIGUSR2: {error}");
            }
        });
    }

    fn tell(&self, command: impl Fn() -> Command<N>) {
        for worker in &self.workers {
            let _ = worker.commands.send(command());
        }
    }

    /// Ends the workers; answers how many exchanges were cut.
    ///
    /// # Panics
    /// If a worker that is a task has.
    pub async fn finish(self) -> u32 {
        self.tell(|| Command::Stop);
        for worker in self.workers {
            match worker.running {
                Running::Thread(thread) => drop(thread.join()),
                Running::Task(task) => {
                    if let Err(error) = task.await
                        && error.is_panic()
                    {
                        std::panic::resume_unwind(error.into_panic());
                    }
                }
            }
        }
        self.log.flush();
        if self.crashed.is_some() {
            return self.cut;
        }
        match self.cut {
            0 => tracing::info!("drained; nothing was cut"),
            cut => tracing::warn!("drained; {cut} exchanges were cut at the deadline"),
        }
        self.cut
    }
}
