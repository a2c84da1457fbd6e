//! What scripted peers bring to their handshakes: names, certificates, versions, and what is wrong with some.

use super::pem::{A, AUTHORITY, ORIGIN, Pem, STRANGER};
use super::session::Session;
use super::{Allowed, ClientCertificate, Downstream, Upward};
use crate::versions::Upstream;
use rustls::client::Resumption;
use rustls::pki_types::ServerName;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{ClientConfig, ClientConnection, Error, RootCertStore, ServerConfig, ServerConnection};
use std::sync::Arc;
use weir::environment::Environment;
use weir_core::rng::Rng;

/// What is wrong with a client: the proxy may not serve it.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Misfit {
    /// Asks for a name that no chain is for.
    UnknownName,
    /// Says a part of its hello, or all of it, and then nothing.
    Hangs,
    /// Speaks no TLS.
    ClearText,
    /// Shows no certificate, and must.
    NoCertificate,
    /// Shows one of an authority that nobody trusts.
    StrangeCertificate,
    /// Does not trust the proxy's authority.
    Distrusts,
}

/// What is wrong with a host: nothing may reach it.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Unfit {
    /// Its certificate is of an authority that nobody trusts.
    Stranger,
    /// Its certificate is for another name.
    OtherName,
    /// It says nothing in its handshakes.
    Hangs,
}

/// A client.
#[derive(Debug)]
pub struct Client {
    /// At which listener it connects.
    pub listener: usize,
    /// What is wrong with it.
    pub misfit: Option<Misfit>,
    /// How it shakes hands; `None` for clear text.
    config: Option<(Arc<ClientConfig>, ServerName<'static>)>,
    hangs_after: usize,
}

/// A host.
#[derive(Debug)]
pub struct Host {
    fit: Arc<ServerConfig>,
    /// Until all is well again.
    unfit: Option<(Unfit, Arc<ServerConfig>)>,
}

/// A peer.
#[derive(Debug)]
pub enum Actor {
    /// A client.
    Client(Client),
    /// A host with TLS.
    Host(Host),
    /// A host in clear text.
    ClearHost,
}

impl Client {
    /// A client in clear text.
    pub fn clear(listener: usize) -> Client {
        Client { listener, misfit: None, config: None, hangs_after: 0 }
    }

    /// Its side of a new connection; `None` if it speaks no TLS.
    pub fn begin(&self) -> Option<Session> {
        let (config, name) = self.config.as_ref()?;
        let connection = ClientConnection::new(Arc::clone(config), name.clone()).ok()?;
        let mut session = Session::new(connection.into(), true);
        if self.misfit == Some(Misfit::Hangs) {
            session.hangs_after(self.hangs_after);
        }
        Some(session)
    }
}

impl Host {
    /// Whether nothing may reach it before all is well.
    pub fn is_unfit(&self) -> bool {
        self.unfit.is_some()
    }

    /// Its side of a new connection.
    pub fn begin(&self, calm: bool) -> Option<Session> {
        let unfit = self.unfit.as_ref().filter(|_| !calm);
        let connection = ServerConnection::new(Arc::clone(unfit.map_or(&self.fit, |(_, config)| config))).ok()?;
        let mut session = Session::new(connection.into(), unfit.is_none());
        if matches!(unfit, Some((Unfit::Hangs, _))) {
            session.hangs_after(0);
        }
        Some(session)
    }
}

/// Makes peers.
#[derive(Debug)]
pub struct Casting {
    environment: Environment,
    roots: Arc<RootCertStore>,
    strange_roots: Arc<RootCertStore>,
}

fn roots(of: Pem) -> Result<Arc<RootCertStore>, Error> {
    let mut store = RootCertStore::empty();
    store.add(of.certificate()?)?;
    Ok(Arc::new(store))
}

impl Casting {
    /// With this cryptography.
    ///
    /// # Errors
    /// The committed certificates cannot be used.
    pub fn new(environment: Environment) -> Result<Casting, Error> {
        Ok(Casting { environment, roots: roots(AUTHORITY)?, strange_roots: roots(STRANGER)? })
    }

