//! Names towards upstreams that come from the request: `auto_sni`, `auto_san_validation`.

use crate::pki::{Ca, naming_upstream};
use crate::support::{Proxy, request};
use crate::{TO_U, TYPES, bootstrap, chain, common};

/// A proxy whose cluster has these HttpProtocolOptions and this UpstreamTlsContext.
fn proxy(ca: &Ca, names: &str, tls: &str, route: &str) -> Proxy {
    let leaf = ca.leaf("u", &["a.example", "b.example", "127.0.0.9"]);
    let trust = common(&format!("validation_context: {{ trusted_ca: {{ filename: {} }} }}", ca.file()));
    let cluster = format!(
        r#"typed_extension_protocol_options: {{ envoy.extensions.upstreams.http.v3.HttpProtocolOptions: {{ "@type": {TYPES}.upstreams.http.v3.HttpProtocolOptions, explicit_http_config: {{ http_protocol_options: {{}} }}, upstream_http_protocol_options: {{ {names} }} }} }}
      transport_socket: {{ name: t, typed_config: {{ "@type": {TYPES}.transport_sockets.tls.v3.UpstreamTlsContext, {tls} {trust} }} }}"#
    );
    Proxy::start_with(&bootstrap("", &[chain("", "", route, "")], naming_upstream(&leaf), &cluster), &["--concurrency", "1"])
}

/// The body of the answer, or the whole if there is none.
fn ask(proxy: &Proxy, host: &str, more: &str) -> String {
    let answer = request(proxy.address, &format!("GET / HTTP/1.1\r\nHost: {host}\r\n{more}Connection: close\r\n\r\n"));
    match answer.starts_with("HTTP/1.1 200") {
        true => answer.rsplit_once("\r\n\r\n").unwrap().1.to_owned(),
        false => answer,
    }
}

#[test]
fn the_server_is_named_after_the_request() {
    let ca = Ca::new("ca");
    let proxy = proxy(&ca, "auto_sni: true, override_auto_sni_header: x-name", "sni: static.example,", TO_U);
    // A connection of one name is not for another, but is used again for its own.
    assert_eq!(ask(&proxy, "a.example", ""), "a.example 0");
    assert_eq!(ask(&proxy, "b.example:8443", ""), "b.example 1");
    assert_eq!(ask(&proxy, "A.example", ""), "a.example 0");
    assert_eq!(ask(&proxy, "a.example", "X-Name: b.example\r\n"), "b.example 1");
    // An address is no name.
    assert_eq!(ask(&proxy, "10.0.0.1", ""), "static.example 2");
    assert_eq!(proxy.stat("cluster.u.ssl.handshake"), 3);
}

#[test]
fn the_name_is_that_of_the_request_that_is_sent() {
    let ca = Ca::new("ca");
    let proxy = proxy(&ca, "auto_sni: true, auto_san_validation: true", "", "route: { cluster: u, host_rewrite_literal: b.example }");
    assert_eq!(ask(&proxy, "x.example", ""), "b.example 0");
}

#[test]
fn the_certificate_is_for_the_name_of_the_request() {
    let ca = Ca::new("ca");
    for (names, tls, host, expected) in [
        ("auto_sni: true, auto_san_validation: true", "", "a.example", "a.example 0"),
        ("auto_sni: true, auto_san_validation: true", "", "127.0.0.9", "- 0"),
        ("auto_sni: true, auto_san_validation: true", "", "c.example", "verify SAN list"),
        ("auto_sni: true, auto_san_validation: true", "", "127.0.0.8", "verify SAN list"),
        ("auto_sni: true", "auto_sni_san_validation: true,", "b.example", "b.example 0"),
        ("auto_sni: true", "auto_sni_san_validation: true,", "c.example", "verify SAN list"),
        // The name that is sent is one thing, what the certificate must say another.
        ("auto_san_validation: true", "sni: other.example,", "a.example", "other.example 0"),
        ("auto_san_validation: true", "sni: a.example,", "c.example", "verify SAN list"),
    ] {
        let proxy = proxy(&ca, names, tls, TO_U);
        let answer = ask(&proxy, host, "");
        assert!(answer == expected || (answer.starts_with("HTTP/1.1 503") && answer.contains(expected)), "{names} {tls} {host}: {answer}");
    }
}
