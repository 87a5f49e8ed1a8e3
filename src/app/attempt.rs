//! Does everything answer that the configuration names? `vaultlet check --connect` tries each once.

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Runtime;

use super::parts::{Parts, Surroundings};
use crate::config::Config;
use crate::error::BoxError;
use crate::upstream::Upstream;

/// Tries the upstream, the clusters whose service accounts are believed, and vaultlet's own token;
/// `Ok` is a line each for people.
///
/// # Errors
/// Some of it does not answer as it should; the same lines, and what is wrong.
pub fn attempt(config: &Config) -> Result<String, String> {
    let runtime = Runtime::new().map_err(|error| format!("cannot start the runtime: {error}"))?;
    let tried = runtime.block_on(async {
        let mut config = config.clone();
        // What is tried is asked, and nothing is written.
        config.audit = None;
        let parts = Parts::new(&config, None, Surroundings::default())?;
        let mut tried = vec![upstream(&parts.upstream, config.upstream.connect_timeout).await];
        tried.extend(parts.issuers.attempt().await);
        if let (Ok(_), Some(policies)) = (&tried[0], &parts.policies) {
            tried.extend(policies.attempt().await);
        }
        Ok::<_, BoxError>(tried)
    });
    let tried = tried.map_err(|error| error.to_string())?;
    let well = tried.iter().all(Result::is_ok);
    let lines: Vec<_> = tried.into_iter().map(|line| line.unwrap_or_else(|line| line)).collect();
    let lines = lines.join("\n");
    if well { Ok(lines) } else { Err(lines) }
}

async fn upstream(upstream: &Arc<Upstream>, connect: Duration) -> Result<String, String> {
    let patience = connect + Duration::from_secs(3);
    // Each address is looked at once well within that.
    let looked = tokio::time::timeout(patience, async {
        tokio::select! {
            () = upstream.watch_health() => (),
            () = upstream.answers() => (),
        }
    });
    drop(looked.await);
    let nodes = upstream.nodes();
    let described: Vec<_> =
        nodes.iter().map(|(address, state)| format!("{address} is {state}")).collect();
    let described = format!("upstream: {}", described.join(", "));
    let well = |state: &str| matches!(state, "active" | "standby");
    if nodes.iter().any(|(_, state)| well(state)) { Ok(described) } else { Err(described) }
}
