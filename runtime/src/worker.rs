//! One worker: a thread, a runtime and an engine.

use crate::access_log::LogWriter;
use crate::clock::Clock;
use crate::net::Net;
use crate::socket::{self, ConnectionTask, Socket};
use bytes::BytesMut;
use slotmap::SecondaryMap;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tokio::sync::{Notify, mpsc};
use tokio::task::{AbortHandle, spawn_local};
use weir_core::Engine;
use weir_core::buffer::{Blocks, Outbox};
use weir_core::cluster::{DnsError, Question, Resolved};
use weir_core::config::Config;
use weir_core::drain::DrainScope;
use weir_core::engine::{Action, ConnectError, Event, IoFault, Transmit};
use weir_core::id::{ConnId, ListenerId, QueryId};
use weir_core::record::Addresses;
use weir_core::time::Instant;

/// Bytes read at once. A whole 64 KiB socket buffer fits.
const READ_BLOCK: usize = 64 * 1024;
/// Access-log lines wait at most this long before they go to the writer.
const LOG_DELAY: Duration = Duration::from_millis(50);
/// How often the engine is told what the wall clock shows.
const WALL_INTERVAL: Duration = Duration::from_secs(1);
/// Pause after a failed accept (out of file descriptors, mostly).
const ACCEPT_PAUSE: Duration = Duration::from_millis(10);

/// What the primary tells a worker.
pub enum Command<N: Net> {
    /// Accept from these, for the listeners of these names.
    Listen(Vec<(Arc<str>, N::Bound)>),
    /// A new config.
    Config(Arc<Config>),
    /// Let no new connection to the listener begin.
    RefuseNew(Arc<str>),
    /// Take what the kernel has accepted already for the listener, then close it.
    Unlisten(Arc<str>),
    /// Drain.
    Drain(Drain),
    /// A DNS answer.
    Resolved(QueryId, Result<Resolved, DnsError>),
    /// Another worker asks whether a shared limit has room.
    Nudge,
    /// Call this with the engine.
    Inspect(Box<dyn FnOnce(&Engine) + Send>),
    /// End the thread.
    Stop,
}

/// What is drained, in the primary's words.
#[derive(Clone, Debug)]
pub enum Drain {
    /// Everything, until this long from now at the latest.
    Process(Duration),
    /// The listener of this name.
    Listener(Arc<str>),
    /// `/healthcheck/fail`.
    Discourage,
    /// `/healthcheck/ok`.
    Encourage,
}

/// What a worker tells the primary.
#[derive(Debug)]
pub enum Upcall {
    /// Resolve a name.
    Resolve {
        /// Which worker asks.
        worker: usize,
        /// Its query.
        query: QueryId,
        /// What to ask.
        question: Question,
    },
    /// Nudge every worker.
    Nudge,
    /// The worker's drain has ended.
    Drained {
        /// Exchanges and tunnels that were cut.
        cut: u32,
    },
}

/// One worker.
pub struct Worker<N: Net> {
    engine: RefCell<Engine>,
    sockets: RefCell<SecondaryMap<ConnId, Rc<Socket<N>>>>,
    listeners: RefCell<BTreeMap<Arc<str>, Accepting<N>>>,
    /// The network.
    pub net: N,
    index: usize,
    clock: Clock,
    blocks: RefCell<Blocks>,
    block: RefCell<BytesMut>,
    outbox: RefCell<Outbox>,
    upcalls: mpsc::UnboundedSender<Upcall>,
    log: LogWriter,
    lines: RefCell<Vec<(usize, Vec<u8>)>>,
    /// When the main task wakes next.
    armed: Cell<Instant>,
    rearm: Notify,
    /// Whether some caller up the stack is performing actions.
    running: Cell<bool>,
    /// The time of the event whose actions are being performed.
    now: Cell<Instant>,
}

/// A listening socket; `None` once it is closed.
type Door<N> = Rc<RefCell<Option<<N as Net>::Listener>>>;

struct Accepting<N: Net> {
    door: Door<N>,
    task: AbortHandle,
}

/// What a worker is made of.
pub struct Parts<N: Net> {
    /// The network.
    pub net: N,
    /// Which worker it is.
    pub index: usize,
    /// The process's clock.
    pub clock: Clock,
    /// Whether it is tied to one processor.
    pub pinned: bool,
    /// Its engine.
    pub engine: Engine,
    /// Where its calls go.
    pub upcalls: mpsc::UnboundedSender<Upcall>,
    /// Where its log lines go.
    pub log: LogWriter,
}

