//! Which of several servers stands a scenario best?

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::rc::Rc;

use clap::Args;

use super::outcome::Outcome;
use crate::compare::{self, Comparison};
use crate::conditions::FailIf;
use crate::drive::{self, Time};
use crate::live::{Kind, Places};
use crate::record::Log;
use crate::result;
use crate::scenario::{self, Credential, Scenario, Transport};
use crate::signals::{Signals, unless_stopped};
use crate::{complain, print};

/// Play a scenario on several servers in turn, which are started for it
///
/// Each round starts every target anew, on a copy of the same upstream, in turn and turn about.
/// What is measured runs on one core, and the upstream and what sends on another, where there are
/// two. Needs an OpenBao (`BAO_BIN`), and as the scenario and the targets want, PostgreSQL
/// (`POSTGRES_BIN`), nginx (`NGINX_BIN`), vaultlet (`VAULTLET_BIN`) and bare (`BARE_BIN`).
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  vaultlet-loadtest compare loadtest/scenarios/cached-read.yaml \
                  --targets vaultlet,bare --rounds 3"
)]
pub(crate) struct Options {
    /// What is played; docs/load-tests.md has the format
    #[arg(value_name = "SCENARIO")]
    scenario: PathBuf,
    /// What is measured, in the order of the report
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        default_values_t = [Kind::Direct, Kind::Vaultlet, Kind::OpenbaoProxy, Kind::Nginx, Kind::Bare]
    )]
    targets: Vec<Kind>,
    /// How often each of them is; medians and ranges are of these
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=99))]
    rounds: u32,
    /// Have callers come in another way than the scenario says
    #[arg(long, value_enum)]
    transport: Option<Transport>,
    /// Have pods show something else
    #[arg(long, value_enum)]
    credential: Option<Credential>,
    /// Set something of vaultlet's as well: cache.kv.ttl=5m
    #[arg(long = "set", value_name = "KEY=VALUE")]
    sets: Vec<String>,
    /// Let the system choose where servers run
    #[arg(long)]
    unpinned: bool,
    /// Write every second's latencies there, as an `HdrHistogram` log (V2)
    #[arg(long, value_name = "FILE")]
    hdr: Option<PathBuf>,
    /// Write the table there, as Markdown
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
    #[command(flatten)]
    outcome: Outcome,
}

/// What can begin.
struct Plan {
    scenario: Rc<Scenario>,
    conditions: Vec<FailIf>,
    kinds: Vec<Kind>,
    /// Targets that cannot do what the scenario wants, and why.
    left_out: Vec<String>,
    places: Places,
    log: Option<Rc<Log>>,
}

/// Does it.
pub(crate) fn run(options: &Options) -> ExitCode {
    let plan = match Plan::new(options) {
        Ok(plan) => plan,
        Err(problem) => return complain(&problem, 2),
    };
    for line in &plan.left_out {
        let _ = writeln!(io::stderr(), "{line}");
    }
    let measured = drive::runtime(Time::Real).and_then(|runtime| {
        runtime.block_on(async {
            let signals = Signals::listen()?;
            let stop = &signals.stop;
            let measure = async {
                let comparison =
                    Comparison::new(&plan.scenario, plan.places, plan.kinds, plan.log.as_ref());
                let comparison = unless_stopped(stop, comparison).await?;
                Ok(Box::pin(comparison.measure(options.rounds, stop)).await)
            };
            signals.hold(Box::pin(measure)).await
        })
    });
    let measured = match measured {
        Ok(measured) => measured,
        Err(problem) => return complain(&problem, 1),
    };
    let table = compare::table(&measured, &plan.left_out, options.rounds);
    let printed = print(&table);
    let mut code = options.outcome.deliver(measured, &plan.conditions);
    if let Err(problem) = printed {
        code = complain(&problem, 1);
    }
    if let Some(file) = &options.markdown
        && let Err(problem) = result::replace(file, table.as_bytes())
    {
        code = complain(&format!("--markdown {problem}"), 1);
    }
    if let (Some(log), Some(file)) = (&plan.log, &options.hdr)
        && let Err(e) = log.finish()
    {
        code = complain(&format!("--hdr {}: {e}; what is in it ends early", file.display()), 1);
    }
    code
}

impl Plan {
    fn new(options: &Options) -> Result<Self, String> {
        let mut scenario = scenario::read(&options.scenario)?;
        scenario.transport = options.transport.unwrap_or(scenario.transport);
        scenario.world.credential = options.credential.unwrap_or(scenario.world.credential);
        for text in &options.sets {
            let (key, value) = scenario::setting(text).map_err(|why| format!("--set {why}"))?;
            scenario.settings.retain(|(other, _)| *other != key);
            scenario.settings.push((key, value));
        }
        for remark in super::check::remarks(&scenario) {
            complain(&remark, 0);
        }
        let (mut kinds, mut left_out) = (Vec::new(), Vec::new());
        for kind in &options.targets {
            match kind.lacks(&scenario) {
                Some(why) => left_out.push(format!("{} is left out: {why}", kind.name())),
                None if kinds.contains(kind) => {}
                None => kinds.push(*kind),
            }
        }
        if kinds.is_empty() {
            let why = left_out.join("; ");
            return Err(format!("no target is left to measure: {why}. Name others in --targets"));
        }
        let names: Vec<&str> = kinds.iter().map(|kind| kind.name()).collect();
        let conditions = options.outcome.conditions(&scenario, &names)?;
        options.outcome.writable()?;
        if let Some(file) = &options.markdown {
            result::writable("--markdown", file)?;
        }
        let places = Places::find(&kinds, &scenario)?;
        let places = if options.unpinned { places.unpinned() } else { places };
        let log = options.hdr.as_deref().map(|file| Log::create(file).map(Rc::new));
        let log = log.transpose()?;
        Ok(Self { scenario: Rc::new(scenario), conditions, kinds, left_out, places, log })
    }
}
