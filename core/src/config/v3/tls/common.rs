//! `CommonTlsContext` and `TlsParameters`: what both directions have.

use super::certificates::{Secret, Secrets, find_secret, read_certificate};
use super::validation::{read_validation, secret_validation};
use crate::config::tls::{CommonTls, TlsParams, TlsVersion, Validation};
use crate::config::v3::reader::Reader;
use std::sync::Arc;

/// `CommonTlsContext`.
pub(super) fn read_common(common: &Reader<'_>, secrets: &Secrets) -> Option<CommonTls> {
    let (mut certificates, mut whole) = (Vec::new(), true);
    common.each("tls_certificates", |certificate| match read_certificate(&certificate) {
        Some(certificate) => certificates.push(certificate),
        None => whole = false,
    });
    common.each("tls_certificate_sds_secret_configs", |config| match find_secret(&config, secrets) {
        Some(Secret::Certificate(Some(certificate))) => certificates.push(certificate.clone()),
        Some(Secret::Certificate(None)) | None => whole = false,
        Some(_) => config.error("name", "this secret is no certificate"),
    });
    let mut validation = common.message("validation_context", |context| read_validation(&context));
    if common.has("validation_context_sds_secret_config") {
        validation = common.message("validation_context_sds_secret_config", |config| secret_validation(&config, secrets)).flatten();
        whole &= validation.is_some();
    }
    common.message("combined_validation_context", |combined| {
        let default = combined.message("default_validation_context", |context| read_validation(&context));
        let secret = combined.message("validation_context_sds_secret_config", |config| secret_validation(&config, secrets)).flatten();
        whole &= secret.is_some();
        validation = match (default, secret) {
            (Some(default), Some(secret)) => Some(merge(default, secret)),
            (one, other) => one.or(other),
        };
    });
    let params = common.message("tls_params", |params| read_params(&params)).unwrap_or_default();
    let alpn = common.strings("alpn_protocols").into_iter().map(Arc::from).collect();
    whole.then(|| CommonTls { certificates, validation, alpn, params, place: common.place_here() })
}

/// Messages are merged as protobuf does it: what the secret sets wins, and lists are joined.
fn merge(mut default: Validation, secret: Validation) -> Validation {
    default.trusted_ca = secret.trusted_ca.or(default.trusted_ca);
    default.names.extend(secret.names);
    default.spki_pins.extend(secret.spki_pins);
    default.hash_pins.extend(secret.hash_pins);
    default.crl = secret.crl.or(default.crl);
    default.leaf_crl_only |= secret.leaf_crl_only;
    default.accept_untrusted |= secret.accept_untrusted;
    default.allow_expired |= secret.allow_expired;
    default
}

/// Ciphers of TLS 1.2 that we have, by OpenSSL's names.
const CIPHERS: [&str; 6] = [
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-RSA-AES128-GCM-SHA256",
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-RSA-AES256-GCM-SHA384",
    "ECDHE-ECDSA-CHACHA20-POLY1305",
    "ECDHE-RSA-CHACHA20-POLY1305",
];

const CURVES: [&str; 4] = ["X25519", "P-256", "P-384", "X25519MLKEM768"];

/// `TlsParameters`.
fn read_params(params: &Reader<'_>) -> TlsParams {
    let version = |name: &str| match params.enumeration(name) {
        0 => None,
        1 | 2 => {
            params.error(name, "Weir speaks TLS 1.2 and 1.3 only: RFC 8996 forbids what was before");
            None
        }
        3 => Some(TlsVersion::Tls12),
        _ => Some(TlsVersion::Tls13),
    };
    let (min, max) = (version("tls_minimum_protocol_version"), version("tls_maximum_protocol_version"));
    if min > max && max.is_some() {
        params.error("tls_maximum_protocol_version", "is lower than `tls_minimum_protocol_version`");
    }
    // `[A|B]` is a group of equals; they stay in the order they are written in.
    let ciphers = params.strings("cipher_suites").into_iter();
    let ciphers = ciphers.flat_map(|text| text.trim_matches(['[', ']']).split('|')).collect();
    TlsParams {
        min,
        max,
        ciphers: known(params, "cipher_suites", "cipher", ciphers, &CIPHERS),
        curves: known(params, "ecdh_curves", "curve", params.strings("ecdh_curves"), &CURVES),
    }
}

fn known(params: &Reader<'_>, field: &str, what: &str, names: Vec<&str>, all: &[&'static str]) -> Vec<&'static str> {
    let mut found = Vec::new();
    for name in names {
        match all.iter().find(|known| **known == name) {
            Some(known) => found.push(*known),
            None => params.unsupported(field, format!("Weir does not have the {what} `{name}`; it has {}", all.join(", "))),
        }
    }
    found
}
