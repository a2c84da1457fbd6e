//! `DownstreamTlsContext`, `UpstreamTlsContext` and what they are made of.

use super::listener::Transport;
use super::matcher::read_text;
use super::reader::Reader;
use crate::config::TextMatch;
use crate::config::tls::{
    CommonTls, Data, DataSource, DownstreamTls, SanKind, SanMatch, TlsCertificate, TlsParams, TlsVersion, UpstreamTls, Validation,
};
use crate::limit;
use base64::Engine as _;
use std::collections::BTreeMap;
use std::sync::Arc;

const DOWNSTREAM: &str = "envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext";
const UPSTREAM: &str = "envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext";

/// `static_resources.secrets` by name.
pub(super) type Secrets = BTreeMap<Arc<str>, Secret>;

/// A secret.
#[derive(Clone, Debug)]
pub(super) enum Secret {
    Certificate(Option<TlsCertificate>),
    Validation(Option<Validation>),
    /// Something that nothing here asks for.
    Other,
}

/// `envoy.extensions.transport_sockets.tls.v3.Secret`.
pub(super) fn read_secret(secret: &Reader<'_>) -> Secret {
    secret.ignore(&["name"]);
    if let Some(certificate) = secret.message("tls_certificate", |certificate| read_certificate(&certificate)) {
        return Secret::Certificate(certificate);
    }
    secret.message("validation_context", |context| read_validation(&context)).map_or(Secret::Other, |read| Secret::Validation(Some(read)))
}

/// What a listener's transport socket is.
pub(super) fn read_downstream(config: &Reader<'_>, secrets: &Secrets) -> Option<Transport<DownstreamTls>> {
    match config.type_name() {
        DOWNSTREAM => {}
        UPSTREAM => {
            config.error_here("this is TLS towards upstreams; a listener has a DownstreamTlsContext");
            return None;
        }
        _ => return None,
    }
    Some(Transport::Tls(read_downstream_context(config, secrets)))
}

fn read_downstream_context(context: &Reader<'_>, secrets: &Secrets) -> Option<DownstreamTls> {
    let common = context.message("common_tls_context", |common| read_common(&common, secrets)).flatten();
    if !context.has("common_tls_context") {
        context.error_here("TLS on a listener needs a `common_tls_context` with a certificate");
    }
    let require = context.flag("require_client_certificate");
    if let Some(common) = &common {
        let has_secrets = context.message("common_tls_context", |common| common.has("tls_certificate_sds_secret_configs"));
        if common.certificates.is_empty() && has_secrets == Some(false) {
            context.error("common_tls_context", "TLS on a listener needs a certificate: `tls_certificates`");
        }
        if require && common.validation.as_ref().is_none_or(|validation| !validation.has_roots() && !has_pins(validation)) {
            let why = "client certificates are required, and nothing says which: add a `validation_context` with a `trusted_ca`";
            context.error("require_client_certificate", why);
        }
    }
    context.message("session_ticket_keys", |keys| {
        keys.each("keys", |key| mark_source(&key));
    });
    for name in ["session_ticket_keys", "session_ticket_keys_sds_secret_config"] {
        if context.has(name) {
            context.ignore(&[name]);
            context.unsupported(name, "Weir makes its session ticket keys itself; they last as long as the process");
        }
    }
    if context.enumeration("ocsp_staple_policy") != 0 {
        context.unsupported("ocsp_staple_policy", "Weir sends the staples that it is given, and does not look at their dates yet");
    }
    Some(DownstreamTls {
        common: common?,
        require_client_certificate: require,
        require_sni: context.flag("require_sni"),
        session_timeout: context.duration("session_timeout").unwrap_or(limit::TLS_SESSION_LIFE),
        stateless_resumption: !context.flag("disable_stateless_session_resumption"),
        stateful_resumption: !context.flag("disable_stateful_session_resumption"),
        full_scan: context.flag("full_scan_certs_on_sni_mismatch"),
        prefer_client_ciphers: context.flag("prefer_client_ciphers"),
    })
}

fn has_pins(validation: &Validation) -> bool {
    !validation.spki_pins.is_empty() || !validation.hash_pins.is_empty() || validation.accept_untrusted
}

/// What a cluster's transport socket is.
pub(super) fn read_upstream(config: &Reader<'_>, secrets: &Secrets) -> Option<Transport<UpstreamTls>> {
    match config.type_name() {
        UPSTREAM => {}
        DOWNSTREAM => {
            config.error_here("this is TLS towards clients; a cluster has an UpstreamTlsContext");
            return None;
        }
        _ => return None,
    }
    Some(Transport::Tls(read_upstream_context(config, secrets)))
}

