//! Worlds in which Weir's engine is tested: scripted peers, links that do to bytes what TCP may, faults, updates and
//! drains, all drawn from a seed, on a virtual clock.
//!
//! Reading order: [`world`] is the machine; [`peer`] is how peers hear and act, [`client`] and [`upstream`] are the
//! peers, one file each; [`link`], [`fault`] and [`request`] are what befalls them and what they say, [`tls`] who says it
//! in secret; [`observe`] is what can be seen, and [`check`] what must hold, one file each; [`swarm`] draws worlds,
//! [`recipe`] writes one down, [`shrink`] makes a failing one small; [`own`] is a world around a config of yours;
//! [`chains`] is a small world of its own: which filter chain serves whom.
#![forbid(unsafe_code)]

pub mod chains;
pub mod chaos;
pub mod check;
pub mod client;
pub mod config;
pub mod crypto;
pub mod event;
pub mod fault;
pub mod filters;
pub mod fuzz;
pub mod link;
pub mod observe;
pub mod own;
pub mod pattern;
pub mod peer;
pub mod recipe;
pub mod request;
pub mod scene;
pub mod shrink;
pub mod swarm;
pub mod talk;
pub mod tls;
pub mod upstream;
pub mod versions;
pub mod wire;
pub mod world;
