//! How fast does a server answer one read, and what does an answer cost it?
//!
//! A number of connections are kept busy with the same GET, each sending its next request when the
//! last one is answered. README.md says what such a closed loop can tell and what it cannot.

use std::process::ExitCode;

use tokio_util::sync::CancellationToken;

mod drive;
mod options;
mod report;
mod tally;

pub(crate) use options::Options;
use options::Plan;

use crate::signals::{INTERRUPTED, Signals};
use crate::{complain, print};

/// Does it, and says what came of it.
pub(crate) fn run(options: &Options) -> ExitCode {
    let plan = match Plan::new(options, std::env::var("VAULT_TOKEN").ok()) {
        Ok(plan) => plan,
        Err(problem) => return complain(&problem, 2),
    };
    let loaded = Signals::listen().and_then(|Signals { stop, .. }| {
        let report = load(&plan, &stop)?;
        let text = if options.json { report.json() } else { report.to_string() };
        print(&format!("{text}\n"))?;
        if stop.is_cancelled() {
            return Err(format!("ended early: {INTERRUPTED}"));
        }
        Ok(report.failed() == 0)
    });
    match loaded {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(problem) => complain(&problem, 1),
    }
}

/// One thread does all of it: a loader that needs more cores than the server measures itself.
fn load(plan: &Plan, stop: &CancellationToken) -> Result<report::Report, String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| format!("the runtime did not start: {e}"))?;
    runtime.block_on(drive::drive(plan, stop))
}
