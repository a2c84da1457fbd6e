//! TLS settings: what a chain or cluster asks for, as plain data.
//!
//! Core decides with this which settings a connection gets, and never reads a key or a certificate: files are
//! named here, and the driver reads them. Every part remembers where it was written ([`Place`]), so that what the
//! driver finds wrong with a file is told like everything else that is wrong with a config.

use super::TextMatch;
use super::v3::{Diagnostic, Pos, Severity};
use crate::http::Fields;
use crate::http::validate::split_port;
use crate::time::Duration;
use std::net::IpAddr;
use std::sync::Arc;

/// Where something was written. Two settings that differ only in that are the same.
#[derive(Clone, Debug, Default)]
pub struct Place {
    /// Line and column.
    pub pos: Pos,
    /// Which field.
    pub path: Arc<str>,
    /// The file, if it is not the config's own.
    pub file: Option<Arc<str>>,
}

impl PartialEq for Place {
    fn eq(&self, _: &Place) -> bool {
        true
    }
}

impl Place {
    /// Says what is wrong here, as the loader does.
    pub fn finding(&self, severity: Severity, file: &str, message: impl Into<String>) -> Diagnostic {
        let (file, path) = (self.file.as_deref().unwrap_or(file).to_owned(), self.path.to_string());
        Diagnostic { severity, file, pos: self.pos, path, message: message.into(), help: None }
    }
}

/// `envoy.config.core.v3.DataSource`.
#[derive(Clone, Debug, PartialEq)]
pub struct DataSource {
    /// What it is, or where.
    pub data: Data,
    /// Where the config names it.
    pub place: Place,
}

/// What a [`DataSource`] holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Data {
    /// The bytes themselves: `inline_bytes` or `inline_string`.
    Inline(Arc<[u8]>),
    /// `filename`.
    File(Arc<str>),
}

/// `DownstreamTlsContext`.
#[derive(Clone, Debug, PartialEq)]
pub struct DownstreamTls {
    /// What both directions have.
    pub common: CommonTls,
    /// Clients without a certificate are refused.
    pub require_client_certificate: bool,
    /// Clients that name no server are refused.
    pub require_sni: bool,
    /// How long a session may be resumed.
    pub session_timeout: Duration,
    /// Session tickets.
    pub stateless_resumption: bool,
    /// Keys of tickets, 80 bytes each: the first seals, all of them open. With none, the driver makes its own.
    pub ticket_keys: Vec<DataSource>,
    /// A session cache (TLS 1.2 only, as in Envoy).
    pub stateful_resumption: bool,
    /// For a name that no certificate has, look for one with the right kind of key before the first is taken.
    pub full_scan: bool,
    /// The client's order of ciphers counts, not ours.
    pub prefer_client_ciphers: bool,
}

/// `UpstreamTlsContext`.
#[derive(Clone, Debug, PartialEq)]
pub struct UpstreamTls {
    /// What both directions have.
    pub common: CommonTls,
    /// The server name to send; empty for none.
    pub sni: Arc<str>,
    /// Send the endpoint's host name, if it has one.
    pub auto_host_sni: bool,
    /// The certificate must be for the name that was sent, instead of what `validation` says of names.
    pub auto_sni_san: bool,
    /// Sessions kept for resumption.
    pub max_session_keys: u32,
    /// What a request says of the name.
    pub by_request: NameByRequest,
}

/// `UpstreamHttpProtocolOptions`: names that are taken from the request that a connection is made for.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct NameByRequest {
    /// `auto_sni`: the request's host is the server name to send, unless it is an address.
    pub sni: bool,
    /// `auto_san_validation`: the certificate must be for the request's host, instead of what `validation` says of
    /// names.
    pub san: bool,
    /// `override_auto_sni_header`: the field that says the host, where a request has it.
    pub header: Option<Arc<str>>,
}

