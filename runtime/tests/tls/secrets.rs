//! Secrets in files (`path_config_source`): found, refused with their own file and field, changed under a running proxy.

use crate::pki::{Ca, Leaf, ask, connect, echo_upstream};
use crate::support::{Proxy, file, weir};
use crate::{TO_U, TYPES, bootstrap, chain, common};
use std::path::Path;
use std::time::{Duration, Instant};

/// A DiscoveryResponse with one Secret.
fn response(name: &str, secret: &str) -> String {
    format!("resources:\n- \"@type\": {TYPES}.transport_sockets.tls.v3.Secret\n  name: {name}\n  {secret}\n")
}

fn certificate(leaf: &Leaf) -> String {
    response("own", &format!("tls_certificate: {}", leaf.yaml()))
}

fn secret(name: &str, path: &Path, more: &str) -> String {
    format!("{{ name: {name}, sds_config: {{ path_config_source: {{ path: {}{more} }} }} }}", path.display())
}

/// Written elsewhere and moved: nobody sees half of it.
fn replace(path: &Path, text: &str) {
    let new = path.with_extension("new");
    std::fs::write(&new, text).unwrap();
    std::fs::rename(&new, path).unwrap();
}

fn wait_until(what: &str, is: impl Fn() -> bool) {
    let since = Instant::now();
    while !is() {
        assert!(since.elapsed() < Duration::from_secs(10), "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn secrets_in_files_are_used_and_change() {
    let (ca, other) = (Ca::new("ca"), Ca::new("other"));
    let (first, next, client) = (ca.leaf("first", &["a.example"]), ca.leaf("next", &["a.example"]), ca.leaf("client", &["c.example"]));
    let (own, trust) = (file("own.yaml", &certificate(&first)), file("trust.yaml", ""));
    let trusted = |ca: &Ca| response("trust", &format!("validation_context: {{ trusted_ca: {{ filename: {} }} }}", ca.file()));
    std::fs::write(&trust, trusted(&ca)).unwrap();
    let names = "default_validation_context: { match_typed_subject_alt_names: [{ san_type: DNS, matcher: { exact: c.example } }] }";
    let validation =
        format!("combined_validation_context: {{ {names}, validation_context_sds_secret_config: {} }}", secret("trust", &trust, ""));
    let tls = format!("tls_certificate_sds_secret_configs: [{}], {validation}", secret("own", &own, ""));
    let tls = format!("{}, require_client_certificate: true", common(&tls));
    let proxy = Proxy::start(&bootstrap("", &[chain(&tls, "", TO_U, "")], echo_upstream(), ""));
    let served = |own: &Leaf| {
        let mut stream = connect(&ca.client(Some(own)), "a.example", proxy.address).ok()?;
        let der = stream.conn.peer_certificates()?[0].clone();
        // A client that is refused hears of it when it asks.
        ask(&mut stream, "a.example").ok().map(|_| der)
    };
    assert_eq!(served(&client), Some(first.der.clone()));
    assert_eq!(served(&first), None, "the names of the default context count too");
    // Another certificate, in files that nothing has named before.
    replace(&own, &certificate(&next));
    wait_until("the new certificate is used", || served(&client) == Some(next.der.clone()));
    assert!(proxy.stat("sds.files.update_success") >= 1);
    // What is wrong stays out.
    replace(&own, "resources: [{ \"@type\": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret, nam: own }]");
    proxy.wait_for_line("what was there before goes on in its place");
    assert!(proxy.stderr.lock().unwrap().contains("own.yaml:1:"), "{}", proxy.stderr.lock().unwrap());
    assert_eq!(served(&client), Some(next.der.clone()));
    assert!(proxy.stat("sds.files.update_rejected") >= 1);
    // The files that a secret names are watched too, those of the second as of the first.
    replace(&own, &certificate(&next));
    let renewed = ca.leaf("next", &["a.example"]);
    wait_until("the renewed certificate is used", || served(&client) == Some(renewed.der.clone()));
    replace(&trust, &trusted(&other));
    wait_until("the client is not trusted any more", || served(&client).is_none());
}

#[test]
fn a_watched_directory_says_that_a_file_has_changed() {
    let ca = Ca::new("ca");
    let (first, next) = (ca.leaf("first", &["a.example"]), ca.leaf("next", &["a.example"]));
    // As Kubernetes does it: the file is reached by a link in another folder, and that link is moved.
    let (old, new) = (file("own.json", &certificate(&first)), file("own.json", &certificate(&next)));
    let folder = file("none", "").parent().unwrap().to_owned();
    let link = |to: &Path| {
        std::os::unix::fs::symlink(to.parent().unwrap(), folder.join("data.new")).unwrap();
        std::fs::rename(folder.join("data.new"), folder.join("data")).unwrap();
    };
    link(&old);
    let config = secret("own", &folder.join("data/own.json"), &format!(", watched_directory: {{ path: {} }}", folder.display()));
    let tls = common(&format!("tls_certificate_sds_secret_configs: [{config}]"));
    let proxy = Proxy::start(&bootstrap("", &[chain(&tls, "", TO_U, "")], echo_upstream(), ""));
    let served = || connect(&ca.client(None), "a.example", proxy.address).unwrap().conn.peer_certificates().unwrap()[0].clone();
    assert_eq!(served(), first.der);
    link(&new);
    wait_until("the certificate behind the moved link is used", || served() == next.der);
}

#[test]
fn what_is_wrong_with_a_secret_is_told_with_its_file() {
    let ca = Ca::new("ca");
    let (leaf, other) = (ca.leaf("a", &["a.example"]), ca.leaf("b", &["b.example"]));
    let mixed = format!("tls_certificate: {}", crate::certificate(&leaf.cert_file, &other.key_file));
    let empty = "validation_context: {}";
    for (text, expected) in [
        (certificate(&leaf), ""),
        (String::new(), "s.yaml:1:1: error: the file is empty"),
        ("resources: [".to_owned(), "s.yaml:1:"),
        ("resources: []".to_owned(), "there is no secret `own` here; there is none at all"),
        (
            response("other", &format!("tls_certificate: {}", leaf.yaml())),
            "s.yaml:1:1: error: there is no secret `own` here; there is `other`",
        ),
        (response("own", "tls_certificat: {}"), "s.yaml:4:3: error: resources[0].tls_certificat: "),
        (response("own", &mixed), "s.yaml:4:"),
        (response("own", &mixed), "resources[0].tls_certificate.private_key: the key in"),
        (response("own", empty), "the secret `own` in"),
    ] {
        let path = file("s.yaml", &text);
        let tls = common(&format!("tls_certificate_sds_secret_configs: [{}]", secret("own", &path, "")));
        let config = file("weir.yaml", &bootstrap("", &[chain(&tls, "", TO_U, "")], "127.0.0.1:1".parse().unwrap(), ""));
        let validated = weir().args(["validate", "-c"]).arg(&config).output().unwrap();
        let said = String::from_utf8_lossy(&validated.stdout).into_owned() + &String::from_utf8_lossy(&validated.stderr);
        assert_eq!(validated.status.success(), expected.is_empty(), "{said}");
        assert!(said.contains(expected), "{expected} in {said}");
    }
    for (source, expected) in [
        ("path_config_source: { path: /nowhere/s.yaml }", "sds_config: cannot read the secrets in /nowhere/s.yaml: No such file"),
        ("ads: {}", "sds_config.ads: Weir takes secrets from"),
    ] {
        let tls = common(&format!("tls_certificate_sds_secret_configs: [{{ name: own, sds_config: {{ {source} }} }}]"));
        let config = file("weir.yaml", &bootstrap("", &[chain(&tls, "", TO_U, "")], "127.0.0.1:1".parse().unwrap(), ""));
        let validated = weir().args(["validate", "-c"]).arg(&config).output().unwrap();
        let said = String::from_utf8_lossy(&validated.stdout).into_owned() + &String::from_utf8_lossy(&validated.stderr);
        assert!(!validated.status.success() && said.contains("weir.yaml:9:") && said.contains(expected), "{expected} in {said}");
    }
    // Clients must show something, and the file does not say what.
    let (own, trust) = (file("own.yaml", &certificate(&leaf)), file("trust.yaml", &response("trust", empty)));
    let tls = format!(
        "tls_certificate_sds_secret_configs: [{}], validation_context_sds_secret_config: {}",
        secret("own", &own, ""),
        secret("trust", &trust, "")
    );
    let tls = format!("{}, require_client_certificate: true", common(&tls));
    let config = file("weir.yaml", &bootstrap("", &[chain(&tls, "", TO_U, "")], "127.0.0.1:1".parse().unwrap(), ""));
    let validated = weir().args(["validate", "-c"]).arg(&config).output().unwrap();
    assert!(String::from_utf8_lossy(&validated.stdout).contains("client certificates are required, and nothing says which"));
}
