//! Which chain a call finds, and where a request would go.

use super::calls::{CODECS, LONG, get, rest};
use super::support::{bootstrap, file, ok_upstream};
use super::{has, start};
use weir::embed::{CallError, CallRequest, Waited};

#[test]
fn a_call_passes_tls_and_finds_its_chain() {
    let pair = rcgen::generate_simple_self_signed(vec!["a.example".to_owned()]).unwrap();
    let (cert, key) = (file("cert.pem", &pair.cert.pem()), file("key.pem", &pair.signing_key.serialize_pem()));
    let chain = |name: &str| {
        format!(
            r#"
        - filter_chain_match: {{ server_names: [{name}.example] }}
          transport_socket:
            name: tls
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext
              common_tls_context: {{ tls_certificates: [{{ certificate_chain: {{ filename: {} }}, private_key: {{ filename: {} }} }}] }}
          filters:
            - name: m
              typed_config:
                "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
                stat_prefix: {name}
                http_filters: [{{ name: r, typed_config: {{ "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router }} }}]
                route_config:
                  name: r
                  virtual_hosts:
                    - name: v
                      domains: ["*"]
                      routes:
                        - {{ name: told, match: {{ path: /told }}, direct_response: {{ status: 200, body: {{ inline_string: {name} }} }} }}"#,
            cert.display(),
            key.display()
        )
    };
    let yaml = format!(
        r#"
static_resources:
  listeners:
    - name: main
      address: {{ socket_address: {{ address: 127.0.0.1, port_value: 0 }} }}
      listener_filters:
        - {{ name: i, typed_config: {{ "@type": type.googleapis.com/envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector }} }}
      filter_chains:{}{}
"#,
        chain("a"),
        chain("b")
    );
    let (proxy, _) = start(&yaml);
    for name in ["a", "b"] {
        let request = CallRequest::new("GET", &format!("{name}.example:443"), "/told");
        let call = proxy.call("main", &request).unwrap();
        assert_eq!((call.response(LONG).unwrap().status, rest(&call).unwrap().0), (200, name.as_bytes().to_vec()));
        let steps = proxy.explain("main", &request).unwrap();
        assert!(steps.iter().any(|step| step == "virtual host `v`, route 0 `told`: answers 200 directly"), "{steps:?}");
        assert_eq!(proxy.stat(&format!("http.{name}.downstream_rq_total")), Some(1));
    }
    let elsewhere = proxy.call("main", &CallRequest::new("GET", "c.example", "/")).unwrap();
    assert!(matches!(elsewhere.response(LONG), Err(CallError::Refused(_))));
}

/// The listener `main` of a bootstrap, for calls only.
fn calls_only(yaml: &str) -> String {
    let (before, after) = yaml.split_once("      address: { socket_address: { address: 127.0.0.1, port_value: 0 } }\n").unwrap();
    let (_, config) = after.split_once("typed_config:\n").unwrap();
    format!("{before}      api_listener:\n        api_listener:\n{config}")
}

#[test]
fn a_listener_may_be_for_calls_only() {
    let yaml = calls_only(&bootstrap(ok_upstream(), "via: one", ""));
    let (proxy, lines) = start(&yaml);
    assert!(proxy.listeners().is_empty() && has(&lines, "listener main takes calls of this process only"));
    let call = || {
        let call = proxy.call("main", &get("/")).unwrap();
        let head = call.response(LONG).unwrap();
        assert_eq!((head.status, rest(&call).unwrap().0), (200, b"ok".to_vec()));
        head.headers.into_iter().find(|(name, _)| name == "via").map(|(_, value)| String::from_utf8(value).unwrap())
    };
    assert_eq!(call().as_deref(), Some("one"));
    proxy.update_config(&yaml.replace("via: one", "via: two"), "two.yaml").unwrap();
    assert_eq!(call().as_deref(), Some("two"));
    let both =
        yaml.replace("      api_listener:\n        api", "      filter_chains: []\n      address: {}\n      api_listener:\n        api");
    let failure = proxy.update_config(&both, "both.yaml").unwrap_err();
    assert!(failure.to_string().contains("is bound to no address"), "{failure}");
    proxy.drain().unwrap();
    assert_eq!(proxy.wait(LONG), Waited::Drained { cut: 0 });
}

#[test]
fn explanations_send_nothing() {
    for codec in CODECS {
        let (proxy, _) = start(&bootstrap(ok_upstream(), codec, ", timeout: 3s"));
        let steps = proxy.explain("main", &get("/path?query")).unwrap();
        let all = steps.join("\n");
        assert!(steps[0].starts_with("GET host.example/path?query from 127.0.0.1"), "{all}");
        for step in ["virtual host `v`, route 0: forwards to cluster u", "cluster u, timeout 3s", "try 1: host 127.0.0.1:", "would connect"]
        {
            assert!(all.contains(step), "{step} in\n{all}");
        }
        assert_eq!((proxy.stat("http.ingress.downstream_rq_total"), proxy.stat("cluster.u.upstream_rq_total")), (Some(0), Some(0)));
    }
}
