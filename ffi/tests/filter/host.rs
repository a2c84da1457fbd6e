//! An engine with one filter, one client and one upstream, driven through C.

use std::os::raw::c_void;
use std::ptr::{self, null_mut};
use weir_ffi::address::weir_address;
use weir_ffi::config::*;
use weir_ffi::engine::*;
use weir_ffi::filter::*;
use weir_ffi::memory::{weir_bytes_free, weir_bytes_get, weir_str};
use weir_ffi::result::weir_last_error;
use weir_ffi::result::weir_result::{self, WEIR_OK};

pub(crate) type HeadFn = unsafe extern "C" fn(*const weir_filter_host, *mut weir_exchange, *mut c_void) -> u32;
pub(crate) type PieceFn = unsafe extern "C" fn(*const weir_filter_host, *mut weir_exchange, *mut c_void, *const u8, usize) -> u32;
pub(crate) type ConfigureFn = unsafe extern "C" fn(*const weir_filter_host, *mut c_void, weir_str, weir_str, *mut *mut c_void) -> u32;

/// A filter's functions, as a test picks them.
pub(crate) struct Kind {
    pub(crate) data: *mut c_void,
    pub(crate) wants_bodies: u32,
    pub(crate) configure: Option<ConfigureFn>,
    pub(crate) forget: Option<unsafe extern "C" fn(*mut c_void)>,
    pub(crate) begin: Option<unsafe extern "C" fn(*mut c_void) -> *mut c_void>,
    pub(crate) end: Option<unsafe extern "C" fn(*mut c_void)>,
    pub(crate) request_head: Option<HeadFn>,
    pub(crate) request_body: Option<PieceFn>,
    pub(crate) request_end: Option<HeadFn>,
    pub(crate) response_head: Option<HeadFn>,
    pub(crate) response_body: Option<PieceFn>,
    pub(crate) response_end: Option<HeadFn>,
    pub(crate) resumed: Option<PieceFn>,
    pub(crate) finished: Option<unsafe extern "C" fn(*const weir_filter_host, *mut weir_exchange, *mut c_void)>,
}

impl Default for Kind {
    fn default() -> Kind {
        Kind {
            data: null_mut(),
            wants_bodies: 0,
            configure: None,
            forget: None,
            begin: None,
            end: None,
            request_head: None,
            request_body: None,
            request_end: None,
            response_head: None,
            response_body: None,
            response_end: None,
            resumed: None,
            finished: None,
        }
    }
}

impl Kind {
    fn table(&self) -> weir_filter {
        weir_filter {
            size: size_of::<weir_filter>(),
            data: self.data,
            wants_bodies: self.wants_bodies,
            configure: self.configure,
            forget: self.forget,
            begin: self.begin,
            end: self.end,
            request_head: self.request_head,
            request_body: self.request_body,
            request_end: self.request_end,
            response_head: self.response_head,
            response_body: self.response_body,
            response_end: self.response_end,
            resumed: self.resumed,
            finished: self.finished,
        }
    }
}

pub(crate) fn text(text: &str) -> weir_str {
    weir_str { data: text.as_ptr().cast(), len: text.len() }
}

/// # Safety
/// The text must live.
pub(crate) unsafe fn read(text: weir_str) -> String {
    if text.len == 0 {
        return String::new();
    }
    // SAFETY: the caller answers for it.
    let bytes = unsafe { std::slice::from_raw_parts(text.data.cast::<u8>(), text.len) };
    String::from_utf8_lossy(bytes).into_owned()
}

fn words() -> String {
    let mut buffer = [0u8; 4096];
    // SAFETY: the buffer is as large as that says.
    let len = unsafe { weir_last_error(buffer.as_mut_ptr().cast(), buffer.len()) };
    String::from_utf8_lossy(&buffer[..len.min(buffer.len() - 1)]).into_owned()
}

pub(crate) fn ok(result: weir_result) {
    assert_eq!(result, WEIR_OK, "{}", words());
}

