//! One worker: a thread, a runtime and an engine.

use crate::access_log::LogWriter;
use crate::clock::Clock;
use crate::command::{Drain, Upcall};
use crate::net::Net;
use crate::open;
use crate::socket::{self, ConnectionTask, Socket};
use crate::tls::client::Client;
use crate::tls::{Stream, Table};
use bytes::BytesMut;
use rustls::ServerConfig;
use slotmap::SecondaryMap;
use std::cell::{Cell, RefCell, RefMut};
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
use weir_core::cluster::{DnsError, Resolved};
use weir_core::config::{Config, DownstreamTls, UpstreamTls};
use weir_core::drain::DrainScope;
use weir_core::engine::{Action, ConnectError, Event, IoFault, Opening, Transmit, Transport};
use weir_core::id::{ConnId, ListenerId, QueryId};
use weir_core::listener::Hello;
use weir_core::record::Addresses;
use weir_core::time::Instant;
use weir_core::tls_info::{TlsFault, TlsInfo};

/// Bytes read at once. A whole 64 KiB socket buffer fits.
const READ_BLOCK: usize = 64 * 1024;
/// Access-log lines wait at most this long before they go to the writer.
const LOG_DELAY: Duration = Duration::from_millis(50);
/// Pause after a failed accept (out of file descriptors, mostly).
const ACCEPT_PAUSE: Duration = Duration::from_millis(10);

/// One worker.
pub struct Worker<N: Net> {
    engine: RefCell<Engine>,
    /// Which engine of its thread it drives.
    generation: u32,
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
    /// Connections with many streams that have something to send.
    later: RefCell<Vec<ConnId>>,
    /// TLS settings of the config in force.
    tls: RefCell<Arc<Table>>,
    alarm: Rc<Alarm>,
    /// Size of the input log at which another engine should begin.
    log_limit: usize,
    drained: Cell<Option<u32>>,
    /// Whether some caller up the stack is performing actions.
    running: Cell<bool>,
    /// The time of the event whose actions are being performed.
    now: Cell<Instant>,
}

/// What wakes a thread's main task.
#[derive(Debug)]
pub struct Alarm {
    /// When it wakes by itself.
    pub armed: Cell<Instant>,
    /// Wakes it now.
    pub wake: Notify,
    /// A task has panicked.
    pub crashed: Cell<bool>,
}

/// Notices that the task which holds it panics.
#[derive(Debug)]
pub struct CrashGuard(pub Rc<Alarm>);

impl Drop for CrashGuard {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.crashed.set(true);
            self.0.wake.notify_one();
        }
    }
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
    /// Its engine.
    pub engine: Engine,
    /// Which engine of its thread that is.
    pub generation: u32,
    /// Where its calls go.
    pub upcalls: mpsc::UnboundedSender<Upcall>,
    /// Where its log lines go.
    pub log: LogWriter,
    /// TLS settings of the config in force.
    pub tls: Arc<Table>,
    /// What wakes its thread.
    pub alarm: Rc<Alarm>,
    /// Size of the input log at which another engine should begin.
    pub log_limit: usize,
}

impl<N: Net> Worker<N> {
    /// A worker at its beginning.
    pub fn new(parts: Parts<N>) -> Rc<Worker<N>> {
        Rc::new(Worker {
            engine: RefCell::new(parts.engine),
            generation: parts.generation,
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
            later: RefCell::default(),
            tls: RefCell::new(parts.tls),
            alarm: parts.alarm,
            log_limit: parts.log_limit,
            drained: Cell::new(None),
            running: Cell::new(false),
            now: Cell::new(parts.clock.now()),
        })
    }

    /// When something is due next.
    pub fn next_wake(&self) -> Instant {
        let engine = self.engine.borrow().poll_timeout().map_or(Instant::NEVER, |deadline| deadline.at);
        match self.lines.borrow().is_empty() {
            true => engine,
            false => engine.min(self.clock.now() + LOG_DELAY),
        }
    }

    /// Time has passed.
    pub fn timeout(self: &Rc<Self>) {
        self.with_engine(|engine, now| engine.handle_timeout(now));
        self.send_lines();
    }

    /// The wall clock shows this.
    pub fn wall(self: &Rc<Self>) {
        self.with_engine(|engine, now| engine.handle_wall(self.clock.wall(), now));
    }

