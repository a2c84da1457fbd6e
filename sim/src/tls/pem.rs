//! The certificates of simulated worlds: committed, public, Ed25519. `sim/certificates/README.md` says who signed which.

use rustls::Error;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// A certificate, and its key where there is one.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Pem(pub &'static str);

/// Who signs what everybody trusts.
pub const AUTHORITY: Pem = Pem(include_str!("../../certificates/authority.pem"));
/// The proxy's, as `a.sim`.
pub const A: Pem = Pem(include_str!("../../certificates/a.pem"));
/// The proxy's, as `a.sim`, renewed.
pub const RENEWED: Pem = Pem(include_str!("../../certificates/renewed.pem"));
/// The proxy's, as `b.sim`.
pub const B: Pem = Pem(include_str!("../../certificates/b.pem"));
/// The upstreams', and that of clients and of the proxy where they show one.
pub const ORIGIN: Pem = Pem(include_str!("../../certificates/origin.pem"));
/// Of the upstreams' name, from an authority that nobody trusts.
pub const STRANGER: Pem = Pem(include_str!("../../certificates/stranger.pem"));

impl Pem {
    /// The certificate.
    ///
    /// # Errors
    /// It is none.
    pub fn certificate(self) -> Result<CertificateDer<'static>, Error> {
        CertificateDer::from_pem_slice(self.0.as_bytes()).map_err(|error| Error::General(error.to_string()))
    }

    /// Its key.
    ///
    /// # Errors
    /// There is none.
    pub fn key(self) -> Result<PrivateKeyDer<'static>, Error> {
        PrivateKeyDer::from_pem_slice(self.0.as_bytes()).map_err(|error| Error::General(error.to_string()))
    }

    /// In a config itself: files would be read, and are outside.
    pub fn inline(self) -> String {
        format!("{{ inline_string: \"{}\" }}", self.0.replace('\n', "\\n"))
    }
}
