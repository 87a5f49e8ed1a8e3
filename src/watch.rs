//! Files that are read again when they change: certificates, keys, authorities.
//!
//! By comparing contents now and then, not by inotify: Kubernetes replaces a mounted file by
//! swapping a symlink far above it, which a watch on the file does not survive.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash as _, Hasher as _};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tracing::{info, warn};
use zeroize::Zeroizing;

use crate::error::BoxError;
use crate::metrics::Metrics;

/// Between two looks.
const PERIOD: Duration = Duration::from_secs(2);

/// Something that is made from files.
pub struct Watched {
    /// What it is, for the log.
    pub name: &'static str,
    /// The files.
    pub files: Vec<PathBuf>,
    /// Makes it anew; on an error, what was made before goes on.
    pub reload: Box<dyn Fn() -> Result<(), BoxError> + Send + Sync>,
}

/// The files of a running process.
pub struct Watch {
    watched: Vec<Watched>,
    metrics: Arc<Metrics>,
}

impl Watch {
    /// Over `watched`.
    pub fn new(watched: Vec<Watched>, metrics: Arc<Metrics>) -> Self {
        Self { watched, metrics }
    }

    /// Looks again and again, until the future is dropped.
    pub async fn run(&self) {
        let mut seen: Vec<u64> = self.watched.iter().map(Watched::digest).collect();
        loop {
            tokio::time::sleep(PERIOD).await;
            for (watched, seen) in self.watched.iter().zip(&mut seen) {
                let now = watched.digest();
                if now != *seen {
                    *seen = now;
                    self.reload(watched);
                }
            }
        }
    }

    /// Reads all of them again now.
    pub fn reload_all(&self) {
        self.watched.iter().for_each(|watched| self.reload(watched));
    }

    fn reload(&self, watched: &Watched) {
        let reloaded = (watched.reload)();
        self.metrics.reloaded(reloaded.is_ok());
        match reloaded {
            Ok(()) => info!(what = watched.name, "reloaded"),
            Err(error) => {
                warn!(what = watched.name, %error, "cannot be used; what was loaded before goes on");
            }
        }
    }
}

impl Watched {
    /// Of the files' contents, unreadable ones included.
    fn digest(&self) -> u64 {
        let mut digest = DefaultHasher::new();
        for file in &self.files {
            let bytes = std::fs::read(file).map(Zeroizing::new).ok();
            bytes.as_deref().hash(&mut digest);
        }
        digest.finish()
    }
}
