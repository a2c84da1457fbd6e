//! Received bytes that the engine left, for hosts that do not keep them: offered again when it reads again.
//!
//! Such a host is told to pause when something is left, and to read once it was all taken. An end that it has told
//! waits behind the bytes.

use super::EngineObject;
use bytes::BytesMut;
use weir_core::engine::Action;
use weir_core::id::ConnId;
use weir_core::time::Instant;

/// What a connection has received, and the engine not taken.
#[derive(Debug, Default)]
pub(super) struct Kept {
    bytes: BytesMut,
    /// The peer has sent its last byte.
    ended: bool,
}

impl EngineObject {
    /// Feeds bytes, and keeps what is left.
    pub(super) fn recv_all(&mut self, id: ConnId, data: &[u8], now: Instant) {
        if let Some(kept) = self.kept.get_mut(id) {
            kept.bytes.extend_from_slice(data);
            return;
        }
        let left = self.recv(id, data, now);
        if !left.is_empty() && self.engine.has_connection(id) {
            self.kept.insert(id, Kept { bytes: left, ended: false });
            self.to_pause.push_back(id);
        }
    }

    /// Feeds the end, or lets it wait behind what is kept.
    pub(super) fn recv_eof(&mut self, id: ConnId, now: Instant) {
        match self.kept.get_mut(id) {
            Some(kept) => kept.ended = true,
            None => self.engine.handle_eof(id, now),
        }
    }

    /// The next action that is the host's to do.
    pub(super) fn next_action(&mut self) -> Option<Action> {
        while let Some(id) = self.to_pause.pop_front() {
            if self.kept.contains_key(id) {
                return Some(Action::SetReadable(id, false));
            }
        }
        loop {
            let action = self.engine.poll_action()?;
            match action {
                Action::SetReadable(id, true) if self.kept.contains_key(id) && !self.offer(id) => {}
                // What it would read is there already.
                Action::CloseIfIdle(id) if self.kept.contains_key(id) => drop(self.offer(id)),
                other => return Some(other),
            }
        }
    }

    /// Offers again what is kept; whether all of it was taken.
    fn offer(&mut self, id: ConnId) -> bool {
        let Some(mut kept) = self.kept.remove(id) else { return true };
        self.engine.handle_recv(id, &mut kept.bytes, self.now);
        if !self.engine.has_connection(id) {
            return true;
        }
        if kept.bytes.is_empty() {
            if kept.ended {
                self.engine.handle_eof(id, self.now);
            }
            return true;
        }
        self.kept.insert(id, kept);
        false
    }
}

#[cfg(test)]
mod tests {
    use crate::address::weir_address;
    use crate::config::{weir_config, weir_config_free, weir_config_load};
    use crate::engine::*;
    use crate::memory::{Versioned, weir_str};
    use crate::result::weir_result::{self, WEIR_NONE, WEIR_OK};
    use std::ptr;

