//! Numbers of access logs mean the same after another config: a line of an exchange that began before goes to its old file.

use std::ptr;
use weir_ffi::address::weir_address;
use weir_ffi::config::{weir_config, weir_config_free, weir_config_load};
use weir_ffi::engine::*;
use weir_ffi::memory::weir_str;
use weir_ffi::result::weir_result::*;

const CONFIG: &str = r#"
static_resources:
  listeners:
  - name: main
    address: { socket_address: { address: 127.0.0.1, port_value: 80 } }
    filter_chains:
    - filters:
      - name: http
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: in
          access_log: [{ name: file, typed_config: { "@type": type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog, path: PATH } }]
          route_config: { virtual_hosts: [{ name: v, domains: ["*"], routes: [{ match: { prefix: / }, direct_response: { status: 200 } }] }] }
          http_filters: [{ name: r, typed_config: { "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router } }]
"#;

fn text(text: &str) -> weir_str {
    weir_str { data: text.as_ptr().cast(), len: text.len() }
}

fn config(path: &str) -> *mut weir_config {
    let (yaml, mut config) = (CONFIG.replace("PATH", path), ptr::null_mut());
    // SAFETY: the texts live, and there is room for the handle.
    assert_eq!(unsafe { weir_config_load(text(&yaml), text(""), 0, &raw mut config, ptr::null_mut()) }, WEIR_OK);
    config
}

struct Host(*mut weir_engine);

impl Host {
    fn receive(&self, conn: u64, data: &str) {
        let mut taken = 0;
        // SAFETY: the bytes are there, and there is room for the count.
        assert_eq!(unsafe { weir_engine_recv(self.0, conn, data.as_ptr(), data.len(), &raw mut taken, 0) }, WEIR_OK);
    }

    fn accept(&self) -> u64 {
        let (here, mut listener, mut conn) = (weir_address { family: 4, port: 80, ip: [0; 16] }, 0, 0);
        // SAFETY: all that is pointed to lives.
        unsafe {
            assert_eq!(weir_engine_listener(self.0, text("main"), &raw mut listener), WEIR_OK);
            assert_eq!(weir_engine_accept(self.0, listener, &raw const here, &raw const here, 0, &raw mut conn), WEIR_OK);
        }
        conn
    }

    /// Where the next line goes.
    fn next_path(&self) -> String {
        // SAFETY: zero is a value of these structs; texts have the bytes that they say.
        unsafe {
            let mut event = weir_event { size: size_of::<weir_event>(), ..std::mem::zeroed() };
            let mut path: weir_str = std::mem::zeroed();
            assert_eq!(weir_engine_next_event(self.0, &raw mut event), WEIR_OK);
            assert_eq!(event.kind, weir_event_kind::WEIR_EVENT_ACCESS_LOG as u32);
            assert_eq!(weir_engine_log_path(self.0, event.number, &raw mut path), WEIR_OK);
            String::from_utf8(std::slice::from_raw_parts(path.data.cast(), path.len).to_vec()).expect("UTF-8")
        }
    }
}

#[test]
fn lines_of_exchanges_that_began_before_go_where_they_should() {
    // SAFETY: zero is a value of the options.
    let options = weir_engine_options { size: size_of::<weir_engine_options>(), ..unsafe { std::mem::zeroed() } };
    let (first, second, mut engine) = (config("/first"), config("/second"), ptr::null_mut());
    // SAFETY: the options are of their size, and there is room for the handle.
    assert_eq!(unsafe { weir_engine_new(first, &raw const options, &raw mut engine) }, WEIR_OK);
    let host = Host(engine);
    let began = host.accept();
    host.receive(began, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nab");
    for config in [second, first, second] {
        assert_eq!(weir_engine_set_config(engine, config, 0), WEIR_OK);
    }
    host.receive(began, "c");
    assert_eq!(weir_engine_closed(engine, began, 1, 0), WEIR_OK);
    assert_eq!(host.next_path(), "/first");
    let begins = host.accept();
    host.receive(begins, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(weir_engine_closed(engine, begins, 1, 0), WEIR_OK);
    assert_eq!(host.next_path(), "/second");
    assert_eq!(weir_engine_free(engine), WEIR_OK);
    assert_eq!((weir_config_free(first), weir_config_free(second)), (WEIR_OK, WEIR_OK));
}
