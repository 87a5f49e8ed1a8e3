//! What do all targets of a run stand on? A world, made once: the files of an OpenBao that holds
//! it, the database, and what each pod shows.

use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::rc::Rc;
use std::time::Duration;

use tempfile::TempDir;
use zeroize::Zeroizing;

use super::fill;
use super::openbao::{Keys, OpenBao};
use super::places::Places;
use super::postgres::Postgres;
use crate::cluster::Cluster;
use crate::passes::Passes;
use crate::scenario::{Credential, Scenario};

/// Where files are in memory, so that no disk is measured; and how much room it must have.
const MEMORY: (&str, u64) = ("/dev/shm", 4 << 30);

/// Of service-account tokens: longer than any run.
const PASS_LIFE: Duration = Duration::from_hours(24);

/// Not `Debug`: it holds tokens.
pub(crate) struct Ground {
    scenario: Scenario,
    cluster: Rc<Cluster>,
    places: Places,
    passes: Passes,
    /// Of each pod.
    shown: Vec<Zeroizing<String>>,
    keys: Keys,
    /// As a server that was filled has left them.
    files: TempDir,
    postgres: Option<Postgres>,
}

impl Ground {
    /// Fills an OpenBao with the world.
    ///
    /// # Errors
    /// A server does not start, or refuses something.
    pub(crate) async fn lay(
        scenario: &Scenario,
        cluster: &Rc<Cluster>,
        places: Places,
    ) -> Result<Self, String> {
        let core = places.cores.map(|cores| cores.rest);
        let postgres = match &places.postgres {
            Some(programs) => Some(Postgres::start(programs, core).await?),
            None => None,
        };
        let passes = Passes::new(PASS_LIFE)?;
        // It may take every core, as nothing is measured yet.
        let mut server = OpenBao::create(&places.bao, None).await?;
        fill::world(&server, scenario, cluster, &passes, postgres.as_ref()).await?;
        let pods = 0..u32::try_from(cluster.pods.len()).unwrap_or(u32::MAX);
        let shown = match scenario.world.credential {
            Credential::Token => fill::tokens(&server, scenario, cluster).await?,
            Credential::Login | Credential::ServiceAccount => {
                pods.map(|pod| passes.token(cluster, pod)).collect::<Result<_, _>>()?
            }
        };
        server.settle();
        let keys = server.keys().clone();
        let files = directory()?;
        copy(&server.data(), &files.path().join("data"))?;
        let (scenario, cluster) = (scenario.clone(), Rc::clone(cluster));
        Ok(Self { scenario, cluster, places, passes, shown, keys, files, postgres })
    }

    pub(super) fn scenario(&self) -> &Scenario {
        &self.scenario
    }

    pub(super) fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    pub(super) fn places(&self) -> &Places {
        &self.places
    }

    pub(super) fn passes(&self) -> &Passes {
        &self.passes
    }

    /// What a pod shows.
    pub(super) fn pass(&self, pod: u32) -> &Zeroizing<String> {
        &self.shown[pod as usize]
    }

    pub(super) fn keys(&self) -> &Keys {
        &self.keys
    }

    pub(super) fn postgres(&self) -> Option<&Postgres> {
        self.postgres.as_ref()
    }

    pub(super) fn core_of_servers(&self) -> Option<usize> {
        self.places.cores.map(|cores| cores.servers)
    }

    /// The server's files, into `home`.
    pub(super) fn copy_files(&self, home: &Path) -> Result<(), String> {
        copy(&self.files.path().join("data"), &home.join("data"))
    }

    /// Has this program leave the servers' core to them.
    pub(crate) fn keep_off(&self) {
        if let Some(cores) = self.places.cores {
            super::process::stay_on(cores.rest);
        }
    }
}

/// A new directory that goes with its owner: in memory, where there is enough of that.
pub fn directory() -> Result<TempDir, String> {
    let (memory, least) = MEMORY;
    let room = rustix::fs::statvfs(memory).map_or(0, |it| it.f_bavail.saturating_mul(it.f_frsize));
    let made = if room >= least { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    made.map_err(|e| format!("no temporary directory can be made: {e}; name another in TMPDIR"))
}

fn copy(from: &Path, to: &PathBuf) -> Result<(), String> {
    let problem =
        |why: &dyn std::fmt::Display| format!("{} cannot be copied: {why}", from.display());
    let mut copy = Command::new("cp");
    // Ctrl-C in a terminal is for this program.
    let done =
        copy.arg("-R").arg(from).arg(to).process_group(0).output().map_err(|e| problem(&e))?;
    if done.status.success() {
        return Ok(());
    }
    Err(problem(&String::from_utf8_lossy(&done.stderr).trim()))
}
