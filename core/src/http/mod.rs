//! HTTP's own concepts, free of any wire format: heads, names, validation, paths, dates.

mod date;
mod fields;
pub mod grpc;
mod head;
mod name;
pub mod path;
mod status;
pub mod validate;

pub use date::{Civil, http_date};
pub use fields::{Field, Fields, Span};
pub use head::{RequestHead, ResponseHead, Scheme, Version};
pub use name::{Name, NameSet};
pub use status::reason_phrase;
