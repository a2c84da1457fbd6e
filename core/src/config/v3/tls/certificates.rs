//! Certificates and where their bytes come from, and the secrets that hold them.

use super::validation::read_validation;
use crate::config::tls::{self, Data, DataSource, SecretFile, TlsCertificate, Validation};
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

/// What an `SdsSecretConfig` names.
pub(super) enum Found<'s> {
    /// A secret of `static_resources`.
    Static(&'s Secret),
    /// One in a file.
    File(SecretFile),
}

/// `SdsSecretConfig`: a static secret by its name, or one in a file.
pub(super) fn find_secret<'s>(config: &Reader<'_>, secrets: &'s Secrets) -> Option<Found<'s>> {
    let name = config.str("name")?;
    if config.has("sds_config") {
        return config.message("sds_config", |source| read_secret_source(&source, name)).flatten().map(Found::File);
    }
    let found = secrets.get(name);
    if found.is_none() {
        config.error("name", format!("there is no secret `{name}` in `static_resources.secrets`"));
    }
    found.map(Found::Static)
}

/// `ConfigSource`, for a secret: a file.
fn read_secret_source(source: &Reader<'_>, name: &str) -> Option<SecretFile> {
    source.ignore(&["initial_fetch_timeout", "resource_api_version"]);
    let file =
        |path: &str, watched: Option<Arc<str>>| SecretFile { name: name.into(), path: path.into(), watched, place: source.place_here() };
    for name in ["api_config_source", "ads", "self"] {
        if source.has(name) {
            source.ignore(&[name]);
            source
                .unsupported(name, "Weir takes secrets from `static_resources.secrets` or from a file (`path_config_source`) only so far");
            return None;
        }
    }
    if let Some(path) = source.str("path") {
        return Some(file(path, None));
    }
    let found = source.message("path_config_source", |path| {
        path.no_effect(&["poll_interval"], "the folder of the file is watched");
        let watched = path.message("watched_directory", |directory| {
            directory.ignore(&["watch_modify"]);
            directory.str("path").map(Arc::from)
        });
        path.str("path").map(|text| file(text, watched.flatten()))
    });
    if found.is_none() {
        source.error_here("needs a `path_config_source`");
    }
    found.flatten()
}

/// The secret called `name` in a DiscoveryResponse.
pub(in crate::config::v3) fn find_in_response(response: &Reader<'_>, name: &str) -> Option<tls::Secret> {
    response.ignore(&["version_info", "canary", "type_url", "nonce", "control_plane", "resource_errors"]);
    let (mut found, mut names) = (None, Vec::new());
    response.each("resources", |resource| {
        if resource.type_name() != "envoy.extensions.transport_sockets.tls.v3.Secret" {
            return resource.error_here(format!("is no Secret, but {}", resource.type_name()));
        }
        let called = resource.str("name").unwrap_or_default().to_owned();
        let read = match read_secret(&resource) {
            Secret::Certificate(certificate) => certificate.map(tls::Secret::Certificate),
            Secret::Validation(validation) => validation.map(tls::Secret::Validation),
            Secret::Other => Some(tls::Secret::Other),
        };
        if called == name {
            found = Some(read);
        }
        names.push(format!("`{called}`"));
    });
    if found.is_none() {
        let there = if names.is_empty() { "none at all".to_owned() } else { names.join(", ") };
        response.error_here(format!("there is no secret `{name}` here; there is {there}"));
    }
    found.flatten()
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

#[cfg(test)]
mod tests {
    use crate::config::tls::Secret;
    use crate::config::v3::load_secret;

    const TYPE: &str = "\"@type\": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret";

    #[test]
    fn a_file_of_secrets_is_read_by_name() {
        let certificate = "tls_certificate: { certificate_chain: { filename: c }, private_key: { filename: k } }";
        let text = format!(
            "{{ resources: [{{ {TYPE}, name: a, {certificate} }}, {{ {TYPE}, name: b, validation_context: {{ trusted_ca: {{ filename: r }} }} }}] }}"
        );
        let (found, findings) = load_secret(&text, "s.yaml", "a");
        let Some(Secret::Certificate(certificate)) = found else { panic!("{findings:?}") };
        // What is found wrong with the file that it names is told with the secret's file.
        let place = &certificate.chain.place;
        assert_eq!((place.file.as_deref(), &*place.path), (Some("s.yaml"), "resources[0].tls_certificate.certificate_chain"));
        assert!(matches!(load_secret(&text, "s.yaml", "b").0, Some(Secret::Validation(_))));
        assert!(load_secret(&text, "s.yaml", "c").1[0].message.contains("there is `a`, `b`"));
    }

    #[test]
    fn what_is_no_secret_is_told() {
        let one = |secret: &str| format!("{{ resources: [{{ {TYPE}, name: a, {secret} }}] }}");
        for (text, expected) in [
            ("".to_owned(), "s.yaml:1:1: error: the file is empty"),
            (
                "{ resources: [{ \"@type\": type.googleapis.com/envoy.config.cluster.v3.Cluster, name: a }] }".to_owned(),
                "is no Secret, but",
            ),
            (one("tls_certificate: {}"), "a certificate needs a `certificate_chain`"),
            (one("tls_certificat: {}"), "tls_certificate"),
            (one("validation_context: { verify_certificate_spki: [x] }"), "verify_certificate_spki: `x` is not a SHA-256 digest"),
        ] {
            let (found, findings) = load_secret(&text, "s.yaml", "a");
            let said: String = findings.iter().map(|finding| format!("{finding}\n")).collect();
            assert!(found.is_none() && said.contains(expected), "{text}: {said}");
        }
    }
}
