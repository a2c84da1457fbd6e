//! What crosses into C, for libweir and for the modules that the `weir` binary loads.
//!
//! `include/weir.h` is generated from this crate and `weir-ffi`. Here is what both need: numbered results and the words of
//! the last one ([`result`]), texts and structs that may grow ([`memory`]), addresses, and [filters in C](filter).
#![allow(non_camel_case_types)] // the types have the names that C gives them

pub mod address;
pub mod filter;
pub mod memory;
pub mod result;
