//! Certificates and where their bytes come from, and the secrets that hold them.

use super::validation::read_validation;
use crate::config::tls::{Data, DataSource, TlsCertificate, Validation};
use crate::config::v3::reader::Reader;
use std::collections::BTreeMap;
use std::sync::Arc;

/// `static_resources.secrets` by name.
pub(in crate::config::v3) type Secrets = BTreeMap<Arc<str>, Secret>;

/// A secret.
#[derive(Clone, Debug)]
pub(in crate::config::v3) enum Secret {
    Certificate(Option<TlsCertificate>),
    Validation(Option<Validation>),
    /// Something that nothing here asks for.
    Other,
}

/// `envoy.extensions.transport_sockets.tls.v3.Secret`.
pub(in crate::config::v3) fn read_secret(secret: &Reader<'_>) -> Secret {
    secret.ignore(&["name"]);
    if let Some(certificate) = secret.message("tls_certificate", |certificate| read_certificate(&certificate)) {
        return Secret::Certificate(certificate);
    }
    secret.message("validation_context", |context| read_validation(&context)).map_or(Secret::Other, |read| Secret::Validation(Some(read)))
}

/// `SdsSecretConfig`: a static secret, by its name.
pub(super) fn find_secret<'s>(config: &Reader<'_>, secrets: &'s Secrets) -> Option<&'s Secret> {
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
pub(super) fn read_certificate(certificate: &Reader<'_>) -> Option<TlsCertificate> {
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
pub(super) fn read_source(source: &Reader<'_>) -> Option<DataSource> {
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

pub(super) fn mark_source(source: &Reader<'_>) {
    source.ignore(&["filename", "inline_bytes", "inline_string", "environment_variable", "watched_directory"]);
}
