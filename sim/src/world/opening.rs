//! What comes before a connection's first byte, as the runtime's `open.rs` has it: looking at a client hello, shaking hands
//! with clients and hosts, and telling the engine what came of it.

use super::World;
use super::connection::Side;
use super::secure::{Looked, Phase, Secure, Turn};
use crate::link::End;
use crate::observe::{Observation, Shaken};
use crate::peer::ConnNo;
use crate::tls::pipe::Pipe;
use bytes::BytesMut;
use std::sync::Arc;
use weir::tls::{Stream, handshake};
use weir_core::engine::{ConnectError, ConnectTls, IoFault, Opening, Transport};
use weir_core::record::Addresses;
use weir_core::tls_info::{TlsFault, TlsInfo};

impl World {
    /// A client's connection was accepted: does what has to be done before its bytes are the engine's.
    pub(super) fn begin_opening(&mut self, no: ConnNo) {
        let Some(conn) = self.conns[no].as_mut() else { return };
        let Some(id) = conn.id.filter(|_| self.security.is_some()) else { return };
        let opening = self.nodes[conn.node].engine.opening(id);
        if opening != Opening::Plain {
            conn.secure = Some(Box::new(Secure::new()));
            self.note_shaking(no);
            self.open_with(no, opening, Pipe::default(), BytesMut::new());
        }
    }

    fn open_with(&mut self, no: ConnNo, opening: Opening, pipe: Pipe, first: BytesMut) {
        let Some(conn) = self.conns[no].as_mut() else { return };
        let Some(secure) = conn.secure.as_mut() else { return };
        secure.pipe = pipe.clone();
        match opening {
            Opening::Inspect => secure.look(),
            Opening::Plain => {
                (secure.phase, secure.plain) = (Phase::Open(Box::new(Stream::Plain(pipe))), first);
                self.ledger.note(self.now, Observation::Shaken(no, Shaken::Clear));
            }
            Opening::Tls(settings) => match self.security.as_ref().and_then(|security| security.table().downstream(&settings)) {
                Some(config) => {
                    secure.phase = Phase::Shaking(Box::pin(async move {
                        let (stream, info) = handshake::accept(config, first, pipe).await?;
                        Ok((Stream::Tls(Box::new(stream)), info))
                    }));
                }
                None => self.fail_opening(no, None),
            },
            Opening::Refused => {
                self.ledger.note(self.now, Observation::Shaken(no, Shaken::Refused));
                self.close_socket(no, End::Fin);
            }
        }
    }

    /// The handshake of a client has failed; the engine is told, and knows the connection no more.
    fn fail_opening(&mut self, no: ConnNo, fault: Option<TlsFault>) {
        let Some(conn) = self.conns[no].as_ref() else { return };
        let (Some(id), node) = (conn.id, conn.node) else { return };
        self.ledger.note(self.now, Observation::Shaken(no, Shaken::Failed(fault)));
        self.close_socket(no, End::Fin);
        let now = self.instant(node);
        match fault {
            Some(fault) => self.nodes[node].engine.handle_handshake_failed(id, fault, now),
            None => self.nodes[node].engine.handle_closed(id, IoFault::Reset, now),
        }
    }

    /// The proxy's connection to a host is there, and is to speak TLS.
    pub(super) fn shake_with_host(&mut self, no: ConnNo, tls: &ConnectTls, addresses: Addresses) {
        let client = self.security.as_ref().and_then(|security| security.table().upstream(&tls.config));
        self.note_shaking(no);
        let Some(client) = client else {
            return self.host_fails(no, None, ConnectError::new("TLS_error:|the settings of the cluster are gone:TLS_error_end"));
        };
        let mut secure = Secure::new();
        let (pipe, tls, ip) = (secure.pipe.clone(), tls.clone(), addresses.remote.ip());
        secure.phase = Phase::Shaking(Box::pin(async move {
            let (stream, info) = handshake::connect(&client, &tls, ip, pipe).await?;
            Ok((Stream::Tls(Box::new(stream)), info))
        }));
        secure.addresses = Some(addresses);
        if let Some(conn) = self.conns[no].as_mut() {
            conn.secure = Some(Box::new(secure));
        }
        self.go_on(no);
    }