    /// A client of a listener, of which nothing is wrong unless it is said.
    ///
    /// # Errors
    /// The committed certificates cannot be used.
    pub fn client(&self, of: &Downstream, two: bool, misfit: Option<Misfit>, rng: &mut Rng) -> Result<Client, Error> {
        let listener = usize::from(of.beside_clear);
        let name = match misfit {
            Some(Misfit::UnknownName) => "c.sim",
            _ if of.by_name && rng.below(2) == 0 => "b.sim",
            _ => "a.sim",
        };
        let shows = match (misfit, of.certificate) {
            (Some(Misfit::NoCertificate), _) | (_, ClientCertificate::Unasked) => None,
            (Some(Misfit::StrangeCertificate), _) => Some(STRANGER),
            (_, ClientCertificate::Required) => Some(ORIGIN),
            (_, ClientCertificate::Verified) => (rng.below(2) == 0).then_some(ORIGIN),
        };
        let allowed = if of.allowed == Allowed::Both { Allowed::draw(rng) } else { of.allowed };
        let builder = ClientConfig::builder_with_details(Arc::clone(&self.environment.provider), Arc::clone(&self.environment.time));
        let trusted = if misfit == Some(Misfit::Distrusts) { &self.strange_roots } else { &self.roots };
        let builder = builder.with_protocol_versions(allowed.versions())?.with_root_certificates(Arc::clone(trusted));
        let mut config = match shows {
            Some(pem) => builder.with_client_auth_cert(vec![pem.certificate()?], pem.key()?)?,
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = match (rng.below(4), two) {
            // Then the first bytes tell.
            (0, _) => vec![],
            (1, true) => vec![b"h2".to_vec(), b"http/1.1".to_vec()],
            (_, true) => vec![b"h2".to_vec()],
            (_, false) => vec![b"http/1.1".to_vec()],
        };
        if rng.below(4) == 0 {
            config.resumption = Resumption::disabled();
        }
        let name = ServerName::try_from(name).map_err(|error| Error::General(error.to_string()))?;
        let hangs_after = [0, 50, 100][rng.below(3) as usize];
        let config = (misfit != Some(Misfit::ClearText)).then(|| (Arc::new(config), name));
        Ok(Client { listener, misfit, config, hangs_after })
    }

    /// A host of a cluster.
    ///
    /// # Errors
    /// The committed certificates cannot be used.
    pub fn host(&self, of: &Upward, speaks: Upstream, unfit: Option<Unfit>, rng: &mut Rng) -> Result<Host, Error> {
        let (h2, h1) = (|| b"h2".to_vec(), || b"http/1.1".to_vec());
        let alpn = match (speaks, rng.below(4)) {
            (_, 0) => vec![],
            (Upstream::Two, 1) | (Upstream::Agreed, 1) => vec![h2()],
            (Upstream::Agreed, 2) => vec![h1()],
            _ => vec![h2(), h1()],
        };
        let fit = self.server(of, ORIGIN, &alpn)?;
        let unfit = match unfit {
            Some(unfit @ Unfit::Stranger) => Some((unfit, self.server(of, STRANGER, &alpn)?)),
            Some(unfit @ Unfit::OtherName) => Some((unfit, self.server(of, A, &alpn)?)),
            Some(Unfit::Hangs) => Some((Unfit::Hangs, Arc::clone(&fit))),
            None => None,
        };
        Ok(Host { fit, unfit })
    }

    fn server(&self, of: &Upward, shows: Pem, alpn: &[Vec<u8>]) -> Result<Arc<ServerConfig>, Error> {
        let builder = ServerConfig::builder_with_details(Arc::clone(&self.environment.provider), Arc::clone(&self.environment.time));
        let builder = builder.with_protocol_versions(of.allowed.versions())?;
        let builder = match of.mutual {
            true => {
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::clone(&self.roots), Arc::clone(&self.environment.provider));
                builder.with_client_cert_verifier(verifier.build().map_err(|error| Error::General(error.to_string()))?)
            }
            false => builder.with_no_client_auth(),
        };
        let mut config = builder.with_single_cert(vec![shows.certificate()?], shows.key()?)?;
        config.alpn_protocols = alpn.to_vec();
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.ticketer = (self.environment.tickets)(&self.environment.provider)?;
        Ok(Arc::new(config))
    }
}
