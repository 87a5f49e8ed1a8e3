//! The `vaultlet` program: reads its arguments and environment, and does what `cli` says.

use std::process::ExitCode;

use clap::Parser;
use tikv_jemallocator::Jemalloc;
use vaultlet::cli::Cli;

/// Entries come and go one by one, among requests: that leaves holes of all sizes, and other
/// allocators keep them.
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

fn main() -> ExitCode {
    let environment = std::env::vars_os()
        .map(|(name, value)| [name, value].map(|text| text.to_string_lossy().into_owned()))
        .map(|[name, value]| (name, value));
    Cli::parse().run(environment.collect())
}