    fn host_fails(&mut self, no: ConnNo, fault: Option<TlsFault>, error: ConnectError) {
        let Some(conn) = self.conns[no].as_ref() else { return };
        let (Some(id), node) = (conn.id, conn.node) else { return };
        self.ledger.note(self.now, Observation::Shaken(no, Shaken::Failed(fault)));
        self.close_socket(no, End::Fin);
        let now = self.instant(node);
        self.nodes[node].engine.handle_connected(id, Err(error), now);
    }

    /// Goes on with what comes before a connection's first byte; answers whether it is open.
    pub(super) fn go_on(&mut self, no: ConnNo) -> bool {
        loop {
            match self.through(no, Secure::turn) {
                None | Some(Turn::Waits) => return false,
                Some(Turn::Open) => return true,
                Some(Turn::Looked(looked)) => self.looked(no, looked),
                Some(Turn::Shook(Ok((stream, info)))) => self.shook(no, stream, info),
                Some(Turn::Shook(Err(failed))) => match self.conns[no].as_ref().map(|conn| conn.side) {
                    Some(Side::Client { .. }) => self.fail_opening(no, failed.fault),
                    _ => self.host_fails(no, Some(failed.fault.unwrap_or(TlsFault::Protocol)), failed.into_connect_error()),
                },
            }
        }
    }

    fn looked(&mut self, no: ConnNo, (pipe, first, seen): Looked) {
        let Some(conn) = self.conns[no].as_ref() else { return };
        let (Some(id), node) = (conn.id, conn.node) else { return };
        let now = self.instant(node);
        let engine = &mut self.nodes[node].engine;
        let opening = match seen {
            Some(Ok(seen)) => seen.tell(|hello| engine.handle_client_hello(id, hello, now)),
            Some(Err(_)) => return self.fail_opening(no, None),
            None => engine.opening(id),
        };
        self.open_with(no, opening, pipe, first);
    }

    fn shook(&mut self, no: ConnNo, stream: Stream<Pipe>, info: TlsInfo) {
        let Some(conn) = self.conns[no].as_mut() else { return };
        let (Some(id), node) = (conn.id, conn.node) else { return };
        let Some(secure) = conn.secure.as_mut() else { return };
        secure.phase = Phase::Open(Box::new(stream));
        let addresses = secure.addresses;
        self.ledger.note(self.now, Observation::Shaken(no, Shaken::Done { resumed: info.resumed }));
        let now = self.instant(node);
        let engine = &mut self.nodes[node].engine;
        match addresses {
            Some(addresses) => engine.handle_connected(id, Ok(Transport { addresses, tls: Some(info.into()) }), now),
            None => engine.handle_secured(id, Arc::new(info), now),
        }
    }

    fn note_shaking(&mut self, no: ConnNo) {
        if let Some(party) = self.party(no) {
            self.ledger.note(self.now, Observation::Shaking(no, party));
        }
    }

    /// Nobody waits for a client's first bytes any longer.
    pub(super) fn hurry(&mut self, no: ConnNo) {
        self.through(no, |secure, _| secure.pipe.0.borrow_mut().hurried = true);
        self.reach_secure(no);
    }

    /// The engine lets go of a connection: was it still in its handshake?
    pub(super) fn note_let_go(&mut self, no: ConnNo) {
        let secure = self.conns[no].as_mut().and_then(|conn| conn.secure.take());
        if secure.is_some_and(|secure| matches!(secure.phase, Phase::Looking(_) | Phase::Shaking(_))) {
            self.ledger.note(self.now, Observation::Shaken(no, Shaken::LetGo));
        }
    }
}
