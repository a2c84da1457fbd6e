//! What a certificate says, for access logs, headers and rules about names.

use std::fmt::Write as _;
use std::net::IpAddr;
use weir_core::time::Wall;
use weir_core::tls_info::Certificate;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};
use x509_parser::x509::X509Name;

/// Reads a certificate (DER). `None` if it is none.
pub fn read(der: &[u8]) -> Option<Certificate> {
    let (_, parsed) = X509Certificate::from_der(der).ok()?;
    let mut certificate = Certificate {
        subject: name(parsed.subject()).into(),
        issuer: name(parsed.issuer()).into(),
        serial: hex(parsed.raw_serial()).trim_start_matches("00").into(),
        sha256: hex(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, der).as_ref()).into(),
        sha1: hex(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY, der).as_ref()).into(),
        not_before: wall(parsed.validity().not_before.timestamp()),
        not_after: wall(parsed.validity().not_after.timestamp()),
        ..Certificate::default()
    };
    if let Ok(Some(names)) = parsed.subject_alternative_name() {
        for name in &names.value.general_names {
            match name {
                GeneralName::DNSName(text) => certificate.dns.push((*text).into()),
                GeneralName::URI(text) => certificate.uris.push((*text).into()),
                GeneralName::RFC822Name(text) => certificate.emails.push((*text).into()),
                GeneralName::IPAddress(octets) => certificate.ips.extend(ip(octets).map(|ip| ip.to_string().into())),
                _ => {}
            }
        }
    }
    Some(certificate)
}

/// SHA-256 of a certificate's public key, as it stands in the certificate.
pub fn key_digest(der: &[u8]) -> Option<[u8; 32]> {
    let (_, parsed) = X509Certificate::from_der(der).ok()?;
    digest(parsed.public_key().raw)
}

/// SHA-256.
pub fn digest(bytes: &[u8]) -> Option<[u8; 32]> {
    aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes).as_ref().try_into().ok()
}

/// The name that a server certificate without any other name is for.
pub fn common_name(der: &[u8]) -> Option<String> {
    let (_, parsed) = X509Certificate::from_der(der).ok()?;
    let name = parsed.subject().iter_common_name().next()?.as_str().ok()?.to_owned();
    Some(name)
}

fn wall(timestamp: i64) -> Wall {
    Wall::from_nanos(u64::try_from(timestamp).unwrap_or(0).saturating_mul(1_000_000_000))
}

fn ip(octets: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(octets).map(IpAddr::from);
    v4.or_else(|_| <[u8; 16]>::try_from(octets).map(IpAddr::from)).ok()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut out, byte| {
        let _ = write!(out, "{byte:02x}");
        out
    })
}

/// RFC 2253: the last part first, as Envoy writes it.
fn name(name: &X509Name<'_>) -> String {
    let mut parts: Vec<String> = Vec::new();
    for rdn in name.iter() {
        let attributes: Vec<String> = rdn
            .iter()
            .map(|attribute| {
                let oid = attribute.attr_type();
                let short = match oid.to_id_string().as_str() {
                    "2.5.4.3" => "CN".to_owned(),
                    "2.5.4.4" => "SN".to_owned(),
                    "2.5.4.5" => "serialNumber".to_owned(),
                    "2.5.4.6" => "C".to_owned(),
                    "2.5.4.7" => "L".to_owned(),
                    "2.5.4.8" => "ST".to_owned(),
                    "2.5.4.9" => "street".to_owned(),
                    "2.5.4.10" => "O".to_owned(),
                    "2.5.4.11" => "OU".to_owned(),
                    "2.5.4.42" => "GN".to_owned(),
                    "1.2.840.113549.1.9.1" => "emailAddress".to_owned(),
                    "0.9.2342.19200300.100.1.1" => "UID".to_owned(),
                    "0.9.2342.19200300.100.1.25" => "DC".to_owned(),
                    other => other.to_owned(),
                };
                format!("{short}={}", escape(attribute.as_str().unwrap_or_default()))
            })
            .collect();
        parts.push(attributes.join("+"));
    }
    parts.reverse();
    parts.join(",")
}

fn escape(text: &str) -> String {
    let mut out = String::new();
    for (at, letter) in text.char_indices() {
        let special = matches!(letter, ',' | '+' | '"' | '\\' | '<' | '>' | ';');
        let edge = (at == 0 && matches!(letter, ' ' | '#')) || (at + 1 == text.len() && letter == ' ');
        if special || edge {
            out.push('\\');
        }
        out.push(letter);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_read() {
        let mut params = rcgen::CertificateParams::new(["a.example".to_owned(), "10.0.0.1".to_owned()]).unwrap();
        params.subject_alt_names.push(rcgen::SanType::URI("spiffe://a/b".try_into().unwrap()));
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(rcgen::DnType::CommonName, "a, b");
        params.distinguished_name.push(rcgen::DnType::OrganizationName, "Org");
        let key = rcgen::KeyPair::generate().unwrap();
        let der = params.self_signed(&key).unwrap();
        let read = read(der.der()).unwrap();
        assert_eq!((&*read.subject, &*read.issuer), ("O=Org,CN=a\\, b", "O=Org,CN=a\\, b"));
        assert_eq!((read.dns, read.ips, read.uris), (vec!["a.example".into()], vec!["10.0.0.1".into()], vec!["spiffe://a/b".into()]));
        assert_eq!((read.sha256.len(), read.sha1.len()), (64, 40));
        assert!(read.not_after > read.not_before);
        assert_eq!(common_name(der.der()).as_deref(), Some("a, b"));
        assert!(super::read(b"nothing").is_none());
    }
}
