//! Certificates, keys and lists of revoked certificates, from the files and texts that a config names.
//!
//! Every fault is a diagnostic at the place that named the file. A file is read once, however many settings name it.

use super::facts;
use crate::environment::Environment;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use rustls::sign::{CertifiedKey, SigningKey};
use rustls::{Error, InconsistentKeys, RootCertStore};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;
use weir_core::config::tls::{CommonTls, Data, DataSource, Place, Secret, SecretFile, TlsCertificate};
use weir_core::config::v3::{Diagnostic, Severity, load_secret};
use weir_core::limit;
use weir_core::tls_info::Certificate;

/// The bytes of files, as they were read: what was made of them is as good as they are.
pub type Files = BTreeMap<Arc<str>, Result<Arc<[u8]>, Box<str>>>;

/// Reads what a config names, and gathers what is wrong with it.
pub struct Material<'a> {
    /// Cryptography and time.
    pub environment: &'a Environment,
    /// The config's file, for diagnostics.
    file: &'a str,
    files: RefCell<Files>,
    findings: RefCell<Vec<Diagnostic>>,
}

/// One of our certificates, ready to be shown.
#[derive(Debug)]
pub struct OwnCertificate {
    /// Chain, key and staple.
    pub key: Arc<CertifiedKey>,
    /// What the certificate says.
    pub facts: Arc<Certificate>,
}

/// Authorities, and the certificates that they were made of.
#[derive(Debug)]
pub struct Authorities {
    /// The authorities.
    pub store: Arc<RootCertStore>,
    /// Their certificates.
    pub certificates: Vec<CertificateDer<'static>>,
}