impl NameByRequest {
    /// The host that a connection for this request is made for, without its port and in lower case. `authority` is
    /// that of the request as it is sent. `None` if any connection will do.
    pub fn host(&self, fields: &Fields, authority: &[u8]) -> Option<Arc<str>> {
        if !self.sni && !self.san {
            return None;
        }
        let named = self.header.as_ref().map(|header| fields.all_named(header.as_bytes()).collect::<Vec<_>>().join(&b","[..]));
        let value = named.filter(|value| !value.is_empty()).unwrap_or_else(|| authority.to_vec());
        let (host, _) = split_port(&value);
        let host = host.strip_prefix(b"[").and_then(|host| host.strip_suffix(b"]")).unwrap_or(host);
        let host = std::str::from_utf8(host).ok().filter(|host| !host.is_empty())?.to_ascii_lowercase();
        // An address is no server name; it is a name that a certificate can have.
        (self.san || host.parse::<IpAddr>().is_err()).then(|| host.into())
    }

    /// The server name to send for a host, if it is the request's to say.
    pub fn server_name<'h>(&self, host: &'h Arc<str>) -> Option<&'h Arc<str>> {
        (self.sni && host.parse::<IpAddr>().is_err()).then_some(host)
    }
}

/// `CommonTlsContext`.
#[derive(Clone, Debug, PartialEq)]
pub struct CommonTls {
    /// Our certificates.
    pub certificates: Vec<TlsCertificate>,
    /// More of them, in files of secrets: they come after those of `certificates`.
    pub certificate_files: Vec<SecretFile>,
    /// How the peer is verified.
    pub validation: Option<Validation>,
    /// More of that, in a file of secrets.
    pub validation_file: Option<SecretFile>,
    /// `alpn_protocols`.
    pub alpn: Vec<Arc<str>>,
    /// Versions and ciphers.
    pub params: TlsParams,
    /// Where it was written.
    pub place: Place,
}

/// `SdsSecretConfig` with a `path_config_source`: a secret that a file holds. The driver reads it, and
/// [`load_secret`](super::v3::load_secret) says what it is.
#[derive(Clone, Debug, PartialEq)]
pub struct SecretFile {
    /// The secret's name.
    pub name: Arc<str>,
    /// The file: a DiscoveryResponse.
    pub path: Arc<str>,
    /// `watched_directory`, besides the folder of the file.
    pub watched: Option<Arc<str>>,
    /// Where the config names it.
    pub place: Place,
}

/// What a file of secrets holds.
#[derive(Clone, Debug, PartialEq)]
pub enum Secret {
    /// `tls_certificate`.
    Certificate(TlsCertificate),
    /// `validation_context`.
    Validation(Validation),
    /// Something that TLS does not ask for.
    Other,
}

/// `TlsCertificate`.
#[derive(Clone, Debug, PartialEq)]
pub struct TlsCertificate {
    /// The certificate and those that lead to its root, PEM.
    pub chain: DataSource,
    /// Its private key, PEM.
    pub key: DataSource,
    /// An OCSP response to staple, DER.
    pub ocsp_staple: Option<DataSource>,
}

/// `TlsParameters`.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct TlsParams {
    /// The lowest version; TLS 1.2 if none is named.
    pub min: Option<TlsVersion>,
    /// The highest version.
    pub max: Option<TlsVersion>,
    /// Ciphers of TLS 1.2 by OpenSSL's names, those that we have, best first; empty for all.
    pub ciphers: Vec<&'static str>,
    /// Key exchanges by BoringSSL's names, those that we have, best first; empty for all.
    pub curves: Vec<&'static str>,
}

/// The versions of TLS that are spoken.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs)]
pub enum TlsVersion {
    Tls12,
    Tls13,
}

/// `CertificateValidationContext`.
#[derive(Clone, Debug, PartialEq)]
pub struct Validation {
    /// Certificates of authorities, PEM.
    pub trusted_ca: Option<DataSource>,
    /// Names of which the certificate must have one; empty for any.
    pub names: Vec<SanMatch>,
    /// SHA-256 of public keys of which the certificate must have one.
    pub spki_pins: Vec<[u8; 32]>,
    /// SHA-256 of certificates of which it must be one.
    pub hash_pins: Vec<[u8; 32]>,
    /// Lists of revoked certificates, PEM.
    pub crl: Option<DataSource>,
    /// Only the peer's own certificate is looked for in the lists.
    pub leaf_crl_only: bool,
    /// Most certificates above the peer's own, that of the authority among them.
    pub max_depth: Option<u32>,
    /// Certificates that are not trusted are accepted, and told apart by whoever reads the facts.
    pub accept_untrusted: bool,
    /// Dates do not count.
    pub allow_expired: bool,
    /// Where it was written.
    pub place: Place,
}

