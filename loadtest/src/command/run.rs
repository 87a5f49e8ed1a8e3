//! How does a server that is there stand a scenario?

use std::path::PathBuf;
use std::process::ExitCode;
use std::rc::Rc;

use clap::Args;
use zeroize::Zeroizing;

use super::outcome::Outcome;
use crate::amount;
use crate::cluster::Cluster;
use crate::complain;
use crate::conditions::FailIf;
use crate::drive::{self, Time};
use crate::given::Given;
use crate::progress::Progress;
use crate::record::{Log, Recorder};
use crate::result::Result as Measured;
use crate::scenario::{self, Arrivals, Happening, Scenario};
use crate::schedule::replay;
use crate::signals::{INTERRUPTED, Signals, unless_stopped};
use crate::wire::{self, Address, Pool};

/// Play a scenario against a server that is there
///
/// Only what its pods read, write and replay, all of it with one token: the secrets are there
/// already, and nothing else happens. The token is read from `VAULT_TOKEN` or --token-file, and is
/// never an argument: arguments are visible to everybody on the machine.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  VAULT_TOKEN=… vaultlet-loadtest run loadtest/scenarios/cached-read.yaml \
                  --url http://127.0.0.1:8100 --out result.json"
)]
pub(crate) struct Options {
    /// What is played; docs/load-tests.md has the format
    #[arg(value_name = "SCENARIO")]
    scenario: PathBuf,
    /// The server: http://HOST:PORT or https://HOST:PORT
    #[arg(long, required_unless_present = "unix", conflicts_with = "unix")]
    url: Option<String>,
    /// The server's unix socket
    #[arg(long, value_name = "PATH")]
    unix: Option<PathBuf>,
    /// Whose certificates are believed, PEM; without it, those that the system believes
    #[arg(long, value_name = "FILE", requires = "url")]
    ca_file: Option<PathBuf>,
    /// Where the token is, if not in `VAULT_TOKEN`
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Write every second's latencies there, as an `HdrHistogram` log (V2)
    #[arg(long, value_name = "FILE")]
    hdr: Option<PathBuf>,
    #[command(flatten)]
    outcome: Outcome,
}

/// A run that can begin.
struct Run {
    scenario: Rc<Scenario>,
    conditions: Vec<FailIf>,
    address: Address,
    token: Zeroizing<String>,
    log: Option<Rc<Log>>,
}

/// Does it.
pub(crate) fn run(options: &Options) -> ExitCode {
    let run = match Run::new(options, std::env::var("VAULT_TOKEN").ok()) {
        Ok(run) => run,
        Err(problem) => return complain(&problem, 2),
    };
    match drive::runtime(Time::Real).and_then(|runtime| runtime.block_on(run.measure())) {
        Ok(measured) => {
            let succeeded = succeeded(&measured);
            let code = options.outcome.deliver(measured, &run.conditions);
            let written = run.log.as_ref().map_or(Ok(()), |log| log.finish());
            match (written, &options.hdr) {
                (Err(e), Some(file)) => {
                    let place = file.display();
                    complain(&format!("--hdr {place}: {e}; what is in it ends early"), 1)
                }
                _ if !succeeded => complain("not one request succeeded", 1),
                _ => code,
            }
        }
        Err(problem) => complain(&problem, 1),
    }
}

impl Run {
    /// Checks `options`; `token` is what `VAULT_TOKEN` holds, and a token file wins over it.
    fn new(options: &Options, token: Option<String>) -> Result<Self, String> {
        let scenario = scenario::read(&options.scenario)?;
        for remark in super::check::remarks(&scenario) {
            complain(&remark, 0);
        }
        if let Some(phase) = scenario.phases.iter().find(|it| it.happening != Happening::Nothing) {
            return Err(format!(
                "{}: phase `{}`: `run` sends requests to a server that is there, and can let nothing \
                 happen besides; play this scenario with `compare` or `plan`, or leave out `happens`",
                options.scenario.display(),
                phase.name,
            ));
        }
        harmless(&scenario)?;
        let address = match (&options.url, &options.unix) {
            (Some(url), _) => Address::url(url, options.ca_file.as_deref())?,
            (None, Some(path)) => Address::unix(path),
            (None, None) => return Err("no server: give --url or --unix".to_owned()),
        };
        let conditions = options.outcome.conditions(&scenario, &[&address.to_string()])?;
        options.outcome.writable()?;
        let token = wire::token(options.token_file.as_deref(), token)?
            .ok_or("no token: set VAULT_TOKEN, or name a file with --token-file")?;
        let token = Zeroizing::new(token.to_str().unwrap_or_default().to_owned());
        let log = options.hdr.as_deref().map(|file| Log::create(file).map(Rc::new));
        let log = log.transpose()?;
        Ok(Self { scenario: Rc::new(scenario), conditions, address, token, log })
    }

    async fn measure(&self) -> Result<Measured, String> {
        let stop = Signals::listen()?.stop;
        let pool = Pool::new(vec![self.address.clone()], wire::TIMEOUT);
        unless_stopped(&stop, pool.probe()).await?;
        let cluster = Rc::new(Cluster::new(&self.scenario));
        let recorder =
            Rc::new(Recorder::new(&self.address.to_string(), &self.scenario, Time::Real));
        if let Some(log) = &self.log {
            recorder.log_to(log.clone());
        }
        let mut measured = Measured::begin(&self.scenario, &cluster);
        let stage = Rc::new(Given::new(pool, self.token.clone()));
        let options = drive::Options { time: Time::Real, pods: false };
        let progress = Progress::new();
        let played =
            drive::play(&self.scenario, &cluster, &stage, options, &recorder, &progress, &stop)
                .await;
        measured.targets.push(recorder.target());
        measured.interrupted =
            played.err().or_else(|| stop.is_cancelled().then(|| INTERRUPTED.to_owned()));
        Ok(measured)
    }
}

/// Refuses a log whose requests may change a server that somebody needs, unless the scenario asks for
/// that.
fn harmless(scenario: &Scenario) -> Result<(), String> {
    for phase in &scenario.phases {
        let Arrivals::Replay { file, writes: false, .. } = &phase.arrivals else { continue };
        let writes = replay::survey(file)?.writes;
        if writes > 0 {
            return Err(format!(
                "phase `{}`: {} of {} would write or delete on the server, as POST, PUT, PATCH and \
                 DELETE do, and without what they were sent with; leave them out of the log, or write \
                 `writes: true` beside `replay` in the scenario",
                phase.name,
                amount::several(writes, "request"),
                file.display(),
            ));
        }
    }
    Ok(())
}

/// Whether anything did.
fn succeeded(measured: &Measured) -> bool {
    let phases = measured.targets.iter().flat_map(|target| &target.phases);
    let mut kinds = phases.flat_map(|phase| phase.kinds.values());
    kinds.any(|kind| kind.counted(|status| status < 300) > 0)
}
