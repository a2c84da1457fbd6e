//! TLS on real sockets: which certificate and chain a client gets, who is let in, what upstreams must show, and that
//! certificates change without a connection noticing.

mod agreed;
mod by_request;
mod depth;
#[path = "../support/tls.rs"]
mod pki;
mod secrets;
#[path = "../support/mod.rs"]
mod support;
mod tickets;

use pki::{Ca, Leaf, ask, certificate, connect, echo_upstream, tls_upstream};
use rustls::{HandshakeKind, ProtocolVersion};
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use support::{Proxy, file, weir};

const TYPES: &str = "type.googleapis.com/envoy.extensions";
const INSPECTOR: &str = "listener_filters: [{ name: t, typed_config: { \"@type\": type.googleapis.com/envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector } }]";

/// A chain; `tls` is what stands in its DownstreamTlsContext, `more` what else stands in the chain.
fn chain(tls: &str, manager: &str, route: &str, more: &str) -> String {
    let socket = match tls {
        "" => String::new(),
        tls => format!(
            "transport_socket: {{ name: t, typed_config: {{ \"@type\": {TYPES}.transport_sockets.tls.v3.DownstreamTlsContext, {tls} }} }},"
        ),
    };
    format!(
        r#"{{ {more} {socket} filters: [{{ name: h, typed_config: {{ "@type": {TYPES}.filters.network.http_connection_manager.v3.HttpConnectionManager, stat_prefix: h, {manager}
          route_config: {{ virtual_hosts: [{{ name: v, domains: ["*"], routes: [{{ match: {{ prefix: / }}, {route} }}] }}] }},
          http_filters: [{{ name: r, typed_config: {{ "@type": {TYPES}.filters.http.router.v3.Router }} }}] }} }}] }}"#
    )
}

fn bootstrap(listener: &str, chains: &[String], upstream: SocketAddr, cluster: &str) -> String {
    format!(
        r#"
admin: {{ address: {{ socket_address: {{ address: 127.0.0.1, port_value: 0 }} }} }}
static_resources:
  listeners:
    - name: main
      address: {{ socket_address: {{ address: 127.0.0.1, port_value: 0 }} }}
      {listener}
      filter_chains:
        - {}
  clusters:
    - name: u
      {cluster}
      load_assignment: {{ cluster_name: u, endpoints: [{{ lb_endpoints: [{{ endpoint: {{ address: {{ socket_address: {{ address: {}, port_value: {} }} }} }} }}] }}] }}
"#,
        chains.join("\n        - "),
        upstream.ip(),
        upstream.port()
    )
}

const TO_U: &str = "route: { cluster: u }";

fn own(leaves: &[&Leaf]) -> String {
    let all: Vec<String> = leaves.iter().map(|leaf| leaf.yaml()).collect();
    format!("tls_certificates: [{}]", all.join(", "))
}

fn common(text: &str) -> String {
    format!("common_tls_context: {{ {text} }}")
}

/// A proxy with one TLS chain to an upstream that echoes heads.
fn proxy(tls: &str, manager: &str) -> Proxy {
    Proxy::start(&bootstrap("", &[chain(tls, manager, TO_U, "")], echo_upstream(), ""))
}

