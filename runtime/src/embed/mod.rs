//! A whole proxy in another process.
//!
//! ```no_run
//! use weir::embed::{CallRequest, Options, Proxy, Read, Waited};
//!
//! let config = std::fs::read_to_string("envoy.yaml")?;
//! let proxy = Proxy::start(Options::default(), &config, "envoy.yaml")?;
//! println!("listening on {:?}", proxy.listeners());
//!
//! // Another config, whole or not at all: what is wrong is told, and the one before goes on.
//! if let Err(failure) = proxy.update_config("static_resources: {}", "other.yaml") {
//!     println!("{failure}");
//! }
//! println!("{:?} requests", proxy.stat("http.ingress.downstream_rq_total"));
//!
//! // A request of our own, through the listener's filters, routes and clusters, without a socket.
//! let call = proxy.call("main", &CallRequest::new("GET", "example.com", "/"))?;
//! println!("{}", call.response(None)?.status);
//! while let Read::Data(bytes) = call.read(None)? {
//!     println!("{} bytes", bytes.len());
//! }
//!
//! // Nothing new begins, and what is under way ends.
//! proxy.drain()?;
//! assert_eq!(proxy.wait(None), Waited::Drained { cut: 0 });
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What a host can rely on
//!
//! - **Its process is its own.** A proxy lives on threads of its own: a primary, its workers, and one that writes access
//!   logs. It installs no signal handler, no panic hook and no subscriber, reads no environment variables, and prints
//!   nothing, unless the config names stdout or stderr for an access log. The host's signals are blocked on the proxy's
//!   threads, SIGPIPE with them, and so are for the host's own.
//! - **Several proxies have nothing in common**, but ports: the second on a port is told so.
//! - **Every method may be called from any thread, by many at once**, in an async runtime or not. Those that wait say so;
//!   called from one of the proxy's own threads (in a log sink, or a callback), which they would wait for, they answer
//!   at once. After the end every method answers too, with [`Refusal::Ended`] or the like.
//! - **A panic in the proxy ends the proxy**, not the process: it is [`State::Failed`], its other workers are stopped, and
//!   whoever waits hears of it. The process's panic hook runs first, as for any panic.
//! - **Nothing accepted is lost in a drain**, calls neither. What is left at the deadline is cut and counted.
//!
//! # Calls
//!
//! [`Proxy::call`] sends a request through a listener as a client of this machine would, over a connection in memory whose
//! client's side runs on the worker's thread. Workers take turns. The connection speaks HTTP/2, or HTTP/1.1 where the
//! `codec_type` is HTTP1. What the host does not read, or the proxy does not take, waits, in a few hundred KiB each way. A
//! listener with an `api_listener` is bound to no address and takes calls only. [`Proxy::explain`] says where a request
//! would go, and sends none.

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
pub use crate::logging::{Level, Sink};
pub use crate::recording::Written;
pub use call::{Call, CallError, Read, ResponseHead};
pub use failure::{Failure, FailureKind, Refusal, StartFailure, UpdateFailure};
pub(crate) use life::Mark;
pub use life::{OnEnd, State, Waited};
pub use options::{Options, Record};
pub use proxy::Proxy;
pub use request::{CallBody, CallRequest, Headers};
pub use weir_core::config::v3::{Diagnostic, Severity};

/// Resumes a filter of any proxy of this process, from any thread: `engine` and `id` are those of its
/// [context](weir_core::filter::FilterContext). False if that engine is gone; if the filter does not wait (any more),
/// nothing happens.
pub use weir_abi::filter::resume_on as resume;
