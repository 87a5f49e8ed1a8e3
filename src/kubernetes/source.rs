//! Where do a cluster's keys come from, and when are they fetched again?
//!
//! Every [`PERIOD`], and when a token names a key that is not there: at most once in [`SPACING`]
//! for all reasons together, by a task of its own, with no lock held. Who needs the new key waits
//! for that one fetch; who does not notices nothing. A set that is empty or broken never replaces
//! a good one.
//!
//! A key that the cluster no longer publishes verifies no token from the next fetch on. Tokens that
//! it has verified before are remembered by their own digests, and go on until they expire or the
//! API server says no.

use std::io::Read as _;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use hyper::Uri;
use serde::Deserialize;
use tracing::{info, warn};
use zeroize::Zeroizing;

use super::keys::KeySet;
use super::web::Web;
use crate::clock::{Clock, Time};
use crate::config::{self, Keys};
use crate::error::{BoxError, SharedError};
use crate::flight::{Flights, Seat};
use crate::metrics::Metrics;
use crate::watch::Watched;

/// Between two fetches that nobody asked for.
const PERIOD: Duration = Duration::from_mins(5);

/// Between two fetches for any reason.
const SPACING: Duration = Duration::from_secs(10);

/// How long a caller waits for a fetch.
const PATIENCE: Duration = Duration::from_secs(5);

/// A set of four keys is two kilobytes.
const LIMIT: usize = 1024 * 1024;

/// One cluster's keys, now.
#[derive(Debug)]
pub(super) struct Source {
    issuer: String,
    place: Place,
    current: ArcSwapOption<KeySet>,
    last: Mutex<Last>,
    fetches: Flights<(), (), ()>,
    clock: Clock,
    metrics: Arc<Metrics>,
}

#[derive(Debug)]
enum Place {
    File(std::path::PathBuf),
    Url(Uri, Arc<Web>),
    /// The address of `openid-configuration`.
    Discovery(Uri, Arc<Web>),
}

/// The last fetch.
#[derive(Debug, Default)]
struct Last {
    began: Option<Time>,
    succeeded: Option<Time>,
    /// Why it failed, if it did.
    trouble: Option<SharedError>,
}

/// Why there is no key for a token.
#[derive(Debug)]
pub(super) enum Missing {
    /// The cluster has no such key.
    Unknown,
    /// The cluster's keys could not be had.
    Unavailable(SharedError),
}

/// `OpenID` Connect Discovery 1.0, 3.
#[derive(Deserialize)]
struct Configuration {
    issuer: String,
    jwks_uri: String,
}

impl Source {
    pub(super) fn new(
        config: &config::Kubernetes,
        clock: Clock,
        metrics: Arc<Metrics>,
    ) -> Result<Self, BoxError> {
        let web = || Web::new(config.ca_file.clone(), config.token_file.clone()).map(Arc::new);
        let place = match &config.keys {
            Keys::File(file) => Place::File(file.clone()),
            Keys::Url(uri) => Place::Url(uri.clone(), web()?),
            Keys::Discovery => {
                let base = config.issuer.trim_end_matches('/');
                let uri = format!("{base}/.well-known/openid-configuration").parse()?;
                Place::Discovery(uri, web()?)
            }
        };
        let source = Self {
            issuer: config.issuer.clone(),
            place,
            current: ArcSwapOption::empty(),
            last: Mutex::default(),
            fetches: Flights::default(),
            clock,
            metrics,
        };
        if let Place::File(file) = &source.place {
            // If it is not there yet, the log says so, and it is tried again.
            source.take(read(file).and_then(|json| KeySet::parse(&json)), source.clock.now());
        }
        Ok(source)
    }

    /// A set that holds the key `id`, fetched for it if it is time.
    pub(super) async fn holding(self: &Arc<Self>, id: &str) -> Result<Arc<KeySet>, Missing> {
        if let Some(set) = self.current_with(id) {
            return Ok(set);
        }
        // What it came to is seen below; one that takes longer is trouble as well.
        let fetched = tokio::time::timeout(PATIENCE, self.refresh()).await;
        if let Some(set) = self.current_with(id) {
            return Ok(set);
        }
        let trouble = self.last().trouble.clone();
        match trouble {
            Some(trouble) => Err(Missing::Unavailable(trouble)),
            None if fetched.is_err() || self.current.load().is_none() => {
                let late = BoxError::from("the cluster's keys are still on their way");
                Err(Missing::Unavailable(late.into()))
            }
            None => Err(Missing::Unknown),
        }
    }

    /// Fetches again and again, until the future is dropped.
    pub(super) async fn look_after(self: Arc<Self>) {
        loop {
            self.refresh().await;
            let well = self.last().trouble.is_none();
            let pause = if well { PERIOD.mul_f64(0.9 + 0.2 * fastrand::f64()) } else { SPACING };
            tokio::time::sleep(pause).await;
        }
    }

    /// How many keys there are after trying to fetch them.
    pub(super) async fn attempt(self: &Arc<Self>) -> Result<usize, SharedError> {
        self.refresh().await;
        let trouble = self.last().trouble.clone();
        match (trouble, self.current.load_full()) {
            (None, Some(set)) => Ok(set.count()),
            (Some(trouble), _) => Err(trouble),
            (None, None) => Err(BoxError::from("the fetch was lost").into()),
        }
    }

