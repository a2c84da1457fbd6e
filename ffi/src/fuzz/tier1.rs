//! Calls of the engine's functions, and of those that every tier has.
//!
//! Safety of all: what is pointed to lives and has what is said of it, or is NULL, or is refused by its size before it is read.
#![allow(clippy::undocumented_unsafe_blocks)]

use super::calls::*;
use super::room::Room;
use super::{Host, Kind, looked_at};
use crate::address::{weir_address, weir_address_of, weir_address_to};
use crate::config::*;
use crate::engine::*;
use crate::filter::*;
use crate::memory::*;
use crate::replay::*;
use crate::result::weir_result::{self, WEIR_CONFIG_REFUSED, WEIR_OK, WEIR_TOO_SMALL};
use crate::result::*;
use std::os::raw::c_void;
use std::ptr;

/// Filters that wait now and then.
unsafe extern "C" fn pause(weir: *const weir_filter_host, exchange: *mut weir_exchange, _: *mut c_void) -> u32 {
    let mut number = 0;
    unsafe { ((*weir).random)(exchange, &raw mut number) };
    number as u32 & 1
}

unsafe extern "C" fn gather(_: *const weir_filter_host, _: *mut weir_exchange, _: *mut c_void, _: *const u8, _: usize) -> u32 {
    weir_verdict::WEIR_GATHER as u32
}

unsafe extern "C" fn go_on(_: *const weir_filter_host, _: *mut weir_exchange, _: *mut c_void, _: *const u8, _: usize) -> u32 {
    weir_verdict::WEIR_CONTINUE as u32
}

impl Host<'_> {
    /// What an engine has recorded, or other bytes, perhaps with one changed.
    fn log(&mut self) -> Vec<u8> {
        let (mut data, mut len) = (ptr::null(), 0);
        let recorded = self.handle::<weir_bytes>(Kind::Bytes);
        let mut log = match unsafe { weir_bytes_get(recorded, &raw mut data, &raw mut len) } {
            WEIR_OK => unsafe { std::slice::from_raw_parts(data, len) }.to_vec(),
            _ => self.bytes(),
        };
        if self.byte() < 100 && !log.is_empty() {
            let at = self.number() as usize % log.len();
            log[at] ^= self.byte();
        }
        log
    }
}

