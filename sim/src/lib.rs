//! Worlds in which Weir's engine is tested: scripted peers, virtual time, faults from a seed.
//!
//! Nothing is here yet. Until it is, `core/tests/pair` runs single scenarios on a virtual clock.
