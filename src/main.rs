//! The `pipeline` command.

use std::process::ExitCode;

/// Gives freed memory back between the phases of a run (`.cargo/config.toml` says how soon); the
/// system's allocator keeps most of it.
#[cfg(not(target_env = "msvc"))]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    pipeline::cli::main()
}