impl<N: Net> Worker<N> {
    /// Serves until told to stop.
    pub async fn serve(parts: Parts<N>, mut commands: mpsc::UnboundedReceiver<Command<N>>) {
        let worker = Rc::new(Worker {
            engine: RefCell::new(parts.engine),
            sockets: RefCell::default(),
            listeners: RefCell::default(),
            net: parts.net,
            index: parts.index,
            clock: parts.clock,
            blocks: RefCell::new(Blocks::new(READ_BLOCK)),
            block: RefCell::default(),
            outbox: RefCell::default(),
            upcalls: parts.upcalls,
            log: parts.log,
            lines: RefCell::default(),
            armed: Cell::new(Instant::NEVER),
            rearm: Notify::new(),
            running: Cell::new(false),
            now: Cell::new(parts.clock.now()),
        });
        worker.run();
        let mut wall = tokio::time::interval(WALL_INTERVAL);
        loop {
            let due = worker.next_wake();
            worker.armed.set(due);
            let sleep = tokio::time::sleep_until(worker.clock.to_tokio(due.min(worker.clock.now() + Duration::from_secs(3600))));
            tokio::select! {
                biased;
                command = commands.recv() => match command {
                    None | Some(Command::Stop) => break,
                    Some(command) => worker.command(command),
                },
                () = worker.rearm.notified() => {}
                _ = wall.tick() => worker.with_engine(|engine, now| engine.handle_wall(Clock::wall(), now)),
                () = sleep => {
                    worker.with_engine(|engine, now| engine.handle_timeout(now));
                    worker.send_lines();
                }
            }
        }
        worker.send_lines();
    }

    fn next_wake(&self) -> Instant {
        let engine = self.engine.borrow().poll_timeout().map_or(Instant::NEVER, |deadline| deadline.at);
        match self.lines.borrow().is_empty() {
            true => engine,
            false => engine.min(self.clock.now() + LOG_DELAY),
        }
    }

    /// Feeds the engine, then does what it says.
    fn with_engine(self: &Rc<Self>, feed: impl FnOnce(&mut Engine, Instant)) {
        self.now.set(self.clock.now());
        feed(&mut self.engine.borrow_mut(), self.now.get());
        self.run();
    }

    fn command(self: &Rc<Self>, command: Command<N>) {
        match command {
            Command::Listen(bound) => bound.into_iter().for_each(|(name, bound)| self.listen(name, bound)),
            Command::Config(config) => self.with_engine(|engine, now| engine.handle_config(config, now)),
            Command::RefuseNew(name) => self.refuse_new(&name),
            Command::Unlisten(name) => self.unlisten(&name),
            Command::Drain(drain) => self.with_engine(|engine, now| {
                let scope = match drain {
                    Drain::Process(within) => Some(DrainScope::Process { deadline: now + within }),
                    Drain::Listener(name) => engine.listener(&name).map(DrainScope::Listener),
                    Drain::Discourage => Some(DrainScope::Discourage),
                    Drain::Encourage => Some(DrainScope::Encourage),
                };
                if let Some(scope) = scope {
                    engine.handle_drain(scope, now);
                }
            }),
            Command::Resolved(query, result) => self.with_engine(|engine, now| engine.handle_resolved(query, result, now)),
            Command::Nudge => self.with_engine(|engine, now| engine.handle_nudge(now)),
            Command::Inspect(inspect) => inspect(&self.engine.borrow()),
            Command::Stop => {}
        }
    }

