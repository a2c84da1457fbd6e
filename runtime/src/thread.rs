//! A worker's thread: what the primary tells it, when it wakes, and which engines it drives.
//!
//! That is one engine, unless inputs are recorded. Then, whenever its log has reached half of what may be kept, an engine
//! with a log of its own takes its place for the connections to come; the one before tells its clients, in their next
//! answer, to come again, and is gone with the last of them.

use crate::access_log::LogWriter;
use crate::clock::Clock;
use crate::command::{Command, Drain, Inbox, Upcall};
use crate::net::Net;
use crate::recording::{Recording, Segment, Written, outlive_panics};
use crate::start;
use crate::tls::Table;
use crate::worker::{Alarm, Parts, Worker};
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::{Notify, mpsc};
use weir_abi::filter::Reachable;
use weir_core::Engine;
use weir_core::cluster::ClusterState;
use weir_core::time::Instant;

/// How often engines are told what the wall clock shows.
const WALL_INTERVAL: Duration = Duration::from_secs(1);

/// What a thread is made of.
pub struct ThreadParts<N: Net> {
    /// The network.
    pub net: N,
    /// Which worker it is.
    pub index: usize,
    /// The process's clock.
    pub clock: Clock,
    /// Its first engine.
    pub engine: Engine,
    /// Where its calls go.
    pub upcalls: mpsc::UnboundedSender<Upcall>,
    /// Where its log lines go.
    pub log: LogWriter,
    /// TLS settings of the config in force.
    pub tls: Arc<Table>,
    /// How inputs are recorded, if they are.
    pub recording: Option<Arc<Recording>>,
}

/// A thread has ended by a panic. Its input logs, if there were any, are in these files.
#[derive(Debug)]
pub struct Crash(pub io::Result<Vec<Written>>);

struct Thread<N: Net> {
    parts: RefCell<Option<ThreadParts<N>>>,
    net: N,
    index: usize,
    clock: Clock,
    upcalls: mpsc::UnboundedSender<Upcall>,
    log: LogWriter,
    tls: RefCell<Arc<Table>>,
    recording: Option<Arc<Recording>>,
    /// How commands are sent to it.
    commands: mpsc::WeakUnboundedSender<Command<N>>,
    alarm: Rc<Alarm>,
    /// The engines; the last one takes new connections.
    workers: RefCell<Vec<Rc<Worker<N>>>>,
    next_generation: Cell<u32>,
    /// Logs of engines that are gone.
    finished: RefCell<VecDeque<Segment>>,
    discouraged: Cell<bool>,
    draining: Cell<bool>,
    /// Exchanges that engines cut that are gone, while the process drained.
    cut: Cell<u32>,
    reported: Cell<bool>,
}

/// Serves on the calling thread until told to stop.
///
/// # Errors
/// If something panics. If inputs are recorded, they are written to files first.
pub fn run<N: Net>(parts: ThreadParts<N>, inbox: Inbox<N>) -> Result<(), Crash> {
    let runtime = match Builder::new_current_thread().enable_all().build_local(LocalOptions::default()) {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!("worker {} has no runtime: {error}", parts.index);
            return Ok(());
        }
    };
    let thread = Rc::new(Thread::new(parts, inbox.more));
    if thread.recording.is_some() {
        outlive_panics();
    }
    // Without a recording, the `weir` binary does not get this far: its panic hook has ended the process.
    let served = catch_unwind(AssertUnwindSafe(|| runtime.block_on(thread.serve(inbox.received))));
    match served {
        Ok(()) if !thread.alarm.crashed.get() => Ok(()),
        _ => Err(Crash(thread.write_logs_now("panic"))),
    }
}

/// As [`run`], as a task of the calling thread's runtime, where threads are simulated.
pub async fn serve<N: Net>(parts: ThreadParts<N>, inbox: Inbox<N>) {
    let thread = Thread::new(parts, inbox.more);
    thread.serve(inbox.received).await;
    assert!(!thread.alarm.crashed.get(), "a task of worker {} has panicked", thread.index);
}