    /// The engine, to be asked or changed between two inputs.
    pub fn engine(&self) -> RefMut<'_, Engine> {
        self.engine.borrow_mut()
    }

    /// Which engine of its thread it drives.
    pub fn generation(&self) -> u32 {
        self.generation
    }

    /// What the drain of the process has cut, once it has ended here.
    pub fn drained(&self) -> Option<u32> {
        self.drained.get()
    }

    /// Whether it serves nobody any more.
    pub fn is_empty(&self) -> bool {
        let engine = self.engine.borrow();
        engine.downstream_connections() + engine.exchanges() == 0
    }

    /// Takes over the listening sockets of another worker of this thread.
    pub fn take_listeners(self: &Rc<Self>, other: &Worker<N>) {
        for (name, accepting) in other.listeners.take() {
            accepting.task.abort();
            self.accept_from(name, accepting.door);
        }
    }

    /// Closes all connections that are left: those to hosts, once there is no client any more.
    pub fn close_all(self: &Rc<Self>) {
        let ids: Vec<ConnId> = self.sockets.borrow().keys().collect();
        for id in ids {
            if let Some(socket) = self.socket(id) {
                socket.end();
            }
            self.closed(id, IoFault::Closed);
        }
        self.send_lines();
    }

    /// Feeds the engine, then does what it says.
    fn with_engine(self: &Rc<Self>, feed: impl FnOnce(&mut Engine, Instant)) {
        self.now.set(self.clock.now());
        feed(&mut self.engine.borrow_mut(), self.now.get());
        self.run();
    }

    /// There is a new config, with its TLS settings.
    pub fn config(self: &Rc<Self>, config: Arc<Config>, tls: Arc<Table>) {
        self.set_tls(tls);
        self.with_engine(|engine, now| engine.handle_config(config, now));
    }

    /// The same config's TLS settings were made anew: for connections to come.
    pub fn set_tls(&self, tls: Arc<Table>) {
        self.tls.replace(tls);
    }

    /// What is ready for settings towards clients.
    pub fn tls_downstream(&self, settings: &Arc<DownstreamTls>) -> Option<Arc<ServerConfig>> {
        self.tls.borrow().downstream(settings)
    }

    /// What is ready for settings towards upstreams.
    pub fn tls_upstream(&self, settings: &Arc<UpstreamTls>) -> Option<Arc<Client>> {
        self.tls.borrow().upstream(settings)
    }

    /// Something is to be drained.
    pub fn drain(self: &Rc<Self>, drain: &Drain) {
        self.with_engine(|engine, now| {
            let scope = match drain {
                Drain::Process(within) => Some(DrainScope::Process { deadline: now + *within }),
                Drain::Listener(name) => engine.listener(name).map(DrainScope::Listener),
                Drain::Discourage => Some(DrainScope::Discourage),
                Drain::Encourage => Some(DrainScope::Encourage),
            };
            if let Some(scope) = scope {
                engine.handle_drain(scope, now);
            }
        });
    }

    /// DNS has answered.
    pub fn resolved(self: &Rc<Self>, query: QueryId, result: Result<Resolved, DnsError>) {
        self.with_engine(|engine, now| engine.handle_resolved(query, result, now));
    }

    /// Another worker asks whether a shared limit has room.
    pub fn nudge(self: &Rc<Self>) {
        self.with_engine(|engine, now| engine.handle_nudge(now));
    }

    /// Accepts from a listening socket.
    pub fn listen(self: &Rc<Self>, name: Arc<str>, bound: N::Bound) {
        match self.net.adopt(bound) {
            Ok(listener) => self.accept_from(name, Rc::new(RefCell::new(Some(listener)))),
            Err(error) => tracing::error!("worker {}: cannot accept for listener {name}: {error}", self.index),
        }
    }

    fn accept_from(self: &Rc<Self>, name: Arc<str>, door: Door<N>) {
        let (worker, accepting, of) = (Rc::clone(self), Rc::clone(&door), Arc::clone(&name));
        let task = spawn_local(async move {
            let _guard = CrashGuard(Rc::clone(&worker.alarm));
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

    /// Lets no new connection to the listener begin.
    pub fn refuse_new(&self, name: &Arc<str>) {
        let listeners = self.listeners.borrow();
        let Some(accepting) = listeners.get(name) else { return };
        if let Some(listener) = &*accepting.door.borrow()
            && let Err(error) = self.net.refuse_new(listener)
        {
            tracing::debug!("listener {name}: cannot refuse new connections before it closes: {error}");
        }
    }

    /// Closing a listening socket resets the connections in its queue: they are taken out first.
    pub fn unlisten(self: &Rc<Self>, name: &Arc<str>) {
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
                let opening = self.engine.borrow().opening(id);
                let (plain, stream) = match opening {
                    Opening::Plain => (Some(Stream::Plain(stream)), None),
                    _ => (None, Some(stream)),
                };
                let socket = Rc::new(Socket::new(plain));
                self.sockets.borrow_mut().insert(id, Rc::clone(&socket));
                match stream {
                    None => drop(spawn_local(ConnectionTask::new(id, socket, Rc::clone(self)))),
                    Some(stream) => drop(spawn_local(open::open(id, stream, opening, socket, Rc::clone(self)))),
                }
                self.run();
            }
            Err(refused) => tracing::debug!("listener {name}: {} refused: {refused}", addresses.remote),
        }
    }

    /// A connection asked for is there, or not.
    pub fn connected(self: &Rc<Self>, id: ConnId, result: Result<Transport, ConnectError>) {
        self.with_engine(|engine, now| engine.handle_connected(id, result, now));
    }

    /// A client's first bytes are this: what is to be done now.
    pub fn client_hello(self: &Rc<Self>, id: ConnId, hello: Hello<'_>) -> Opening {
        let mut opening = Opening::Refused;
        self.with_engine(|engine, now| opening = engine.handle_client_hello(id, hello, now));
        if opening == Opening::Refused {
            self.sockets.borrow_mut().remove(id);
        }
        opening
    }

    /// A client's TLS handshake is done.
    pub fn secured(self: &Rc<Self>, id: ConnId, tls: Arc<TlsInfo>) {
        self.with_engine(|engine, now| engine.handle_secured(id, tls, now));
    }

    /// A client's TLS handshake has failed, and the connection is gone.
    pub fn handshake_failed(self: &Rc<Self>, id: ConnId, why: TlsFault) {
        self.sockets.borrow_mut().remove(id);
        self.with_engine(|engine, now| engine.handle_handshake_failed(id, why, now));
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

    /// Notices a panic of the task that holds it.
    pub fn crash_guard(&self) -> CrashGuard {
        CrashGuard(Rc::clone(&self.alarm))
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
        if due < self.alarm.armed.get() {
            self.alarm.armed.set(due);
            self.alarm.wake.notify_one();
        }
        if self.engine.borrow().recorded_len() > self.log_limit {
            self.alarm.wake.notify_one();
        }
    }

    fn socket(&self, id: ConnId) -> Option<Rc<Socket<N>>> {
        self.sockets.borrow().get(id).cloned()
    }

    fn perform(self: &Rc<Self>, action: Action) {
        match action {
            Action::Transmit(id) => {
                let multiplexed = self.engine.borrow_mut().is_multiplexed(id);
                if multiplexed { self.send_later(id) } else { self.send(id) }
            }
            Action::Connect { conn, address, tls } => {
                let socket = Rc::new(Socket::new(None));
                self.sockets.borrow_mut().insert(conn, Rc::clone(&socket));
                spawn_local(socket::connect(conn, address, tls, socket, Rc::clone(self)));
            }
            Action::Open(id) => self.on_socket(id, Socket::hurry),
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
                        N::reset(stream.into_socket());
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
                let _ = self.upcalls.send(Upcall::Resolve { worker: self.index, generation: self.generation, query, question });
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

    /// Writes once all that is ready now has been read: what other connections have for the streams of this one then
    /// leaves in one piece.
    fn send_later(self: &Rc<Self>, id: ConnId) {
        let mut later = self.later.borrow_mut();
        later.push(id);
        if later.len() == 1 {
            let worker = Rc::clone(self);
            spawn_local(async move {
                let _guard = worker.crash_guard();
                let ids = std::mem::take(&mut *worker.later.borrow_mut());
                worker.now.set(worker.clock.now());
                for id in &ids {
                    worker.send(*id);
                }
                worker.run();
                let mut later = worker.later.borrow_mut();
                if later.is_empty() {
                    // The memory is used again.
                    *later = ids;
                    later.clear();
                }
            });
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
                    self.drained.set(Some(cut));
                    self.alarm.wake.notify_one();
                }
                // Nobody here asks for explanations.
                Some(Event::Step(_)) => {}
                Some(Event::ListenerDrained { name }) => tracing::info!("worker {}: listener {name} is drained", self.index),
            }
        }
    }

    /// Hands the access-log lines to the writer.
    pub fn send_lines(&self) {
        let lines = self.lines.take();
        if !lines.is_empty() {
            self.log.write(lines);
        }
    }
}
