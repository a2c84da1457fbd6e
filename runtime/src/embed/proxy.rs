//! The handle on a whole proxy.

use super::failure::{Failure, FailureKind, Refusal};
use super::life::{Life, Mark, OnEnd, State, Waited};
use super::net::EmbedNet;
use super::options::Options;
use super::primary::{self, Birth};
use super::wait::wait;
use crate::admin;
use crate::command::Command;
use crate::recording::Written;
use crate::run::{Order, Update};
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::{Notify, mpsc, oneshot};
use weir_core::config::v3::Diagnostic;

/// A whole proxy in this process. Every method may be called from any thread, by many at once; none needs an async
/// runtime, and none is disturbed by one. Dropping it is [`Proxy::stop`].
pub struct Proxy {
    pub(super) admin: Arc<admin::State<EmbedNet>>,
    pub(super) life: Arc<Life>,
    pub(super) mark: Mark,
    admin_address: Option<SocketAddr>,
    warnings: Vec<Diagnostic>,
    lines: tracing::Dispatch,
    orders: mpsc::UnboundedSender<Order>,
    stop: Arc<Notify>,
    thread: Mutex<Option<JoinHandle<()>>>,
    /// How many calls there were: workers take turns.
    pub(super) calls: AtomicUsize,
}

impl Proxy {
    /// Starts a proxy that runs `config`, Envoy v3 bootstrap as YAML or JSON. `file` is its name in diagnostics; nothing
    /// is read from it. Answers once everything listens.
    ///
    /// # Errors
    /// Says everything that is wrong with the config, or what could not be had: an address, a name, a file. Nothing is
    /// left behind.
    pub fn start(options: Options, config: &str, file: &str) -> Result<Proxy, Failure> {
        if let Some(fault) = options.fault() {
            return Err(Failure::new(FailureKind::Options, fault));
        }
        let (life, mark, stop) = (Arc::<Life>::default(), Mark::new(), Arc::<Notify>::default());
        let (orders, received) = mpsc::unbounded_channel();
        let (thread, started) = primary::spawn(|started| Birth {
            options,
            text: config.to_owned(),
            file: PathBuf::from(file),
            mark,
            orders: received,
            stop: Arc::clone(&stop),
            life: Arc::clone(&life),
            started,
        })?;
        Ok(Proxy {
            admin: started.state,
            life,
            mark,
            admin_address: started.bound.admin,
            warnings: started.warnings,
            lines: started.lines,
            orders,
            stop,
            thread: Mutex::new(Some(thread)),
            calls: AtomicUsize::new(0),
        })
    }

    /// What was found in the config that the proxy started with, and did not refuse it.
    pub fn warnings(&self) -> &[Diagnostic] {
        &self.warnings
    }

    /// Where the listeners of the config in force listen, by name: the kernel's choice where the config says port 0. Those
    /// that take calls only (`api_listener`) listen nowhere.
    pub fn listeners(&self) -> Vec<(Arc<str>, SocketAddr)> {
        self.admin.listeners().into_iter().filter(|(_, address)| address.port() != 0).collect()
    }

    /// Where the admin page listens, if the config has one.
    pub fn admin(&self) -> Option<SocketAddr> {
        self.admin_address
    }

    /// How far the proxy is.
    pub fn state(&self) -> State {
        match self.life.state() {
            // The admin page can begin a drain too.
            State::Serving if self.admin.is_draining() => State::Draining,
            state => state,
        }
    }

    pub(super) fn alive(&self) -> Result<(), Refusal> {
        match self.state() {
            State::Serving | State::Draining => Ok(()),
            State::Drained { .. } | State::Failed(_) => Err(Refusal::Ended),
        }
    }

