//! Which of our certificates a client gets: by the name that it asks for, then by the kind of key that it can check.

use super::facts;
use super::material::OwnCertificate;
use rustls::SignatureAlgorithm;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;
use weir_core::tls_info::Certificate;

thread_local! {
    /// What the handshake that runs on this thread was given: rustls does not tell.
    static GIVEN: RefCell<Option<Arc<Certificate>>> = const { RefCell::new(None) };
}

/// The certificate that was given out on this thread since this was asked last.
pub fn take_given() -> Option<Arc<Certificate>> {
    GIVEN.take()
}

/// The certificates of one chain.
#[derive(Debug)]
pub struct Certificates {
    all: Vec<OwnCertificate>,
    /// By name, in lower case.
    exact: BTreeMap<String, Vec<usize>>,
    /// By what follows `*.`.
    wildcard: BTreeMap<String, Vec<usize>>,
    full_scan: bool,
    require_sni: bool,
}

impl Certificates {
    /// Sorts certificates by the names that they are for.
    pub fn new(all: Vec<OwnCertificate>, full_scan: bool, require_sni: bool) -> Certificates {
        let (mut exact, mut wildcard) = (BTreeMap::<String, Vec<usize>>::new(), BTreeMap::<String, Vec<usize>>::new());
        for (place, certificate) in all.iter().enumerate() {
            let mut names: Vec<String> = certificate.facts.dns.iter().map(|name| name.to_ascii_lowercase()).collect();
            if names.is_empty() {
                names.extend(facts::common_name(&certificate.key.cert[0]).map(|name| name.to_ascii_lowercase()));
            }
            for name in names {
                match name.strip_prefix("*.") {
                    Some(rest) => wildcard.entry(rest.to_owned()).or_default().push(place),
                    None => exact.entry(name).or_default().push(place),
                }
            }
        }
        Certificates { all, exact, wildcard, full_scan, require_sni }
    }

    fn pick(&self, name: Option<&str>, can: impl Fn(&CertifiedKey) -> bool) -> Option<&OwnCertificate> {
        let name = name.map(str::to_ascii_lowercase);
        if let Some(name) = &name {
            let places = self.exact.get(name).or_else(|| self.wildcard.get(name.split_once('.')?.1));
            if let Some(places) = places {
                return self.best(places.iter().copied(), &can).or_else(|| self.all.get(*places.first()?));
            }
        }
        if self.require_sni {
            return None;
        }
        // A name that no certificate has gets the first, as in Envoy.
        let scanned = if name.is_none() || self.full_scan { self.best(0..self.all.len(), &can) } else { None };
        scanned.or_else(|| self.all.first())
    }

    /// The first that the client can check, one with an ECDSA key before others.
    fn best(&self, places: impl Iterator<Item = usize>, can: &impl Fn(&CertifiedKey) -> bool) -> Option<&OwnCertificate> {
        let fit: Vec<&OwnCertificate> = places.filter_map(|place| self.all.get(place)).filter(|own| can(&own.key)).collect();
        fit.iter().find(|own| own.key.key.algorithm() == SignatureAlgorithm::ECDSA).or(fit.first()).copied()
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let own = self.pick(hello.server_name(), |key| key.key.choose_scheme(hello.signature_schemes()).is_some())?;
        GIVEN.replace(Some(Arc::clone(&own.facts)));
        Some(Arc::clone(&own.key))
    }
}
