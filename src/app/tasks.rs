//! The tasks that live as long as the process.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::parts::Parts;
use crate::admin::Readiness;
use crate::clock::Clock;
use crate::metrics::Metrics;
use crate::watch::Watch;

/// Starts them; `stop` ends them.
pub(super) fn start(
    parts: &Parts,
    watch: Arc<Watch>,
    ready: Arc<Readiness>,
    stop: &CancellationToken,
) {
    let spawn = |task: Pin<Box<dyn Future<Output = ()> + Send>>| {
        let stop = stop.clone();
        tokio::spawn(async move { stop.run_until_cancelled(task).await });
    };
    // Listens before anybody can say which cluster it is.
    let other_clusters = forget_other_clusters(parts);
    let health = Arc::clone(&parts.upstream);
    spawn(Box::pin(async move { health.watch_health().await }));
    let upstream = Arc::clone(&parts.upstream);
    spawn(Box::pin(async move {
        upstream.answers().await;
        ready.ready();
    }));
    spawn(Box::pin(other_clusters));
    spawn(Box::pin(housekeeping(parts)));
    for task in parts.issuers.look_after() {
        spawn(Box::pin(task));
    }
    if let Some(policies) = parts.policies.clone() {
        spawn(Box::pin(policies.look_after()));
    }
    spawn(Box::pin(async move { watch.run().await }));
}

/// Keeps logins and leases alive until `stop`: of two processes, one does.
pub(super) fn keep(parts: &Parts, stop: &CancellationToken) {
    let (logins, leases) = (Arc::clone(&parts.exchange), Arc::clone(&parts.leases));
    tokio::spawn(stop.clone().run_until_cancelled_owned(logins.look_after()));
    tokio::spawn(stop.clone().run_until_cancelled_owned(leases.look_after()));
}

/// Nothing is served from one cluster that was fetched from another.
fn forget_other_clusters(parts: &Parts) -> impl Future<Output = ()> + Send + use<> {
    let mut cluster = parts.upstream.cluster();
    let store = Arc::clone(&parts.store);
    let (mounts, logins) = (Arc::clone(&parts.mounts), Arc::clone(&parts.logins));
    let (leases, exchange) = (Arc::clone(&parts.leases), Arc::clone(&parts.exchange));
    // The first id is news of nothing: what was read before it came from that cluster.
    let mut first = cluster.borrow_and_update().is_none();
    async move {
        while cluster.changed().await.is_ok() {
            if !std::mem::take(&mut first) {
                store.forget_all();
                mounts.forget_all();
                leases.forget_all();
                exchange.forget_all();
            }
            logins.doubt_all();
        }
    }
}

/// Each second, what is over is let go: none of the tables does so by itself, and what they hold
/// are secrets.
fn housekeeping(parts: &Parts) -> impl Future<Output = ()> + Send + use<> {
    let (store, logins) = (Arc::clone(&parts.store), Arc::clone(&parts.logins));
    let (tenants, issuers) = (Arc::clone(&parts.tenants), Arc::clone(&parts.issuers));
    let (callers, policies) = (Arc::clone(&parts.callers), parts.policies.clone());
    let (leases, metrics) = (Arc::clone(&parts.leases), Arc::clone(&parts.metrics));
    let mut trusted = true;
    async move {
        loop {
            tokio::time::sleep(Duration::from_secs(1)).await;
            store.tidy();
            logins.tidy();
            tenants.tidy();
            issuers.tidy();
            callers.tidy();
            leases.tidy();
            if let Some(policies) = &policies {
                policies.tidy();
            }
            trusted = look_at_the_clock(&metrics, trusted);
        }
    }
}

/// Whether the wall clock is right, as far as that can be told; says so where it was not or is not
/// any more. What runs out is held against the time since the process began meanwhile.
fn look_at_the_clock(metrics: &Metrics, trusted: bool) -> bool {
    const TOLERABLE: Duration = Duration::from_mins(1);
    let behind = Clock::set_back();
    metrics.clock_set_back(behind);
    match (trusted, behind > TOLERABLE) {
        (true, true) => warn!(
            ?behind,
            "the wall clock was set back: tokens and secrets run out as if it had not been; \
             restart vaultlet if the clock was wrong before"
        ),
        (false, false) => info!("the wall clock is right again"),
        _ => (),
    }
    behind <= TOLERABLE
}