fn read_upstream_context(context: &Reader<'_>, secrets: &Secrets) -> Option<UpstreamTls> {
    let place = context.place_here();
    let empty = || CommonTls { certificates: Vec::new(), validation: None, alpn: Vec::new(), params: TlsParams::default(), place };
    let common = match context.has("common_tls_context") {
        true => context.message("common_tls_context", |common| read_common(&common, secrets)).flatten(),
        false => Some(empty()),
    };
    if context.flag("allow_renegotiation") {
        context.unsupported("allow_renegotiation", "Weir never renegotiates: TLS 1.3 has no renegotiation, and that of TLS 1.2 is unsafe");
    }
    context.ignore(&["enforce_rsa_key_usage"]);
    let sni = context.str("sni").unwrap_or_default();
    let tls = UpstreamTls {
        common: common?,
        sni: sni.into(),
        auto_host_sni: context.flag("auto_host_sni"),
        auto_sni_san: context.flag("auto_sni_san_validation"),
        max_session_keys: context.u32("max_session_keys").unwrap_or(1),
    };
    if tls.common.certificates.len() > 1 {
        context.error("common_tls_context", "TLS towards upstreams has one certificate at the most");
    }
    if tls.auto_sni_san && !tls.common.validation.as_ref().is_some_and(Validation::has_roots) {
        let why = "the name of a certificate that nobody vouches for proves nothing: add a `validation_context` with a `trusted_ca`";
        context.error("auto_sni_san_validation", why);
    }
    if tls.auto_sni_san && sni.is_empty() && !tls.auto_host_sni {
        context.error("auto_sni_san_validation", "there is no name to compare with: set `sni` or `auto_host_sni`");
    }
    if !tls.common.validation.as_ref().is_some_and(|validation| validation.has_roots() || has_pins(validation)) {
        let why = "upstream certificates are not verified, as in Envoy: whoever answers is believed. Add a `validation_context` with a \
                   `trusted_ca` and `match_typed_subject_alt_names`";
        context.warn_here(why);
    } else if !tls.auto_sni_san
        && tls.common.validation.as_ref().is_some_and(|validation| validation.names.is_empty() && !has_pins(validation))
    {
        context.warn_here(
            "any certificate of the `trusted_ca` is accepted, whatever its name, as in Envoy: add `auto_sni_san_validation` or \
             `match_typed_subject_alt_names`",
        );
    }
    Some(tls)
}

/// `CommonTlsContext`.
fn read_common(common: &Reader<'_>, secrets: &Secrets) -> Option<CommonTls> {
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

fn secret_validation(config: &Reader<'_>, secrets: &Secrets) -> Option<Validation> {
    match find_secret(config, secrets)? {
        Secret::Validation(validation) => validation.clone(),
        _ => {
            config.error("name", "this secret is no validation context");
            None
        }
    }
}

/// `SdsSecretConfig`: a static secret, by its name.
fn find_secret<'s>(config: &Reader<'_>, secrets: &'s Secrets) -> Option<&'s Secret> {
    let name = config.str("name")?;
    if config.has("sds_config") {
        config.ignore(&["sds_config"]);
        let why = "Weir takes secrets from `static_resources.secrets` only so far; leave `sds_config` away to name one of them";
        config.unsupported("sds_config", why);
        return None;
    }
    let found = secrets.get(name);
    if found.is_none() {
        config.error("name", format!("there is no secret `{name}` in `static_resources.secrets`"));
    }
    found
}

/// `TlsCertificate`.
fn read_certificate(certificate: &Reader<'_>) -> Option<TlsCertificate> {
    certificate.message("watched_directory", |directory| directory.ignore(&["path"]));
    for (name, why) in [
        ("pkcs12", "Weir reads PEM only: split it into `certificate_chain` and `private_key`"),
        ("password", "Weir reads keys that are not encrypted only"),
        ("private_key_provider", "Weir has no private key providers"),
    ] {
        if certificate.has(name) {
            certificate.ignore(&[name]);
            certificate.unsupported(name, why);
        }
    }
    let encrypted = certificate.has("password") || certificate.has("pkcs12") || certificate.has("private_key_provider");
    let need = |name: &str| {
        let source = certificate.message(name, |source| read_source(&source)).flatten();
        if !certificate.has(name) && !encrypted {
            certificate.error_here(format!("a certificate needs a `{name}`"));
        }
        source
    };
    let (chain, key) = (need("certificate_chain"), need("private_key"));
    let ocsp_staple = certificate.message("ocsp_staple", |source| read_source(&source)).flatten();
    Some(TlsCertificate { chain: chain?, key: key?, ocsp_staple })
}

/// `DataSource`.
fn read_source(source: &Reader<'_>) -> Option<DataSource> {
    source.message("watched_directory", |directory| directory.ignore(&["path"]));
    let data = if let Some(path) = source.str("filename") {
        Data::File(path.into())
    } else if let Some(text) = source.text("inline_string") {
        Data::Inline(text.as_bytes().into())
    } else if let Some(bytes) = source.bytes("inline_bytes") {
        Data::Inline(bytes.into())
    } else {
        if source.has("environment_variable") {
            source.ignore(&["environment_variable"]);
            source.unsupported("environment_variable", "Weir does not read the environment: what decides is in the config");
        } else {
            source.error_here("needs a `filename`, an `inline_string` or `inline_bytes`");
        }
        return None;
    };
    Some(DataSource { data, place: source.place_here() })
}

fn mark_source(source: &Reader<'_>) {
    source.ignore(&["filename", "inline_bytes", "inline_string", "environment_variable", "watched_directory"]);
}

/// `CertificateValidationContext`.
fn read_validation(context: &Reader<'_>) -> Validation {
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
    let validation = Validation {
        trusted_ca: context.message("trusted_ca", |source| read_source(&source)).flatten(),
        names,
        spki_pins: read_pins(context, "verify_certificate_spki", |text| {
            base64::engine::general_purpose::STANDARD.decode(text).ok()?.try_into().ok()
        }),
        hash_pins: read_pins(context, "verify_certificate_hash", from_hex),
        crl: context.message("crl", |source| read_source(&source)).flatten(),
        leaf_crl_only: context.flag("only_verify_leaf_cert_crl"),
        accept_untrusted: context.enumeration("trust_chain_verification") == 1,
        allow_expired: context.flag("allow_expired_certificate"),
        place: context.place_here(),
    };
    let has_ca = context.has("trusted_ca");
    if !validation.names.is_empty() && !has_ca {
        context.error_here("names of certificates that nobody vouches for prove nothing: add a `trusted_ca`");
    }
    if context.has("crl") && !has_ca {
        context.error("crl", "revocation is looked up along the chain to a `trusted_ca`, and there is none");
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
