//! What the fuzz targets do with their bytes; a target itself is a line. Each says by a panic that something is wrong.

mod heads;
mod http2;
mod input_log;
mod oracle;

pub use crate::chaos::run as engine;
pub use heads::{chunked, request_head, response_head};
pub use http2::http2;
pub use input_log::input_log;
pub use oracle::differential;
