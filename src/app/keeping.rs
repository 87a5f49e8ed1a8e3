//! The sealed store of this process: opened before anything is answered, written while it runs.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::parts::Parts;
use crate::clock::Clock;
use crate::config::{Config, LeaseStore};
use crate::error::BoxError;
use crate::handover::{self, Handover};
use crate::metrics::Metrics;
use crate::sealed::content::Content;
use crate::sealed::{Directory, Sealed, Writer};
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

impl Store {
    /// Opens it.
    ///
    /// # Errors
    /// The directory or the key file cannot be used.
    pub(super) async fn open(config: &Config) -> Result<Self, BoxError> {
        let Some(store) = &config.cache.leases.store else { return Ok(Self::None) };
        let directory = Directory::open(&store.dir)?;
        // Nothing else is there yet; this one asks for the key and is gone.
        let upstream =
            Upstream::new(&config.upstream, Clock::default(), Arc::new(Metrics::new()?))?;
        let obtain = store_key::obtain(store, &directory, &upstream, &config.upstream.namespace);
        let key = match tokio::time::timeout(PATIENCE, obtain).await {
            Ok(Err(Failure::Lost(error))) => {
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

    /// Takes in what was in it, and begins to write.
    pub(super) async fn begin(self, parts: &Parts, config: &Config, stop: &CancellationToken) {
        let Some(store) = &config.cache.leases.store else { return };
        let handover = Arc::new(parts.handover(&config.auth.kubernetes, store.kv));
        match self {
            Self::None => (),
            Self::Open(sealed, content) => {
                if let Some(content) = content {
                    handover.take_over(*content).await;
                }
                write(sealed, handover);
            }
            Self::Later(store, directory) => {
                let (upstream, stop) = (Arc::clone(&parts.upstream), stop.clone());
                let namespace = config.upstream.namespace.clone();
                tokio::spawn(stop.run_until_cancelled_owned(async move {
                    loop {
                        tokio::time::sleep(PAUSE).await;
                        let key = store_key::obtain(&store, &directory, &upstream, &namespace);
                        if let Ok(key) = key.await {
                            info!("the sealed store has its key now");
                            return write(Arc::new(Sealed::new(directory, key)), handover);
                        }
                    }
                }));
            }
        }
    }
}

/// Writes from now on.
fn write(sealed: Arc<Sealed>, handover: Arc<Handover>) {
    let (leases, metrics) = (Arc::clone(&handover.leases), Arc::clone(&handover.metrics));
    let collect = move || handover.collect();
    let wrote = move |bytes: Option<u64>| {
        metrics.store_written(bytes.is_some());
        if let Some(bytes) = bytes {
            metrics.store_size(bytes);
        }
    };
    let writer = Arc::new(Writer::start(sealed, collect, wrote));
    writer.soon();
    leases.kept_by(writer);
}
