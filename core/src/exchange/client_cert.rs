//! `x-forwarded-client-cert`: which certificate a client has shown, for the upstream.
//! (`configuration/http/http_conn_man/headers`, `x-forwarded-client-cert`.)

use crate::config::{ClientCert, ForwardClientCert};
use crate::http::{Name, RequestHead};
use crate::tls_info::{Certificate, TlsInfo, printable, url_encoded_pem};
use std::fmt::Write as _;

/// Removes, keeps or writes the header, as the connection manager says.
pub fn mark(config: ClientCert, head: &mut RequestHead, tls: Option<&TlsInfo>) {
    let shown = tls.and_then(|tls| Some((tls, tls.peer.as_deref()?)));
    match (config.forward, shown) {
        (ForwardClientCert::AlwaysForwardOnly, _) | (ForwardClientCert::ForwardOnly, Some(_)) => {}
        (ForwardClientCert::AppendForward, Some((tls, peer))) => {
            head.fields.append(Name::ClientCert, b",", element(config, tls, peer).as_bytes())
        }
        (ForwardClientCert::SanitizeSet, Some((tls, peer))) => {
            head.fields.set(Name::ClientCert, element(config, tls, peer).as_bytes());
        }
        // Nobody may claim a certificate.
        _ => head.fields.remove(Name::ClientCert),
    }
}

/// The element of this connection.
fn element(config: ClientCert, tls: &TlsInfo, peer: &Certificate) -> String {
    let mut out = String::new();
    let mut pair = |key: &str, value: &str| {
        let between = if out.is_empty() { "" } else { ";" };
        let _ = write!(out, "{between}{key}={value}");
    };
    // Of several names of our own only the first stands.
    for uri in tls.local.iter().flat_map(|local| local.uris.first()) {
        pair("By", &value(uri));
    }
    pair("Hash", &peer.sha256);
    if config.cert {
        pair("Cert", &format!("\"{}\"", url_encoded_pem(tls.peer_chain.iter().take(1).map(|der| &**der))));
    }
    if config.chain {
        pair("Chain", &format!("\"{}\"", url_encoded_pem(tls.peer_chain.iter().map(|der| &**der))));
    }
    if config.subject {
        pair("Subject", &quoted(&peer.subject));
    }
    if config.uri {
        match &peer.uris[..] {
            [] => pair("URI", ""),
            uris => uris.iter().for_each(|uri| pair("URI", &value(uri))),
        }
    }
    if config.dns {
        peer.dns.iter().for_each(|name| pair("DNS", &value(name)));
    }
    out
}

/// A value that may be a peer's words: what could end the header is left out, and what could end the element is quoted,
/// as Envoy's documentation says.
fn value(text: &str) -> String {
    let text = printable(text);
    match text.contains([',', ';', '=', '"']) {
        true => quoted(&text),
        false => text.into_owned(),
    }
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", printable(text).replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info() -> TlsInfo {
        let certificate = |subject: &str, uri: &str| Certificate {
            subject: subject.into(),
            sha256: "ab12".into(),
            uris: vec![uri.into()],
            dns: vec!["a.example".into(), "b.example".into()],
            ..Certificate::default()
        };
        TlsInfo {
            peer: Some(certificate("CN=\"x\",O=y", "spiffe://client").into()),
            local: Some(certificate("CN=us", "spiffe://us").into()),
            peer_chain: vec![vec![0xfb; 3].into()],
            ..TlsInfo::default()
        }
    }

    #[test]
    fn each_mode_does_what_envoy_does() {
        let all = ClientCert { subject: true, dns: true, uri: true, ..ClientCert::default() };
        let own = r#"By=spiffe://us;Hash=ab12;Subject="CN=\"x\",O=y";URI=spiffe://client;DNS=a.example;DNS=b.example"#;
        let joined = format!("Hash=1,{own}");
        let tls = info();
        for (forward, shown, expected) in [
            (ForwardClientCert::Sanitize, true, None),
            (ForwardClientCert::ForwardOnly, true, Some("Hash=1")),
            (ForwardClientCert::ForwardOnly, false, None),
            (ForwardClientCert::AppendForward, true, Some(&*joined)),
            (ForwardClientCert::AppendForward, false, None),
            (ForwardClientCert::SanitizeSet, true, Some(own)),
            (ForwardClientCert::SanitizeSet, false, None),
            (ForwardClientCert::AlwaysForwardOnly, false, Some("Hash=1")),
        ] {
            let mut head = RequestHead::default();
            head.fields.push_known(Name::ClientCert, b"Hash=1");
            mark(ClientCert { forward, ..all }, &mut head, shown.then_some(&tls));
            let value = head.fields.get(Name::ClientCert).map(|value| String::from_utf8_lossy(value).into_owned());
            assert_eq!(value.as_deref(), expected, "{forward:?} {shown}");
        }
    }

    #[test]
    fn no_name_in_a_certificate_ends_its_value() {
        let config = ClientCert { uri: true, dns: true, subject: true, ..ClientCert::default() };
        let peer = Certificate {
            subject: "CN=\"x\"\r\nEvil: 1".into(),
            sha256: "ab".into(),
            uris: vec!["spiffe://x\r\nHost: evil\r\n\r\nGET /".into(), "spiffe://x;By=spiffe://us,Hash=00".into()],
            dns: vec!["a\0b".into()],
            ..Certificate::default()
        };
        let expected =
            "Hash=ab;Subject=\"CN=\\\"x\\\"Evil: 1\";URI=spiffe://xHost: evilGET /;URI=\"spiffe://x;By=spiffe://us,Hash=00\";DNS=ab";
        assert_eq!(element(config, &TlsInfo::default(), &peer), expected);
    }

    #[test]
    fn certificates_are_url_encoded_pem() {
        let config = ClientCert { cert: true, ..ClientCert::default() };
        let tls = info();
        let peer = tls.peer.as_deref().unwrap();
        let pem = "-----BEGIN%20CERTIFICATE-----%0A%2B%2Fv7%0A-----END%20CERTIFICATE-----%0A";
        assert_eq!(element(config, &tls, peer), format!("By=spiffe://us;Hash=ab12;Cert=\"{pem}\""));
    }
}
