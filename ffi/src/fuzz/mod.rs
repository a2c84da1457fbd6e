//! What the fuzz target `ffi` does with its bytes: any sequence of calls of the C functions, with handles that live, were freed, are
//! of another kind or made up, with NULLs, wrong sizes, bytes that are no text, numbers of any kind, and time that goes back.
//!
//! What the header says is not checked is kept: pointers are NULL or valid, and there is as much as is said. Behind everything that
//! may be written to stand canaries.

mod calls;
mod room;
mod tier1;
mod tier2;

use crate::config::{weir_config, weir_config_free, weir_config_load};
use crate::memory::weir_str;
use crate::result::{weir_last_error, weir_result, weir_result_name};
use std::ptr;

/// A client's side, a host and a name: enough for all kinds of actions.
const CONFIG: &str = r#"
static_resources:
  listeners:
  - name: main
    address: { socket_address: { address: 127.0.0.1, port_value: 80 } }
    per_connection_buffer_limit_bytes: 512
    filter_chains:
    - filters:
      - name: http
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: in
          access_log: [{ name: file, typed_config: { "@type": type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog, path: /dev/stdout } }]
          route_config: { virtual_hosts: [{ name: v, domains: ["*"], routes: [{ match: { prefix: /n }, route: { cluster: named } }, { match: { prefix: / }, route: { cluster: up } }] }] }
          http_filters: [{ name: r, typed_config: { "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router } }]
  - name: tls
    address: { socket_address: { address: 127.0.0.1, port_value: 443 } }
    listener_filters: [{ name: t, typed_config: { "@type": type.googleapis.com/envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector } }]
    filter_chains:
    - filter_chain_match: { server_names: [a] }
      filters:
      - name: http
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: tls
          route_config: { virtual_hosts: [{ name: v, domains: ["*"], routes: [{ match: { prefix: / }, direct_response: { status: 200 } }] }] }
          http_filters: [{ name: r, typed_config: { "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router } }]
  clusters:
  - name: up
    load_assignment: { cluster_name: up, endpoints: [{ lb_endpoints: [{ endpoint: { address: { socket_address: { address: 127.0.0.1, port_value: 81 } } } }] }] }
  - name: named
    type: STRICT_DNS
    load_assignment: { cluster_name: named, endpoints: [{ lb_endpoints: [{ endpoint: { address: { socket_address: { address: a.test, port_value: 81 } } } }] }] }
"#;

/// The kinds of handles.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
enum Kind {
    Config,
    Diagnostics,
    Engine,
    Bytes,
    Replay,
    Filters,
    Proxy,
    Call,
}

/// A host that makes every mistake.
struct Host<'d> {
    /// What decides.
    data: &'d [u8],
    /// All handles that there were, and whether they were freed.
    handles: Vec<(Kind, usize, bool)>,
    /// Numbers that the engine has given.
    ids: Vec<u64>,
    now: u64,
}

/// The functions that are called.
pub fn names() -> impl Iterator<Item = &'static str> {
    tier1::CALLS.iter().chain(tier2::CALLS).map(|(name, _)| *name)
}

/// Makes the calls that `data` says, then frees what is left. Answers how many calls there were.
///
/// # Panics
/// If a call does what it may not.
pub fn calls(data: &[u8]) -> usize {
    let mut host = Host { data, handles: Vec::new(), ids: vec![0], now: 1 };
    host.begin();
    let mut count = 0;
    while let Some((which, rest)) = host.data.split_first() {
        host.data = rest;
        host.call(usize::from(*which));
        count += 1;
    }
    host.end();
    count
}

impl Host<'_> {
    fn byte(&mut self) -> u8 {
        let Some((byte, rest)) = self.data.split_first() else { return 0 };
        self.data = rest;
        *byte
    }

    /// Of `of` choices, any.
    fn below(&mut self, of: usize) -> usize {
        usize::from(self.byte()) % of
    }

    /// A number: mostly small, or at the end of some range.
    fn number(&mut self) -> u64 {
        match self.byte() {
            small @ 0..200 => u64::from(small % 50),
            200..220 => u64::MAX - u64::from(self.byte()),
            220..235 => (1 << 32) - 1 + u64::from(self.byte() % 3),
            235..245 => u64::from(u32::from_le_bytes([self.byte(), self.byte(), self.byte(), self.byte()])),
            _ => 1 << (self.byte() % 64),
        }
    }

    /// An id: mostly one that was given.
    fn id(&mut self) -> u64 {
        match self.byte() {
            at @ 0..230 => self.ids[self.ids.len() - 1 - usize::from(at) % self.ids.len()],
            _ => self.number(),
        }
    }

    /// A time: mostly the same as before or a little later.
    fn time(&mut self) -> u64 {
        match self.byte() {
            0..120 => self.now,
            later @ 120..220 => {
                self.now = self.now.saturating_add(u64::from(later - 119) * 50_000_000).min(u64::MAX - 1);
                self.now
            }
            220..240 => self.now.saturating_sub(1),
            _ => self.number(),
        }
    }

    /// Bytes of the input itself.
    fn bytes(&mut self) -> Vec<u8> {
        let length = usize::from(self.byte() % 64).min(self.data.len());
        let (bytes, rest) = self.data.split_at(length);
        self.data = rest;
        bytes.to_vec()
    }

    /// Bytes and a length that they have, or NULL with any.
    fn span(&mut self, bytes: &[u8]) -> (*const u8, usize) {
        match self.byte() {
            250..=252 => (ptr::null(), 0),
            253 => (ptr::null(), self.number() as usize),
            254 => (bytes.as_ptr(), usize::MAX),
            255 => (bytes.as_ptr(), 0),
            _ => (bytes.as_ptr(), bytes.len()),
        }
    }

    fn text(&mut self, text: &[u8]) -> weir_str {
        let (data, len) = self.span(text);
        weir_str { data: data.cast(), len }
    }

    /// A handle: mostly the last of its kind that lives.
    fn handle<T>(&mut self, kind: Kind) -> *mut T {
        let handle = match self.byte() {
            0..220 => self.handles.iter().rev().find(|(of, _, freed)| *of == kind && !freed).map_or(0, |(_, handle, _)| *handle),
            220..225 => 0,
            225..250 => {
                let at = self.below(self.handles.len().max(1));
                self.handles.get(at).map_or(1, |(_, handle, _)| *handle)
            }
            // Made up: but not by chance one that somebody else has.
            _ => {
                let made_up = self.number() as usize;
                let may_live = made_up & 1 == 1 && made_up >> 32 & 1 == 1;
                let known = self.handles.iter().any(|(_, handle, _)| *handle == made_up);
                if may_live && !known { made_up & !1 } else { made_up }
            }
        };
        handle as *mut T
    }

    fn given<T>(&mut self, kind: Kind, handle: *mut T) {
        if !handle.is_null() {
            self.handles.push((kind, handle as usize, false));
        }
    }

    fn freed<T>(&mut self, handle: *mut T) {
        self.handles.iter_mut().filter(|(_, known, _)| *known == handle as usize).for_each(|(.., freed)| *freed = true);
    }

    /// A config, if the host has lost its own.
    fn begin(&mut self) {
        let mut config: *mut weir_config = ptr::null_mut();
        thread_local! { static LOADED: std::cell::Cell<usize> = const { std::cell::Cell::new(0) } }
        let kept = LOADED.get() as *mut weir_config;
        let lives = crate::handle::with::<crate::config::ConfigObject, _>(kept as usize, |_| Ok(())).is_ok();
        if lives {
            config = kept;
        } else {
            let text = weir_str { data: CONFIG.as_ptr().cast(), len: CONFIG.len() };
            // SAFETY: the text lives, and there is room for the handle.
            let result = unsafe { weir_config_load(text, weir_str::EMPTY, 0, &raw mut config, ptr::null_mut()) };
            assert_eq!(result, weir_result::WEIR_OK, "{}", words());
            LOADED.set(config as usize);
        }
        self.given(Kind::Config, config);
    }

    /// Frees everything but the config that it began with.
    fn end(&mut self) {
        for (kind, handle, _) in std::mem::take(&mut self.handles).into_iter().skip(1).filter(|(.., freed)| !freed) {
            let result = calls::free(kind, handle);
            assert_eq!(result, weir_result::WEIR_OK, "{kind:?} {handle:#x} cannot be freed: {}", words());
            assert_eq!(calls::free(kind, handle), weir_result::WEIR_WRONG_HANDLE, "freed twice");
        }
        assert_ne!(weir_config_free(ptr::without_provenance_mut(1)), weir_result::WEIR_OK);
    }
}

/// The words of the last failure.
fn words() -> String {
    let mut room = room::Room::new(512);
    // SAFETY: there is so much room.
    let length = unsafe { weir_last_error(room.at().cast(), 512) };
    let written = room.written();
    String::from_utf8(written[..length.min(511)].to_vec()).unwrap_or_else(|_| "words that were cut within a letter".into())
}

/// What every result must be: known, no panic, and with words if it is a failure.
fn looked_at(name: &str, result: weir_result) -> weir_result {
    assert_ne!(result, weir_result::WEIR_PANICKED, "{name}: {}", words());
    // SAFETY: it is a C string that lives for ever.
    let known = unsafe { std::ffi::CStr::from_ptr(weir_result_name(result as u32)) };
    assert_ne!(known, c"unknown", "{name}: {result:?}");
    let failed = !matches!(result, weir_result::WEIR_OK | weir_result::WEIR_NONE);
    assert!(!failed || !words().is_empty(), "{name}: {result:?} without words");
    result
}
