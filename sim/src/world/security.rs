//! The peers' side of TLS, and what the TLS of a world is made of. Peers themselves know nothing of it: they hear that a
//! connection is open once its handshake is done, and say and hear plaintext.

use super::World;
use super::connection::{Ending, Side};
use crate::crypto;
use crate::event::{SECOND, Time};
use crate::link::End;
use crate::observe::{Observation, Party};
use crate::peer::{ConnNo, Input, PeerNo};
use crate::tls::actor::Actor;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use weir::environment::Environment;
use weir::tls::Table;
use weir_core::config::Config;
use weir_core::rng::Seed;

/// Seconds since 1970 when worlds begin.
pub(super) const EPOCH: u64 = 1_700_000_000;

/// What the TLS of a world is made of.
#[derive(Debug)]
pub struct Security {
    /// The proxy's, and its settings made ready.
    proxy: Environment,
    table: Table,
    clock: Arc<AtomicU64>,
    /// What each peer brings, by number.
    actors: Vec<Actor>,
}

impl Security {
    /// TLS at the beginning of a world with this config. `cast` tells what peers bring, made with the cryptography that it
    /// is given.
    pub fn new(seed: Seed, config: &Config, cast: impl FnOnce(Environment) -> Vec<Actor>) -> Security {
        let clock = Arc::new(AtomicU64::new(EPOCH));
        let environment = |who: &str| {
            let clock = Arc::clone(&clock);
            crypto::environment(seed.fork(who), move || clock.load(Ordering::Relaxed))
        };
        let (proxy, actors) = (environment("proxy's tls"), cast(environment("peers' tls")));
        let mut security = Security { proxy, table: Table::default(), clock, actors };
        security.change(config);
        security
    }

    /// A config has come: its settings are made ready.
    pub(super) fn change(&mut self, config: &Config) {
        let made = Table::make(config, &self.table, &self.proxy);
        debug_assert!(!made.is_wrong(), "{:?}", made.findings);
        self.table = made.table;
    }

    pub(super) fn table(&self) -> &Table {
        &self.table
    }

    pub(super) fn tell_time(&self, now: Time) {
        self.clock.store(EPOCH + now / SECOND, Ordering::Relaxed);
    }

    /// Whether no host is one that anything may reach before all is well.
    pub(super) fn is_nobody_fit(&self) -> bool {
        let mut hosts = self.actors.iter().filter_map(|actor| match actor {
            Actor::Client(_) => None,
            Actor::Host(host) => Some(host.is_unfit()),
            Actor::ClearHost => Some(false),
        });
        hosts.all(|unfit| unfit)
    }

    /// At which listener a client connects.
    pub(super) fn listener_of(&self, peer: PeerNo) -> Option<usize> {
        match self.actors.get(peer)? {
            Actor::Client(client) => Some(client.listener),
            _ => None,
        }
    }
}

impl World {
    /// A connection is there: its peer begins its handshake. False if there is none.
    pub(super) fn begin_session(&mut self, no: ConnNo) -> bool {
        let Some(conn) = self.conns[no].as_mut() else { return false };
        let actor = self.security.as_ref().and_then(|security| security.actors.get(conn.peer));
        let session = match actor {
            Some(Actor::Client(client)) => client.begin(),
            Some(Actor::Host(host)) => host.begin(self.is_calm),
            Some(Actor::ClearHost) | None => None,
        };
        let Some(mut session) = session else { return false };
        conn.unsent.extend(session.take_sent());
        conn.session = Some(Box::new(session));
        self.pump_peer(no);
        true
    }

    /// Who is at the other end of a connection.
    pub(super) fn party(&self, no: ConnNo) -> Option<Party> {
        let conn = self.conns[no].as_ref()?;
        let fit = conn.session.as_ref().is_none_or(|session| session.fit);
        Some(match (conn.side, self.security.as_ref()?.actors.get(conn.peer)) {
            (Side::Host { cluster }, _) => Party::Host { cluster, fit },
            (_, Some(Actor::Client(client))) => Party::Client(client.misfit),
            _ => Party::Client(None),
        })
    }

    /// Bytes have reached a peer.
    pub(super) fn hear(&mut self, no: ConnNo, peer: PeerNo, bytes: &[u8]) {
        let Some(session) = self.conns[no].as_mut().and_then(|conn| conn.session.as_mut()) else {
            return self.tell(peer, Input::Data(no, bytes));
        };
        let (heard, sent) = (session.hear(bytes), session.take_sent());
        let (leaked, told) = (!session.fit && !heard.plain.is_empty(), session.end_told);
        session.end_told |= heard.closed || heard.failed;
        let in_clear = session.is_in_clear();
        let Some(conn) = self.conns[no].as_mut() else { return };
        conn.unsent.extend(sent);
        let is_host = matches!(conn.side, Side::Host { .. });
        if is_host && in_clear {
            self.ledger.note(self.now, Observation::Leaked("a host with TLS got bytes in clear text"));
        }
        if is_host && leaked {
            self.ledger.note(self.now, Observation::Leaked("a host whose certificate does not fit got bytes"));
        }
        if heard.failed {
            conn.peer_gone = true;
            conn.peer_ends = Some(End::Fin);
        }
        self.pump_peer(no);
        if heard.opened {
            self.tell(peer, Input::Opened(no));
        }
        if !heard.plain.is_empty() {
            self.tell(peer, Input::Data(no, &heard.plain));
        }
        if heard.failed {
            self.tell(peer, Input::Broken(no));
        } else if heard.closed && !told {
            self.tell(peer, Input::End(no));
        }
    }

    /// A peer is at the end of what it gets. With TLS an end that nobody has said is a cut.
    pub(super) fn hear_end(&mut self, no: ConnNo, peer: PeerNo) {
        let Some(conn) = self.conns[no].as_mut() else { return };
        match &mut conn.session {
            None => self.tell(peer, Input::End(no)),
            Some(session) if session.end_told => {}
            Some(session) => {
                session.end_told = true;
                conn.peer_gone = true;
                conn.peer_ends = Some(End::Fin);
                self.pump_peer(no);
                self.tell(peer, Input::Broken(no));
            }
        }
    }

    /// The rest of a record had time to come.
    pub(super) fn look_again(&mut self, no: ConnNo) {
        if let Some(conn) = self.conns[no].as_ref()
            && conn.socket
            && conn.ending == Ending::None
        {
            let node = conn.node;
            self.ends(no, Ending::CloseIfIdle);
            self.drive(node);
        }
    }
}
