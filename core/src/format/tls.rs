//! Operators that read what TLS left behind: of the client's connection, and of the upstream's.

use super::TimeFormat;
use crate::tls_info::{Certificate, TlsInfo, printable, url_encoded_pem};

/// A fact about a TLS connection.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub enum TlsFact {
    Version,
    Cipher,
    SessionId,
    ServerName,
    /// The peer's certificate itself.
    PeerPem,
    Peer(CertificateFact),
    Local(CertificateFact),
}

/// A fact about a certificate.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub enum CertificateFact {
    Subject,
    Issuer,
    Serial,
    Sha256,
    Sha1,
    Uris,
    Dns,
    Emails,
    Ips,
    ValidFrom(TimeFormat),
    ValidUntil(TimeFormat),
}

impl TlsFact {
    /// The fact that an operator's name stands for, without `DOWNSTREAM_` or `UPSTREAM_`.
    pub(super) fn named(name: &str, argument: Option<&str>) -> Option<TlsFact> {
        Some(match name {
            "TLS_VERSION" => TlsFact::Version,
            "TLS_CIPHER" => TlsFact::Cipher,
            "TLS_SESSION_ID" => TlsFact::SessionId,
            "PEER_CERT" => TlsFact::PeerPem,
            "SERVER_NAME" => TlsFact::ServerName,
            _ => match name.split_once('_')? {
                ("PEER", rest) => TlsFact::Peer(CertificateFact::named(rest, argument)?),
                ("LOCAL", rest) => TlsFact::Local(CertificateFact::named(rest, argument)?),
                _ => return None,
            },
        })
    }

    /// Whether a name takes an argument: a time format.
    pub(super) fn takes_argument(name: &str) -> bool {
        name.ends_with("PEER_CERT_V_START") || name.ends_with("PEER_CERT_V_END")
    }

    pub(super) fn write(&self, tls: &TlsInfo, out: &mut Vec<u8>) -> bool {
        let text = |text: &str, out: &mut Vec<u8>| {
            out.extend_from_slice(text.as_bytes());
            !text.is_empty()
        };
        match self {
            TlsFact::Version => text(&tls.version, out),
            TlsFact::Cipher => text(&tls.cipher, out),
            TlsFact::SessionId => text(&tls.session_id, out),
            TlsFact::ServerName => text(&tls.server_name, out),
            TlsFact::PeerPem => text(&url_encoded_pem(tls.peer_chain.iter().take(1).map(|der| &**der)), out),
            TlsFact::Peer(fact) => tls.peer.as_ref().is_some_and(|certificate| fact.write(certificate, out)),
            TlsFact::Local(fact) => tls.local.as_ref().is_some_and(|certificate| fact.write(certificate, out)),
        }
    }
}

impl CertificateFact {
    fn named(name: &str, argument: Option<&str>) -> Option<CertificateFact> {
        // Envoy writes dates of certificates as ISO 8601 unless it is told how.
        let format = || TimeFormat::parse(argument.unwrap_or_default());
        Some(match name {
            "SUBJECT" => CertificateFact::Subject,
            "ISSUER" => CertificateFact::Issuer,
            "SERIAL" => CertificateFact::Serial,
            "FINGERPRINT_256" => CertificateFact::Sha256,
            "FINGERPRINT_1" => CertificateFact::Sha1,
            "URI_SAN" => CertificateFact::Uris,
            "DNS_SAN" => CertificateFact::Dns,
            "EMAIL_SAN" => CertificateFact::Emails,
            "IP_SAN" => CertificateFact::Ips,
            "CERT_V_START" => CertificateFact::ValidFrom(format()),
            "CERT_V_END" => CertificateFact::ValidUntil(format()),
            _ => return None,
        })
    }

    fn write(&self, certificate: &Certificate, out: &mut Vec<u8>) -> bool {
        let list = match self {
            CertificateFact::Subject => std::slice::from_ref(&certificate.subject),
            CertificateFact::Issuer => std::slice::from_ref(&certificate.issuer),
            CertificateFact::Serial => std::slice::from_ref(&certificate.serial),
            CertificateFact::Sha256 => std::slice::from_ref(&certificate.sha256),
            CertificateFact::Sha1 => std::slice::from_ref(&certificate.sha1),
            CertificateFact::Uris => &certificate.uris,
            CertificateFact::Dns => &certificate.dns,
            CertificateFact::Emails => &certificate.emails,
            CertificateFact::Ips => &certificate.ips,
            CertificateFact::ValidFrom(format) => {
                format.write(certificate.not_before, out);
                return true;
            }
            CertificateFact::ValidUntil(format) => {
                format.write(certificate.not_after, out);
                return true;
            }
        };
        let text = list.join(",");
        let text = printable(&text);
        out.extend_from_slice(text.as_bytes());
        !text.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Wall;

    #[test]
    fn every_operator_reads_its_fact() {
        let certificate = |name: &str| Certificate {
            subject: format!("CN={name}").into(),
            dns: vec!["a".into(), "b\r\n".into()],
            sha256: "ab".into(),
            not_before: Wall::from_nanos(1_000_000_000),
            ..Certificate::default()
        };
        let tls = TlsInfo {
            version: "TLSv1.3".into(),
            cipher: "TLS_AES_128_GCM_SHA256".into(),
            server_name: "a.example".into(),
            peer: Some(certificate("peer").into()),
            local: Some(certificate("local").into()),
            ..TlsInfo::default()
        };
        for (name, expected) in [
            ("TLS_VERSION", Some("TLSv1.3")),
            ("TLS_CIPHER", Some("TLS_AES_128_GCM_SHA256")),
            ("SERVER_NAME", Some("a.example")),
            ("TLS_SESSION_ID", None),
            ("PEER_SUBJECT", Some("CN=peer")),
            ("LOCAL_SUBJECT", Some("CN=local")),
            ("PEER_DNS_SAN", Some("a,b")),
            ("PEER_URI_SAN", None),
            ("PEER_FINGERPRINT_256", Some("ab")),
            ("PEER_CERT_V_START", Some("1970-01-01T00:00:01.000Z")),
        ] {
            let mut out = Vec::new();
            let known = TlsFact::named(name, None).expect(name).write(&tls, &mut out);
            assert_eq!(known.then(|| String::from_utf8(out).unwrap()).as_deref(), expected, "{name}");
        }
        assert_eq!(TlsFact::named("PEER_OTHERNAME_SAN", None), None);
    }
}
