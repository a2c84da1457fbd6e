//! The C ABI over Weir's engine and over a whole proxy.
//!
//! Nothing is here yet; `include/weir.h` will be generated from this crate.
