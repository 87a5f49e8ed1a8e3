//! How much Vault does a cluster need, and how well does what is there do?
//!
//! A scenario says who is in a cluster and what they want of their Vault, and what happens
//! meanwhile. It is played on real servers (`run`, `compare`), or on vaultlet's own code in front of
//! a model of a server, in time that is not real (`plan`). README.md is the way in.
//!
//! The program is all of this. As a library it lends the reliability bench (`chaos/`) what that would
//! otherwise write a second time: connections that keep count of themselves, precise waiting, and
//! servers that are started, asked and ended.

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
mod passes;
mod plan;
mod progress;
mod record;
mod report;
mod result;
mod saturate;
mod scenario;
mod schedule;
mod signals;
mod stage;
mod text;
mod verdict;
mod wire;

use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::Parser as _;

pub use drive::Time;
pub use drive::pace::Pace;
pub use live::api::{Api, Ask};
pub use live::free_port;
pub use live::gauges::resident;
pub use live::ground::directory;
pub use live::openbao::OpenBao;
pub use live::places::{beside, on_path};
pub use live::process::Process;
pub use stage::{Answer, Failure};
pub use wire::{Address, Pool};

/// What the program does with its arguments.
pub fn run() -> ExitCode {
    command::Command::parse().run()
}

/// Prints `text`. Whoever closes the pipe has seen enough, and that is no failure.
fn print(text: &str) -> Result<(), String> {
    match io::stdout().write_all(text.as_bytes()) {
        Err(problem) if problem.kind() != io::ErrorKind::BrokenPipe => {
            Err(format!("stdout: cannot be written: {problem}"))
        }
        _ => Ok(()),
    }
}

fn complain(problem: &str, code: u8) -> ExitCode {
    let _ = writeln!(io::stderr(), "vaultlet-loadtest: {problem}");
    ExitCode::from(code)
}
