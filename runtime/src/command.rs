//! What the primary and the workers' threads tell each other.

use crate::net::Net;
use crate::recording::Written;
use crate::tls::Table;
use crate::worker::Worker;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use weir_core::Engine;
use weir_core::cluster::{DnsError, Question, Resolved};
use weir_core::config::Config;
use weir_core::filter::{FilterId, Resume};
use weir_core::id::QueryId;

/// What the primary tells a worker.
pub enum Command<N: Net> {
    /// Accept from these, for the listeners of these names.
    Listen(Vec<(Arc<str>, N::Bound)>),
    /// A new config, with its TLS settings.
    Config(Arc<Config>, Arc<Table>),
    /// The TLS settings of the config in force, made anew.
    Tls(Arc<Table>),
    /// Let no new connection to the listener begin.
    RefuseNew(Arc<str>),
    /// Take what the kernel has accepted already for the listener, then close it.
    Unlisten(Arc<str>),
    /// Drain.
    Drain(Drain),
    /// A DNS answer, and whose question it answers.
    Resolved(u32, QueryId, Result<Resolved, DnsError>),
    /// A filter of the engine of this generation is resumed.
    Resume(u32, FilterId, Resume),
    /// Another worker asks whether a shared limit has room.
    Nudge,
    /// Call this with the engine.
    Inspect(Box<dyn FnOnce(&Engine) + Send>),
    /// Call this with the worker that takes new connections, and with whether the process drains: who it is for brings
    /// a connection of their own.
    Enter(Enter<N>),
    /// Write the input logs to files, and say which.
    Dump {
        /// A number and a reason for their names.
        number: u32,
        /// See `number`.
        reason: &'static str,
        /// Where to say it.
        written: oneshot::Sender<io::Result<Vec<Written>>>,
    },
    /// End the thread.
    Stop,
}

/// Where a thread's commands arrive. It ends when nobody is left who could send one.
#[derive(Debug)]
pub struct Inbox<N: Net> {
    /// The commands.
    pub received: mpsc::UnboundedReceiver<Command<N>>,
    /// How more are sent, by who does not keep the thread alive.
    pub more: mpsc::WeakUnboundedSender<Command<N>>,
}

/// How commands are sent, and where they arrive.
pub fn inbox<N: Net>() -> (mpsc::UnboundedSender<Command<N>>, Inbox<N>) {
    let (commands, received) = mpsc::unbounded_channel();
    let more = commands.downgrade();
    (commands, Inbox { received, more })
}

/// See [`Command::Enter`].
pub type Enter<N> = Box<dyn FnOnce(&Rc<Worker<N>>, bool) + Send>;

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
        /// Which of its engines.
        generation: u32,
        /// Its query.
        query: QueryId,
        /// What to ask.
        question: Question,
    },
    /// Nudge every worker.
    Nudge,
    /// A worker's thread has ended by a panic, in a process that lives on.
    Crashed {
        /// Which worker.
        worker: usize,
        /// What is known about it.
        why: String,
    },
    /// The worker's drain has ended.
    Drained {
        /// Exchanges and tunnels that were cut.
        cut: u32,
    },
}
