//! What can the program be told to do?

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::saturate;

mod check;
mod compare;
pub(crate) mod outcome;
mod plan;
mod report;
mod run;

/// How much Vault does a cluster need, and how well does what is there do?
#[derive(Debug, Parser)]
#[command(
    version,
    after_help = "Example:\n  vaultlet-loadtest compare loadtest/scenarios/steady.yaml"
)]
pub(crate) struct Command {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Check(check::Options),
    Run(run::Options),
    Compare(compare::Options),
    Plan(plan::Options),
    Report(report::Options),
    Saturate(saturate::Options),
}

impl Command {
    /// Does it; the exit code: 0 done, 1 it failed while running, 2 what was given is wrong.
    pub(crate) fn run(&self) -> ExitCode {
        match &self.verb {
            Verb::Check(options) => check::run(options),
            Verb::Run(options) => run::run(options),
            Verb::Compare(options) => compare::run(options),
            Verb::Plan(options) => plan::run(options),
            Verb::Report(options) => report::run(options),
            Verb::Saturate(options) => saturate::run(options),
        }
    }
}