impl<'a> Material<'a> {
    /// Nothing read yet, for the config of this file.
    pub fn new(environment: &'a Environment, file: &'a str) -> Material<'a> {
        Material { environment, file, files: RefCell::default(), findings: RefCell::default() }
    }

    /// What was found.
    pub fn take_findings(&self) -> Vec<Diagnostic> {
        self.findings.take()
    }

    /// Whether nothing that was found so far forbids to go on.
    pub fn error(&self, place: &Place, message: impl Into<String>) {
        self.findings.borrow_mut().push(place.finding(Severity::Error, self.file, message));
    }

    /// Something works, but perhaps not as meant.
    pub fn warn(&self, place: &Place, message: impl Into<String>) {
        self.findings.borrow_mut().push(place.finding(Severity::Warning, self.file, message));
    }

    /// The bytes of a file.
    pub fn read_file(&self, path: &Arc<str>) -> Result<Arc<[u8]>, Box<str>> {
        let mut files = self.files.borrow_mut();
        let read = files.entry(Arc::clone(path)).or_insert_with(|| match std::fs::read(&**path) {
            Ok(bytes) => Ok(bytes.into()),
            Err(error) => Err(error.to_string().into()),
        });
        read.clone()
    }

    /// What a source holds.
    pub fn bytes(&self, source: &DataSource) -> Option<Arc<[u8]>> {
        match &source.data {
            Data::Inline(bytes) => Some(Arc::clone(bytes)),
            Data::File(path) => match self.read_file(path) {
                Ok(bytes) => Some(bytes),
                Err(error) => {
                    self.error(&source.place, format!("cannot read {path}: {error}"));
                    None
                }
            },
        }
    }

    /// What a file of secrets holds.
    pub fn secret(&self, secret: &SecretFile) -> Option<Secret> {
        let SecretFile { name, path, place, .. } = secret;
        let text = match self.read_file(path) {
            Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            Err(error) => {
                self.error(place, format!("cannot read the secrets in {path}: {error}"));
                return None;
            }
        };
        let (found, findings) = load_secret(&text, path, name);
        self.findings.borrow_mut().extend(findings);
        found
    }

    /// The settings with what their files of secrets hold; `None` if something is wrong, which is said.
    pub fn with_secrets(&self, common: &CommonTls) -> Option<CommonTls> {
        let wrong = |secret: &SecretFile, what: &str| {
            self.error(&secret.place, format!("the secret `{}` in {} is no {what}", secret.name, secret.path));
        };
        common.with_secrets(
            |file| match self.secret(file)? {
                Secret::Certificate(certificate) => Some(certificate),
                _ => {
                    wrong(file, "certificate");
                    None
                }
            },
            |file| match self.secret(file)? {
                Secret::Validation(validation) => Some(validation),
                _ => {
                    wrong(file, "validation context");
                    None
                }
            },
        )
    }

    /// What a source is called in a message.
    fn name(source: &DataSource) -> String {
        match &source.data {
            Data::Inline(_) => "the text".to_owned(),
            Data::File(path) => path.to_string(),
        }
    }

    fn certificates(&self, source: &DataSource) -> Option<Vec<CertificateDer<'static>>> {
        let bytes = self.bytes(source)?;
        let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
        match found {
            Ok(found) if !found.is_empty() => Some(found),
            Ok(_) => {
                self.error(
                    &source.place,
                    format!("there is no certificate in {}: PEM with `BEGIN CERTIFICATE` is expected", Self::name(source)),
                );
                None
            }
            Err(error) => {
                self.error(&source.place, format!("{} is not PEM: {error}", Self::name(source)));
                None
            }
        }
    }

    fn signing_key(&self, source: &DataSource) -> Option<Arc<dyn SigningKey>> {
        let bytes = self.bytes(source)?;
        if bytes.windows(9).any(|window| window == b"ENCRYPTED") {
            self.error(&source.place, format!("the private key in {} is encrypted: Weir reads keys that are not", Self::name(source)));
            return None;
        }
        let Ok(key) = PrivateKeyDer::from_pem_slice(&bytes) else {
            self.error(
                &source.place,
                format!("there is no private key in {}: PEM with `BEGIN PRIVATE KEY` is expected", Self::name(source)),
            );
            return None;
        };
        match self.environment.provider.key_provider.load_private_key(key) {
            Ok(key) => Some(key),
            Err(error) => {
                self.error(&source.place, format!("the private key in {} cannot be used: {error}", Self::name(source)));
                None
            }
        }
    }

    /// One of our certificates: it and its key, which must fit each other.
    pub fn own(&self, certificate: &TlsCertificate) -> Option<OwnCertificate> {
        let (chain, key) = (self.certificates(&certificate.chain), self.signing_key(&certificate.key));
        let ocsp = certificate.ocsp_staple.as_ref().map(|staple| self.bytes(staple));
        let (chain, key) = (chain?, key?);
        let mut certified = CertifiedKey::new(chain, key);
        certified.ocsp = match ocsp {
            Some(staple) => Some(staple?.to_vec()),
            None => None,
        };
        match certified.keys_match() {
            Ok(()) | Err(Error::InconsistentKeys(InconsistentKeys::Unknown)) => {}
            Err(Error::InconsistentKeys(InconsistentKeys::KeyMismatch)) => {
                let why = format!(
                    "the key in {} is not that of the certificate in {}",
                    Self::name(&certificate.key),
                    Self::name(&certificate.chain)
                );
                self.error(&certificate.key.place, why);
                return None;
            }
            Err(error) => {
                self.error(
                    &certificate.chain.place,
                    format!("the certificate in {} cannot be used: {error}", Self::name(&certificate.chain)),
                );
                return None;
            }
        }
        let Some(facts) = facts::read(&certified.cert[0]) else {
            self.error(&certificate.chain.place, format!("{} holds no X.509 certificate", Self::name(&certificate.chain)));
            return None;
        };
        self.check_dates(&facts, &certificate.chain).then(|| OwnCertificate { key: Arc::new(certified), facts: Arc::new(facts) })
    }

    fn check_dates(&self, facts: &Certificate, source: &DataSource) -> bool {
        let Some(now) = self.now() else { return true };
        let date = |wall: weir_core::time::Wall| String::from_utf8_lossy(&weir_core::http::http_date(wall)).into_owned();
        if now > facts.not_after.as_secs() {
            let why = format!("the certificate in {} has expired, on {}", Self::name(source), date(facts.not_after));
            self.error(&source.place, why);
            return false;
        }
        if now < facts.not_before.as_secs() {
            self.warn(&source.place, format!("the certificate in {} is not valid before {}", Self::name(source), date(facts.not_before)));
        }
        true
    }

    fn now(&self) -> Option<u64> {
        self.environment.time.current_time().map(|now| now.as_secs())
    }

    /// The certificates of authorities.
    pub fn authorities(&self, source: &DataSource) -> Option<Authorities> {
        let certificates = self.certificates(source)?;
        let mut store = RootCertStore::empty();
        for certificate in &certificates {
            if let Err(error) = store.add(certificate.clone()) {
                self.error(&source.place, format!("a certificate in {} cannot be trusted: {error}", Self::name(source)));
                return None;
            }
        }
        Some(Authorities { store: Arc::new(store), certificates })
    }

    /// A key of session tickets.
    pub fn ticket_key(&self, source: &DataSource) -> Option<Arc<[u8]>> {
        let key = self.bytes(source)?;
        let (wanted, found) = (limit::TICKET_KEY, key.len());
        if found != wanted {
            let what = Self::name(source);
            self.error(&source.place, format!("a session ticket key is {wanted} bytes (`openssl rand {wanted}`), and {what} has {found}"));
            return None;
        }
        Some(key)
    }

    /// Lists of revoked certificates.
    pub fn revoked(&self, source: &DataSource) -> Option<Vec<CertificateRevocationListDer<'static>>> {
        let bytes = self.bytes(source)?;
        let found: Result<Vec<_>, _> = CertificateRevocationListDer::pem_slice_iter(&bytes).collect();
        match found {
            Ok(found) if !found.is_empty() => Some(found),
            _ => {
                let what = Self::name(source);
                self.error(
                    &source.place,
                    format!("there is no list of revoked certificates in {what}: PEM with `BEGIN X509 CRL` is expected"),
                );
                None
            }
        }
    }
}
