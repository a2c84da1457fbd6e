//! What comes before a connection's first byte: looking at a client hello, choosing the filter chain, the TLS handshake.
//!
//! The driver does the work and asks what to do ([`Engine::opening`]); the choices and the deadlines are here.

use super::{Action, Engine, IoFault, log};
use crate::config::DownstreamTls;
use crate::connection::{Connection, DownstreamDeadline};
use crate::id::ConnId;
use crate::listener::{Arrival, Hello};
use crate::plant::{Plant, is_planted};
use crate::stats::ListenerStat;
use crate::time::Instant;
use crate::timer::Owner;
use crate::tls_info::{TlsFault, TlsInfo};
use std::sync::Arc;

/// What a driver has to do before it hands in a client's bytes.
#[derive(Clone, Debug, PartialEq)]
pub enum Opening {
    /// Nothing.
    Plain,
    /// A TLS handshake with these settings, then call `handle_secured` or `handle_handshake_failed`.
    Tls(Arc<DownstreamTls>),
    /// Find out what the first bytes are, without taking them, then call `handle_client_hello`.
    Inspect,
    /// Close it: no filter chain is for it, and its id means nothing any more.
    Refused,
}

impl Engine {
    /// What has to be done before a client's bytes can be handed in.
    pub fn opening(&self, conn: ConnId) -> Opening {
        let Some(Connection::Downstream(client)) = self.connections.get(conn) else { return Opening::Refused };
        if client.chain.is_none() {
            return Opening::Inspect;
        }
        let chain = self.listeners.get(client.listener).and_then(|listener| listener.chains.get(client.chain));
        match chain.and_then(|chain| chain.config.tls.as_ref()) {
            Some(tls) if client.tls.is_none() => Opening::Tls(Arc::clone(tls)),
            _ => Opening::Plain,
        }
    }

    /// A client's first bytes are this.
    pub fn handle_client_hello(&mut self, conn: ConnId, hello: Hello<'_>, now: Instant) -> Opening {
        let write = |log: &mut log::Recorder| log.client_hello(conn, &hello, now);
        self.taped(write, |engine| {
            let opening = engine.client_hello(conn, hello, now);
            if let Some(digest) = &mut engine.blocks.digest {
                digest.word(match opening {
                    Opening::Plain => 30,
                    Opening::Tls(_) => 31,
                    Opening::Inspect => 32,
                    Opening::Refused => 33,
                });
            }
            opening
        })
    }

    /// A client's TLS handshake is done: its bytes can be handed in.
    pub fn handle_secured(&mut self, conn: ConnId, tls: Arc<TlsInfo>, now: Instant) {
        let given = Arc::clone(&tls);
        self.taped(|log| log.secured(conn, &given, now), |engine| engine.secured(conn, tls, now));
    }

    /// A client's TLS handshake has failed, and the connection is gone: its id means nothing from now on.
    pub fn handle_handshake_failed(&mut self, conn: ConnId, why: TlsFault, now: Instant) {
        self.taped(|log| log.handshake_failed(conn, why, now), |engine| engine.handshake_failed(conn, why, now));
    }

    /// A connection has come in: its deadlines begin.
    pub(super) fn begin_opening(&mut self, id: ConnId, now: Instant) {
        let Some(Connection::Downstream(conn)) = self.connections.get_mut(id) else { return };
        let Some(listener) = self.listeners.get(conn.listener) else { return };
        match listener.chains.get(conn.chain) {
            None => {
                if let Some(timeout) = listener.config.inspection.timeout {
                    conn.deadlines.set(DownstreamDeadline::Open, now + timeout, Owner::Downstream(id), &mut self.timers);
                }
            }
            Some(chain) => {
                let plain = chain.config.tls.is_none();
                if chain.config.tls.is_some() && !is_planted(Plant::HandshakeNeverTimesOut) {
                    let end = now + chain.config.open_timeout;
                    conn.deadlines.set(DownstreamDeadline::Open, end, Owner::Downstream(id), &mut self.timers);
                }
                self.arm_downstream(id, now);
                if plain && self.is_tcp(id) {
                    self.begin_tcp(id, now);
                } else if plain && self.speaks_http2_only(id) {
                    self.start_http2(id, b"", now);
                }
            }
        }
    }

