//! Is a scenario one that can be played?

use std::fmt;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use vaultlet::config::document::duration_text;

use super::outcome;
use crate::cluster::Cluster;
use crate::scenario::{self, Arrivals, Scenario};
use crate::schedule::{self, replay};

/// Say what is wrong with a scenario
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  vaultlet-loadtest check loadtest/scenarios/*.yaml\n\n\
                  docs/load-tests.md has the format.")]
pub(crate) struct Options {
    /// Scenarios
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

/// Does it.
pub(crate) fn run(options: &Options) -> ExitCode {
    let mut wrong = false;
    for file in &options.files {
        match scenario::read(file).and_then(|scenario| with_conditions(file, scenario)) {
            Ok(scenario) => {
                for remark in remarks(&scenario) {
                    let _ = writeln!(io::stderr(), "{remark}");
                }
                let _ = writeln!(io::stdout(), "{}", Summary::new(file, &scenario));
            }
            Err(problems) => {
                let _ = writeln!(io::stderr(), "{problems}");
                wrong = true;
            }
        }
    }
    ExitCode::from(if wrong { 2 } else { 0 })
}

/// The scenario, if its conditions make sense too.
fn with_conditions(file: &Path, scenario: Scenario) -> Result<Scenario, String> {
    match outcome::of_scenario(&scenario, &[]) {
        Ok(_) => Ok(scenario),
        Err(problems) => {
            let about = |problem| format!("{}: fail_if: {problem}", file.display());
            Err(problems.lines().map(about).collect::<Vec<_>>().join("\n"))
        }
    }
}

/// What is not wrong, but should be known: lines of access logs that are left out.
pub(crate) fn remarks(scenario: &Scenario) -> Vec<String> {
    let replayed = scenario.phases.iter().filter_map(|phase| match &phase.arrivals {
        Arrivals::Replay { file, .. } => replay::survey(file).ok()?.remark(file),
        _ => None,
    });
    replayed.collect()
}

/// A scenario in one line.
#[derive(Debug, PartialEq)]
struct Summary<'a> {
    file: &'a Path,
    nodes: u32,
    pods: u32,
    secrets: u64,
    phases: usize,
    duration: Duration,
    requests: f64,
    /// How many of the phases send as much as is answered.
    open: usize,
}

impl<'a> Summary<'a> {
    fn new(file: &'a Path, scenario: &Scenario) -> Self {
        let world = &scenario.world;
        let phases = 0..scenario.phases.len();
        let expected: Vec<_> = phases.map(|it| schedule::expected(scenario, it)).collect();
        Self {
            file,
            nodes: world.nodes,
            pods: Cluster::new(scenario).seats(),
            secrets: world.secrets.iter().map(|set| u64::from(set.count)).sum(),
            phases: scenario.phases.len(),
            duration: scenario.phases.iter().map(|phase| phase.duration).sum(),
            requests: expected.iter().map(|it| it.requests).sum(),
            open: expected.iter().filter(|it| it.open).count(),
        }
    }
}

impl fmt::Display for Summary<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let some = |count: u64, name: &str| match count {
            1 => format!("1 {name}"),
            _ => format!("{count} {name}s"),
        };
        write!(
            f,
            "{}: {}, {}, {}, {} of {} in all, about {:.0} requests",
            self.file.display(),
            some(self.nodes.into(), "node"),
            some(self.pods.into(), "pod"),
            some(self.secrets, "secret"),
            some(self.phases as u64, "phase"),
            duration_text(self.duration),
            self.requests,
        )?;
        match self.open {
            0 => Ok(()),
            1 => f.write_str(", and in one phase as many as are answered"),
            open => write!(f, ", and in {open} phases as many as are answered"),
        }
    }
}
