//! What can the program be told to do?

use std::process::ExitCode;

use clap::Parser;
use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::LocalSet;

use crate::verdict::{Verdict, conclude};
use crate::{crosstalk, flood, history, outage, soak, swaps, term};

/// Does vaultlet stay up, and stay right, while everything around it fails?
///
/// Each run starts an OpenBao, a proxy that fails as it is told to, and vaultlet, on loopback, and
/// ends them. Its verdict is a line of JSON on standard output, and words on standard error. Exit
/// codes: 0 all that was demanded was seen; 1 it was not, or the run failed; 2 wrong arguments.
#[derive(Debug, Parser)]
#[command(name = "vaultlet-chaos", version)]
pub(crate) enum Command {
    Crosstalk(crosstalk::Options),
    Flood(flood::Options),
    History(history::Options),
    Outage(outage::Options),
    Soak(soak::Options),
    Swaps(swaps::Options),
    Term(term::Options),
}

impl Command {
    pub(crate) fn run(self) -> ExitCode {
        let runtime = match Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime,
            Err(e) => return conclude(Err(format!("no runtime: {e}"))),
        };
        let verdicts = runtime.block_on(LocalSet::new().run_until(async {
            tokio::select! {
                verdicts = self.verdicts() => verdicts,
                // What was started ends with the run.
                problem = stopped() => Err(problem),
            }
        }));
        conclude(verdicts)
    }

    async fn verdicts(&self) -> Result<Vec<Verdict>, String> {
        match self {
            Self::Crosstalk(options) => crosstalk::run(options).await,
            Self::Flood(options) => flood::run(options).await,
            Self::History(options) => history::run(options).await,
            Self::Outage(options) => outage::run(options).await,
            Self::Soak(options) => soak::run(options).await,
            Self::Swaps(options) => swaps::run(options).await,
            Self::Term(options) => term::run(options).await,
        }
    }
}

/// Waits for Ctrl-C or SIGTERM.
async fn stopped() -> String {
    let mut told = match signal(SignalKind::terminate()) {
        Ok(told) => told,
        Err(e) => return format!("no signals: {e}"),
    };
    tokio::select! {
        _ = told.recv() => {}
        _ = tokio::signal::ctrl_c() => {}
    }
    "stopped".to_owned()
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_arguments_hold_together() {
        Command::command().debug_assert();
    }
}
