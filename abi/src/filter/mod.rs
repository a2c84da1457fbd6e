//! Filters in C: tables of functions that are registered under a type, or come with a shared object.
//!
//! [`table`] is what C gives, [`host`] what it can call back, [`kind`] makes core's filters of it, [`module`] loads shared
//! objects, [`resume`] reaches engines from other threads. A callback's view of its exchange is a `frame` of its thread.

mod fields;
mod frame;
pub mod host;
pub mod kind;
pub mod module;
pub mod resume;
pub mod table;

pub use host::{HOST, read_answer, weir_filter_host};
pub use kind::CKind;
pub use module::Modules;
pub use resume::{Reachable, read_id, resume_on};
pub use table::*;
