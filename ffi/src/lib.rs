//! libweir: Weir in any process, through C.
//!
//! `include/weir.h` is generated from this crate and is the document; its introduction is in `ffi/cbindgen.toml`. Tier 1
//! ([`engine`], [`config`], [`replay`]) is the engine that the host feeds; tier 2 (`proxy`, a feature) is a whole proxy.
//! Every function goes through `result::enter`: nothing unwinds into C. Every handle goes through `handle`'s table:
//! one that was freed, or is of another kind, is found out without being followed.
#![allow(non_camel_case_types)] // the types have the names that C gives them

pub mod address;
pub mod config;
pub mod engine;
pub mod filter;
#[cfg(feature = "fuzz")]
pub mod fuzz;
pub mod handle;
pub mod memory;
#[cfg(feature = "proxy")]
pub mod proxy;
pub mod replay;
pub mod result;