    fn client_hello(&mut self, id: ConnId, hello: Hello<'_>, now: Instant) -> Opening {
        let Some(Connection::Downstream(conn)) = self.connections.get_mut(id) else { return Opening::Refused };
        if conn.chain.is_some() {
            return self.opening(id);
        }
        let Some(listener) = self.listeners.get_mut(conn.listener) else { return Opening::Refused };
        let chosen = listener.chains.choose(&Arrival { addresses: conn.addresses, hello });
        let Some(chain) = chosen.and_then(|place| listener.chains.get(Some(place))) else {
            listener.stats.inc(ListenerStat::NoFilterChain);
            self.forget_downstream(id, now);
            return Opening::Refused;
        };
        conn.deadlines.clear(DownstreamDeadline::Open);
        (conn.chain, conn.manager, conn.idle_since) = (chosen, Arc::clone(&chain.manager), now);
        chosen.into_iter().for_each(|place| listener.chains.join(place));
        self.begin_opening(id, now);
        self.opening(id)
    }

    fn secured(&mut self, id: ConnId, tls: Arc<TlsInfo>, now: Instant) {
        let Some(Connection::Downstream(conn)) = self.connections.get_mut(id) else { return };
        if let Some(listener) = self.listeners.get(conn.listener) {
            listener.stats.inc(ListenerStat::SslHandshake);
            listener.stats.count_tls(&tls);
            if tls.peer.is_none() {
                listener.stats.inc(ListenerStat::SslNoCertificate);
            }
            if tls.resumed {
                listener.stats.inc(ListenerStat::SslSessionReused);
            }
        }
        conn.deadlines.clear(DownstreamDeadline::Open);
        conn.idle_since = now;
        conn.tls = Some(tls);
        self.arm_idle(id);
        if self.is_tcp(id) {
            self.begin_tcp(id, now);
        } else if self.speaks_http2_only(id) || self.agreed_on_http2(id) {
            self.start_http2(id, b"", now);
        }
    }

    fn handshake_failed(&mut self, id: ConnId, why: TlsFault, now: Instant) {
        let Some(Connection::Downstream(conn)) = self.connections.get(id) else { return };
        if let Some(listener) = self.listeners.get(conn.listener) {
            listener.stats.inc(match why {
                TlsFault::Protocol => ListenerStat::SslConnectionError,
                TlsFault::NoCertificate if is_planted(Plant::HandshakeMiscounted) => ListenerStat::SslConnectionError,
                TlsFault::NoCertificate => ListenerStat::SslFailNoCert,
                TlsFault::Untrusted => ListenerStat::SslFailError,
                TlsFault::Name => ListenerStat::SslFailSan,
                TlsFault::Pin => ListenerStat::SslFailHash,
            });
        }
        self.closed_downstream(id, IoFault::Reset, now);
    }

    /// A client has said nothing for too long, or has not ended its handshake.
    pub(super) fn opening_timed_out(&mut self, id: ConnId, now: Instant) {
        let Some(Connection::Downstream(conn)) = self.connections.get(id) else { return };
        let Some(listener) = self.listeners.get(conn.listener) else { return };
        if conn.chain.is_some() {
            listener.stats.inc(ListenerStat::SocketConnectTimeout);
            return self.drop_downstream(id, now);
        }
        listener.stats.inc(ListenerStat::PreCxTimeout);
        if listener.config.inspection.goes_on && self.client_hello(id, Hello::default(), now) != Opening::Refused {
            return self.out.actions.push_back(Action::Open(id));
        }
        self.drop_downstream(id, now);
    }
}
