//! What is to be done, to be told, and when to come back.

use super::{EngineObject, weir_engine, with};
use crate::address::weir_address;
use crate::memory::{self, versioned, weir_str};
use crate::result::{Fault, enter, weir_result};
use std::os::raw::c_char;
use std::sync::Arc;
use weir_core::config::{DnsFamily, LogSink};
use weir_core::engine::{Action, Event};

/// What to do.
#[repr(C)]
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum weir_action_kind {
    /// Connect to `address`, and say so with `weir_engine_connected` or `weir_engine_connect_failed`. If `tls` is not 0, the
    /// connection is there once its TLS handshake is done: `name` is the server name to send (may be empty), `alpn` the
    /// protocols to offer. What the config says of certificates and checks is the host's to do.
    WEIR_ACTION_CONNECT = 1,
    /// There is something to send: call `weir_engine_transmit` until it has nothing.
    WEIR_ACTION_TRANSMIT = 2,
    /// Read (again), and first offer what was left (if the host keeps it: see `weir_engine_recv`).
    WEIR_ACTION_READ = 3,
    /// Stop reading.
    WEIR_ACTION_PAUSE = 4,
    /// Send what is left, then shut down the sending side.
    WEIR_ACTION_SHUTDOWN_WRITE = 5,
    /// Send what is left, close, and call `weir_engine_closed`.
    WEIR_ACTION_CLOSE = 6,
    /// Close now, whatever is left, and call nothing: the id is gone already.
    WEIR_ACTION_DROP = 7,
    /// As `WEIR_ACTION_DROP`, but so that the peer sees an error: a TCP reset (`SO_LINGER` of 0).
    WEIR_ACTION_RESET = 8,
    /// Send what is left, then read once. If something is there, hand it in as usual; if not, close, and call
    /// `weir_engine_closed`.
    WEIR_ACTION_CLOSE_IF_IDLE = 9,
    /// Resolve `name` for `query`, and say so with `weir_engine_resolved` or `weir_engine_resolve_failed`. `family` says which
    /// addresses: one of `weir_family`. Do not block: an answer may come at any time later.
    WEIR_ACTION_RESOLVE = 10,
    /// What is known of a client's first bytes must do: ask `weir_engine_opening` again.
    WEIR_ACTION_OPEN = 11,
    /// Call `weir_engine_nudge` on all engines that limits are shared with, and on this one.
    WEIR_ACTION_NUDGE = 12,
}

/// Which addresses a name is resolved to (`dns_lookup_family`).
#[repr(C)]
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum weir_family {
    /// IPv6, and IPv4 if there is none.
    WEIR_FAMILY_AUTO = 0,
    /// IPv4 only.
    WEIR_FAMILY_V4 = 1,
    /// IPv6 only.
    WEIR_FAMILY_V6 = 2,
    /// IPv4, and IPv6 if there is none.
    WEIR_FAMILY_V4_PREFERRED = 3,
    /// Both.
    WEIR_FAMILY_ALL = 4,
}

/// Something to do. Fields that the kind does not speak of are 0. Texts live until the next call of
/// `weir_engine_next_action` on this engine.
#[repr(C)]
#[derive(Copy, Clone, Debug)]
pub struct weir_action {
    /// `sizeof(struct weir_action)`, set by the host.
    pub size: usize,
    /// What to do: one of `weir_action_kind`.
    pub kind: u32,
    /// `WEIR_ACTION_CONNECT`: not 0 if TLS is to be spoken.
    pub tls: u32,
    /// The connection.
    pub conn: u64,
    /// What `weir_engine_set_data` gave the connection.
    pub data: u64,
    /// `WEIR_ACTION_RESOLVE`: the query.
    pub query: u64,
    /// `WEIR_ACTION_CONNECT`: where to.
    pub address: weir_address,
    /// `WEIR_ACTION_RESOLVE`: one of `weir_family`.
    pub family: u32,
    /// `WEIR_ACTION_RESOLVE`: the name to resolve. `WEIR_ACTION_CONNECT` with TLS: the server name to send.
    pub name: weir_str,
    /// `WEIR_ACTION_CONNECT` with TLS: the protocols to offer, as `SSL_set_alpn_protos` takes them (each after a byte with its
    /// length).
    pub alpn: weir_str,
    /// `WEIR_ACTION_CONNECT` with TLS: a name or address that the certificate must be for, whatever the config says of names; empty
    /// for none.
    pub certificate_name: weir_str,
}
versioned!(weir_action, 112);

/// What the texts of an action point to.
#[derive(Debug, Default)]
pub(super) struct ActionTexts {
    name: Arc<str>,
    alpn: Vec<u8>,
    certificate_name: Option<Arc<str>>,
}