    const CONFIG: &str = r#"{"static_resources": {
        "listeners": [{"name": "main", "address": {"socket_address": {"address": "127.0.0.1", "port_value": 80}},
            "per_connection_buffer_limit_bytes": 4096,
            "filter_chains": [{"filters": [{"name": "http", "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
                "stat_prefix": "in",
                "route_config": {"virtual_hosts": [{"name": "v", "domains": ["*"], "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "up"}}]}]},
                "http_filters": [{"name": "r", "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"}}]}}]}]}],
        "clusters": [{"name": "up", "load_assignment": {"cluster_name": "up", "endpoints": [{"lb_endpoints": [
            {"endpoint": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": 81}}}}]}]}}]}}"#;

    /// A host with one client and one upstream.
    struct Host {
        engine: *mut weir_engine,
        client: u64,
        upstream: Option<u64>,
        /// What the client was last told of reading.
        paused: bool,
        /// What was sent upstream.
        sent: Vec<u8>,
    }

    fn ok(result: weir_result) {
        assert_eq!(result, WEIR_OK);
    }

    impl Host {
        fn new() -> Host {
            let mut config: *mut weir_config = ptr::null_mut();
            let mut host = Host { engine: ptr::null_mut(), client: 0, upstream: None, paused: false, sent: Vec::new() };
            let (end, options, mut listener) = (weir_address { family: 4, port: 80, ip: [0; 16] }, weir_engine_options::fresh(), 0);
            // SAFETY: all that is pointed to is as it says and lives.
            unsafe {
                ok(weir_config_load(weir_str::of(CONFIG), weir_str::EMPTY, 0, &raw mut config, ptr::null_mut()));
                ok(weir_engine_new(config, &raw const options, &raw mut host.engine));
                ok(weir_engine_listener(host.engine, weir_str::of("main"), &raw mut listener));
                ok(weir_engine_accept(host.engine, listener, &raw const end, &raw const end, 0, &raw mut host.client));
            }
            ok(weir_config_free(config));
            host
        }

        fn receive(&mut self, data: &[u8]) {
            // SAFETY: the slice is what it says.
            ok(unsafe { weir_engine_recv(self.engine, self.client, data.as_ptr(), data.len(), ptr::null_mut(), 0) });
            self.perform();
        }

        /// Does what is to be done, but sends upstream no more than `self.sent` has room for.
        fn perform(&mut self) {
            let mut action = weir_action::fresh();
            // SAFETY: the action is a place to write to.
            while unsafe { weir_engine_next_action(self.engine, &raw mut action) } == WEIR_OK {
                match action.kind {
                    kind if kind == weir_action_kind::WEIR_ACTION_CONNECT as u32 => self.upstream = Some(action.conn),
                    kind if kind == weir_action_kind::WEIR_ACTION_PAUSE as u32 && action.conn == self.client => self.paused = true,
                    kind if kind == weir_action_kind::WEIR_ACTION_READ as u32 && action.conn == self.client => self.paused = false,
                    _ => {}
                }
            }
        }

        fn connect(&mut self) {
            let (conn, end) = (self.upstream.expect("it was asked for"), weir_address { family: 4, port: 81, ip: [0; 16] });
            // SAFETY: the address lives.
            ok(unsafe { weir_engine_connected(self.engine, conn, &raw const end, &raw const end, ptr::null(), 0) });
            self.perform();
        }

        /// Sends up to so many bytes upstream; whether there were any.
        fn send(&mut self, most: usize) -> bool {
            let (mut buffer, mut count) = (vec![0; most], 0);
            let conn = self.upstream.expect("it is there");
            // SAFETY: the buffer has room for as many.
            let result = unsafe { weir_engine_transmit_copy(self.engine, conn, buffer.as_mut_ptr(), most, &raw mut count, 0) };
            if result == WEIR_OK {
                self.sent.extend_from_slice(&buffer[..count]);
            }
            self.perform();
            result != WEIR_NONE
        }
    }

    #[test]
    fn what_is_left_is_kept_in_order_and_its_end_behind_it() {
        let mut host = Host::new();
        let body: Vec<u8> = (0..100_000u32).map(|at| (at % 251) as u8).collect();
        host.receive(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 100000\r\n\r\n");
        assert!(!host.paused);
        let mut pauses = 0;
        for piece in body.chunks(1_000) {
            host.receive(piece);
            pauses += u32::from(host.paused);
        }
        assert!(pauses > 90, "the host is told to stop at about the limit, not at piece {}", 100 - pauses);
        // A host that has paused may still see the end.
        ok(weir_engine_eof(host.engine, host.client, 0));
        host.connect();
        while host.send(700) {}
        assert!(!host.paused);
        let head = host.sent.windows(4).position(|at| at == b"\r\n\r\n").expect("a head") + 4;
        assert!(host.sent[head..] == body[..], "{} bytes of body came", host.sent.len() - head);
        ok(weir_engine_free(host.engine));
    }

    #[test]
    fn what_is_kept_goes_with_its_connection() {
        let mut host = Host::new();
        host.receive(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 100000\r\n\r\n");
        host.receive(&[b'x'; 50_000]);
        assert!(host.paused);
        ok(weir_engine_closed(host.engine, host.client, 1, 0));
        host.perform();
        // SAFETY: no bytes are read.
        let result = unsafe { weir_engine_recv(host.engine, host.client, ptr::null(), 0, ptr::null_mut(), 0) };
        assert_eq!(result, weir_result::WEIR_UNKNOWN_ID);
        ok(weir_engine_free(host.engine));
    }
}