impl Validation {
    /// Whether the chain is checked against authorities.
    pub fn has_roots(&self) -> bool {
        self.trusted_ca.is_some()
    }

    /// Whether anything but the name of a certificate decides about it.
    pub fn has_pins(&self) -> bool {
        !self.spki_pins.is_empty() || !self.hash_pins.is_empty() || self.accept_untrusted
    }

    /// Why it cannot be what is meant.
    pub fn fault(&self) -> Option<&'static str> {
        match () {
            () if self.has_roots() => None,
            () if !self.names.is_empty() => Some("names of certificates that nobody vouches for prove nothing: add a `trusted_ca`"),
            () if self.crl.is_some() => Some("revocation is looked up along the chain to a `trusted_ca`, and there is none"),
            () => None,
        }
    }

    /// With what `other` says too. Messages are merged as protobuf does it: what it sets wins, and lists are joined.
    #[must_use]
    pub fn merged(mut self, other: Validation) -> Validation {
        self.trusted_ca = other.trusted_ca.or(self.trusted_ca);
        self.names.extend(other.names);
        self.spki_pins.extend(other.spki_pins);
        self.hash_pins.extend(other.hash_pins);
        self.crl = other.crl.or(self.crl);
        self.max_depth = other.max_depth.or(self.max_depth);
        self.leaf_crl_only |= other.leaf_crl_only;
        self.accept_untrusted |= other.accept_untrusted;
        self.allow_expired |= other.allow_expired;
        self
    }
}

/// `SubjectAltNameMatcher`.
#[derive(Clone, Debug)]
pub struct SanMatch {
    /// Which names are looked at.
    pub kind: SanKind,
    /// What they must be.
    pub text: TextMatch,
    /// An address to compare as an address, if it is one.
    pub ip: Option<IpAddr>,
}

impl PartialEq for SanMatch {
    fn eq(&self, other: &SanMatch) -> bool {
        // Regular expressions are compared as they are written.
        self.kind == other.kind && format!("{:?}", self.text) == format!("{:?}", other.text)
    }
}

/// Kinds of subject alternative names.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum SanKind {
    Email,
    Dns,
    Uri,
    Ip,
}

impl SanMatch {
    /// Whether a name of its kind fits. An exact DNS name is also fitted by a wildcard in its first label
    /// (RFC 6125 section 6.4.3).
    pub fn fits(&self, name: &str) -> bool {
        match (&self.text, self.kind) {
            (TextMatch::Exact { text, .. }, SanKind::Dns) => dns_name_fits(name, text),
            (TextMatch::Exact { .. }, SanKind::Ip) if self.ip.is_some() => name.parse() == Ok(self.ip.unwrap_or([0; 4].into())),
            (text, _) => text.matches(name.as_bytes()),
        }
    }
}

/// Whether a certificate's DNS name, which may begin with `*.`, is for `wanted`.
pub fn dns_name_fits(name: &str, wanted: &str) -> bool {
    match name.strip_prefix("*.") {
        Some(rest) => wanted.split_once('.').is_some_and(|(first, stem)| !first.is_empty() && stem.eq_ignore_ascii_case(rest)),
        None => name.eq_ignore_ascii_case(wanted),
    }
}

impl DownstreamTls {
    /// Why clients cannot be required to have a certificate.
    pub const UNFOUNDED: &str = "client certificates are required, and nothing says which: add a `validation_context` with a `trusted_ca`";
}

impl UpstreamTls {
    /// Why a name alone is not enough.
    pub const UNFOUNDED: &str =
        "the name of a certificate that nobody vouches for proves nothing: add a `validation_context` with a `trusted_ca`";
    /// What it means that nothing is checked.
    pub const UNVERIFIED: &str = "upstream certificates are not verified, as in Envoy: whoever answers is believed. Add a \
                                  `validation_context` with a `trusted_ca` and `match_typed_subject_alt_names`";
}