/// The next thing to do; `WEIR_NONE` if there is nothing. Ask until then after everything that was fed.
///
/// # Safety
/// `out` must be a struct of the size that its first field says, or NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn weir_engine_next_action(engine: *mut weir_engine, out: *mut weir_action) -> weir_result {
    enter(|| {
        // An action that could not be told would be lost.
        memory::check_versioned(out, "out")?;
        with(engine, |object| {
            let Some(action) = object.next_action() else { return Ok(weir_result::WEIR_NONE) };
            let told = object.tell(action);
            // SAFETY: the caller answers for it.
            unsafe { memory::write(out, &told, "out")? };
            Ok(weir_result::WEIR_OK)
        })
    })
}

impl EngineObject {
    fn tell(&mut self, action: Action) -> weir_action {
        use weir_action_kind as Kind;
        let mut told: weir_action = memory::Versioned::fresh();
        let (kind, conn) = match action {
            Action::Transmit(conn) => (Kind::WEIR_ACTION_TRANSMIT, Some(conn)),
            Action::SetReadable(conn, true) => (Kind::WEIR_ACTION_READ, Some(conn)),
            Action::SetReadable(conn, false) => (Kind::WEIR_ACTION_PAUSE, Some(conn)),
            Action::ShutdownWrite(conn) => (Kind::WEIR_ACTION_SHUTDOWN_WRITE, Some(conn)),
            Action::Close(conn) => (Kind::WEIR_ACTION_CLOSE, Some(conn)),
            Action::Drop(conn) => (Kind::WEIR_ACTION_DROP, Some(conn)),
            Action::Reset(conn) => (Kind::WEIR_ACTION_RESET, Some(conn)),
            Action::CloseIfIdle(conn) => (Kind::WEIR_ACTION_CLOSE_IF_IDLE, Some(conn)),
            Action::Open(conn) => (Kind::WEIR_ACTION_OPEN, Some(conn)),
            Action::Nudge => (Kind::WEIR_ACTION_NUDGE, None),
            Action::Connect { conn, address, tls } => {
                told.address = weir_address::of(address);
                if let Some(tls) = tls {
                    self.action.name = Arc::clone(&tls.server_name);
                    self.action.alpn.clear();
                    for protocol in &tls.config.common.alpn {
                        self.action.alpn.push(protocol.len() as u8);
                        self.action.alpn.extend_from_slice(protocol.as_bytes());
                    }
                    told.tls = 1;
                    told.name = weir_str::of(&self.action.name);
                    self.action.certificate_name = tls.san;
                    told.certificate_name = self.action.certificate_name.as_deref().map_or(weir_str::EMPTY, weir_str::of);
                    told.alpn = weir_str { data: self.action.alpn.as_ptr().cast(), len: self.action.alpn.len() };
                }
                (Kind::WEIR_ACTION_CONNECT, Some(conn))
            }
            Action::Resolve { query, question } => {
                self.action.name = question.name.host;
                told.name = weir_str::of(&self.action.name);
                told.query = query.to_u64();
                told.family = match question.family {
                    DnsFamily::Auto => weir_family::WEIR_FAMILY_AUTO,
                    DnsFamily::V4Only => weir_family::WEIR_FAMILY_V4,
                    DnsFamily::V6Only => weir_family::WEIR_FAMILY_V6,
                    DnsFamily::V4Preferred => weir_family::WEIR_FAMILY_V4_PREFERRED,
                    DnsFamily::All => weir_family::WEIR_FAMILY_ALL,
                } as u32;
                (Kind::WEIR_ACTION_RESOLVE, None)
            }
        };
        told.kind = kind as u32;
        if let Some(conn) = conn {
            told.conn = conn.to_u64();
            told.data = self.data.get(conn).copied().unwrap_or(0);
            if matches!(kind, Kind::WEIR_ACTION_DROP | Kind::WEIR_ACTION_RESET) {
                self.forget(conn);
            }
        }
        told
    }
}

/// What to tell.
#[repr(C)]
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum weir_event_kind {
    /// `text` is a line for the access log `number`, with its end; see `weir_engine_log_path`.
    WEIR_EVENT_ACCESS_LOG = 1,
    /// The drain of everything has ended; `number` exchanges were cut at the deadline.
    WEIR_EVENT_DRAINED = 2,
    /// The drain of a listener that left the config has ended; `text` is its name.
    WEIR_EVENT_LISTENER_DRAINED = 3,
    /// `text` says what was decided at `at` for the exchange `exchange`, and why. Only if options asked for it. If that ended
    /// it, `ended` is 1 and `number` the status.
    WEIR_EVENT_STEP = 4,
}