    /// Goes on with another config. Answers once it is in force, with what was found and does not refuse it. Exchanges
    /// under way keep the config they began with; listeners that leave take what the kernel has accepted for them.
    ///
    /// # Errors
    /// Says what is wrong, and nothing has changed.
    pub fn update_config(&self, config: &str, file: &str) -> Result<Vec<Diagnostic>, Failure> {
        let over = || Failure::new(FailureKind::Over, Refusal::Ended.to_string());
        self.alive().map_err(|_| over())?;
        if self.mark.is_here() {
            return Err(Failure::new(FailureKind::OwnThread, Refusal::OwnThread.to_string()));
        }
        let (done, result) = oneshot::channel();
        let update = Update { text: config.to_owned(), file: PathBuf::from(file), done };
        self.orders.send(Order::Update(Box::new(update))).map_err(|_| over())?;
        match wait(result, None) {
            Some(Ok(result)) => result.map_err(Failure::of_update),
            _ => Err(over()),
        }
    }

    /// Every stat, a line each, as `/stats` of the admin page shows them.
    ///
    /// # Errors
    /// If the proxy has ended.
    pub fn stats_text(&self) -> Result<String, Refusal> {
        self.alive().map(|()| self.admin.stats_text())
    }

    /// The counter or gauge of exactly this name, over all workers; `None` if there is none, or the proxy has ended.
    pub fn stat(&self, name: &str) -> Option<u64> {
        self.alive().ok().and_then(|()| self.admin.stat(name))
    }

    /// The config in force as JSON, in the shape of Envoy's `/config_dump`.
    ///
    /// # Errors
    /// If the proxy has ended.
    pub fn config_dump(&self) -> Result<String, Refusal> {
        self.alive().map(|()| self.admin.config_dump())
    }

    /// Writes what was recorded (see [`Options::record`]) to files, and says which. Heads are in them as they came, and
    /// credentials with them.
    ///
    /// # Errors
    /// If nothing is recorded, a file cannot be written, or the proxy has ended.
    pub fn write_input_logs(&self) -> Result<Vec<Written>, Refusal> {
        self.alive()?;
        if self.mark.is_here() {
            return Err(Refusal::OwnThread);
        }
        let write = || wait(self.admin.write_input_logs("host"), None);
        let written = tracing::dispatcher::with_default(&self.lines, write).ok_or(Refusal::Ended)?;
        written.map_err(Refusal::Invalid)
    }

    /// Begins a drain and answers at once: listeners close, what is under way ends, and at the deadline what is left is
    /// cut. [`Proxy::wait`] and [`Proxy::on_drained`] tell of its end. A second call changes nothing.
    ///
    /// # Errors
    /// If the proxy has ended.
    pub fn drain(&self) -> Result<(), Refusal> {
        self.alive()?;
        if self.life.drain() {
            // It is refused only by a proxy that has just ended.
            let _ = self.orders.send(Order::BeginDrain("the host"));
        }
        Ok(())
    }

    /// Waits for the proxy's end. One of the proxy's own threads (a callback, a log sink) would wait for itself: it gets
    /// the answer at once.
    pub fn wait(&self, timeout: Option<Duration>) -> Waited {
        self.life.wait(if self.mark.is_here() { Some(Duration::ZERO) } else { timeout })
    }

    /// Calls `callback` once, when the proxy has ended, by a drain or otherwise: on the proxy's thread, or on the calling
    /// one if it has ended already.
    pub fn on_drained(&self, callback: impl FnOnce(&Waited) + Send + 'static) {
        let callback: OnEnd = Box::new(callback);
        self.life.on_end(callback);
    }

    /// Ends the proxy now: what is under way is cut. Answers when all its threads have ended, with how it did; again, the
    /// same. One of the proxy's own threads does not wait for that.
    pub fn stop(&self) -> Waited {
        self.life.drain();
        self.stop.notify_one();
        if !self.mark.is_here() {
            // Who comes second waits here for the first.
            let mut thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(thread) = thread.take() {
                let _ = thread.join();
            }
        }
        self.wait(None)
    }

    /// Makes a worker panic, for tests of what comes of it.
    #[doc(hidden)]
    pub fn plant_panic(&self, worker: usize) {
        if let Some(worker) = self.admin.commands.get(worker) {
            let _ = worker.send(Command::Inspect(Box::new(|_| panic!("planted"))));
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.stop();
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proxy").field("state", &self.state()).field("listeners", &self.listeners()).finish_non_exhaustive()
    }
}
