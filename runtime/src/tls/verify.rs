//! Whether a peer's certificate is good: chain and revocation by webpki, then names and pins as the config says.

use super::facts;
use super::material::{Authorities, Material};
use crate::environment::Environment;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ParsedCertificate, WebPkiClientVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, SignatureScheme};
use std::sync::Arc;
use weir_core::config::tls::{SanKind, SanMatch, Validation};
use weir_core::limit;
use weir_core::plant::{Plant, is_planted};
use weir_core::tls_info::{Certificate, TlsFault};

/// A rule of ours that a certificate does not fit, in Envoy's words.
#[derive(Copy, Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Mismatch {
    /// None of its names is wanted.
    #[error("verify SAN list")]
    Name,
    /// It is not pinned.
    #[error("verify hash list")]
    Pin,
    /// It is no certificate.
    #[error("it cannot be read")]
    Unreadable,
}

impl From<Mismatch> for Error {
    fn from(mismatch: Mismatch) -> Error {
        Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(mismatch))))
    }
}

/// What kind of failure an error is.
pub fn fault(error: &Error) -> TlsFault {
    match error {
        Error::NoCertificatesPresented => TlsFault::NoCertificate,
        Error::InvalidCertificate(CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. }) => TlsFault::Name,
        Error::InvalidCertificate(CertificateError::Other(OtherError(other))) => match other.downcast_ref() {
            Some(Mismatch::Name) => TlsFault::Name,
            Some(Mismatch::Pin) => TlsFault::Pin,
            _ => TlsFault::Untrusted,
        },
        Error::InvalidCertificate(_) | Error::InvalidCertRevocationList(_) => TlsFault::Untrusted,
        _ => TlsFault::Protocol,
    }
}

/// What a certificate must be besides trusted.
#[derive(Clone, Debug)]
struct Rules {
    names: Vec<SanMatch>,
    spki_pins: Vec<[u8; 32]>,
    hash_pins: Vec<[u8; 32]>,
    accept_untrusted: bool,
    allow_expired: bool,
    max_depth: u32,
    /// Certificates that are trusted as they are, also where a chain may not begin with them.
    trusted: Vec<CertificateDer<'static>>,
}

impl Rules {
    fn new(validation: &Validation, authorities: Option<&Authorities>) -> Rules {
        Rules {
            names: validation.names.clone(),
            spki_pins: validation.spki_pins.clone(),
            hash_pins: validation.hash_pins.clone(),
            accept_untrusted: validation.accept_untrusted,
            allow_expired: validation.allow_expired,
            max_depth: validation.max_depth.unwrap_or(limit::VERIFY_DEPTH),
            trusted: authorities.map(|authorities| authorities.certificates.clone()).unwrap_or_default(),
        }
    }

    /// Names and pins. With pins of both kinds one of either is enough, as in Envoy.
    fn check(&self, der: &[u8], certificate: &Certificate, names: bool) -> Result<(), Mismatch> {
        let fits = |rule: &SanMatch| {
            let of_kind = match rule.kind {
                SanKind::Email => &certificate.emails,
                SanKind::Dns => &certificate.dns,
                SanKind::Uri => &certificate.uris,
                SanKind::Ip => &certificate.ips,
            };
            of_kind.iter().any(|name| rule.fits(name))
        };
        if names && !self.names.is_empty() && !self.names.iter().any(fits) {
            return Err(Mismatch::Name);
        }
        let is_pinned = || {
            facts::digest(der).is_some_and(|digest| self.hash_pins.contains(&digest))
                || facts::key_digest(der).is_some_and(|digest| self.spki_pins.contains(&digest))
        };
        if (!self.hash_pins.is_empty() || !self.spki_pins.is_empty()) && !is_pinned() {
            return Err(Mismatch::Pin);
        }
        Ok(())
    }

    /// A time at which the certificate is valid, if its dates do not count.
    fn time(&self, certificate: &Certificate, now: UnixTime) -> UnixTime {
        if !self.allow_expired {
            return now;
        }
        let seconds =
            now.as_secs().clamp(certificate.not_before.as_secs(), certificate.not_after.as_secs().max(certificate.not_before.as_secs()));
        UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds))
    }

    /// The certificates of a chain that may stand between the peer's own and the authority's: each vouches for the one
    /// before it. `None` if not even the authority's may be there.
    fn within_depth<'c, 'd>(&self, rest: &'c [CertificateDer<'d>]) -> Option<&'c [CertificateDer<'d>]> {
        let most = self.max_depth.checked_sub(1)?;
        Some(rest.get(..most as usize).unwrap_or(rest))
    }

    /// A certificate that is itself among the trusted ones needs no chain.
    fn is_trusted_itself(&self, der: &CertificateDer<'_>, certificate: &Certificate, now: UnixTime) -> bool {
        self.trusted.iter().any(|trusted| trusted == der)
            && (certificate.not_before.as_secs()..=certificate.not_after.as_secs()).contains(&now.as_secs())
    }
}

/// Verifies clients.
#[derive(Debug)]
pub struct Clients {
    chain: Option<Arc<dyn ClientCertVerifier>>,
    rules: Rules,
    required: bool,
    provider: Arc<CryptoProvider>,
}

/// Verifies servers.
#[derive(Clone, Debug)]
pub struct Servers {
    chain: Option<Arc<WebPkiServerVerifier>>,
    rules: Rules,
    /// The certificate must be for the name that was sent, whatever the rules say of names.
    for_sent_name: bool,
    /// Or it must be for this one.
    for_name: Option<ServerName<'static>>,
    provider: Arc<CryptoProvider>,
}

