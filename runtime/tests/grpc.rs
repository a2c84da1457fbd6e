//! gRPC through the proxy, with grpcio on both sides. `GRPC_PYTHON` names a Python that has it; without it the test says
//! so and does nothing (`.ci/run` has one).
#![allow(clippy::print_stderr)]

#[path = "support/mod.rs"]
mod support;

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use support::Proxy;

const PEER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/grpc/peer.py");

fn config(port: &str) -> String {
    format!(
        r#"
admin: {{ address: {{ socket_address: {{ address: 127.0.0.1, port_value: 0 }} }} }}
static_resources:
  listeners:
  - name: main
    address: {{ socket_address: {{ address: 127.0.0.1, port_value: 0 }} }}
    filter_chains:
    - filters:
      - name: hcm
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: grpc
          route_config:
            virtual_hosts:
            - name: all
              domains: ["*"]
              routes:
              - match: {{ prefix: "/test.Echo/", grpc: {{}} }}
                route:
                  cluster: echo
                  timeout: 60s
                  max_stream_duration: {{ grpc_timeout_header_max: 0s }}
                  retry_policy: {{ retry_on: unavailable, num_retries: 1 }}
          http_filters:
          - name: router
            typed_config: {{ "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router }}
  clusters:
  - name: echo
    type: STATIC
    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        explicit_http_config: {{ http2_protocol_options: {{}} }}
    load_assignment:
      cluster_name: echo
      endpoints: [{{ lb_endpoints: [{{ endpoint: {{ address: {{ socket_address: {{ address: 127.0.0.1, port_value: {port} }} }} }} }}] }}]
"#
    )
}

#[test]
fn grpcio_finds_nothing_to_complain_about() {
    let Ok(python) = std::env::var("GRPC_PYTHON") else {
        eprintln!("skipped: GRPC_PYTHON is not set");
        return;
    };
    let mut server = Command::new(&python).args([PEER, "serve"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("python");
    let mut port = String::new();
    BufReader::new(server.stdout.take().expect("a pipe")).read_line(&mut port).expect("a port");
    let proxy = Proxy::start(&config(port.trim()));
    let checked = Command::new(&python).args([PEER, "check", &proxy.address.to_string()]).output().expect("python");
    drop(server.stdin.take());
    let _ = server.wait();
    let said = String::from_utf8_lossy(&checked.stdout);
    assert!(said.contains("all checks hold"), "{said}{}", String::from_utf8_lossy(&checked.stderr));
}