    /// Shows how old the keys are.
    pub(super) fn tidy(&self) {
        if let Some(succeeded) = self.last().succeeded {
            self.metrics.keys_age(&self.issuer, self.clock.now().since(succeeded));
        }
    }

    /// The files whose change is to be noticed.
    pub(super) fn watched(self: &Arc<Self>) -> Option<Watched> {
        match &self.place {
            Place::Url(_, web) | Place::Discovery(_, web) => web.watched(),
            Place::File(file) => {
                let (source, files) = (Arc::clone(self), vec![file.clone()]);
                let reload = Box::new(move || {
                    let Place::File(file) = &source.place else { return Ok(()) };
                    let set = read(file).and_then(|json| KeySet::parse(&json));
                    source.take(set, source.clock.now());
                    let trouble = source.last().trouble.clone();
                    trouble.map_or(Ok(()), |trouble| Err(trouble.to_string().into()))
                });
                Some(Watched { name: "the cluster's keys", files, reload })
            }
        }
    }

    fn current_with(&self, id: &str) -> Option<Arc<KeySet>> {
        self.current.load_full().filter(|set| set.has(id))
    }

    /// Waits for the fetch under way, or for a new one if it is time for one.
    async fn refresh(self: &Arc<Self>) {
        match self.fetches.board(&(), (), |()| true) {
            Seat::Passenger(passenger) => drop(passenger.wait().await),
            Seat::Pilot(pilot) => {
                let Some(began) = self.claim() else { return };
                let source = Arc::clone(self);
                let task = tokio::spawn(async move {
                    let fetched = source.fetch().await;
                    source.take(fetched, began);
                    pilot.land(());
                });
                // A task that is lost has changed nothing.
                drop(task.await);
            }
        }
    }

    /// Whether a fetch may begin now: since when.
    fn claim(&self) -> Option<Time> {
        let (now, mut last) = (self.clock.now(), self.last());
        if last.began.is_some_and(|began| now.since(began) < SPACING) {
            return None;
        }
        last.began = Some(now);
        Some(now)
    }

    async fn fetch(&self) -> Result<KeySet, BoxError> {
        let json = match &self.place {
            Place::File(file) => {
                let file = file.clone();
                tokio::task::spawn_blocking(move || read(&file)).await??
            }
            Place::Url(uri, web) => web.get(uri, true, LIMIT).await?,
            Place::Discovery(uri, web) => {
                let document = web.get(uri, true, LIMIT).await?;
                let found: Configuration = serde_json::from_slice(&document)
                    .map_err(|error| format!("{uri} is no OpenID configuration: {error}"))?;
                let keys = self.named_by(&found, uri)?;
                // The API server names its own address there, and wants the credential.
                let same = (keys.scheme(), keys.authority()) == (uri.scheme(), uri.authority());
                web.get(&keys, same || web.vouched_for(&keys), LIMIT).await?
            }
        };
        KeySet::parse(&json)
    }

    /// Where the keys are, as the issuer's document says.
    fn named_by(&self, found: &Configuration, document: &Uri) -> Result<Uri, BoxError> {
        if found.issuer != self.issuer {
            return Err(format!(
                "{document} is about the issuer {:?}; `issuer` must be the same to the letter",
                found.issuer
            )
            .into());
        }
        let keys: Uri = found.jwks_uri.parse()?;
        match (keys.scheme_str(), document.scheme_str()) {
            (Some("https"), _) | (Some("http"), Some("http")) => Ok(keys),
            _ => Err(format!("{document} names keys that are not at an https address").into()),
        }
    }

    /// Takes in what a fetch has brought, and logs when that changes.
    fn take(&self, fetched: Result<KeySet, BoxError>, began: Time) {
        self.metrics.keys_refreshed(fetched.is_ok());
        let mut last = self.last();
        last.began = Some(began);
        match fetched {
            Ok(set) => {
                if last.succeeded.is_none() || last.trouble.take().is_some() {
                    info!(issuer = self.issuer, keys = set.count(), "the cluster's keys are here");
                }
                last.succeeded = Some(began);
                self.current.store(Some(Arc::new(set)));
            }
            Err(error) => {
                if last.trouble.is_none() {
                    warn!(
                        issuer = self.issuer,
                        error = crate::error::chain(error.as_ref()),
                        "the cluster's keys cannot be had; tokens of keys known before and all \
                         other identities go on; see auth.kubernetes.jwks, and whether its address \
                         or file, ca_file and token_file are right"
                    );
                }
                last.trouble = Some(error.into());
            }
        }
    }

    /// Never held across an `await`.
    fn last(&self) -> MutexGuard<'_, Last> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A file of keys, up to the limit.
fn read(file: &Path) -> Result<Zeroizing<Vec<u8>>, BoxError> {
    let at = |error| format!("{}: {error}", file.display());
    let mut json = Zeroizing::new(Vec::new());
    let opened = std::fs::File::open(file).map_err(at)?;
    opened.take(LIMIT as u64 + 1).read_to_end(&mut json).map_err(at)?;
    if json.len() > LIMIT {
        return Err(format!("{} is longer than {LIMIT} bytes", file.display()).into());
    }
    Ok(json)
}
