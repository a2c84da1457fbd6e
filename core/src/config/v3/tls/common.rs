//! `CommonTlsContext` and `TlsParameters`: what both directions have.

use super::certificates::{Found, Secret, Secrets, find_secret, read_certificate};
use super::validation::{read_validation, read_whole_validation};
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
    let mut certificate_files = Vec::new();
    common.each("tls_certificate_sds_secret_configs", |config| match find_secret(&config, secrets) {
        Some(Found::File(file)) => certificate_files.push(file),
        Some(Found::Static(Secret::Certificate(Some(certificate)))) => certificates.push(certificate.clone()),
        Some(Found::Static(Secret::Certificate(None))) | None => whole = false,
        Some(Found::Static(_)) => config.error("name", "this secret is no certificate"),
    });
    let (mut validation, mut validation_file) = (read_default(common), None);
    let mut by_secret = |message: &Reader<'_>| {
        message.message("validation_context_sds_secret_config", |config| match find_secret(&config, secrets) {
            Some(Found::File(file)) => validation_file = Some(file),
            Some(Found::Static(Secret::Validation(Some(secret)))) => {
                validation = Some(match validation.take() {
                    Some(default) => default.merged(secret.clone()),
                    None => secret.clone(),
                });
            }
            Some(Found::Static(Secret::Validation(None))) | None => whole = false,
            Some(Found::Static(_)) => {
                config.error("name", "this secret is no validation context");
                whole = false;
            }
        });
    };
    by_secret(common);
    common.message("combined_validation_context", |combined| {
        by_secret(&combined);
    });
    // What is in a file is judged by whoever reads it.
    if !common.has("validation_context") && validation_file.is_none() {
        let fault = validation.as_ref().and_then(Validation::fault);
        fault.into_iter().for_each(|fault| common.error_here(fault));
    }
    let params = common.message("tls_params", |params| read_params(&params)).unwrap_or_default();
    let alpn = common.strings("alpn_protocols").into_iter().map(Arc::from).collect();
    whole.then(|| CommonTls { certificates, certificate_files, validation, validation_file, alpn, params, place: common.place_here() })
}

/// What the config itself says of validation.
fn read_default(common: &Reader<'_>) -> Option<Validation> {
    let combined = common.message("combined_validation_context", |combined| {
        combined.message("default_validation_context", |context| read_validation(&context))
    });
    common.message("validation_context", |context| read_whole_validation(&context)).or(combined.flatten())
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