impl<N: Net> Thread<N> {
    fn new(parts: ThreadParts<N>, commands: mpsc::WeakUnboundedSender<Command<N>>) -> Thread<N> {
        Thread {
            net: parts.net.clone(),
            index: parts.index,
            clock: parts.clock,
            upcalls: parts.upcalls.clone(),
            log: parts.log.clone(),
            tls: RefCell::new(Arc::clone(&parts.tls)),
            recording: parts.recording.clone(),
            commands,
            alarm: Rc::new(Alarm { armed: Cell::new(Instant::NEVER), wake: Notify::new(), crashed: Cell::new(false) }),
            workers: RefCell::default(),
            next_generation: Cell::new(0),
            finished: RefCell::default(),
            discouraged: Cell::new(false),
            draining: Cell::new(false),
            cut: Cell::new(0),
            reported: Cell::new(false),
            parts: RefCell::new(Some(parts)),
        }
    }

    async fn serve(&self, mut commands: mpsc::UnboundedReceiver<Command<N>>) {
        if let Some(parts) = self.parts.take() {
            self.begin(parts.engine);
        }
        let mut wall = tokio::time::interval(WALL_INTERVAL);
        loop {
            self.tend();
            if self.alarm.crashed.get() {
                return;
            }
            let due = self.all().iter().map(|worker| worker.next_wake()).min().unwrap_or(Instant::NEVER);
            self.alarm.armed.set(due);
            let sleep = tokio::time::sleep_until(self.clock.to_tokio(due.min(self.clock.now() + Duration::from_secs(3600))));
            tokio::select! {
                biased;
                command = commands.recv() => match command {
                    None | Some(Command::Stop) => break,
                    Some(command) => self.command(command),
                },
                () = self.alarm.wake.notified() => {}
                _ = wall.tick() => self.all().iter().for_each(Worker::wall),
                () = sleep => self.all().iter().for_each(Worker::timeout),
            }
        }
        self.all().iter().for_each(|worker| worker.send_lines());
    }

    fn begin(&self, mut engine: Engine) -> Rc<Worker<N>> {
        let generation = self.next_generation.replace(self.next_generation.get() + 1);
        let commands = self.commands.clone();
        let reachable = Reachable::new(move |filter, what| {
            commands.upgrade().is_some_and(|commands| commands.send(Command::Resume(generation, filter, what)).is_ok())
        });
        engine.set_number(reachable.number());
        let worker = Worker::new(Parts {
            net: self.net.clone(),
            index: self.index,
            clock: self.clock,
            engine,
            generation,
            upcalls: self.upcalls.clone(),
            log: self.log.clone(),
            tls: Arc::clone(&self.tls.borrow()),
            alarm: Rc::clone(&self.alarm),
            reachable,
            log_limit: self.recording.as_ref().map_or(usize::MAX, |recording| recording.limit / 2),
        });
        self.workers.borrow_mut().push(Rc::clone(&worker));
        worker.run();
        worker
    }

    fn all(&self) -> Vec<Rc<Worker<N>>> {
        self.workers.borrow().clone()
    }

    fn current(&self) -> Option<Rc<Worker<N>>> {
        self.workers.borrow().last().cloned()
    }

    fn command(&self, command: Command<N>) {
        let Some(current) = self.current() else { return };
        match command {
            Command::Listen(bound) => bound.into_iter().for_each(|(name, bound)| current.listen(name, bound)),
            Command::RefuseNew(name) => current.refuse_new(&name),
            Command::Unlisten(name) => current.unlisten(&name),
            Command::Config(config, tls) => {
                self.tls.replace(Arc::clone(&tls));
                self.all().iter().for_each(|worker| worker.config(Arc::clone(&config), Arc::clone(&tls)));
            }
            Command::Tls(tls) => {
                self.tls.replace(Arc::clone(&tls));
                self.all().iter().for_each(|worker| worker.set_tls(Arc::clone(&tls)));
            }
            Command::Drain(drain) => self.drain(&drain),
            Command::Resolved(generation, query, result) => {
                let asked = self.all().into_iter().find(|worker| worker.generation() == generation);
                if let Some(worker) = asked {
                    worker.resolved(query, result);
                }
            }
            Command::Resume(generation, filter, what) => {
                let waiting = self.all().into_iter().find(|worker| worker.generation() == generation);
                if let Some(worker) = waiting {
                    worker.resume(filter, what);
                }
            }
            Command::Nudge => self.all().iter().for_each(Worker::nudge),
            Command::Inspect(inspect) => inspect(&current.engine()),
            Command::Enter(enter) => enter(&current, self.draining.get()),
            Command::Dump { number, reason, written } => {
                let Some(recording) = self.recording.clone() else { return };
                let (index, segments) = (self.index, self.segments());
                // Disks are slow; requests are not to wait for them.
                std::thread::spawn(move || written.send(recording.write(number, reason, index, segments)));
            }
            Command::Stop => {}
        }
    }

