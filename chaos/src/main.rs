//! Does vaultlet stay up, and stay right, while everything around it fails?
//!
//! The real program runs in front of a real OpenBao, with a proxy between them that fails as it is
//! told to. Load goes on meanwhile, every answer is checked, and each run ends with one line of JSON
//! that says what was demanded and what was seen. README.md is the way in.

mod caller;
mod command;
mod crosstalk;
mod fault;
mod flood;
mod history;
mod http1;
mod limit;
mod load;
mod outage;
mod soak;
mod stand;
mod swaps;
mod term;
mod verdict;

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    command::Command::parse().run()
}