    fn listen(self: &Rc<Self>, name: Arc<str>, bound: N::Bound) {
        let door: Door<N> = match self.net.adopt(bound) {
            Ok(listener) => Rc::new(RefCell::new(Some(listener))),
            Err(error) => return tracing::error!("worker {}: cannot accept for listener {name}: {error}", self.index),
        };
        let (worker, accepting, of) = (Rc::clone(self), Rc::clone(&door), Arc::clone(&name));
        let task = spawn_local(async move {
            loop {
                let accepted = poll_fn(|cx| match &*accepting.borrow() {
                    Some(listener) => worker.net.poll_accept(listener, cx).map(Some),
                    None => Poll::Ready(None),
                });
                match accepted.await {
                    None => return,
                    Some(Ok((stream, addresses))) => worker.accepted(&of, stream, addresses),
                    Some(Err(error)) => {
                        tracing::warn!("listener {of}: cannot accept: {error}");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                }
            }
        });
        self.listeners.borrow_mut().insert(name, Accepting { door, task: task.abort_handle() });
    }

    fn refuse_new(&self, name: &Arc<str>) {
        let listeners = self.listeners.borrow();
        let Some(accepting) = listeners.get(name) else { return };
        if let Some(listener) = &*accepting.door.borrow()
            && let Err(error) = self.net.refuse_new(listener)
        {
            tracing::debug!("listener {name}: cannot refuse new connections before it closes: {error}");
        }
    }

    /// Closing a listening socket resets the connections in its queue: they are taken out first.
    fn unlisten(self: &Rc<Self>, name: &Arc<str>) {
        let Some(accepting) = self.listeners.borrow_mut().remove(name) else { return };
        accepting.task.abort();
        let Some(listener) = accepting.door.borrow_mut().take() else { return };
        while let Ok((stream, addresses)) = self.net.accept_now(&listener) {
            self.accepted(name, stream, addresses);
        }
    }

    fn accepted(self: &Rc<Self>, name: &str, stream: N::Stream, addresses: Addresses) {
        let now = self.clock.now();
        let listener: Option<ListenerId> = self.engine.borrow().listener(name);
        let Some(listener) = listener else { return };
        let accepted = self.engine.borrow_mut().handle_accept(listener, addresses, now);
        match accepted {
            Ok(id) => {
                let socket = Rc::new(Socket::new(Some(stream)));
                self.sockets.borrow_mut().insert(id, Rc::clone(&socket));
                spawn_local(ConnectionTask::new(id, socket, Rc::clone(self)));
                self.run();
            }
            Err(refused) => tracing::debug!("listener {name}: {} refused: {refused}", addresses.remote),
        }
    }

    /// A connection asked for is there, or not.
    pub fn connected(self: &Rc<Self>, id: ConnId, result: Result<Addresses, ConnectError>) {
        self.with_engine(|engine, now| engine.handle_connected(id, result, now));
    }

    /// Bytes have arrived.
    pub fn recv(self: &Rc<Self>, id: ConnId, input: &mut BytesMut) {
        self.with_engine(|engine, now| engine.handle_recv(id, input, now));
    }

    /// The peer has sent its last byte.
    pub fn eof(self: &Rc<Self>, id: ConnId) {
        self.with_engine(|engine, now| engine.handle_eof(id, now));
    }

    /// The connection is gone.
    pub fn closed(self: &Rc<Self>, id: ConnId, why: IoFault) {
        self.sockets.borrow_mut().remove(id);
        self.with_engine(|engine, now| engine.handle_closed(id, why, now));
    }

    /// As [`Self::recv`], while actions are being performed.
    pub fn recv_now(&self, id: ConnId, input: &mut BytesMut) {
        self.engine.borrow_mut().handle_recv(id, input, self.clock.now());
    }

    /// As [`Self::closed`], while actions are being performed.
    pub fn closed_now(&self, id: ConnId, why: IoFault) {
        self.sockets.borrow_mut().remove(id);
        self.engine.borrow_mut().handle_closed(id, why, self.clock.now());
    }

    /// Moves what the engine has to send.
    pub fn poll_transmit(&self, id: ConnId, out: &mut Outbox) -> Transmit {
        // One reading of the clock serves an event and all that follows from it at once.
        let now = if self.running.get() { self.now.get() } else { self.clock.now() };
        self.engine.borrow_mut().poll_transmit(id, out, now)
    }

    /// Calls `send` with what a socket has left to send, or with nothing. The memory is the worker's: what is
    /// still in it afterwards is dropped, so nothing of one socket's can reach another.
    pub fn with_outbox<R>(&self, left: Option<Box<Outbox>>, send: impl FnOnce(&mut Outbox) -> R) -> R {
        let mut outbox = left.map_or_else(|| self.outbox.take(), |left| *left);
        let result = send(&mut outbox);
        outbox.clear();
        self.outbox.replace(outbox);
        result
    }

    /// A block to read into.
    pub fn read_block(&self) -> BytesMut {
        let mut block = self.block.take();
        if block.capacity() > 0 && block.try_reclaim(READ_BLOCK) {
            return block;
        }
        let mut blocks = self.blocks.borrow_mut();
        blocks.put(block);
        blocks.take()
    }

    /// Gives the block back, for the next read.
    pub fn return_block(&self, block: BytesMut) {
        let old = self.block.replace(block);
        if old.capacity() > 0 {
            self.blocks.borrow_mut().put(old);
        }
    }

    /// Input that must wait: copied if it is short, so that it does not pin a whole block.
    pub fn keep(input: BytesMut) -> BytesMut {
        if input.len() < READ_BLOCK / 4 { BytesMut::from(&input[..]) } else { input }
    }

    /// Does what the engine says until it says nothing more.
    pub fn run(self: &Rc<Self>) {
        if self.running.replace(true) {
            return;
        }
        loop {
            let action = self.engine.borrow_mut().poll_action();
            let Some(action) = action else { break };
            self.perform(action);
        }
        self.running.set(false);
        self.take_events();
        let due = self.next_wake();
        if due < self.armed.get() {
            self.armed.set(due);
            self.rearm.notify_one();
        }
    }

    fn socket(&self, id: ConnId) -> Option<Rc<Socket<N>>> {
        self.sockets.borrow().get(id).cloned()
    }

    fn perform(self: &Rc<Self>, action: Action) {
        match action {
            Action::Transmit(id) => self.send(id),
            Action::Connect { conn, address } => {
                let socket = Rc::new(Socket::new(None));
                self.sockets.borrow_mut().insert(conn, Rc::clone(&socket));
                spawn_local(socket::connect(conn, address, socket, Rc::clone(self)));
            }
            Action::SetReadable(id, readable) => self.on_socket(id, |socket| socket.set_readable(readable)),
            Action::ShutdownWrite(id) => self.on_socket(id, Socket::shutdown_write),
            Action::Close(id) => self.on_socket(id, Socket::close),
            Action::Drop(id) => {
                let socket = self.sockets.borrow_mut().remove(id);
                if let Some(socket) = socket {
                    socket.end();
                }
            }
            Action::Reset(id) => {
                let socket = self.sockets.borrow_mut().remove(id);
                if let Some(socket) = socket {
                    if let Some(stream) = socket.take_stream() {
                        N::reset(stream);
                    }
                    socket.end();
                }
            }
            Action::CloseIfIdle(id) => {
                if let Some(socket) = self.socket(id) {
                    ConnectionTask::close_if_idle(id, &socket, self);
                }
            }
            Action::Resolve { query, question } => {
                let _ = self.upcalls.send(Upcall::Resolve { worker: self.index, query, question });
            }
            Action::Nudge => {
                let _ = self.upcalls.send(Upcall::Nudge);
            }
        }
    }

    fn on_socket(&self, id: ConnId, act: impl FnOnce(&Socket<N>)) {
        if let Some(socket) = self.socket(id) {
            act(&socket);
        }
    }

    /// Writes at once. What does not fit is left to the socket's own task.
    fn send(self: &Rc<Self>, id: ConnId) {
        let Some(socket) = self.socket(id) else { return };
        if socket.is_blocked() {
            return;
        }
        let mut cx = Context::from_waker(Waker::noop());
        match socket.flush(id, self, &mut cx) {
            Poll::Ready(Ok(())) => {}
            Poll::Pending => socket.wake(),
            // The peer may have said why before it stopped reading: the task reads that first.
            Poll::Ready(Err(_)) => {
                if socket.break_off() {
                    socket.end();
                    self.closed_now(id, IoFault::Reset);
                }
            }
        }
    }

    fn take_events(self: &Rc<Self>) {
        loop {
            let event = self.engine.borrow_mut().poll_event();
            match event {
                None => return,
                Some(Event::AccessLog { sink, line }) => {
                    let mut lines = self.lines.borrow_mut();
                    match lines.iter_mut().find(|(other, _)| *other == sink) {
                        Some((_, all)) => all.extend_from_slice(&line),
                        None => lines.push((sink, line)),
                    }
                }
                Some(Event::Drained { cut }) => {
                    let _ = self.upcalls.send(Upcall::Drained { cut });
                }
                Some(Event::ListenerDrained { name }) => tracing::info!("worker {}: listener {name} is drained", self.index),
            }
        }
    }

    fn send_lines(&self) {
        let lines = self.lines.take();
        if !lines.is_empty() {
            self.log.write(lines);
        }
    }
}