calls! {
    weir_address_of: |host| {
        let (mut from, out) = (host.bytes(), host.out::<weir_address>());
        if let [first, second, ..] = &mut from[..] {
            (*first, *second) = ([2, 10, 10, 0][usize::from(*first % 4)], 0);
        }
        let (data, len) = host.span(&from);
        let worked = looked_at("weir_address_of", unsafe { weir_address_of(data.cast(), len, out.at) }) == WEIR_OK;
        out.get(worked);
    };
    weir_address_to: |host| {
        let (address, room) = (host.address(), host.below(40));
        let (mut to, mut len) = (Room::new(room), room);
        let result = looked_at("weir_address_to", unsafe { weir_address_to(host.maybe(&address), to.at().cast(), &raw mut len) });
        match result {
            WEIR_OK => assert!(to.written().len() >= len),
            WEIR_TOO_SMALL => assert!(len > room),
            _ => to.untouched(),
        }
    };
    weir_config_load: |host| {
        let text = host.config_text();
        let (text, file, flags) = (host.text(&text), host.text(b"f"), [0, 0, 1, 2][host.below(4)]);
        let (out, found) = (host.out(), host.out());
        let result = looked_at("weir_config_load", unsafe { weir_config_load(text, file, flags, out.at, found.at) });
        host.gives(Kind::Config, &out, result == WEIR_OK);
        host.gives(Kind::Diagnostics, &found, matches!(result, WEIR_OK | WEIR_CONFIG_REFUSED));
    };
    weir_config_load_file: |host| {
        let (path, out, found) = (host.text(b"/nowhere"), host.out(), host.out());
        let result = looked_at("weir_config_load_file", unsafe { weir_config_load_file(path, 0, out.at, found.at) });
        assert_ne!(result, WEIR_OK);
        host.gives(Kind::Config, &out, false);
        host.gives(Kind::Diagnostics, &found, result == WEIR_CONFIG_REFUSED);
    };
    weir_config_free: |host| host.free(Kind::Config, weir_config_free);
    weir_config_listener: |host| {
        if let Some(listener) = told_at(host, Kind::Config, "weir_config_listener", weir_config_listener) {
            read_text(listener.name);
        }
    };
    weir_diagnostics_count: |host| {
        std::hint::black_box(weir_diagnostics_count(host.handle(Kind::Diagnostics)));
    };
    weir_diagnostics_get: |host| {
        if let Some(found) = told_at(host, Kind::Diagnostics, "weir_diagnostics_get", weir_diagnostics_get) {
            [found.file, found.field, found.message, found.help].into_iter().for_each(read_text);
        }
    };
    weir_diagnostics_free: |host| host.free(Kind::Diagnostics, weir_diagnostics_free);
    weir_engine_new: |host| {
        let (config, shares) = (host.handle(Kind::Config), host.byte() < 50);
        let mut options = weir_engine_options { seed: host.number(), now: host.time(), wall: host.number(), ..Versioned::fresh() };
        options.shared_with = if shares { host.handle::<weir_engine>(Kind::Engine) } else { ptr::null() };
        (options.record, options.record_bodies, options.explain) = (host.byte() as u32 & 1, host.byte() as u32 & 1, host.byte() as u32 & 1);
        options.size = if host.byte() < 240 { options.size } else { host.below(options.size + 1) };
        let out = host.out();
        let worked = looked_at("weir_engine_new", unsafe { weir_engine_new(config, host.maybe(&options), out.at) }) == WEIR_OK;
        host.gives(Kind::Engine, &out, worked);
    };
    weir_engine_free: |host| host.free(Kind::Engine, weir_engine_free);
    weir_engine_listener: |host| {
        let name: &[u8] = [&b"main"[..], b"tls", b"no"][host.below(3)];
        let (engine, name, out) = (host.handle::<weir_engine>(Kind::Engine), host.text(name), host.out());
        let worked = looked_at("weir_engine_listener", unsafe { weir_engine_listener(engine, name, out.at) }) == WEIR_OK;
        host.ids.extend(out.get(worked));
    };
    weir_engine_set_data: |host| {
        let (engine, conn, _) = news(host);
        looked_at("weir_engine_set_data", weir_engine_set_data(engine, conn, host.number()));
    };
    weir_engine_stat: |host| {
        let (engine, name, out) = (host.handle::<weir_engine>(Kind::Engine), host.text(b"http.in.downstream_rq_total"), host.out());
        let worked = looked_at("weir_engine_stat", unsafe { weir_engine_stat(engine, name, out.at) }) == WEIR_OK;
        out.get(worked);
    };
    weir_engine_stats: |host| gives_bytes(host, Kind::Engine, "weir_engine_stats", |engine, out| unsafe { weir_engine_stats(engine, out) });
    weir_engine_get_state: |host| {
        let _ = told(host, Kind::Engine, "weir_engine_get_state", get_state);
    };
    weir_engine_recorded: |host| gives_bytes(host, Kind::Engine, "weir_engine_recorded", |engine, out| unsafe { weir_engine_recorded(engine, out) });
    weir_engine_accept: |host| {
        let (engine, listener, now) = news(host);
        let (local, remote, out) = (host.address(), host.address(), host.out());
        let (local, remote) = (host.maybe(&local), host.maybe(&remote));
        let worked = looked_at("weir_engine_accept", unsafe { weir_engine_accept(engine, listener, local, remote, now, out.at) }) == WEIR_OK;
        host.ids.extend(out.get(worked));
    };
    weir_engine_connected: |host| {
        let (engine, conn, now) = news(host);
        let (local, remote, tls, plain) = (host.address(), host.address(), host.tls_info(), host.byte() < 150);
        let tls = if plain { ptr::null() } else { &raw const tls };
        let (local, remote) = (host.maybe(&local), host.maybe(&remote));
        looked_at("weir_engine_connected", unsafe { weir_engine_connected(engine, conn, local, remote, tls, now) });
    };
    weir_engine_connect_failed: |host| {
        let (engine, conn, now) = news(host);
        let (reason, fault) = (host.text(b"no"), host.byte() as u32 % 8);
        looked_at("weir_engine_connect_failed", unsafe { weir_engine_connect_failed(engine, conn, reason, fault, now) });
    };
    weir_engine_recv: |host| {
        let bytes = host.bytes();
        host.receive(&bytes);
    };
    weir_engine_eof: |host| {
        let (engine, conn, now) = news(host);
        looked_at("weir_engine_eof", weir_engine_eof(engine, conn, now));
    };
    weir_engine_closed: |host| {
        let (engine, conn, now) = news(host);
        looked_at("weir_engine_closed", weir_engine_closed(engine, conn, u32::from(host.byte() % 3), now));
    };
    weir_engine_resolved: |host| {
        let (engine, query, now) = news(host);
        let found = [host.address(), host.address()];
        let (data, count) = match host.byte() {
            250.. => (ptr::null(), host.number() as usize),
            249 => (found.as_ptr(), usize::MAX),
            some => (found.as_ptr(), usize::from(some % 3)),
        };
        looked_at("weir_engine_resolved", unsafe { weir_engine_resolved(engine, query, data, count, host.number(), now) });
    };
    weir_engine_resolve_failed: |host| {
        let (engine, query, now) = news(host);
        looked_at("weir_engine_resolve_failed", unsafe { weir_engine_resolve_failed(engine, query, host.text(b"no"), now) });
    };
    weir_engine_set_config: |host| {
        let (engine, _, now) = news(host);
        looked_at("weir_engine_set_config", weir_engine_set_config(engine, host.handle::<weir_config>(Kind::Config), now));
    };
    weir_engine_drain: |host| {
        let (engine, _, now) = news(host);
        looked_at("weir_engine_drain", weir_engine_drain(engine, host.number(), now));
    };
    weir_engine_drain_listener: |host| {
        let (engine, listener, now) = news(host);
        looked_at("weir_engine_drain_listener", weir_engine_drain_listener(engine, listener, now));
    };
    weir_engine_timeout: |host| {
        let (engine, _, now) = news(host);
        looked_at("weir_engine_timeout", weir_engine_timeout(engine, now));
    };
    weir_engine_set_wall: |host| {
        let (engine, _, now) = news(host);
        looked_at("weir_engine_set_wall", weir_engine_set_wall(engine, host.number(), now));
    };
    weir_engine_nudge: |host| {
        let (engine, _, now) = news(host);
        looked_at("weir_engine_nudge", weir_engine_nudge(engine, now));
    };
    weir_engine_opening: |host| {
        let ((engine, conn, _), out) = (news(host), host.out());
        let worked = looked_at("weir_engine_opening", unsafe { weir_engine_opening(engine, conn, out.at) }) == WEIR_OK;
        assert!(out.get(worked).is_none_or(|opening| opening <= 3));
    };
    weir_engine_client_hello: |host| {
        let ((engine, conn, now), out) = (news(host), host.out());
        let protocols = [host.text(b"h2"), host.text(b"\xff")];
        let (name, count) = (host.text(b"A"), host.below(3));
        let given = if host.byte() < 250 { protocols.as_ptr() } else { ptr::null() };
        let tls = host.byte() as u32 & 1;
        let result = unsafe { weir_engine_client_hello(engine, conn, tls, name, given, count, now, out.at) };
        out.get(looked_at("weir_engine_client_hello", result) == WEIR_OK);
    };
    weir_engine_secured: |host| {
        let ((engine, conn, now), info) = (news(host), host.tls_info());
        looked_at("weir_engine_secured", unsafe { weir_engine_secured(engine, conn, host.maybe(&info), now) });
    };
    weir_engine_handshake_failed: |host| {
        let (engine, conn, now) = news(host);
        looked_at("weir_engine_handshake_failed", weir_engine_handshake_failed(engine, conn, u32::from(host.byte() % 8), now));
    };
    weir_engine_next_action: |host| {
        if let Some(action) = told(host, Kind::Engine, "weir_engine_next_action", weir_engine_next_action) {
            host.ids.extend([action.conn, action.query]);
            [action.name, action.alpn, action.certificate_name].into_iter().for_each(read_text);
        }
    };
    weir_engine_next_event: |host| {
        if let Some(event) = told(host, Kind::Engine, "weir_engine_next_event", weir_engine_next_event) {
            read_text(event.text);
        }
    };
    weir_engine_log_path: |host| {
        let ((engine, _, _), out) = (news(host), host.out());
        let worked = looked_at("weir_engine_log_path", unsafe { weir_engine_log_path(engine, host.number() as u32, out.at) }) == WEIR_OK;
        if let Some(path) = out.get(worked) {
            read_text(path);
        }
    };
    weir_engine_deadline: |host| {
        let ((engine, _, _), out) = (news(host), host.out());
        out.get(looked_at("weir_engine_deadline", unsafe { weir_engine_deadline(engine, out.at) }) == WEIR_OK);
    };
    weir_engine_deadline_reason: |host| {
        let ((engine, _, _), size) = (news(host), host.below(80));
        let mut room = Room::new(size);
        let result = looked_at("weir_engine_deadline_reason", unsafe { weir_engine_deadline_reason(engine, room.at().cast(), size) });
        assert!(result != WEIR_OK || size == 0 || room.written().contains(&0));
    };
    weir_engine_transmit: |host| {
        let (engine, conn, _) = news(host);
        host.send(engine, conn);
    };
    weir_engine_sent: |host| {
        let (engine, conn, _) = news(host);
        looked_at("weir_engine_sent", weir_engine_sent(engine, conn, host.number() as usize));
    };
    weir_engine_transmit_copy: |host| {
        let ((engine, conn, now), size) = (news(host), host.below(120));
        let (mut room, written) = (Room::new(size), host.out::<usize>());
        let buffer = if host.byte() < 250 { room.at() } else { ptr::null_mut() };
        let result = looked_at("weir_engine_transmit_copy", unsafe { weir_engine_transmit_copy(engine, conn, buffer, size, written.at, now) });
        match written.get(result == WEIR_OK) {
            Some(count) => assert!(count <= size && room.written().len() == size),
            None => room.untouched(),
        }
    };
    weir_bytes_get: |host| {
        let (bytes, data, len) = (host.handle::<weir_bytes>(Kind::Bytes), host.out::<*const u8>(), host.out::<usize>());
        let worked = looked_at("weir_bytes_get", unsafe { weir_bytes_get(bytes, data.at, len.at) }) == WEIR_OK;
        if let (Some(data), Some(len)) = (data.get(worked), len.get(worked)) {
            read_text(weir_str { data: data.cast(), len });
        }
    };
    weir_bytes_free: |host| host.free(Kind::Bytes, weir_bytes_free);
    weir_replay_open: |host| {
        let log = host.log();
        let ((data, len), out) = (host.span(&log), host.out());
        let worked = looked_at("weir_replay_open", unsafe { weir_replay_open(data, len, host.byte() as u32 & 1, out.at) }) == WEIR_OK;
        host.gives(Kind::Replay, &out, worked);
    };
    weir_config_load_with: |host| {
        let text = host.config_text();
        let (filters, text, file) = (host.handle(Kind::Filters), host.text(&text), host.text(b"f"));
        let (flags, out, found) = ([0, 0, 1, 2][host.below(4)], host.out(), host.out());
        let result = unsafe { weir_config_load_with(filters, text, file, flags, out.at, found.at) };
        looked_at("weir_config_load_with", result);
        host.gives(Kind::Config, &out, result == WEIR_OK);
        host.gives(Kind::Diagnostics, &found, matches!(result, WEIR_OK | WEIR_CONFIG_REFUSED));
    };
    weir_filters_new: |host| {
        let out = host.out();
        let worked = looked_at("weir_filters_new", unsafe { weir_filters_new(out.at) }) == WEIR_OK;
        host.gives(Kind::Filters, &out, worked);
    };
    weir_filters_register: |host| {
        let mut table = weir_filter {
            wants_bodies: host.byte() as u32 & 1,
            request_head: Some(pause),
            request_body: Some(gather),
            response_head: Some(pause),
            resumed: Some(go_on),
            ..Versioned::fresh()
        };
        table.size = if host.byte() < 240 { table.size } else { host.below(weir_filter::FIRST) };
        let (filters, kind) = (host.handle(Kind::Filters), host.text(b"a.test/fuzz.Wait"));
        looked_at("weir_filters_register", unsafe { weir_filters_register(filters, kind, host.maybe(&table)) });
    };
    weir_filters_allow_modules: |host| {
        let (filters, folder) = (host.handle(Kind::Filters), host.text(b"/nowhere"));
        looked_at("weir_filters_allow_modules", unsafe { weir_filters_allow_modules(filters, folder) });
    };
    weir_filters_free: |host| host.free(Kind::Filters, weir_filters_free);
    weir_filter_functions: |_| assert!(!weir_filter_functions().is_null());
    weir_filter_resume: |host| {
        let (id, (learned, len)) = (host.filter_id(), host.span(b"learned"));
        let result = looked_at("weir_filter_resume", unsafe { weir_filter_resume(host.maybe(&id), learned, len) });
        assert_ne!(result, WEIR_OK, "there is no proxy");
    };
    weir_filter_resume_answer: |host| {
        let (id, answer) = (host.filter_id(), host.answer());
        let result = unsafe { weir_filter_resume_answer(host.maybe(&id), host.maybe(&answer)) };
        assert_ne!(looked_at("weir_filter_resume_answer", result), WEIR_OK, "there is no proxy");
    };
    weir_engine_resume: |host| {
        let ((engine, _, now), id, (learned, len)) = (news(host), host.filter_id(), host.span(b"learned"));
        looked_at("weir_engine_resume", unsafe { weir_engine_resume(engine, host.maybe(&id), learned, len, now) });
    };
    weir_engine_resume_answer: |host| {
        let ((engine, _, now), id, answer) = (news(host), host.filter_id(), host.answer());
        let result = unsafe { weir_engine_resume_answer(engine, host.maybe(&id), host.maybe(&answer), now) };
        looked_at("weir_engine_resume_answer", result);
    };
    weir_replay_open_with: |host| {
        let log = host.log();
        let (filters, (data, len), out) = (host.handle(Kind::Filters), host.span(&log), host.out());
        let result = unsafe { weir_replay_open_with(filters, data, len, host.byte() as u32 & 1, out.at) };
        let worked = looked_at("weir_replay_open_with", result) == WEIR_OK;
        host.gives(Kind::Replay, &out, worked);
    };
    weir_replay_step: |host| {
        let replay = host.handle(Kind::Replay);
        for _ in 0..=host.byte() {
            if looked_at("weir_replay_step", weir_replay_step(replay)) != WEIR_OK {
                break;
            }
        }
    };
    weir_replay_next_event: |host| {
        if let Some(event) = told(host, Kind::Replay, "weir_replay_next_event", weir_replay_next_event) {
            read_text(event.text);
        }
    };
    weir_replay_get_summary: |host| {
        let _ = told(host, Kind::Replay, "weir_replay_get_summary", get_summary);
    };
    weir_replay_free: |host| host.free(Kind::Replay, weir_replay_free);
    weir_abi_version: |_| assert_eq!(weir_abi_version(), WEIR_ABI_VERSION);
    weir_check_abi: |host| {
        looked_at("weir_check_abi", weir_check_abi(host.number() as u32));
    };
    weir_version: |_| assert!(!weir_version().is_null());
    weir_result_name: |host| assert!(!weir_result_name(host.number() as u32).is_null());
    weir_last_error: |host| {
        let size = host.below(80);
        let mut room = Room::new(size);
        unsafe { weir_last_error(room.at().cast(), size) };
        assert!(size == 0 || room.written().contains(&0));
    };
}

unsafe extern "C" fn get_state(engine: *mut weir_engine, out: *mut weir_engine_state) -> weir_result {
    unsafe { weir_engine_get_state(engine, out) }
}

unsafe extern "C" fn get_summary(replay: *mut weir_replay, out: *mut weir_replay_summary) -> weir_result {
    unsafe { weir_replay_get_summary(replay, out) }
}
