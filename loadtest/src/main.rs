//! How fast does a server answer one read, and what does an answer cost it?
//!
//! `vaultlet-loadtest` keeps a number of connections busy with the same GET, each sending its next
//! request when the last one is answered, and says how many were answered how, how long they took,
//! and, given the server's process, how much CPU time one answer took it. README.md says what such
//! a closed loop can tell and what it cannot.

mod cpu;
mod drive;
mod options;
mod report;
mod tally;

use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::Parser as _;

use crate::options::{Options, Plan};

fn main() -> ExitCode {
    let options = Options::parse();
    let plan = match Plan::new(&options, std::env::var("VAULT_TOKEN").ok()) {
        Ok(plan) => plan,
        Err(problem) => return complain(&problem, 2),
    };

    match run(&plan) {
        Ok(report) => {
            let text = if options.json { report.json() } else { report.to_string() };
            // Whoever closed the pipe has read enough.
            let _ = writeln!(io::stdout(), "{text}");
            if report.failed() == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(problem) => complain(&problem, 1),
    }
}

/// One thread does all of it: a loader that needs more cores than the server measures itself.
fn run(plan: &Plan) -> Result<report::Report, String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| format!("the runtime did not start: {e}"))?;
    runtime.block_on(drive::drive(plan))
}

fn complain(problem: &str, code: u8) -> ExitCode {
    let _ = writeln!(io::stderr(), "vaultlet-loadtest: {problem}");
    ExitCode::from(code)
}
