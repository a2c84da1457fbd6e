//! One worker: a thread, a runtime and an engine.

mod accept;
mod perform;

use crate::access_log::LogWriter;
use crate::clock::Clock;
use crate::command::{Drain, Upcall};
use crate::net::Net;
use crate::socket::Socket;
use crate::tls::Table;
use crate::tls::client::Client;
use bytes::BytesMut;
use rustls::ServerConfig;
use slotmap::SecondaryMap;
use std::cell::{Cell, RefCell, RefMut};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, mpsc};
use tokio::task::AbortHandle;
use weir_abi::filter::Reachable;
use weir_core::Engine;
use weir_core::buffer::{Blocks, Outbox};
use weir_core::cluster::{DnsError, Resolved};
use weir_core::config::{Config, DownstreamTls, UpstreamTls};
use weir_core::drain::DrainScope;
use weir_core::engine::{ConnectError, IoFault, Opening, Transmit, Transport};
use weir_core::filter::{FilterId, Resume};
use weir_core::id::{ConnId, QueryId};
use weir_core::listener::Hello;
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
    /// It is reached as long as the worker lives.
    _reachable: Reachable,
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
    /// How its engine's filters are resumed.
    pub reachable: Reachable,
    /// Size of the input log at which another engine should begin.
    pub log_limit: usize,
}

impl<N: Net> Worker<N> {
    /// A worker at its beginning.
    pub fn new(parts: Parts<N>) -> Rc<Worker<N>> {
        Rc::new(Worker {
            engine: RefCell::new(parts.engine),
            generation: parts.generation,
            _reachable: parts.reachable,
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

    /// A filter is resumed.
    pub fn resume(self: &Rc<Self>, filter: FilterId, what: Resume) {
        self.with_engine(|engine, now| engine.handle_filter(filter, what, now));
    }

    /// Another worker asks whether a shared limit has room.
    pub fn nudge(self: &Rc<Self>) {
        self.with_engine(|engine, now| engine.handle_nudge(now));
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
}
