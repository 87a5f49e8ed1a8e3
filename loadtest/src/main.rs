//! How much Vault does a cluster need, and how well does what is there do?
//!
//! A scenario says who is in a cluster and what they want of their Vault, and what happens
//! meanwhile. It is played on real servers (`run`, `compare`), or on vaultlet's own code in front of
//! a model of a server, in time that is not real (`plan`). README.md is the way in.

mod amount;
mod cluster;
mod command;
mod compare;
mod conditions;
mod cpu;
mod drive;
mod given;
mod live;
mod lot;
mod model;
mod objectives;
mod plan;
mod progress;
mod record;
mod report;
mod result;
mod saturate;
mod scenario;
mod schedule;
mod stage;
mod text;
mod verdict;
mod wire;

use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    command::Command::parse().run()
}

fn complain(problem: &str, code: u8) -> ExitCode {
    let _ = writeln!(io::stderr(), "vaultlet-loadtest: {problem}");
    ExitCode::from(code)
}
