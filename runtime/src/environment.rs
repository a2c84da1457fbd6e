//! What configs are made with besides their text: cryptography, calendar time, and the host's own filters.

use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::ProducesTickets;
use rustls::time_provider::{DefaultTimeProvider, TimeProvider};
use std::sync::Arc;
use weir_abi::filter::Modules;
use weir_core::filter::Registry;

/// Envoy's name for where dynamic modules are looked for.
const MODULES_PATH: &str = "ENVOY_DYNAMIC_MODULES_SEARCH_PATH";

/// What configs are made with besides their text.
#[derive(Clone, Debug)]
pub struct Environment {
    /// Ciphers, key exchanges, signatures and randomness.
    pub provider: Arc<CryptoProvider>,
    /// What certificates' dates are compared with.
    pub time: Arc<dyn TimeProvider>,
    /// Makes tickets, with keys of the provider's randomness: a provider has none of its own.
    pub tickets: TicketMaker,
    /// Filters that are not Weir's own.
    pub filters: Registry,
}

/// Makes what seals and opens tickets.
pub type TicketMaker = fn(&CryptoProvider) -> Result<Arc<dyn ProducesTickets>, rustls::Error>;

impl Environment {
    /// aws-lc-rs and the system's clock; no filters but Weir's.
    pub fn system() -> Environment {
        Environment {
            provider: Arc::new(aws_lc_rs::default_provider()),
            time: Arc::new(DefaultTimeProvider),
            tickets: |_| aws_lc_rs::Ticketer::new(),
            filters: Registry::default(),
        }
    }

    /// As [`Self::system`], with filters of shared objects, from where this process's environment says.
    pub fn process() -> Environment {
        let mut environment = Environment::system();
        Modules { folder: std::env::var_os(MODULES_PATH).map(Into::into) }.register(&mut environment.filters);
        environment
    }
}
