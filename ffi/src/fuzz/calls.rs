//! What calls are made with, and what is looked at behind them.

use super::room::{Room, Struct};
use super::{Host, Kind, looked_at, tier1, tier2};
use crate::address::weir_address;
use crate::config::*;
use crate::engine::*;
use crate::filter::*;
use crate::memory::*;
use crate::proxy::*;
use crate::replay::*;
use crate::result::weir_result::{self, WEIR_OK};
use std::mem::size_of;
use std::ptr;

const REQUESTS: [&[u8]; 5] = [
    b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n",
    b"POST /n HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 600\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: upgrade\r\nSec-WebSocket-Version: 13\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00",
];
const RESPONSES: [&[u8]; 4] = [
    b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc",
    b"HTTP/1.1 103 Early\r\n\r\n",
    b"HTTP/1.1 503 No\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nt: 1\r\n\r\n",
    b"HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\nbytes",
];

/// A place for one value: where it is, or NULL, or not aligned.
pub(super) struct Out<T> {
    room: Room,
    /// Where the call is told to write.
    pub(super) at: *mut T,
}

impl<T: Copy> Out<T> {
    /// What was written, if the call has worked and was told where.
    pub(super) fn get(&self, worked: bool) -> Option<T> {
        if !worked || self.at.is_null() {
            self.room.untouched();
            return None;
        }
        let written = self.room.written();
        // SAFETY: the room has as many bytes as the value, which the library has written.
        Some(unsafe { written.as_ptr().cast::<T>().read_unaligned() })
    }
}

impl Host<'_> {
    pub(super) fn out<T>(&mut self) -> Out<T> {
        let mut room = Room::new(size_of::<T>().max(1));
        let at = match self.byte() {
            252.. => ptr::null_mut(),
            251 if align_of::<T>() > 1 => room.at().wrapping_add(1).cast(),
            _ => room.at().cast(),
        };
        Out { room, at }
    }

    /// The size that a struct says it has.
    pub(super) fn size<T: Versioned>(&mut self) -> Struct {
        Struct::new(match self.byte() {
            0..230 => size_of::<T>(),
            230..240 => size_of::<T>() + self.below(100),
            240..248 => self.below(T::FIRST + 1),
            _ => self.number() as usize,
        })
    }

    pub(super) fn address(&mut self) -> weir_address {
        let family = [4, 6, 4, 6, 4, 0, 5][self.below(7)];
        weir_address { family, port: self.byte().into(), ip: [127, 0, 0, self.byte(), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1] }
    }

    /// A pointer to something, or NULL.
    pub(super) fn maybe<T>(&mut self, to: &T) -> *const T {
        if self.byte() < 250 { to } else { ptr::null() }
    }

    /// A handle that a call has given.
    pub(super) fn gives<T>(&mut self, kind: Kind, out: &Out<*mut T>, worked: bool) {
        if let Some(handle) = out.get(worked) {
            self.given(kind, handle);
        }
    }

    pub(super) fn tls_info(&mut self) -> weir_tls_info {
        let texts: [&[u8]; 6] = [b"", b"TLSv1.3", b"h2", b"http/1.1", b"a", b"\xff"];
        let mut text = || {
            let at = self.below(texts.len());
            self.text(texts[at])
        };
        let (version, cipher, alpn, server_name) = (text(), text(), text(), text());
        weir_tls_info { version, cipher, alpn, server_name, resumed: self.byte().into(), ..Versioned::fresh() }
    }

    pub(super) fn free<T>(&mut self, kind: Kind, free: extern "C" fn(*mut T) -> weir_result) {
        let handle: *mut T = self.handle(kind);
        if looked_at("free", free(handle)) == WEIR_OK {
            self.freed(handle);
        }
    }

    /// A wait of a filter: mostly one that there is.
    pub(super) fn filter_id(&mut self) -> weir_filter_id {
        let (engine, exchange) = (u64::from(self.byte() > 240), self.id());
        weir_filter_id {
            engine,
            exchange,
            index: self.below(3) as u32,
            side: self.below(3) as u32,
            turn: self.below(3) as u32,
            reserved: 0,
        }
    }

    pub(super) fn answer(&mut self) -> weir_answer {
        let (body, details) = (self.text(b"\xffno"), self.text(b"no"));
        let size = if self.byte() < 230 { size_of::<weir_answer>() } else { self.below(weir_answer::FIRST) };
        weir_answer { size, status: [403, 200, 199, 600][self.below(4)], body, details, headers: ptr::null(), header_count: 0 }
    }

    pub(super) fn config_text(&mut self) -> Vec<u8> {
        match self.below(5) {
            4 => super::CONFIG
                .replace("http_filters: [", "http_filters: [{ name: f, typed_config: { \"@type\": a.test/fuzz.Wait } }, ")
                .into_bytes(),
            0 => self.bytes(),
            1 => b"{}".to_vec(),
            2 => b"static_resources: { listeners: [ { nam: a } ] }".to_vec(),
            _ => [b"static_resources: ", &self.bytes()[..]].concat(),
        }
    }

    /// Does what the engine says.
    pub(super) fn perform(&mut self) {
        let engine: *mut weir_engine = self.handle(Kind::Engine);
        for _ in 0..64 {
            let mut action = Struct::new(size_of::<weir_action>());
            // SAFETY: there is so much room.
            let result = looked_at("weir_engine_next_action", unsafe { weir_engine_next_action(engine, action.at()) });
            let Some(action) = action.read::<weir_action>(result == WEIR_OK) else { break };
            read_text(action.name);
            read_text(action.alpn);
            self.ids.extend([action.conn, action.query].into_iter().filter(|id| *id != 0));
            let (here, now) = (weir_address { family: 4, port: 1, ip: [127; 16] }, self.now);
            match action.kind {
                // SAFETY: the addresses live.
                1 => unsafe { weir_engine_connected(engine, action.conn, &raw const here, &raw const here, ptr::null(), now) },
                2 => self.send(engine, action.conn),
                6 | 9 => weir_engine_closed(engine, action.conn, 0, now),
                12 => weir_engine_nudge(engine, now),
                _ => WEIR_OK,
            };
        }
    }

    pub(super) fn send(&mut self, engine: *mut weir_engine, conn: u64) -> weir_result {
        let (max, now) = (1 + self.below(4), self.time());
        let mut slices = Room::new(max * size_of::<weir_iovec>());
        let count = self.out::<usize>();
        // SAFETY: there is room for as many.
        let result = unsafe { weir_engine_transmit(engine, conn, slices.at().cast(), max, count.at, now) };
        let Some(count) = count.get(looked_at("weir_engine_transmit", result) == WEIR_OK) else {
            slices.untouched();
            return result;
        };
        let _ = slices.written();
        let mut sum = 0;
        for at in 0..count {
            // SAFETY: so many were written; their bytes live until the next call for this connection.
            unsafe {
                let slice = slices.at().cast::<weir_iovec>().add(at).read();
                std::hint::black_box(std::slice::from_raw_parts(slice.data, slice.len).iter().map(|byte| u64::from(*byte)).sum::<u64>());
                sum += slice.len;
            }
        }
        if self.byte() < 200 {
            assert_eq!(weir_engine_sent(engine, conn, sum), WEIR_OK, "{sum} bytes were lent");
        }
        result
    }

    pub(super) fn receive(&mut self, bytes: &[u8]) {
        let (engine, conn, now) = (self.handle(Kind::Engine), self.id(), self.time());
        let ((data, len), taken) = (self.span(bytes), self.out::<usize>());
        // SAFETY: there are as many bytes as is said, or a length that is refused.
        let result = looked_at("weir_engine_recv", unsafe { weir_engine_recv(engine, conn, data, len, taken.at, now) });
        if let Some(count) = taken.get(result == WEIR_OK) {
            assert!(count <= len);
        }
    }

    pub(super) fn call(&mut self, which: usize) {
        match which {
            200..208 => self.receive(REQUESTS[which % REQUESTS.len()]),
            208..216 => self.receive(RESPONSES[which % RESPONSES.len()]),
            216.. => self.perform(),
            _ => {
                let (tier1, tier2) = (tier1::CALLS, tier2::CALLS);
                let at = which % (tier1.len() + tier2.len());
                let (_, call) = tier1.get(at).unwrap_or_else(|| &tier2[at - tier1.len()]);
                call(self);
            }
        }
    }
}

