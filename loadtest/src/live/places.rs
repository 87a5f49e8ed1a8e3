//! Where are the programs that are started, and on which cores do they run?

use std::path::{Path, PathBuf};

use super::Kind;
use crate::scenario::Scenario;

/// What `make tools` and `make nginx` install, from the root of a clone.
const INSTALLED: &str = ".tools/bin";

/// What is started.
#[derive(Clone, Debug)]
pub(crate) struct Places {
    pub(super) bao: PathBuf,
    /// The directory of PostgreSQL's programs, where the world has leased credentials.
    pub(super) postgres: Option<PathBuf>,
    pub(super) vaultlet: Option<PathBuf>,
    pub(super) nginx: Option<PathBuf>,
    pub(super) bare: Option<PathBuf>,
    /// `None`: wherever the system likes.
    pub(super) cores: Option<Cores>,
}

/// Numbers of processor cores.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Cores {
    /// Of the servers that are measured.
    pub(super) servers: usize,
    /// Of everything else: what sends, and the upstream behind a proxy.
    pub(super) rest: usize,
}

impl Places {
    /// Finds what the targets take.
    ///
    /// # Errors
    /// Something is not there; the message says what to set.
    pub(crate) fn find(kinds: &[Kind], scenario: &Scenario) -> Result<Self, String> {
        let wants = |program| {
            // A bare server gives the answer that vaultlet gave.
            kinds.iter().any(|kind| {
                kind.program() == Some(program) || program == "vaultlet" && *kind == Kind::Bare
            })
        };
        let leased = !scenario.world.roles.is_empty();
        let wanted = |program, variable, how| {
            wants(program).then(|| beside(program, variable, how)).transpose()
        };
        let build = "build it with `cargo build --workspace`";
        Ok(Self {
            bao: on_path("bao", "BAO_BIN", "`make tools` installs it in a clone of vaultlet")?,
            postgres: leased.then(postgres).transpose()?,
            vaultlet: wanted("vaultlet", "VAULTLET_BIN", build)?,
            nginx: wants("nginx")
                .then(|| {
                    let make = "`make nginx` installs it in a clone of vaultlet, on Linux";
                    on_path("nginx", "NGINX_BIN", make)
                })
                .transpose()?,
            bare: wanted("bare", "BARE_BIN", build)?,
            cores: Cores::two(),
        })
    }

    /// The same, wherever the system likes to run them.
    pub(crate) fn unpinned(self) -> Self {
        Self { cores: None, ..self }
    }
}

impl Cores {
    /// The first and the last that this process may use; `None` where there is but one, or where
    /// processes cannot be told where to run.
    fn two() -> Option<Self> {
        let usable = usable();
        let (servers, rest) = (*usable.first()?, *usable.last()?);
        (servers != rest).then_some(Self { servers, rest })
    }
}

#[cfg(target_os = "linux")]
fn usable() -> Vec<usize> {
    let set = rustix::thread::sched_getaffinity(None);
    set.map_or_else(
        |_| vec![],
        |set| (0..rustix::thread::CpuSet::MAX_CPU).filter(|core| set.is_set(*core)).collect(),
    )
}

#[cfg(not(target_os = "linux"))]
fn usable() -> Vec<usize> {
    vec![]
}

/// What `variable` names; otherwise what lies where it is installed, or on the path.
pub fn on_path(program: &str, variable: &str, how: &str) -> Result<PathBuf, String> {
    if let Some(named) = named(variable, Path::is_file)? {
        return Ok(named);
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut candidates = std::iter::once(PathBuf::from(INSTALLED))
        .chain(std::env::split_paths(&path))
        .map(|directory| directory.join(program));
    candidates
        .find(|candidate| candidate.is_file())
        .and_then(|found| found.canonicalize().ok())
        .ok_or_else(|| {
            format!(
                "there is no {program} to start: {variable} is not set, and there is none in \
                 {INSTALLED} nor on PATH. {how}; or name yours with {variable}=/path/to/{program}"
            )
        })
}

/// What `variable` names; otherwise what lies beside this program.
pub fn beside(program: &str, variable: &str, how: &str) -> Result<PathBuf, String> {
    if let Some(named) = named(variable, Path::is_file)? {
        return Ok(named);
    }
    let own = std::env::current_exe().map_err(|e| format!("cannot find this program: {e}"))?;
    let found = own.with_file_name(program);
    if found.is_file() {
        return Ok(found);
    }
    Err(format!(
        "there is no {program} to start: {variable} is not set, and there is none beside this \
         program. {how}; or name yours with {variable}=/path/to/{program}"
    ))
}

fn postgres() -> Result<PathBuf, String> {
    let whole = |directory: &Path| {
        ["initdb", "postgres", "psql"].iter().all(|program| directory.join(program).is_file())
    };
    if let Some(named) = named("POSTGRES_BIN", whole)? {
        return Ok(named);
    }
    let installed = Path::new(".tools/postgres/bin");
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut candidates = std::iter::once(installed.to_owned()).chain(std::env::split_paths(&path));
    let found = candidates.find(|directory| whole(directory));
    found.and_then(|found| found.canonicalize().ok()).ok_or_else(|| {
        "the scenario has roles, whose credentials are users of a PostgreSQL, and there is none to \
         start: POSTGRES_BIN is not set, and initdb, postgres and psql are neither in \
         .tools/postgres/bin nor on PATH. `make tools` installs it in a clone of vaultlet; or name \
         the directory of yours with POSTGRES_BIN=/path/to/bin"
            .to_owned()
    })
}

/// What an environment variable names, if it is set.
fn named(variable: &str, fits: impl Fn(&Path) -> bool) -> Result<Option<PathBuf>, String> {
    let Some(value) = std::env::var_os(variable).filter(|value| !value.is_empty()) else {
        return Ok(None);
    };
    let path = PathBuf::from(value);
    if fits(&path) {
        // Servers run in directories of their own.
        return path.canonicalize().map(Some).map_err(|e| format!("{variable}: {e}"));
    }
    Err(format!(
        "{variable} is {}, where there is no such program: name another, or unset it",
        path.display()
    ))
}
