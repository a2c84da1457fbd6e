//! A whole proxy in another process.

mod call;
mod client;
mod explain;
mod failure;
mod life;
mod net;
mod options;
mod primary;
mod proxy;
mod request;
mod wait;

pub use crate::cli::OnUnsupported;
pub use crate::logging::Level;
pub use crate::recording::Written;
pub use call::{Call, CallError, Read, ResponseHead};
pub use failure::{Failure, FailureKind, Refusal, StartFailure, UpdateFailure};
pub(crate) use life::Mark;
pub use life::{OnEnd, State, Waited};
pub use options::{Options, Record};
pub use proxy::Proxy;
pub use request::{CallBody, CallRequest, Headers};
pub use weir_core::config::v3::{Diagnostic, Severity};
