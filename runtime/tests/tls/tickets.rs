//! Session tickets under keys that proxies share.

use crate::pki::{Ca, ask, connect, echo_upstream};
use crate::support::{Proxy, file, weir};
use crate::{TO_U, bootstrap, chain, common, own};
use rustls::{ClientConfig, HandshakeKind};
use std::path::Path;
use std::sync::Arc;

fn keys(files: &[&Path]) -> String {
    let keys: Vec<String> = files.iter().map(|file| format!("{{ filename: {} }}", file.display())).collect();
    format!("session_ticket_keys: {{ keys: [{}] }}", keys.join(", "))
}

fn proxy(tls: &str) -> Proxy {
    Proxy::start(&bootstrap("", &[chain(tls, "", TO_U, "")], echo_upstream(), ""))
}

/// Whether a client's handshake resumes a session; it gets tickets for later.
fn resumes(client: &Arc<ClientConfig>, proxy: &Proxy) -> bool {
    let mut stream = connect(client, "a.example", proxy.address).unwrap();
    ask(&mut stream, "a.example").unwrap();
    stream.conn.handshake_kind() == Some(HandshakeKind::Resumed)
}

#[test]
fn a_ticket_of_one_proxy_resumes_at_another() {
    let ca = Ca::new("ca");
    let leaf = ca.leaf("a", &["a.example"]);
    let (old, new) = (file("old.key", ""), file("new.key", ""));
    std::fs::write(&old, [1; 80]).unwrap();
    std::fs::write(&new, [2; 80]).unwrap();
    let old_version = format!("{}, tls_params: {{ tls_maximum_protocol_version: TLSv1_2 }}", own(&[&leaf]));
    let clients = format!("{}, validation_context: {{ trusted_ca: {{ filename: {} }} }}", own(&[&leaf]), ca.file());
    for certificates in [own(&[&leaf]), old_version] {
        let with = |files: &[&Path]| proxy(&format!("{}, {}", common(&certificates), keys(files)));
        let (first, second, rotated, without) = (with(&[&old]), with(&[&old]), with(&[&new, &old]), proxy(&common(&certificates)));
        let strict = proxy(&format!("{}, {}", common(&clients), keys(&[&old])));
        for (at, to, expected) in [
            (&first, &second, true),
            (&second, &rotated, true),
            (&rotated, &first, false),
            (&rotated, &rotated, true),
            (&first, &without, false),
            // What is not asked of clients here is asked of them there.
            (&first, &strict, false),
        ] {
            let client = ca.client(None);
            assert!(!resumes(&client, at));
            assert_eq!(resumes(&client, to), expected);
        }
    }
}

#[test]
fn keys_change_in_their_files() {
    let ca = Ca::new("ca");
    let leaf = ca.leaf("a", &["a.example"]);
    let path = file("ticket.key", "");
    std::fs::write(&path, [1; 80]).unwrap();
    let tls = format!("{}, {}", common(&own(&[&leaf])), keys(&[&path]));
    let (changing, other) = (proxy(&tls), proxy(&tls));
    let client = ca.client(None);
    assert!(!resumes(&client, &changing) && resumes(&client, &other));
    std::fs::write(&path, [2; 79]).unwrap();
    changing.wait_for_line("and something is wrong");
    assert!(changing.stderr.lock().unwrap().contains("session_ticket_keys.keys[0]: a session ticket key is 80 bytes"));
    assert!(resumes(&client, &changing), "the key before goes on");
    std::fs::write(&path, [2; 80]).unwrap();
    changing.wait_for_line("certificates were read again; new connections use them");
    let client = ca.client(None);
    assert!(!resumes(&client, &changing) && resumes(&client, &changing));
}

#[test]
fn what_is_no_key_is_refused() {
    let ca = Ca::new("ca");
    let leaf = ca.leaf("a", &["a.example"]);
    for (keys, expected) in [
        (
            "session_ticket_keys: { keys: [{ inline_string: short }] }".to_owned(),
            "session_ticket_keys: a key is 80 bytes (`openssl rand 80`), and one of these is 5",
        ),
        (keys(&[&file("short.key", "short")]), "session_ticket_keys.keys[0]: a session ticket key is 80 bytes"),
        (keys(&[Path::new("/nowhere/key")]), "session_ticket_keys.keys[0]: cannot read /nowhere/key"),
        ("session_ticket_keys_sds_secret_config: { name: k }".to_owned(), "Weir takes session ticket keys from `session_ticket_keys` only"),
    ] {
        let tls = format!("{}, {keys}", common(&own(&[&leaf])));
        let path = file("weir.yaml", &bootstrap("", &[chain(&tls, "", TO_U, "")], "127.0.0.1:1".parse().unwrap(), ""));
        let validated = weir().args(["validate", "-c"]).arg(&path).output().unwrap();
        let said = String::from_utf8_lossy(&validated.stdout).into_owned();
        assert!(!validated.status.success() && said.contains("weir.yaml:9:") && said.contains(expected), "{expected} in {said}");
    }
}
