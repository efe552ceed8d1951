//! The one integration-test binary: it runs the `pipeline` command as a user does.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test fails by panicking, and prints what it counted"
)]

mod bulk;
mod chain;
mod conditions;
mod crash;
mod dev;
mod download;
#[cfg(feature = "duckdb")]
mod duckdb;
mod enrich;
mod enrich_processes;
mod errors;
mod follow;
mod fragments;
mod fuzz;
mod hostile;
mod mistakes;
#[cfg(not(feature = "duckdb"))]
mod no_duckdb;
mod plan;
mod power;
mod quota;
mod reference;
mod replay;
mod runs;
mod sandbox;
mod support;
mod testing;
mod tidy;
mod tools;