impl DataSource {
    /// The file that it names.
    pub fn file(&self) -> Option<&Arc<str>> {
        match &self.data {
            Data::File(path) => Some(path),
            Data::Inline(_) => None,
        }
    }
}

impl CommonTls {
    /// Whether a peer's certificate must be trusted or pinned, as far as the config itself says.
    pub fn is_verifying(&self) -> bool {
        self.validation.as_ref().is_some_and(|validation| validation.has_roots() || validation.has_pins())
    }

    /// The files of secrets that it names.
    pub fn secret_files(&self) -> impl Iterator<Item = &SecretFile> {
        self.certificate_files.iter().chain(&self.validation_file)
    }

    /// The same, with what the files of secrets hold. `certificate` and `validation` find that; `None` if one does not.
    pub fn with_secrets(
        &self,
        certificate: impl Fn(&SecretFile) -> Option<TlsCertificate>,
        validation: impl Fn(&SecretFile) -> Option<Validation>,
    ) -> Option<CommonTls> {
        let mut whole = CommonTls { certificate_files: Vec::new(), validation_file: None, ..self.clone() };
        // All are looked at, whatever is wrong with the first.
        let found: Vec<_> = self.certificate_files.iter().map(certificate).collect();
        if let Some(file) = &self.validation_file {
            let found = validation(file)?;
            whole.validation = Some(match whole.validation.take() {
                Some(default) => default.merged(found),
                None => found,
            });
        }
        whole.certificates.extend(found.into_iter().collect::<Option<Vec<_>>>()?);
        Some(whole)
    }

    /// The files that it names.
    pub fn files(&self) -> impl Iterator<Item = &Arc<str>> {
        let certificates = self.certificates.iter().flat_map(|one| [Some(&one.chain), Some(&one.key), one.ocsp_staple.as_ref()]);
        let validation = self.validation.iter().flat_map(|validation| [validation.trusted_ca.as_ref(), validation.crl.as_ref()]);
        certificates.chain(validation).flatten().filter_map(DataSource::file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_says_the_name() {
        let (mut plain, mut named) = (Fields::default(), Fields::default());
        named.push(b"x-name", b"N.example:1");
        plain.push(b"x-name", b"");
        let (off, sni) = (NameByRequest::default(), NameByRequest { sni: true, ..NameByRequest::default() });
        let san = NameByRequest { san: true, ..NameByRequest::default() };
        let header = NameByRequest { header: Some("x-name".into()), ..sni.clone() };
        for (names, fields, authority, host, server_name) in [
            (&off, &plain, "a.example", None, None),
            (&sni, &plain, "A.example:8443", Some("a.example"), Some("a.example")),
            (&sni, &plain, "10.0.0.1:443", None, None),
            (&sni, &plain, "[::1]:443", None, None),
            (&sni, &plain, "", None, None),
            (&san, &plain, "[::1]:443", Some("::1"), None),
            (&san, &plain, "a.example", Some("a.example"), None),
            (&header, &named, "a.example", Some("n.example"), Some("n.example")),
            (&header, &plain, "a.example", Some("a.example"), Some("a.example")),
        ] {
            let found = names.host(fields, authority.as_bytes());
            assert_eq!(found.as_deref(), host, "{names:?} {authority}");
            assert_eq!(found.as_ref().and_then(|host| names.server_name(host)).map(|name| &**name), server_name, "{names:?} {authority}");
        }
    }

    #[test]
    fn a_wildcard_stands_for_one_label() {
        for (name, wanted, fits) in [
            ("a.example", "A.example", true),
            ("*.example", "a.example", true),
            ("*.example", "a.b.example", false),
            ("*.example", "example", false),
            ("*.example", ".example", false),
            ("a*.example", "ab.example", false),
        ] {
            assert_eq!(dns_name_fits(name, wanted), fits, "{name} {wanted}");
        }
    }
}
