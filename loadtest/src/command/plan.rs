//! How much Vault does a cluster need?

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;

use super::outcome::Outcome;
use crate::amount;
use crate::cluster::Cluster;
use crate::conditions::FailIf;
use crate::plan::{self, Book, Question};
use crate::result::{self, Result as Measured};
use crate::scenario::{self, Scenario};
use crate::signals::{INTERRUPTED, Signals};
use crate::{complain, print};

/// Say how much Vault a cluster needs, with vaultlet and without
///
/// The scenario is played in this process, on vaultlet's own code in front of a model of an OpenBao,
/// in time that is not real: nothing is started, and an hour takes seconds. With --verify it is
/// played on real servers as well, and what they see is held against what was predicted.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  vaultlet-loadtest plan loadtest/scenarios/steady.yaml --nodes 50,500"
)]
pub(crate) struct Options {
    /// What is played; docs/load-tests.md has the format
    #[arg(value_name = "SCENARIO", required_unless_present = "calibrate")]
    scenario: Option<PathBuf>,
    /// Sizes of clusters
    #[arg(long, value_name = "N,…", value_delimiter = ',', default_value = "1,10,100,1000,10000",
          value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    nodes: Vec<u32>,
    /// Cores that the upstream has: requests wait for them, and what starts takes as long as they
    /// take. Without it nobody waits
    #[arg(long, value_name = "N", value_parser = cores)]
    cores: Option<f64>,
    /// What a request of each kind costs the upstream, as --calibrate writes it
    #[arg(long, value_name = "FILE")]
    costs: Option<PathBuf>,
    /// Measure what a request of each kind costs an OpenBao on this machine, write it there, and do
    /// nothing else
    #[arg(long, value_name = "FILE", conflicts_with_all = ["scenario", "verify", "costs"])]
    calibrate: Option<PathBuf>,
    /// Play it on real servers too, and fail where the prediction is off by more than 5 %
    #[arg(long)]
    verify: bool,
    #[command(flatten)]
    outcome: Outcome,
}

/// Does it.
pub(crate) fn run(options: &Options) -> ExitCode {
    if let Some(file) = &options.calibrate {
        if let Err(problem) = result::writable("--calibrate", file) {
            return complain(&problem, 2);
        }
        return match calibrate(file) {
            Ok(()) => ExitCode::SUCCESS,
            Err(problem) => complain(&problem, 1),
        };
    }
    let asked = match Asked::new(options) {
        Ok(asked) => asked,
        Err(problem) => return complain(&problem, 2),
    };
    match asked.answer(options.verify) {
        Ok(measured) => asked.deliver(options, measured),
        Err(problem) => complain(&problem, 1),
    }
}

fn cores(text: &str) -> Result<f64, String> {
    let cores = text.parse::<f64>().ok().filter(|cores| cores.is_finite() && *cores > 0.0);
    cores.ok_or_else(|| "a number of cores, as 4 or 0.5".to_owned())
}

fn calibrate(file: &Path) -> Result<(), String> {
    let book = plan::calibrated(&Book::shipped()?, &Signals::listen()?)?;
    result::replace(file, book.text()?.as_bytes())?;
    print(&format!("{}: {}\n", file.display(), book.from))
}

/// A plan that can be made.
struct Asked {
    scenario: Scenario,
    question: Question,
    conditions: Vec<FailIf>,
}

impl Asked {
    fn new(options: &Options) -> Result<Self, String> {
        let file = options.scenario.as_deref().ok_or("no scenario: name its file")?;
        let mut scenario = plan::playable(&scenario::read(file)?)?;
        // They are about what `compare` measures, and may name any of its targets.
        scenario.fail_if.clear();
        let conditions = options.outcome.conditions(&scenario, &["direct", "vaultlet"])?;
        options.outcome.writable()?;
        let book = options.costs.as_deref().map_or_else(Book::shipped, Book::read)?;
        let nodes = options.nodes.clone();
        let question = Question { nodes, cores: options.cores, book };
        Ok(Self { scenario, question, conditions })
    }

    /// What is finished when it is interrupted is an answer too.
    fn answer(&self, verify: bool) -> Result<Measured, String> {
        let signals = Signals::listen()?;
        let (stop, _held) = (&signals.stop, signals.held());
        let mut measured = Measured::begin(&self.scenario, &Cluster::new(&self.scenario));
        let mut plan = plan::predict(&self.scenario, &self.question, stop)?;
        match plan::predicted(&self.scenario, &self.question, stop, verify) {
            Err(_) if stop.is_cancelled() => measured.interrupted = Some(INTERRUPTED.to_owned()),
            Ok(predicted) if verify => {
                let found = plan::measure(&self.scenario, &signals)?;
                for (predicted, measured) in predicted.iter().zip(&found.targets) {
                    plan.checks.extend(plan::checks(predicted, measured));
                }
                (measured.targets, measured.interrupted) = (found.targets, found.interrupted);
            }
            predicted => measured.targets = predicted?,
        }
        measured.plan = Some(plan);
        Ok(measured)
    }

    fn deliver(&self, options: &Options, measured: Measured) -> ExitCode {
        let checks = measured.plan.iter().flat_map(|plan| &plan.checks);
        let (wrong, all) = checks.fold((0, 0), |(wrong, all), check| {
            (wrong + u32::from(check.holds == Some(false)), all + 1)
        });
        let played = plan::played(&self.scenario, options.verify);
        if !self.conditions.is_empty() && self.question.nodes.iter().any(|nodes| *nodes > played) {
            let nodes = amount::several(played.into(), "node");
            complain(
                &format!("conditions are about the {nodes} played, not about larger sizes"),
                0,
            );
        }
        let delivered = options.outcome.deliver(measured, &self.conditions);
        if wrong == 0 {
            return delivered;
        }
        complain(
            &format!(
                "{wrong} of {all} predictions are off by more than they may be: see the last table, and \
                 docs/load-tests.md, \"How much Vault\", for what the model leaves out"
            ),
            1,
        )
    }
}
