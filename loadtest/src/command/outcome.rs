//! What becomes of a result: files, a summary, an exit code. `run`, `compare` and `plan` end here.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use crate::conditions::{self, FailIf};
use crate::result::{self, Result as Measured};
use crate::scenario::Scenario;
use crate::{objectives, report, text};

/// What a scenario may name.
const USUAL_TARGETS: [&str; 5] = ["direct", "vaultlet", "openbao-proxy", "nginx", "bare"];

/// Where the result goes, and when the command fails
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Result")]
pub(crate) struct Outcome {
    /// Write the result there, as JSON (`report --schema` prints its schema)
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Write a page with plots there: one file, no script
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Exit with 1 if this comes true, as 'p99(steady) > 5ms'; more than once: if any does
    #[arg(long, value_name = "CONDITION")]
    fail_if: Vec<String>,
}

impl Outcome {
    /// The conditions of the command line and of the scenario, before anything is started; `Err`
    /// is the user's mistake: exit code 2. A scenario is for many runs, so those of its conditions
    /// that are about a target which this run does not have are left out, and it is said.
    pub(crate) fn conditions(
        &self,
        scenario: &Scenario,
        targets: &[&str],
    ) -> Result<Vec<FailIf>, String> {
        let mut conditions = of_scenario(scenario, targets)?;
        conditions.retain(|condition| {
            let lacks = condition.lacks(targets);
            if let Some(target) = lacks {
                let left_out =
                    format!("condition '{condition}' is left out, since {target} is not measured");
                crate::complain(&left_out, 0);
            }
            lacks.is_none()
        });
        conditions.extend(conditions::read(&self.fail_if, &phases(scenario), targets)?);
        Ok(conditions)
    }

    /// Tries every file that will be written, before anything is started: what was measured would
    /// be lost otherwise.
    pub(crate) fn writable(&self) -> Result<(), String> {
        for (option, path) in [("--out", &self.out), ("--html", &self.html)] {
            path.as_ref().map_or(Ok(()), |path| result::writable(option, path))?;
        }
        Ok(())
    }

    /// Adds objectives and conditions to what was measured, writes the files, prints the summary.
    /// What cannot be written is said after the summary, so nothing that was measured is lost.
    pub(crate) fn deliver(&self, mut result: Measured, conditions: &[FailIf]) -> ExitCode {
        result.version = result::VERSION;
        result.objectives = objectives::of(&result.targets);
        result.conditions = conditions.iter().map(|condition| condition.judge(&result)).collect();
        let printed = crate::print(&text::summary(&result, text::colours()));
        let mut problems: Vec<String> = [
            self.out.as_ref().map(|path| result.write(path)),
            self.html.as_ref().map(|path| report::write(&result, path)),
        ]
        .into_iter()
        .flatten()
        .filter_map(Result::err)
        .collect();
        problems.extend(printed.err());
        problems.extend(result.interrupted.iter().map(|why| format!("ended early: {why}")));
        problems.extend(result.conditions.iter().filter_map(complaint));
        for problem in &problems {
            crate::complain(problem, 1);
        }
        ExitCode::from(u8::from(!problems.is_empty()))
    }
}

/// A scenario's own conditions, which may name usual targets and these.
pub(super) fn of_scenario(scenario: &Scenario, targets: &[&str]) -> Result<Vec<FailIf>, String> {
    let targets = [targets, &USUAL_TARGETS].concat();
    conditions::read(&scenario.fail_if, &phases(scenario), &targets)
}

fn phases(scenario: &Scenario) -> Vec<&str> {
    scenario.phases.iter().map(|phase| phase.name.as_str()).collect()
}

fn complaint(condition: &result::Condition) -> Option<String> {
    let result::Condition { text, came_true, measured } = condition;
    match came_true {
        Some(false) => None,
        Some(true) => Some(format!("condition '{text}' came true: {measured}")),
        None => Some(format!("condition '{text}' cannot be decided: {measured}")),
    }
}

#[cfg(test)]
mod tests;
