//! What does a cluster do to its Vault, as somebody wrote it down?
//!
//! docs/load-tests.md has the format. [`read`] takes a file apart and reports all that is wrong with
//! it at once, so the types here need no further checking.

mod arrivals;
mod happenings;
mod limits;
mod name;
mod settings;
mod world;

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::ValueEnum;
use vaultlet::config::document::{self, Field, Section};

use name::{Needed as _, names};
pub(crate) use settings::setting;

/// The scenario in `file`, or everything that is wrong with it, a line each.
pub(crate) fn read(file: &Path) -> Result<Scenario, String> {
    document::read(file, "world", scenario).map_err(|problems| problems.to_string())
}

fn scenario(root: &Section<'_>) -> Scenario {
    let world = root.needed("world", "say who is there: `deployments` and `secrets`");
    let world = world.section(world::world);
    let transports = [("tcp", Transport::Tcp), ("tls", Transport::Tls), ("unix", Transport::Unix)];
    Scenario {
        name: name::name(&root.needed("name", "add `name: steady`, for example")),
        about: root.field("about").text().unwrap_or_default().trim().to_owned(),
        seed: root.field("seed").number(0..=u32::MAX).unwrap_or(1).into(),
        transport: root.field("transport").choice(&transports).unwrap_or(Transport::Tcp),
        settings: settings::settings(&root.field("vaultlet")),
        phases: phases(
            &root.needed("phases", "say what happens, one phase after the other"),
            &world,
        ),
        fail_if: root
            .field("fail_if")
            .plain_list()
            .iter()
            .filter_map(|condition| condition.text().map(str::to_owned))
            .collect(),
        world,
    }
}

fn phases(field: &Field<'_>, world: &World) -> Vec<Phase> {
    let list = field.some_list();
    let names = names(&list);
    let mut phases: Vec<Phase> = Vec::new();
    for (field, name) in list.iter().zip(names) {
        let phase = field.section(|phase| {
            name::name(&phase.needed("name", "add `name: steady`, for example"));
            let arrivals = arrivals::arrivals(&phase.field("arrivals"), &phases);
            let duration = arrivals::duration(phase, &arrivals);
            let happens = phase.field("happens");
            let happening = happenings::happening(&happens, world, duration);
            Phase { name, duration, arrivals, happening }
        });
        limits::check(field, &phase, &phases, world);
        phases.push(phase);
    }
    phases
}

/// A scenario that makes sense.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Scenario {
    pub(crate) name: String,
    /// For people, one paragraph.
    pub(crate) about: String,
    /// Of everything that is drawn by lot: the same seed gives the same requests.
    pub(crate) seed: u64,
    pub(crate) transport: Transport,
    /// Of vaultlet, as `--set` takes them: key and value.
    pub(crate) settings: Vec<(String, String)>,
    pub(crate) world: World,
    pub(crate) phases: Vec<Phase>,
    /// Conditions of `--fail-if`, which a command line may add to.
    pub(crate) fail_if: Vec<String>,
}

/// How callers reach what is measured.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum Transport {
    Tcp,
    Tls,
    Unix,
}

/// Who is there, and what they want.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct World {
    /// Each with the deployments' pods, and with a vaultlet where there are any.
    pub(crate) nodes: u32,
    pub(crate) credential: Credential,
    /// Of the logins and tokens of pods, at the server.
    pub(crate) token_ttl: Duration,
    pub(crate) deployments: Vec<Deployment>,
    pub(crate) secrets: Vec<Secrets>,
    pub(crate) roles: Vec<Role>,
}

/// What a pod shows for itself.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum Credential {
    /// A Vault token of its own, which it has from the start. All of a service account have the
    /// same policies.
    Token,
    /// Its service-account token, with which it logs in when it starts, and before its login ends:
    /// an application that knows nothing of vaultlet.
    Login,
    /// Its service-account token with each request. Whoever does not take it is logged in to
    /// first, as with [`Login`](Self::Login).
    ServiceAccount,
}