impl Clients {
    /// Makes a verifier; `None` if something is wrong, which is said.
    pub fn new(validation: &Validation, required: bool, material: &Material<'_>) -> Option<Clients> {
        let authorities = match &validation.trusted_ca {
            Some(source) => Some(material.authorities(source)?),
            None => None,
        };
        let Environment { provider, .. } = material.environment;
        let chain = match &authorities {
            None => None,
            Some(authorities) => {
                let mut builder = WebPkiClientVerifier::builder_with_provider(Arc::clone(&authorities.store), Arc::clone(provider));
                if let Some(crl) = &validation.crl {
                    builder = builder.with_crls(material.revoked(crl)?);
                }
                if validation.leaf_crl_only {
                    builder = builder.only_check_end_entity_revocation();
                }
                match builder.build() {
                    Ok(chain) => Some(chain),
                    Err(error) => return complain(validation, material, &error.to_string()),
                }
            }
        };
        Some(Clients { chain, rules: Rules::new(validation, authorities.as_ref()), required, provider: Arc::clone(provider) })
    }
}

impl Servers {
    /// Makes a verifier; `None` if something is wrong, which is said.
    pub fn new(validation: Option<&Validation>, for_sent_name: bool, material: &Material<'_>) -> Option<Servers> {
        let Environment { provider, .. } = material.environment;
        let provider = Arc::clone(provider);
        let Some(validation) = validation else {
            let rules = Rules {
                names: Vec::new(),
                spki_pins: Vec::new(),
                hash_pins: Vec::new(),
                accept_untrusted: true,
                allow_expired: true,
                max_depth: limit::VERIFY_DEPTH,
                trusted: Vec::new(),
            };
            return Some(Servers { chain: None, rules, for_sent_name: false, for_name: None, provider });
        };
        let authorities = match &validation.trusted_ca {
            Some(source) => Some(material.authorities(source)?),
            None => None,
        };
        let chain = match &authorities {
            None => None,
            Some(authorities) => {
                let mut builder = WebPkiServerVerifier::builder_with_provider(Arc::clone(&authorities.store), Arc::clone(&provider));
                if let Some(crl) = &validation.crl {
                    builder = builder.with_crls(material.revoked(crl)?);
                }
                if validation.leaf_crl_only {
                    builder = builder.only_check_end_entity_revocation();
                }
                match builder.build() {
                    Ok(chain) => Some(chain),
                    Err(error) => return complain(validation, material, &error.to_string()),
                }
            }
        };
        Some(Servers { chain, rules: Rules::new(validation, authorities.as_ref()), for_sent_name, for_name: None, provider })
    }

    /// The same, but the certificate must be for this name, or for the one that was sent.
    pub fn demanding(&self, name: Option<ServerName<'static>>) -> Servers {
        Servers { for_sent_name: true, for_name: name, ..self.clone() }
    }
}

fn complain<T>(validation: &Validation, material: &Material<'_>, error: &str) -> Option<T> {
    let source = validation.crl.as_ref().or(validation.trusted_ca.as_ref());
    material.error(source.map_or(&validation.place, |source| &source.place), format!("cannot be used: {error}"));
    None
}

impl ClientCertVerifier for Clients {
    fn client_auth_mandatory(&self) -> bool {
        self.required
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.chain.as_ref().map_or(&[], |chain| chain.root_hint_subjects())
    }

    fn verify_client_cert(
        &self,
        der: &CertificateDer<'_>,
        rest: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        if self.rules.accept_untrusted {
            return Ok(ClientCertVerified::assertion());
        }
        let certificate = facts::read(der).ok_or(Mismatch::Unreadable)?;
        let now = self.rules.time(&certificate, now);
        if let Some(chain) = &self.chain
            && let Err(error) = match self.rules.within_depth(rest) {
                Some(rest) => chain.verify_client_cert(der, rest, now),
                None => Err(Error::InvalidCertificate(CertificateError::UnknownIssuer)),
            }
            && (matches!(error, Error::InvalidCertificate(CertificateError::Revoked))
                || !self.rules.is_trusted_itself(der, &certificate, now))
        {
            return Err(error);
        }
        self.rules.check(der, &certificate, true)?;
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, signed, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, signed, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

impl ServerCertVerifier for Servers {
    fn verify_server_cert(
        &self,
        der: &CertificateDer<'_>,
        rest: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if self.rules.accept_untrusted || is_planted(Plant::UnverifiedHost) {
            return Ok(ServerCertVerified::assertion());
        }
        let certificate = facts::read(der).ok_or(Mismatch::Unreadable)?;
        let now = self.rules.time(&certificate, now);
        if let Some(chain) = &self.chain {
            let verified = match self.rules.within_depth(rest) {
                Some(rest) => chain.verify_server_cert(der, rest, name, ocsp, now),
                None => Err(Error::InvalidCertificate(CertificateError::UnknownIssuer)),
            };
            match verified {
                Ok(_) => {}
                // The name comes after all else: it is compared below, as the config says.
                Err(Error::InvalidCertificate(CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. })) => {}
                Err(error @ Error::InvalidCertificate(CertificateError::Revoked)) => return Err(error),
                Err(_) if self.rules.is_trusted_itself(der, &certificate, now) => {}
                Err(error) => return Err(error),
            }
        }
        if self.for_sent_name {
            verify_server_name(&ParsedCertificate::try_from(der)?, self.for_name.as_ref().unwrap_or(name)).map_err(|_| Mismatch::Name)?;
        }
        self.rules.check(der, &certificate, !self.for_sent_name)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, signed, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, signed, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
