//! Calls of the proxy's functions. There is no proxy: the handles are all wrong, and what else is wrong must be found before or after
//! that. A proxy for each input would cost threads.
//!
//! Safety of all: as in `tier1`.
#![allow(clippy::undocumented_unsafe_blocks)]

use super::calls::*;
use super::room::Room;
use super::{Host, Kind, looked_at};
use crate::memory::*;
use crate::proxy::*;
use crate::result::weir_result::{self, WEIR_OK};
use std::mem::size_of;
use std::ptr;

impl Host<'_> {
    fn request(&mut self) -> weir_request {
        let (method, path) = (self.text(b"GET"), self.text(b"/"));
        let size = if self.byte() < 200 { size_of::<weir_request>() } else { self.below(weir_request::FIRST) };
        weir_request { size, method, path, header_count: 0, ..Versioned::fresh() }
    }
}

extern "C" fn on_end(_: *mut std::os::raw::c_void, _: weir_result, _: u32) {}

/// A call of a proxy that there is not.
fn refused(name: &str, result: weir_result) {
    let failed = !matches!(looked_at(name, result), WEIR_OK | weir_result::WEIR_NONE);
    assert!(failed, "{name}: {result:?} without a proxy");
}

calls! {
    weir_proxy_start: |host| {
        let mut options = weir_proxy_options { size: host.below(size_of::<weir_proxy_options>()), ..Versioned::fresh() };
        options.size = options.size.min(weir_proxy_options::FIRST - 1);
        let (config, file, out, found) = (host.text(b"{}"), host.text(b"f"), host.out(), host.out());
        let result = looked_at("weir_proxy_start", unsafe { weir_proxy_start(config, file, &raw const options, out.at, found.at) });
        assert_ne!(result, WEIR_OK, "its options are too small");
        host.gives(Kind::Proxy, &out, false);
        host.gives(Kind::Diagnostics, &found, false);
    };
    weir_proxy_start_file: |host| {
        let (path, out, found) = (host.text(b"/nowhere"), host.out(), host.out());
        let result = looked_at("weir_proxy_start_file", unsafe { weir_proxy_start_file(path, ptr::null(), out.at, found.at) });
        assert_ne!(result, WEIR_OK);
        host.gives(Kind::Proxy, &out, false);
        host.gives(Kind::Diagnostics, &found, false);
    };
    weir_proxy_update: |host| {
        let (proxy, text, found) = (host.handle(Kind::Proxy), host.text(b"{}"), host.out());
        refused("weir_proxy_update", unsafe { weir_proxy_update(proxy, text, text, found.at) });
        host.gives(Kind::Diagnostics, &found, false);
    };
    weir_proxy_call: |host| {
        let (proxy, listener, request, out) = (host.handle(Kind::Proxy), host.text(b"main"), host.request(), host.out());
        refused("weir_proxy_call", unsafe { weir_proxy_call(proxy, listener, host.maybe(&request), out.at) });
        host.gives(Kind::Call, &out, false);
    };
    weir_proxy_explain: |host| {
        let (proxy, listener, request, out) = (host.handle(Kind::Proxy), host.text(b"main"), host.request(), host.out());
        refused("weir_proxy_explain", unsafe { weir_proxy_explain(proxy, listener, host.maybe(&request), out.at) });
        host.gives(Kind::Bytes, &out, false);
    };
    weir_proxy_listener: |host| {
        let (proxy, name, out) = (host.handle(Kind::Proxy), host.text(b"main"), host.out());
        refused("weir_proxy_listener", unsafe { weir_proxy_listener(proxy, name, out.at) });
        out.get(false);
    };
    weir_proxy_admin: |host| {
        let (proxy, out) = (host.handle(Kind::Proxy), host.out());
        refused("weir_proxy_admin", unsafe { weir_proxy_admin(proxy, out.at) });
        out.get(false);
    };
    weir_proxy_stat: |host| {
        let (proxy, name, out) = (host.handle(Kind::Proxy), host.text(b"a"), host.out());
        refused("weir_proxy_stat", unsafe { weir_proxy_stat(proxy, name, out.at) });
        out.get(false);
    };
    weir_proxy_stats: |host| gives_bytes(host, Kind::Proxy, "weir_proxy_stats", |proxy, out| unsafe { weir_proxy_stats(proxy, out) });
    weir_proxy_config_dump: |host| gives_bytes(host, Kind::Proxy, "weir_proxy_config_dump", |proxy, out| unsafe { weir_proxy_config_dump(proxy, out) });
    weir_proxy_write_input_logs: |host| {
        gives_bytes(host, Kind::Proxy, "weir_proxy_write_input_logs", |proxy, out| unsafe { weir_proxy_write_input_logs(proxy, out) });
    };
    weir_proxy_drain: |host| refused("weir_proxy_drain", weir_proxy_drain(host.handle(Kind::Proxy)));
    weir_proxy_wait: |host| {
        let (proxy, out) = (host.handle(Kind::Proxy), host.out());
        refused("weir_proxy_wait", unsafe { weir_proxy_wait(proxy, host.number(), out.at) });
        out.get(false);
    };
    weir_proxy_on_end: |host| {
        let call: weir_end_fn = if host.byte() < 200 { Some(on_end) } else { None };
        refused("weir_proxy_on_end", unsafe { weir_proxy_on_end(host.handle(Kind::Proxy), call, ptr::null_mut()) });
    };
    weir_proxy_stop: |host| refused("weir_proxy_stop", weir_proxy_stop(host.handle(Kind::Proxy)));
    weir_proxy_free: |host| host.free(Kind::Proxy, weir_proxy_free);
    weir_call_send: |host| {
        let (data, len) = host.span(b"abc");
        refused("weir_call_send", unsafe { weir_call_send(host.handle(Kind::Call), data, len) });
    };
    weir_call_finish: |host| {
        let text = host.text(b"t");
        let field = weir_header { name: text, value: text };
        refused("weir_call_finish", unsafe { weir_call_finish(host.handle(Kind::Call), &raw const field, 1) });
    };
    weir_call_response: |host| {
        let (call, status, headers) = (host.handle(Kind::Call), host.out(), host.out());
        refused("weir_call_response", unsafe { weir_call_response(call, 0, status.at, headers.at) });
        status.get(false);
        headers.get(false);
    };
    weir_call_header: |host| {
        let (call, out) = (host.handle::<weir_call>(Kind::Call), host.out());
        refused("weir_call_header", unsafe { weir_call_header(call, host.number() as usize, out.at) });
        out.get(false);
    };
    weir_call_trailer: |host| {
        let (call, out) = (host.handle::<weir_call>(Kind::Call), host.out());
        refused("weir_call_trailer", unsafe { weir_call_trailer(call, host.number() as usize, out.at) });
        out.get(false);
    };
    weir_call_read: |host| {
        let (call, size, count) = (host.handle(Kind::Call), host.below(40), host.out());
        let mut room = Room::new(size);
        refused("weir_call_read", unsafe { weir_call_read(call, room.at(), size, count.at, 0) });
        room.untouched();
        count.get(false);
    };
    weir_call_cancel: |host| refused("weir_call_cancel", weir_call_cancel(host.handle(Kind::Call)));
    weir_call_free: |host| host.free(Kind::Call, weir_call_free);
}