/// Pods that are alike.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Deployment {
    pub(crate) name: String,
    /// On each node.
    pub(crate) pods: u32,
    /// How many service accounts they are spread over: 1 or more.
    pub(crate) accounts: u32,
    pub(crate) reads: Vec<Reads>,
    /// A credential of each of these roles is held by each pod while it runs: read at its start,
    /// renewed at two thirds of its life, read anew before its longest life is over. Indices into
    /// [`World::roles`].
    pub(crate) leases: Vec<usize>,
}

/// Which secrets a pod reads, and how often.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Reads {
    pub(crate) of: Wanted,
    /// How many of the most popular of them it reads as it starts, one after the other.
    pub(crate) at_start: u32,
    /// How often it reads one, in the mean; `None`: never again.
    pub(crate) every: Option<Duration>,
    /// Of those reads, how many are writes instead: 0 to 1.
    pub(crate) writes: f64,
}

/// What a pod reads.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Wanted {
    /// One of these secrets: an index into [`World::secrets`].
    Secrets(usize),
    /// A credential of this role, which it uses once: an index into [`World::roles`].
    Role(usize),
}

/// Secrets that are alike.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Secrets {
    pub(crate) name: String,
    pub(crate) engine: Engine,
    pub(crate) count: u32,
    /// Of the value, smallest and largest; sizes are spread evenly.
    pub(crate) bytes: (u64, u64),
    pub(crate) popularity: Popularity,
}

/// A KV engine's version.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Engine {
    Kv1,
    Kv2,
}

/// Which of them is read next.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Popularity {
    Uniform,
    /// The `n`th is read `n^-s` times as often as the first.
    Zipf(f64),
    /// Weights of the first ones; each of the rest has a weight of 1.
    Listed(Vec<f64>),
    /// One after the other, none a second time before all have been read.
    InTurn,
}

/// Database credentials.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Role {
    pub(crate) name: String,
    pub(crate) ttl: Duration,
    pub(crate) max_ttl: Duration,
}

/// A part of the run, which is reported by itself.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Phase {
    pub(crate) name: String,
    pub(crate) duration: Duration,
    pub(crate) arrivals: Arrivals,
    pub(crate) happening: Happening,
}

/// When requests are sent.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Arrivals {
    /// Nobody reads but who starts.
    None,
    /// As often as the deployments say, times `factor` of the phase's begin and of its end, the
    /// factor changing evenly between them. `poisson`: independent of each other; otherwise evenly
    /// spaced.
    World { poisson: bool, factor: (f64, f64) },
    /// The same, independent of each other, but gathered: all that falls into `every` is sent within its first `within`.
    Bursts { every: Duration, within: Duration, factor: f64 },
    /// So many a second in all, spread over pods and secrets as the deployments say. Pods that do
    /// not run yet send nothing of their part.
    Rate { per_second: f64, poisson: bool },
    /// A share of the answers per second of a saturated phase before: of the slowest target.
    Share { phase: String, share: f64, poisson: bool },
    /// Closed loop, for ceilings: each connection sends its next request when the last is answered.
    Saturate { connections: u32 },
    /// What an access log recorded, `speed` times as fast. `writes`: a server that is there may be
    /// sent what changes it, too.
    Replay { file: PathBuf, speed: f64, writes: bool },
}

/// What happens besides, from the phase's begin.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Happening {
    Nothing,
    /// Every vaultlet starts anew at once, and every pod during `over`; what vaultlet held is gone.
    ColdStart {
        over: Duration,
    },
    /// All pods of a deployment (an index) start anew, one after the other, during `over`.
    RollOut {
        deployment: usize,
        over: Duration,
    },
    /// Node 0's pods end, and start on the other nodes, during `over`. They stay there.
    Drain {
        over: Duration,
    },
    /// So much of a set of secrets (an index) is written, during `over`.
    Rotate {
        secrets: usize,
        share: f64,
        over: Duration,
    },
    /// The upstream is not there, for the whole phase.
    Outage,
    /// The policies of all service accounts are written again, with one path more.
    PolicyChange,
}
