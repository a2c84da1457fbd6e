//! `CertificateValidationContext`: what a peer's certificate must be.

use super::certificates::read_source;
use crate::config::TextMatch;
use crate::config::tls::{SanKind, SanMatch, Validation};
use crate::config::v3::matcher::read_text;
use crate::config::v3::reader::Reader;
use base64::Engine as _;

/// `CertificateValidationContext`.
pub(super) fn read_validation(context: &Reader<'_>) -> Validation {
    context.message("watched_directory", |directory| directory.ignore(&["path"]));
    context.ignore(&["suppress_client_ca_list"]);
    let mut names = Vec::new();
    context.each("match_typed_subject_alt_names", |name| names.extend(read_typed_name(&name)));
    context.each("match_subject_alt_names", |name| {
        for kind in [SanKind::Dns, SanKind::Uri, SanKind::Ip, SanKind::Email] {
            names.extend(read_text(&name).map(|text| san(kind, text)));
        }
    });
    if context.has("require_signed_certificate_timestamp") && context.flag("require_signed_certificate_timestamp") {
        context.unsupported("require_signed_certificate_timestamp", "Weir does not look at certificate transparency");
    }
    Validation {
        trusted_ca: context.message("trusted_ca", |source| read_source(&source)).flatten(),
        names,
        spki_pins: read_pins(context, "verify_certificate_spki", |text| {
            base64::engine::general_purpose::STANDARD.decode(text).ok()?.try_into().ok()
        }),
        hash_pins: read_pins(context, "verify_certificate_hash", from_hex),
        crl: context.message("crl", |source| read_source(&source)).flatten(),
        leaf_crl_only: context.flag("only_verify_leaf_cert_crl"),
        max_depth: context.u32("max_verify_depth"),
        accept_untrusted: context.enumeration("trust_chain_verification") == 1,
        allow_expired: context.flag("allow_expired_certificate"),
        place: context.place_here(),
    }
}

/// As [`read_validation`], for one that is all there is.
pub(super) fn read_whole_validation(context: &Reader<'_>) -> Validation {
    let validation = read_validation(context);
    if let Some(fault) = validation.fault().filter(|_| !context.has("trusted_ca")) {
        match validation.names.is_empty() {
            true => context.error("crl", fault),
            false => context.error_here(fault),
        }
    }
    validation
}

fn san(kind: SanKind, text: TextMatch) -> SanMatch {
    let ip = match &text {
        TextMatch::Exact { text, .. } => text.parse().ok(),
        _ => None,
    };
    SanMatch { kind, text, ip }
}

fn read_typed_name(name: &Reader<'_>) -> Option<SanMatch> {
    let kind = match name.enumeration("san_type") {
        1 => SanKind::Email,
        2 => SanKind::Dns,
        3 => SanKind::Uri,
        4 => SanKind::Ip,
        _ => {
            name.ignore(&["oid", "matcher"]);
            name.unsupported("san_type", "Weir compares EMAIL, DNS, URI and IP_ADDRESS names");
            return None;
        }
    };
    name.message("matcher", |matcher| read_text(&matcher)).flatten().map(|text| san(kind, text))
}

fn read_pins(context: &Reader<'_>, name: &str, decode: impl Fn(&str) -> Option<[u8; 32]>) -> Vec<[u8; 32]> {
    let mut pins = Vec::new();
    for text in context.strings(name) {
        match decode(text) {
            Some(pin) => pins.push(pin),
            None => context.error(name, format!("`{text}` is not a SHA-256 digest")),
        }
    }
    pins
}

/// 64 hex digits, with or without colons between the bytes.
fn from_hex(text: &str) -> Option<[u8; 32]> {
    let digits: Vec<u8> = text.bytes().filter(|byte| *byte != b':').collect();
    let bytes: Option<Vec<u8>> =
        digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok().filter(|p| p.len() == 2)?, 16).ok()).collect();
    bytes?.try_into().ok()
}
