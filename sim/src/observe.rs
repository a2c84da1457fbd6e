//! What can be seen from outside the proxy, and where it is written down.

use crate::event::Time;
use crate::peer::ConnNo;
use crate::request::Request;
use crate::tls::actor::Misfit;
use weir_core::tls_info::TlsFault;

/// How a request ended, as its client saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// An upstream's answer, whole.
    Answered {
        /// Status.
        status: u16,
    },
    /// An answer of the proxy's own, whole.
    Local {
        /// Status.
        status: u16,
    },
    /// An answer was begun, and cut so that the client could see it.
    Cut,
    /// The connection ended without a byte of an answer.
    Closed,
    /// The client lost interest.
    Left,
    /// The connection could not be made.
    Refused,
}

/// Who is at the other end of a connection of the proxy's.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Party {
    /// A client, with what is wrong with it.
    Client(Option<Misfit>),
    /// A host.
    Host {
        /// Of which cluster.
        cluster: usize,
        /// Its certificate is what the config wants.
        fit: bool,
    },
}

/// How what comes before a connection's first byte has ended, as the engine was told.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Shaken {
    /// With a handshake.
    Done {
        /// An earlier session goes on.
        resumed: bool,
    },
    /// With what stats tell apart; nothing if the connection broke.
    Failed(Option<TlsFault>),
    /// No chain is for the client.
    Refused,
    /// A chain is for the client that wants no TLS.
    Clear,
    /// The engine let go of the connection.
    LetGo,
}

impl Shaken {
    /// A number for each.
    pub(crate) fn number(self) -> u64 {
        match self {
            Shaken::Done { resumed } => u64::from(resumed),
            Shaken::Refused => 2,
            Shaken::Clear => 3,
            Shaken::LetGo => 4,
            Shaken::Failed(None) => 5,
            Shaken::Failed(Some(fault)) => 6 + fault as u64,
        }
    }
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Observation {
    /// A client has begun to send a request.
    Sent(u64),
    /// A client has sent the last byte of it.
    SentWhole(u64),
    /// The answer before it said that it was its connection's last: it is asked again on another.
    Again(u64),
    /// It has ended.
    Ended(u64, Outcome),
    /// Something that no client may ever see.
    ClientFault(u64, &'static str),
    /// The head of a request has reached a host.
    Arrived {
        /// Which request.
        id: u64,
        /// Which cluster the host is of.
        cluster: usize,
        /// Its route, as the proxy's config had it: by the table and by the route.
        versions: (Option<u64>, Option<u64>),
        /// `x-envoy-attempt-count`.
        attempt: Option<u64>,
    },
    /// Its body has arrived, too.
    ArrivedWhole(u64),
    /// Something that no host may ever see.
    HostFault(u64, &'static str),
    /// A host misbehaves towards this request.
    Disturbed(u64),
    /// The proxy opens a connection to a cluster.
    Opening(usize),
    /// It has let go of it.
    Closing(usize),
    /// A config of this version is in force from now on.
    Table(u64),
    /// The proxy is told to drain, and by when.
    Drain(Time),
    /// An engine says that it has drained, and how many exchanges it cut.
    Drained(u32),
    /// A fault begins or ends.
    Fault(&'static str),
    /// The proxy begins with what comes before a connection's first byte.
    Shaking(ConnNo, Party),
    /// That has ended.
    Shaken(ConnNo, Shaken),
    /// What was to be secret, or for somebody else, has reached a host.
    Leaked(&'static str),
}

/// What is known about one request.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The request.
    pub request: Request,
    /// When its first byte was sent.
    pub sent: Option<Time>,
    /// When its last byte was sent.
    pub sent_whole: Option<Time>,
    /// How often its head reached a host.
    pub arrivals: u32,
    /// A host misbehaved towards it.
    pub disturbed: bool,
    /// How it ended, and when.
    pub outcome: Option<(Time, Outcome)>,
}

/// Everything that is known, by request.
#[derive(Debug, Default)]
pub struct Ledger {
    /// By id.
    pub entries: Vec<Entry>,
    pub(crate) news: Vec<Observation>,
}

impl Ledger {
    /// Writes down what happened; checks see it when the current event is over.
    pub fn note(&mut self, now: Time, what: Observation) {
        match &what {
            Observation::Sent(id) => self.entry(*id, |entry| entry.sent = Some(now)),
            Observation::SentWhole(id) => self.entry(*id, |entry| entry.sent_whole = Some(now)),
            Observation::Arrived { id, .. } => self.entry(*id, |entry| entry.arrivals += 1),
            Observation::Disturbed(id) => self.entry(*id, |entry| entry.disturbed = true),
            Observation::Ended(id, outcome) => self.entry(*id, |entry| {
                if entry.outcome.is_none() {
                    entry.outcome = Some((now, outcome.clone()));
                }
            }),
            _ => {}
        }
        self.news.push(what);
    }

    /// The entry of a request.
    pub fn get(&self, id: u64) -> Option<&Entry> {
        self.entries.get(id as usize)
    }

    fn entry(&mut self, id: u64, change: impl FnOnce(&mut Entry)) {
        if let Some(entry) = self.entries.get_mut(id as usize) {
            change(entry);
        }
    }

    /// A new request; answers its id.
    pub fn add(&mut self, draw: impl FnOnce(u64) -> Request) -> Request {
        let request = draw(self.entries.len() as u64);
        self.entries.push(Entry { request: request.clone(), sent: None, sent_whole: None, arrivals: 0, disturbed: false, outcome: None });
        request
    }
}