/// Texts that were given can be read.
pub(super) fn read_text(text: weir_str) {
    if text.len > 0 {
        // SAFETY: a text has the bytes that it says.
        std::hint::black_box(unsafe { std::slice::from_raw_parts(text.data.cast::<u8>(), text.len) }.to_vec());
    }
}

pub(super) fn free(kind: Kind, handle: usize) -> weir_result {
    match kind {
        Kind::Config => weir_config_free(handle as *mut _),
        Kind::Diagnostics => weir_diagnostics_free(handle as *mut _),
        Kind::Engine => weir_engine_free(handle as *mut _),
        Kind::Bytes => weir_bytes_free(handle as *mut _),
        Kind::Replay => weir_replay_free(handle as *mut _),
        Kind::Filters => weir_filters_free(handle as *mut _),
        Kind::Proxy => weir_proxy_free(handle as *mut _),
        Kind::Call => weir_call_free(handle as *mut _),
    }
}

macro_rules! calls {
    ($($name:ident: $call:expr;)*) => {
        /// The functions that are called here, each with its name.
        pub(super) const CALLS: &[(&str, fn(&mut Host<'_>))] = &[$((stringify!($name), |host| {
            let call: fn(&mut Host<'_>) = $call;
            call(host);
        })),*];
    };
}
pub(super) use calls;

/// What a function needs that takes an engine, a struct to write, and nothing else.
pub(super) fn told<T: Versioned, H>(
    host: &mut Host<'_>,
    kind: Kind,
    name: &str,
    call: unsafe extern "C" fn(*mut H, *mut T) -> weir_result,
) -> Option<T> {
    let (handle, mut out) = (host.handle(kind), host.size::<T>());
    // SAFETY: the struct has as much room as it says.
    let result = looked_at(name, unsafe { call(handle, out.at()) });
    out.read(result == WEIR_OK)
}

/// As [`told`], with a place in a list.
pub(super) fn told_at<T: Versioned, H>(
    host: &mut Host<'_>,
    kind: Kind,
    name: &str,
    call: unsafe extern "C" fn(*const H, usize, *mut T) -> weir_result,
) -> Option<T> {
    let (handle, at, mut out) = (host.handle::<H>(kind), host.number() as usize, host.size::<T>());
    // SAFETY: the struct has as much room as it says.
    let result = looked_at(name, unsafe { call(handle, at, out.at()) });
    out.read(result == WEIR_OK)
}

/// What gives bytes.
pub(super) fn gives_bytes<H>(host: &mut Host<'_>, kind: Kind, name: &str, call: impl Fn(*mut H, *mut *mut weir_bytes) -> weir_result) {
    let (handle, out) = (host.handle(kind), host.out());
    let worked = looked_at(name, call(handle, out.at)) == WEIR_OK;
    host.gives(Kind::Bytes, &out, worked);
}

/// An engine, a connection and a time.
pub(super) fn news(host: &mut Host<'_>) -> (*mut weir_engine, u64, u64) {
    (host.handle(Kind::Engine), host.id(), host.time())
}