/// Something to tell. `text` lives until the next call of `weir_engine_next_event` on this engine.
#[repr(C)]
#[derive(Copy, Clone, Debug)]
pub struct weir_event {
    /// `sizeof(struct weir_event)`, set by the host.
    pub size: usize,
    /// What it is: one of `weir_event_kind`.
    pub kind: u32,
    /// See the kind.
    pub number: u32,
    /// See the kind.
    pub ended: u32,
    /// See the kind.
    pub exchange: u64,
    /// See the kind.
    pub at: u64,
    /// See the kind. Lines of access logs need not be UTF-8.
    pub text: weir_str,
}
versioned!(weir_event, 56);

/// The event as C sees it, and the memory that its text lives in.
pub(crate) fn tell_event(event: Event) -> (weir_event, Vec<u8>) {
    let mut told: weir_event = memory::Versioned::fresh();
    let text = match event {
        Event::AccessLog { sink, line } => {
            told.kind = weir_event_kind::WEIR_EVENT_ACCESS_LOG as u32;
            told.number = sink as u32;
            line
        }
        Event::Drained { cut } => {
            told.kind = weir_event_kind::WEIR_EVENT_DRAINED as u32;
            told.number = cut;
            Vec::new()
        }
        Event::ListenerDrained { name } => {
            told.kind = weir_event_kind::WEIR_EVENT_LISTENER_DRAINED as u32;
            name.as_bytes().to_vec()
        }
        Event::Step(step) => {
            told.kind = weir_event_kind::WEIR_EVENT_STEP as u32;
            told.exchange = step.exchange.to_u64();
            told.at = step.at.as_nanos();
            if let Some(end) = step.end {
                (told.ended, told.number) = (1, u32::from(end.record.status));
            }
            step.what.into_bytes()
        }
    };
    told.text = weir_str { data: text.as_ptr().cast(), len: text.len() };
    (told, text)
}

/// The next thing to tell; `WEIR_NONE` if there is nothing. Ask now and then: events wait in memory.
///
/// # Safety
/// `out` must be a struct of the size that its first field says, or NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn weir_engine_next_event(engine: *mut weir_engine, out: *mut weir_event) -> weir_result {
    enter(|| {
        memory::check_versioned(out, "out")?;
        with(engine, |object| {
            let Some(event) = object.engine.poll_event() else { return Ok(weir_result::WEIR_NONE) };
            let (told, text) = tell_event(event);
            object.event = text;
            // SAFETY: the caller answers for it.
            unsafe { memory::write(out, &told, "out")? };
            Ok(weir_result::WEIR_OK)
        })
    })
}

/// Where lines of the access log `number` are to go, as the config says: a path, `/dev/stdout` or `/dev/stderr`. The text
/// lives until the engine gets another config or is freed. `WEIR_NONE` if there is no such log.
///
/// # Safety
/// `out` must be valid for writing, or NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn weir_engine_log_path(engine: *const weir_engine, number: u32, out: *mut weir_str) -> weir_result {
    enter(|| {
        memory::check_out(out, "out")?;
        with(engine, |object| {
            let path = match object.config.sinks.get(number as usize) {
                None => return Ok(weir_result::WEIR_NONE),
                Some(LogSink::File(path)) => path,
                Some(LogSink::Stdout) => "/dev/stdout",
                Some(LogSink::Stderr) => "/dev/stderr",
            };
            // SAFETY: the caller answers for it.
            unsafe { memory::put(out, weir_str::of(path), "out")? };
            Ok(weir_result::WEIR_OK)
        })
    })
}

/// When to call `weir_engine_timeout`; `WEIR_NONE` if nothing is due ever. It may be earlier than anything is due, and may
/// change with everything that is fed.
///
/// # Safety
/// `at` must be valid for writing, or NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn weir_engine_deadline(engine: *const weir_engine, at: *mut u64) -> weir_result {
    enter(|| {
        memory::check_out(at, "at")?;
        let Some(deadline) = with(engine, |object| Ok(object.engine.poll_timeout()))? else { return Ok(weir_result::WEIR_NONE) };
        // SAFETY: the caller answers for it.
        unsafe { memory::put(at, deadline.at.as_nanos(), "at")? };
        Ok(weir_result::WEIR_OK)
    })
}

/// Why the engine has that deadline, for people: `Exchange(ConnId(1v1), Route)`. Copied to `buffer`, cut to `size`, with a zero
/// byte; `WEIR_NONE` if there is no deadline.
///
/// # Safety
/// `buffer` must have room for `size` bytes, or be NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn weir_engine_deadline_reason(engine: *const weir_engine, buffer: *mut c_char, size: usize) -> weir_result {
    enter(|| {
        if buffer.is_null() {
            return Err(Fault::null("buffer"));
        }
        let Some(deadline) = with(engine, |object| Ok(object.engine.poll_timeout()))? else { return Ok(weir_result::WEIR_NONE) };
        // SAFETY: the caller answers for it.
        unsafe { memory::copy_c_text(&format!("{:?}", deadline.why), buffer, size) };
        Ok(weir_result::WEIR_OK)
    })
}
