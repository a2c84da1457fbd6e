//! Stats of what handshakes agree on.

use crate::pki::{Ca, ask, connect, tls_upstream};
use crate::support::{Proxy, request};
use crate::{TO_U, TYPES, bootstrap, chain, common, listener_stat, own, wait_for_stat};

#[test]
fn what_handshakes_agree_on_is_counted() {
    let ca = Ca::new("ca");
    let leaf = ca.leaf("a", &["a.example"]);
    let params = |text: &str| format!(", tls_params: {{ {text}, ecdh_curves: [P-256] }}");
    let old = params("tls_maximum_protocol_version: TLSv1_2, cipher_suites: [ECDHE-ECDSA-AES128-GCM-SHA256]");
    let cluster = format!(
        "transport_socket: {{ name: t, typed_config: {{ \"@type\": {TYPES}.transport_sockets.tls.v3.UpstreamTlsContext, sni: a.example, {} }} }}",
        common(&format!("validation_context: {{ trusted_ca: {{ filename: {} }} }}{old}", ca.file()))
    );
    let tls = common(&format!("{}{}", own(&[&leaf]), params("tls_minimum_protocol_version: TLSv1_3")));
    let proxy = Proxy::start(&bootstrap("", &[chain(&tls, "", TO_U, "")], tls_upstream(&leaf), &cluster));
    let mut stream = connect(&ca.client(None), "a.example", proxy.address).unwrap();
    assert!(ask(&mut stream, "a.example").unwrap().starts_with("HTTP/1.1 200"));
    for name in ["ssl.handshake", "ssl.no_certificate", "ssl.versions.TLSv1.3", "ssl.curves.P-256"] {
        assert_eq!(listener_stat(&proxy, name), 1, "{name}");
    }
    for name in ["versions.TLSv1.2", "ciphers.ECDHE-ECDSA-AES128-GCM-SHA256", "curves.P-256", "handshake"] {
        assert_eq!(proxy.stat(&format!("cluster.u.ssl.{name}")), 1, "{name}");
    }
    let text = proxy.admin_get("/stats/prometheus");
    assert!(text.contains("envoy_cluster_ssl_versions{envoy_ssl_version=\"TLSv1.2\",envoy_cluster_name=\"u\"} 1"), "{text}");
    assert!(request(proxy.address, "GET / HTTP/1.1\r\n\r\n").bytes().next().is_some(), "plain bytes get an alert");
    wait_for_stat(&proxy, "ssl.connection_error", 1);
}
