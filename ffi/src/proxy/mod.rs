//! Tier 2: a whole proxy, with sockets, threads and TLS of its own.

mod call;
mod life;
mod start;

pub use call::*;
pub use life::*;
pub use start::*;

use crate::handle;
use crate::result::{Fault, weir_result};
use std::sync::Arc;
use weir::embed::{Failure, FailureKind, Proxy, Refusal};

/// A whole proxy. All its functions may be called on any thread, several at once.
#[derive(Debug)]
pub struct weir_proxy {
    _opaque: [u8; 0],
}

pub(crate) struct ProxyObject(Arc<Proxy>);

pub(crate) use call::CallObject;

/// The proxy behind a handle: kept alive while a call uses it, also if another thread frees it meanwhile.
fn of(proxy: *const weir_proxy) -> Result<Arc<Proxy>, Fault> {
    handle::shared::<ProxyObject, _>(proxy as usize, |object| Arc::clone(&object.0))
}

fn refused(refusal: Refusal) -> Fault {
    let result = match refusal {
        Refusal::Ended => weir_result::WEIR_ENDED,
        Refusal::Draining => weir_result::WEIR_DRAINING,
        Refusal::OwnThread => weir_result::WEIR_OWN_THREAD,
        Refusal::UnknownListener(_) => weir_result::WEIR_NO_LISTENER,
        Refusal::Invalid(_) => weir_result::WEIR_BAD_VALUE,
    };
    Fault::new(result, refusal)
}

fn failed(failure: &Failure) -> Fault {
    let result = match failure.kind {
        FailureKind::Options => weir_result::WEIR_BAD_VALUE,
        FailureKind::Config => weir_result::WEIR_CONFIG_REFUSED,
        FailureKind::Listen => weir_result::WEIR_LISTEN_FAILED,
        FailureKind::Resolve => weir_result::WEIR_RESOLVE_FAILED,
        FailureKind::File => weir_result::WEIR_FILE_FAILED,
        FailureKind::System => weir_result::WEIR_SYSTEM_FAILED,
        FailureKind::Over => weir_result::WEIR_ENDED,
        FailureKind::OwnThread => weir_result::WEIR_OWN_THREAD,
    };
    Fault::new(result, failure)
}