fn config(filter: &str) -> String {
    format!(
        r#"{{static_resources: {{
        listeners: [{{name: main, address: {{socket_address: {{address: 127.0.0.1, port_value: 80}}}},
            filter_chains: [{{filters: [{{name: http, typed_config: {{
                "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager,
                stat_prefix: in,
                route_config: {{virtual_hosts: [{{name: v, domains: ["*"], routes: [{{match: {{prefix: /}}, route: {{cluster: up}}}}]}}]}},
                http_filters: [{{name: f, typed_config: {{"@type": test.Filter, {filter}}}}},
                    {{name: r, typed_config: {{"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}}}]}}}}]}}]}}],
        clusters: [{{name: up, load_assignment: {{cluster_name: up, endpoints: [{{lb_endpoints: [
            {{endpoint: {{address: {{socket_address: {{address: 127.0.0.1, port_value: 81}}}}}}}}]}}]}}}}]}}}}"#
    )
}

/// An engine and its host.
pub(crate) struct Host {
    pub(crate) engine: *mut weir_engine,
    pub(crate) filters: *mut weir_filters,
    client: u64,
    up: Option<u64>,
    connected: bool,
}

impl Host {
    fn load(kind: &Kind, filter: &str) -> (*mut weir_filters, Result<*mut weir_config, String>) {
        let (mut filters, mut config_) = (null_mut(), null_mut());
        let table = kind.table();
        // SAFETY: all that is pointed to lives; what the table has stays.
        unsafe {
            ok(weir_filters_new(&raw mut filters));
            ok(weir_filters_register(filters, text("type.googleapis.com/test.Filter"), &raw const table));
            let loaded = weir_config_load_with(filters, text(&config(filter)), text(""), 0, &raw mut config_, null_mut());
            (filters, if loaded == WEIR_OK { Ok(config_) } else { Err(words()) })
        }
    }

    /// Why a config is refused.
    pub(crate) fn refusal(kind: &Kind, filter: &str) -> String {
        let (filters, loaded) = Host::load(kind, filter);
        ok(weir_filters_free(filters));
        loaded.expect_err("the config is wrong")
    }

    pub(crate) fn new(kind: &Kind, filter: &str) -> Host {
        let (filters, loaded) = Host::load(kind, filter);
        let config = loaded.expect("the config is right");
        let mut host = Host { engine: null_mut(), filters, client: 0, up: None, connected: false };
        let end = weir_address { family: 4, port: 80, ip: [0; 16] };
        let mut listener = 0;
        // SAFETY: all that is pointed to lives; zero is a value of the options.
        unsafe {
            let options = weir_engine_options { size: size_of::<weir_engine_options>(), record: 1, ..std::mem::zeroed() };
            ok(weir_engine_new(config, &raw const options, &raw mut host.engine));
            ok(weir_engine_listener(host.engine, text("main"), &raw mut listener));
            ok(weir_engine_accept(host.engine, listener, &raw const end, &raw const end, 0, &raw mut host.client));
        }
        ok(weir_config_free(config));
        host
    }

    fn hand_in(&mut self, conn: u64, data: &[u8]) {
        // SAFETY: the slice is what it says.
        ok(unsafe { weir_engine_recv(self.engine, conn, data.as_ptr(), data.len(), null_mut(), 0) });
        self.perform();
    }

    /// The client sends.
    pub(crate) fn receive(&mut self, data: &[u8]) {
        self.hand_in(self.client, data);
    }

    /// The upstream sends.
    pub(crate) fn answer(&mut self, data: &[u8]) {
        self.hand_in(self.up.expect("it is there"), data);
    }

    fn perform(&mut self) {
        // SAFETY: the action is a place to write to.
        unsafe {
            let mut action = weir_action { size: size_of::<weir_action>(), ..std::mem::zeroed() };
            while weir_engine_next_action(self.engine, &raw mut action) == WEIR_OK {
                if action.kind == weir_action_kind::WEIR_ACTION_CONNECT as u32 {
                    self.up = Some(action.conn);
                }
            }
        }
    }

    /// Whether an upstream was asked for.
    pub(crate) fn is_connecting(&mut self) -> bool {
        self.perform();
        self.up.is_some()
    }

    fn sent(&mut self, conn: u64) -> String {
        let (mut all, mut buffer, mut count) = (Vec::new(), [0u8; 4096], 0);
        // SAFETY: the buffer has as much room as that says.
        while unsafe { weir_engine_transmit_copy(self.engine, conn, buffer.as_mut_ptr(), buffer.len(), &raw mut count, 0) } == WEIR_OK {
            all.extend_from_slice(&buffer[..count]);
        }
        self.perform();
        String::from_utf8(all).expect("text")
    }

    /// What the upstream got.
    pub(crate) fn upstream(&mut self) -> String {
        self.perform();
        let conn = self.up.expect("it was asked for");
        if !std::mem::replace(&mut self.connected, true) {
            let end = weir_address { family: 4, port: 81, ip: [0; 16] };
            // SAFETY: the address lives.
            ok(unsafe { weir_engine_connected(self.engine, conn, &raw const end, &raw const end, ptr::null(), 0) });
        }
        self.perform();
        self.sent(conn)
    }

    /// What the client got.
    pub(crate) fn client(&mut self) -> String {
        self.perform();
        self.sent(self.client)
    }

    /// The input log, and the digest so far.
    pub(crate) fn log(&mut self) -> (Vec<u8>, u64) {
        let (mut bytes, mut data, mut len) = (null_mut(), ptr::null(), 0);
        // SAFETY: all that is pointed to lives.
        unsafe {
            ok(weir_engine_recorded(self.engine, &raw mut bytes));
            ok(weir_bytes_get(bytes, &raw mut data, &raw mut len));
            let log = std::slice::from_raw_parts(data, len).to_vec();
            ok(weir_bytes_free(bytes));
            let mut state = weir_engine_state { size: size_of::<weir_engine_state>(), ..std::mem::zeroed() };
            ok(weir_engine_get_state(self.engine, &raw mut state));
            (log, state.digest)
        }
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        ok(weir_filters_free(self.filters));
        ok(weir_engine_free(self.engine));
    }
}
