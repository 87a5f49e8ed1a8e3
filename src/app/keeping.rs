//! The sealed store of this process: opened before anything is answered, written while it runs.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::parts::Parts;
use crate::clock::Clock;
use crate::config::{Config, LeaseStore};
use crate::error::BoxError;
use crate::handover::{self, Handover};
use crate::metrics::Metrics;
use crate::sealed::content::Content;
use crate::sealed::{Directory, Problem, Sealed, Writer};
use crate::store_key::{self, Failure};
use crate::upstream::Upstream;

/// What is configured, and what has come of it.
pub(super) enum Store {
    /// Nothing outlives the process.
    None,
    /// It is open, and this was in it.
    Open(Arc<Sealed>, Option<Box<Content>>),
    /// The upstream could not be asked for its key: what is in it is given up, and it is written
    /// once there is a key.
    Later(LeaseStore, Directory),
}

/// How long a start waits for an upstream that has the key, and the pause between attempts.
const PATIENCE: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_secs(5);

/// How long a start waits for the process before, which has been told to end, and the pause between
/// looks.
const SUCCESSION: Duration = Duration::from_secs(10);
const LOOK: Duration = Duration::from_millis(100);

impl Store {
    /// Opens it.
    ///
    /// # Errors
    /// The directory or the key file cannot be used.
    pub(super) async fn open(config: &Config) -> Result<Self, BoxError> {
        let Some(store) = &config.cache.leases.store else { return Ok(Self::None) };
        let directory = unlocked(&store.dir).await?;
        // Nothing else is there yet; this one asks for the key and is gone.
        let upstream =
            Upstream::new(&config.upstream, None, Clock::default(), Arc::new(Metrics::new()?))?;
        let obtain = store_key::obtain(store, &directory, &upstream, &config.upstream.namespace);
        let key = match tokio::time::timeout(PATIENCE, obtain).await {
            // A token that has expired, say: no reason not to serve anybody.
            Ok(Err(error @ (Failure::Lost(_) | Failure::Refused { .. }))) => {
                warn!(%error, "no key for the sealed store yet: starting cold");
                return Ok(Self::Later(store.clone(), directory));
            }
            Err(_) => {
                warn!("no key for the sealed store in time: starting cold");
                return Ok(Self::Later(store.clone(), directory));
            }
            Ok(key) => key?,
        };
        let sealed = Arc::new(Sealed::new(directory, key));
        let content = handover::load(&sealed).map(Box::new);
        Ok(Self::Open(sealed, content))
    }

    /// What was in it.
    pub(super) fn content(&self) -> Option<&Content> {
        match self {
            Self::Open(_, Some(content)) => Some(content),
            Self::Open(_, None) | Self::None | Self::Later(..) => None,
        }
    }

    /// Takes in what was in it, and begins to write. Says whether there was anything.
    pub(super) async fn begin(
        mut self,
        parts: &Parts,
        handover: &Arc<Handover>,
        config: &Config,
        stop: &CancellationToken,
    ) -> bool {
        let restored = match &mut self {
            Self::Open(_, content) => match content.take() {
                Some(content) => handover.take_over(*content).await,
                None => false,
            },
            Self::None | Self::Later(..) => false,
        };
        self.go_on(parts, handover, config, stop);
        restored
    }

    /// Begins to write, whatever was in it.
    pub(super) fn go_on(
        self,
        parts: &Parts,
        handover: &Arc<Handover>,
        config: &Config,
        stop: &CancellationToken,
    ) {
        match self {
            Self::None => (),
            Self::Open(sealed, _) => write(sealed, handover),
            Self::Later(store, directory) => {
                let (upstream, stop) = (Arc::clone(&parts.upstream), stop.clone());
                let (namespace, handover) =
                    (config.upstream.namespace.clone(), Arc::clone(handover));
                tokio::spawn(stop.run_until_cancelled_owned(async move {
                    loop {
                        sleep(PAUSE).await;
                        let key = store_key::obtain(&store, &directory, &upstream, &namespace);
                        if let Ok(key) = key.await {
                            info!("the sealed store has its key now");
                            return write(Arc::new(Sealed::new(directory, key)), &handover);
                        }
                    }
                }));
            }
        }
    }
}

/// The directory, once no other process has it.
async fn unlocked(dir: &Path) -> Result<Directory, Problem> {
    let began = Instant::now();
    let mut told = false;
    loop {
        match Directory::open(dir) {
            Err(Problem::Locked { .. }) if began.elapsed() < SUCCESSION => {
                if !told {
                    info!(dir = %dir.display(), "another process has the store: waiting for its end");
                }
                told = true;
                sleep(LOOK).await;
            }
            opened => return opened,
        }
    }
}

/// Writes from now on.
fn write(sealed: Arc<Sealed>, handover: &Arc<Handover>) {
    let (kept, metrics) = (Arc::clone(handover), Arc::clone(&handover.metrics));
    let collect = move || kept.collect();
    let wrote = move |bytes: Option<u64>| {
        metrics.store_written(bytes.is_some());
        if let Some(bytes) = bytes {
            metrics.store_size(bytes);
        }
    };
    let writer = Arc::new(Writer::start(sealed, collect, wrote));
    writer.soon();
    handover.kept_by(&writer);
}
