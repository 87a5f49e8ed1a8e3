//! The program `vaultlet-loadtest`; `lib.rs` is the way in.

use std::process::ExitCode;

fn main() -> ExitCode {
    vaultlet_loadtest::run()
}