fn openssl(proxy: &Proxy, arguments: &str) -> String {
    let mut command = Command::new("openssl");
    command.args(["s_client", "-connect", &proxy.address.to_string()]).args(arguments.split_whitespace());
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("openssl is there");
    let mut stdin = child.stdin.take().unwrap();
    // Tickets of TLS 1.3 come after the handshake.
    std::thread::sleep(Duration::from_millis(500));
    let _ = stdin.write_all(b"Q\n");
    let output = child.wait_with_output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

fn listener_stat(proxy: &Proxy, name: &str) -> u64 {
    let all = proxy.admin_get(&format!("/stats?filter=listener.*{name}"));
    all.lines().find_map(|line| line.rsplit_once(&format!(".{name}: "))?.1.trim().parse().ok()).unwrap_or_else(|| panic!("{name} in {all}"))
}

/// The client may be told before the stat is counted.
fn wait_for_stat(proxy: &Proxy, name: &str, value: u64) {
    let since = Instant::now();
    while listener_stat(proxy, name) != value {
        assert!(since.elapsed() < Duration::from_secs(5), "{name} is {}, not {value}", listener_stat(proxy, name));
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_name_gets_its_certificate() {
    let ca = Ca::new("ca");
    let (first, rsa, ecdsa) = (ca.leaf("first", &["first.example"]), ca.rsa_leaf("rsa", &["a.example"]), ca.leaf("ecdsa", &["a.example"]));
    let wild = ca.leaf("wild", &["*.w.example"]);
    let proxy = proxy(&common(&own(&[&first, &rsa, &ecdsa, &wild])), "");
    let client = ca.client(None);
    for (name, leaf) in [("first.example", &first), ("A.example", &ecdsa), ("x.w.example", &wild)] {
        let mut stream = connect(&client, name, proxy.address).unwrap();
        assert_eq!(stream.conn.peer_certificates().unwrap()[0], leaf.der, "{name}");
        let answer = ask(&mut stream, name).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("x-forwarded-proto: https"), "{answer}");
    }
    // One label only, and a name that nobody has, get the first.
    for name in ["x.y.w.example", "other.example"] {
        let error = connect(&client, name, proxy.address).unwrap_err().to_string();
        assert!(error.contains("first.example"), "{error}");
    }
    let old = openssl(&proxy, "-servername a.example -sigalgs rsa_pss_rsae_sha256");
    assert!(old.contains("Peer signature type: RSA"), "{old}");
    let new = openssl(&proxy, "-servername a.example");
    assert!(new.contains("Peer signature type: ECDSA"), "{new}");
    assert_eq!(proxy.stat("http.h.downstream_cx_total"), 7);
    let port = proxy.address.port();
    let (resolve, url) = (format!("a.example:{port}:127.0.0.1"), format!("https://a.example:{port}/"));
    let curl = Command::new("curl").args(["-sS", "--http1.1", "--cacert", &ca.file(), "--resolve", &resolve, &url]).output().unwrap();
    assert!(String::from_utf8_lossy(&curl.stdout).contains("GET / HTTP/1.1"), "{curl:?}");
}

#[test]
fn a_chain_is_chosen_by_the_client_hello() {
    let ca = Ca::new("ca");
    let (a, b) = (ca.leaf("a", &["a.example"]), ca.leaf("b", &["*.b.example"]));
    let says = |text: &str| format!("direct_response: {{ status: 200, body: {{ inline_string: {text} }} }}");
    let chains = [
        chain(&common(&own(&[&a])), "", &says("one"), "filter_chain_match: { server_names: [a.example] },"),
        chain(&common(&own(&[&b])), "", &says("two"), "filter_chain_match: { server_names: [\"*.b.example\"] },"),
        chain("", "", &says("plain"), "filter_chain_match: { transport_protocol: raw_buffer },"),
    ];
    let listener = format!("{INSPECTOR}\n      listener_filters_timeout: 0.5s");
    let proxy = Proxy::start(&bootstrap(&listener, &chains, echo_upstream(), ""));
    let client = ca.client(None);
    for (name, body) in [("a.example", "one"), ("x.b.example", "two")] {
        let mut stream = connect(&client, name, proxy.address).unwrap();
        assert!(ask(&mut stream, name).unwrap().ends_with(body));
    }
    assert!(support::request(proxy.address, "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").ends_with("plain"));
    assert!(connect(&client, "c.example", proxy.address).is_err());
    let stats = proxy.admin_get("/stats?filter=no_filter_chain_match");
    assert!(stats.contains("no_filter_chain_match: 1"), "{stats}");
    // Who says nothing is not waited for.
    let (mut silent, since) = (proxy.connect(), Instant::now());
    assert_eq!(silent.read(&mut [0; 1]).unwrap_or(0), 0);
    assert!(since.elapsed() > Duration::from_millis(400) && since.elapsed() < Duration::from_secs(5));
    assert!(proxy.admin_get("/stats?filter=pre_cx_timeout").contains("downstream_pre_cx_timeout: 1"));
    assert_eq!(proxy.stat("http.h.downstream_cx_total"), 3);
}

#[test]
fn clients_show_a_certificate() {
    let (ca, other) = (Ca::new("ca"), Ca::new("other"));
    let server = ca.leaf("server", &["a.example", "spiffe://us"]);
    let good = ca.leaf("good", &["spiffe://good", "good.example"]);
    let (nobody, revoked, foreign) =
        (ca.leaf("nobody", &["spiffe://nobody"]), ca.leaf("revoked", &["spiffe://good"]), other.leaf("x", &["spiffe://good"]));
    let validation = format!(
        "{}, validation_context: {{ trusted_ca: {{ filename: {} }}, crl: {{ filename: {} }}, match_typed_subject_alt_names: [{{ san_type: URI, matcher: {{ suffix: good }} }}] }}",
        own(&[&server]),
        ca.file(),
        ca.revoke(&revoked)
    );
    let tls = format!("require_client_certificate: true, {}", common(&validation));
    let manager = "forward_client_cert_details: SANITIZE_SET, set_current_client_cert_details: { subject: true, uri: true, dns: true },";
    let facts =
        "%DOWNSTREAM_TLS_VERSION% %REQUESTED_SERVER_NAME% %DOWNSTREAM_PEER_URI_SAN% %DOWNSTREAM_LOCAL_SUBJECT% %DOWNSTREAM_PEER_ISSUER%";
    let route = format!("{TO_U}, response_headers_to_add: [{{ header: {{ key: x-facts, value: \"{facts}\" }} }}]");
    let folder = file("readme", "").parent().unwrap().join("logs");
    let arguments = ["--record", folder.to_str().unwrap()];
    let proxy = Proxy::start_with(&bootstrap("", &[chain(&tls, manager, &route, "")], echo_upstream(), ""), &arguments);
    let mut stream = connect(&ca.client(Some(&good)), "a.example", proxy.address).unwrap();
    let answer = ask(&mut stream, "a.example").unwrap();
    assert!(answer.contains("x-forwarded-client-cert: By=spiffe://us;Hash="), "{answer}");
    assert!(answer.contains(";Subject=\"CN=good\";URI=spiffe://good;DNS=good.example"), "{answer}");
    assert!(answer.contains("x-facts: TLSv1.3 a.example spiffe://good CN=server CN=ca"), "{answer}");
    for (shown, stat) in [
        (None, "ssl.fail_verify_no_cert"),
        (Some(&nobody), "ssl.fail_verify_san"),
        (Some(&revoked), "ssl.fail_verify_error"),
        (Some(&foreign), "ssl.fail_verify_error"),
    ] {
        let before = listener_stat(&proxy, stat);
        // In TLS 1.3 the client has ended its handshake before the server looks at its certificate.
        let refused = connect(&ca.client(shown), "a.example", proxy.address).and_then(|mut stream| ask(&mut stream, "a.example"));
        let text = refused.unwrap_err().to_string();
        assert!(text.contains("alert") || text.contains("reset"), "{text}");
        wait_for_stat(&proxy, stat, before + 1);
    }
    // What TLS came to is in the input log: it can be run again without a key or a certificate.
    let written = proxy.admin_post("/write_input_logs");
    let files: Vec<_> = std::fs::read_dir(&folder).unwrap_or_else(|_| panic!("{written}")).map(|entry| entry.unwrap().path()).collect();
    assert!(!files.is_empty(), "{written}");
    for file in files {
        let replayed = weir().arg("replay").arg(&file).output().unwrap();
        let said = String::from_utf8_lossy(&replayed.stdout).into_owned() + &String::from_utf8_lossy(&replayed.stderr);
        assert!(replayed.status.success() && said.contains("the same as recorded"), "{said}");
    }
}

#[test]
fn versions_and_sessions() {
    let ca = Ca::new("ca");
    let leaf = ca.leaf("a", &["a.example"]);
    let old = format!("{}, tls_params: {{ tls_maximum_protocol_version: TLSv1_2 }}", own(&[&leaf]));
    for (tls, version) in [(common(&own(&[&leaf])), ProtocolVersion::TLSv1_3), (common(&old), ProtocolVersion::TLSv1_2)] {
        let proxy = proxy(&tls, "");
        let client = ca.client(None);
        for kind in [HandshakeKind::Full, HandshakeKind::Resumed] {
            let mut stream = connect(&client, "a.example", proxy.address).unwrap();
            ask(&mut stream, "a.example").unwrap();
            assert_eq!(stream.conn.protocol_version(), Some(version));
            // The first key exchange may have been the wrong guess.
            assert_eq!(stream.conn.handshake_kind() == Some(HandshakeKind::Resumed), kind == HandshakeKind::Resumed);
        }
        let refused = openssl(&proxy, "-tls1_1 -cipher ALL:@SECLEVEL=0");
        assert!(refused.contains(" alert ") && !refused.contains("Master-Key: 0"), "{refused}");
    }
    for (more, reused) in [
        ("", true),
        (", disable_stateless_session_resumption: true", true),
        (", disable_stateless_session_resumption: true, disable_stateful_session_resumption: true", false),
    ] {
        let proxy = Proxy::start_with(
            &bootstrap("", &[chain(&format!("{}{more}", common(&own(&[&leaf]))), "", TO_U, "")], echo_upstream(), ""),
            &["--concurrency", "1"],
        );
        let said = openssl(&proxy, "-reconnect -tls1_2");
        assert_eq!(said.matches("Reused, TLSv1.2").count() == 5, reused, "{more}: {said}");
    }
}

#[test]
fn upstreams_show_a_certificate() {
    let (ca, other) = (Ca::new("ca"), Ca::new("other"));
    let leaf = ca.leaf("u", &["u.example"]);
    let cluster = |tls: &str| {
        format!(
            "transport_socket: {{ name: t, typed_config: {{ \"@type\": {TYPES}.transport_sockets.tls.v3.UpstreamTlsContext, {tls} }} }}"
        )
    };
    let trust = |ca: &Ca, more: &str| common(&format!("validation_context: {{ trusted_ca: {{ filename: {} }}{more} }}", ca.file()));
    let san = |name: &str| format!(", match_typed_subject_alt_names: [{{ san_type: DNS, matcher: {{ exact: {name} }} }}]");
    for (tls, expected) in [
        (format!("sni: u.example, {}", trust(&ca, &san("u.example"))), "200 OK"),
        (format!("sni: u.example, auto_sni_san_validation: true, {}", trust(&ca, "")), "200 OK"),
        ("sni: u.example".to_owned(), "200 OK"),
        (format!("sni: v.example, auto_sni_san_validation: true, {}", trust(&ca, "")), "verify SAN list"),
        (format!("sni: u.example, {}", trust(&ca, &san("v.example"))), "verify SAN list"),
        (format!("sni: u.example, {}", trust(&other, "")), "unable to get local issuer certificate"),
    ] {
        let yaml = bootstrap("", &[chain("", "", TO_U, "")], tls_upstream(&leaf), &cluster(&tls));
        let proxy = Proxy::start(&yaml);
        let answer = support::request(proxy.address, "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
        assert!(answer.contains(expected), "{tls}: {answer}");
        if expected != "200 OK" {
            assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("TLS_error:|"), "{answer}");
            let stat = if expected.contains("SAN") { "cluster.u.ssl.fail_verify_san" } else { "cluster.u.ssl.fail_verify_error" };
            assert!(proxy.stat(stat) >= 1 && proxy.stat("cluster.u.upstream_cx_connect_fail") >= 1);
        } else {
            assert_eq!(proxy.stat("cluster.u.ssl.handshake"), 1);
        }
        let warned = proxy.stderr.lock().unwrap().contains("upstream certificates are not verified");
        assert_eq!(warned, tls == "sni: u.example");
    }
    // An upstream that speaks no TLS gets no request.
    let proxy = Proxy::start(&bootstrap("", &[chain("", "", TO_U, "")], echo_upstream(), &cluster("sni: u.example")));
    let answer = support::request(proxy.address, "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 503") || answer.starts_with("HTTP/1.1 504"), "{answer}");
}

#[test]
fn certificates_change_under_load() {
    let ca = Ca::new("ca");
    let leaf = ca.leaf("a", &["a.example"]);
    let proxy = proxy(&common(&own(&[&leaf])), "");
    let client = ca.client(None);
    let (stop, answered) = (AtomicBool::new(false), AtomicUsize::new(0));
    let mut kept = connect(&client, "a.example", proxy.address).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let mut stream = connect(&client, "a.example", proxy.address).expect("a handshake");
                    for _ in 0..5 {
                        assert!(ask(&mut stream, "a.example").expect("an answer").starts_with("HTTP/1.1 200"));
                        answered.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
        let served = || connect(&ca.client(None), "a.example", proxy.address).unwrap().conn.peer_certificates().unwrap()[0].clone();
        for _ in 0..3 {
            let next = ca.leaf("a", &["a.example"]);
            let since = Instant::now();
            while served() != next.der {
                assert!(since.elapsed() < Duration::from_secs(10), "the new certificate is not used");
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        // A key that does not fit is refused, and the old pair goes on.
        let before = served();
        std::fs::write(&leaf.key_file, ca.leaf("b", &["b.example"]).key).unwrap();
        proxy.wait_for_line("is not that of the certificate in");
        assert_eq!(served(), before);
        assert!(proxy.stat("sds.files.update_rejected") >= 1 && proxy.stat("sds.files.update_success") >= 1);
        stop.store(true, Ordering::Relaxed);
    });
    assert!(ask(&mut kept, "a.example").unwrap().starts_with("HTTP/1.1 200"), "connections live through it");
    assert!(answered.load(Ordering::Relaxed) > 50);
}

#[test]
fn what_is_wrong_with_files_is_told_at_once() {
    let ca = Ca::new("ca");
    let (leaf, other) = (ca.leaf("a", &["a.example"]), ca.leaf("b", &["b.example"]));
    let old = ca.leaf_of("old", &["a.example"], rcgen::KeyPair::generate().unwrap(), |params| {
        (params.not_before, params.not_after) = (rcgen::date_time_ymd(2001, 1, 1), rcgen::date_time_ymd(2002, 1, 1));
    });
    let empty = file("empty.pem", "");
    let certificates = [
        certificate(&leaf.cert_file, &other.key_file),
        old.yaml(),
        certificate("/nowhere/cert.pem".as_ref(), &leaf.key_file),
        certificate(&empty, &leaf.key_file),
        certificate(&leaf.cert_file, &empty),
    ];
    let validation =
        format!("validation_context: {{ trusted_ca: {{ filename: {} }}, crl: {{ filename: {} }} }}", ca.file(), empty.display());
    let tls = common(&format!("tls_certificates: [{}], {validation}", certificates.join(", ")));
    let yaml = bootstrap("", &[chain(&tls, "", TO_U, "")], "127.0.0.1:1".parse().unwrap(), "");
    let path = file("weir.yaml", &yaml);
    let expected = [
        "tls_certificates[0].private_key: the key in",
        "tls_certificates[1].certificate_chain: the certificate in",
        "has expired, on",
        "tls_certificates[2].certificate_chain: cannot read /nowhere/cert.pem: No such file",
        "tls_certificates[3].certificate_chain: there is no certificate in",
        "tls_certificates[4].private_key: there is no private key in",
        "validation_context.crl: there is no list of revoked certificates in",
    ];
    let validated = weir().args(["validate", "-c"]).arg(&path).output().unwrap();
    let ran = weir().args(["run", "-c"]).arg(&path).output().unwrap();
    assert!(!validated.status.success() && !ran.status.success());
    for said in [String::from_utf8_lossy(&validated.stdout), String::from_utf8_lossy(&ran.stderr)] {
        for text in expected {
            let line = said.lines().find(|line| line.contains(text)).unwrap_or_else(|| panic!("{text} in {said}"));
            assert!(
                line.contains("weir.yaml:9:") && line.contains("static_resources.listeners[0].filter_chains[0].transport_socket"),
                "{line}"
            );
        }
    }
    // On reload the old config goes on.
    let good = bootstrap("", &[chain(&common(&own(&[&leaf])), "", TO_U, "")], echo_upstream(), "");
    let proxy = Proxy::start(&good);
    std::fs::write(&proxy.config, &yaml).unwrap();
    proxy.signal("HUP");
    proxy.wait_for_line("reload failed, the old config goes on");
    let mut stream = connect(&ca.client(None), "a.example", proxy.address).unwrap();
    assert!(ask(&mut stream, "a.example").unwrap().starts_with("HTTP/1.1 200"));
}

#[test]
fn who_does_not_shake_hands_is_closed() {
    let ca = Ca::new("ca");
    let leaf = ca.leaf("a", &["a.example"]);
    let tls = common(&own(&[&leaf]));
    let proxy = Proxy::start(&bootstrap("", &[chain(&tls, "", TO_U, "transport_socket_connect_timeout: 0.5s,")], echo_upstream(), ""));
    let (mut silent, since) = (proxy.connect(), Instant::now());
    assert_eq!(silent.read(&mut [0; 1]).unwrap_or(0), 0);
    assert!(since.elapsed() > Duration::from_millis(400) && since.elapsed() < Duration::from_secs(5));
    assert!(proxy.admin_get("/stats?filter=socket_connect").contains("downstream_cx_transport_socket_connect_timeout: 1"));
    // Plain bytes get an alert (a record of type 21), not an answer.
    let mut plain = proxy.connect();
    plain.write_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    let _ = plain.read_to_end(&mut answer);
    assert_eq!(answer.first(), Some(&21), "{answer:?}");
    wait_for_stat(&proxy, "ssl.connection_error", 1);
    // A connection that was drained is told goodbye: its client sees an end, not an error.
    let mut stream = connect(&ca.client(None), "a.example", proxy.address).unwrap();
    ask(&mut stream, "a.example").unwrap();
    proxy.signal("TERM");
    assert_eq!(stream.read(&mut [0; 1]).expect("a close_notify"), 0);
    let (status, stderr) = proxy.wait();
    assert!(status.success() && stderr.contains("nothing was cut"), "{stderr}");
}