    fn drain(&self, drain: &Drain) {
        match drain {
            Drain::Process(_) => self.draining.set(true),
            Drain::Discourage => self.discouraged.set(true),
            Drain::Encourage => self.discouraged.set(false),
            Drain::Listener(_) => {}
        }
        let all = self.all();
        // Engines that are on their way out go on sending their clients away.
        let encouraged = matches!(drain, Drain::Encourage);
        all.iter().skip(if encouraged { all.len() - 1 } else { 0 }).for_each(|worker| worker.drain(drain));
    }

    /// What is to be done between inputs: begin a new engine, forget those that serve nobody, report a drain's end.
    fn tend(&self) {
        if let Some(recording) = &self.recording
            && !self.alarm.crashed.get()
        {
            let full = self.current().is_some_and(|current| current.engine().recorded_len() > recording.limit / 2);
            if full && !self.draining.get() {
                self.succeed(recording);
            }
            self.forget_empty();
            self.keep_within(recording.limit);
        }
        let drained: Option<u32> = self.all().iter().map(|worker| worker.drained()).sum();
        if let (Some(cut), false) = (drained, self.reported.get() || !self.draining.get()) {
            self.reported.set(true);
            let _ = self.upcalls.send(Upcall::Drained { cut: cut + self.cut.get() });
        }
    }

    /// Another engine, with a log of its own, takes the connections to come.
    fn succeed(&self, recording: &Recording) {
        let Some(old) = self.current() else { return };
        let (now, wall) = (self.clock.now(), self.clock.wall());
        let mut engine = old.engine().successor(now, wall);
        engine.start_recording(&recording.options(self.index, self.next_generation.get()), now);
        let answers = old.engine().clusters().flat_map(ClusterState::known).collect();
        start::warm(&mut engine, &answers, now);
        let new = self.begin(engine);
        new.take_listeners(&old);
        if self.discouraged.get() {
            new.drain(&Drain::Discourage);
        }
        old.drain(&Drain::Discourage);
    }

    fn forget_empty(&self) {
        let all = self.all();
        for worker in all.iter().take(all.len().saturating_sub(1)).filter(|worker| worker.is_empty()) {
            worker.close_all();
            self.cut.set(self.cut.get() + worker.drained().unwrap_or(0));
            if let Some(log) = worker.engine().recorded() {
                self.finished.borrow_mut().push_back((worker.generation(), log));
            }
            self.workers.borrow_mut().retain(|other| !Rc::ptr_eq(other, worker));
        }
    }

    /// The oldest logs go first. An engine that outlives its log goes on without one.
    fn keep_within(&self, limit: usize) {
        let mut finished = self.finished.borrow_mut();
        let all = self.all();
        let mut sum: usize = finished.iter().map(|(_, log)| log.len()).sum();
        sum += all.iter().map(|worker| worker.engine().recorded_len()).sum::<usize>();
        for worker in &all {
            while sum > limit
                && let Some((_, log)) = finished.pop_front_if(|(generation, _)| *generation < worker.generation())
            {
                sum -= log.len();
            }
            if sum > limit {
                let mut engine = worker.engine();
                sum -= engine.recorded_len();
                if engine.recorded_len() > 0 {
                    let (generation, left) = (worker.generation(), engine.downstream_connections());
                    let index = self.index;
                    tracing::warn!(
                        "worker {index}: what is kept of the past is full: engine {generation}, with {left} connections, is no longer recorded"
                    );
                }
                engine.stop_recording();
            }
        }
    }

    fn segments(&self) -> Vec<Segment> {
        let mut segments: Vec<Segment> = self.finished.borrow().iter().cloned().collect();
        segments.extend(self.all().iter().filter_map(|worker| Some((worker.generation(), worker.engine().recorded()?))));
        segments
    }

    fn write_logs_now(&self, reason: &str) -> io::Result<Vec<Written>> {
        match &self.recording {
            Some(recording) => recording.write(recording.number(), reason, self.index, self.segments()),
            None => Ok(Vec::new()),
        }
    }
}
