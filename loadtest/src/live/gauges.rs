//! What can be read off servers while they run?
//!
//! How much reached the upstream is read from the upstream's own telemetry (`sys/metrics`), never
//! from what a proxy says of itself. It counts requests by mount and operation, so some kinds are
//! differences: a write below `sys/` that renews no lease is taken for a question about
//! capabilities, though it may have revoked a lease. What ends by itself is counted like what is
//! revoked, so its own counts of that are of no use here.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::timeout;

use super::api::Ask;
use super::fill;
use super::ground::Ground;
use super::openbao::OpenBao;
use crate::stage::Gauges;

const METRICS: &str = "sys/metrics?format=prometheus";

/// How long the upstream may take to say so. One that is overloaded does not: then what it said last
/// will do, and no phase takes longer because somebody looks.
const PATIENCE: Duration = Duration::from_secs(2);

/// Requests by kind.
type Kinds = BTreeMap<&'static str, u64>;

/// An upstream that is watched.
pub(super) struct Upstream {
    /// Held while it stops or starts.
    server: Mutex<OpenBao>,
    seen: Mutex<Seen>,
}

/// What it counted.
#[derive(Debug, Default)]
struct Seen {
    /// In its lives before this one.
    before: Kinds,
    /// In this life, when it was last asked.
    now: Kinds,
    leases: Option<u64>,
}

impl Upstream {
    pub(super) fn new(server: OpenBao) -> Self {
        Self { server: Mutex::new(server), seen: Mutex::default() }
    }

    /// Ends it, as a crash does.
    pub(super) async fn stop(&self) -> Result<(), String> {
        let mut server = self.server.lock().await;
        let counted = timeout(PATIENCE, counted(&server)).await.ok().flatten();
        server.kill();
        let mut seen = self.seen.lock().await;
        let last = counted.unwrap_or_else(|| std::mem::take(&mut seen.now));
        for (kind, count) in last {
            *seen.before.entry(kind).or_default() += count;
        }
        seen.now = Kinds::new();
        Ok(())
    }

    pub(super) async fn start_again(&self) -> Result<(), String> {
        self.server.lock().await.start_again().await
    }

    pub(super) async fn asks(&self, asks: impl Iterator<Item = Ask>) -> Result<(), String> {
        fill::asks(&*self.server.lock().await, asks).await
    }

    /// How it has ended by itself; `None` while it runs, or where it was stopped.
    pub(super) async fn ended(&self) -> Option<String> {
        self.server.lock().await.ended().map(|how| format!("OpenBao {how}"))
    }

    /// CPU time and resident bytes of the process.
    pub(super) fn itself(&self) -> (Option<Duration>, Option<u64>) {
        let Ok(server) = self.server.try_lock() else { return (None, None) };
        (server.cpu(), server.id().map_or(Some(0), resident))
    }

    /// Reads what concerns it.
    pub(super) async fn read(&self, ground: &Ground, gauges: &mut Gauges) {
        let mut seen = self.seen.lock().await;
        // Where it is just stopping or starting, what was last seen will do.
        if let Ok(server) = self.server.try_lock() {
            gauges.upstream_cpu = server.cpu();
            if server.id().is_some() {
                if let Ok(Some(counted)) = timeout(PATIENCE, counted(&server)).await {
                    seen.now = counted;
                }
                if let Ok(Some(leases)) = timeout(PATIENCE, leases(&server, ground)).await {
                    seen.leases = Some(leases);
                }
            }
        }
        if let Some(postgres) = ground.postgres() {
            gauges.upstream_cpu = gauges.upstream_cpu.and_then(|cpu| Some(cpu + postgres.cpu()?));
        }
        gauges.leases = seen.leases;
        gauges.upstream.clone_from(&seen.before);
        for (kind, count) in &seen.now {
            *gauges.upstream.entry(kind).or_default() += count;
        }
    }
}

/// What a server has counted in its life, without what this program has asked.
async fn counted(server: &OpenBao) -> Option<Kinds> {
    let (status, body) = server.api().answer(&Ask::read(METRICS)).await.ok()?;
    let text = status.is_success().then(|| String::from_utf8_lossy(&body))?;
    let asked = &server.asked;
    Some(kinds(&text, asked.all.load(Ordering::Relaxed), asked.written.load(Ordering::Relaxed)))
}

/// Leases of all roles.
async fn leases(server: &OpenBao, ground: &Ground) -> Option<u64> {
    let roles = &ground.scenario().world.roles;
    if roles.is_empty() {
        return None;
    }
    let mut api = server.api();
    let mut count = 0;
    for role in roles {
        let below = Ask::list(format!("sys/leases/lookup/database/creds/{}", role.name));
        // 404: none.
        let (_, body) = api.answer(&below).await.ok()?;
        let answer: serde_json::Value = serde_json::from_slice(&body).ok()?;
        count += answer["data"]["keys"].as_array().map_or(0, Vec::len) as u64;
    }
    Some(count)
}

/// Requests by kind, from OpenBao's telemetry in Prometheus's format. `own`, `own_written`: what of
/// all, and of the writes below `sys/`, was asked by this program.
fn kinds(metrics: &str, own: u64, own_written: u64) -> Kinds {
    let mut counts = BTreeMap::new();
    for line in metrics.lines() {
        let Some((name, count)) = line.strip_prefix("vault_").and_then(|it| it.rsplit_once(' '))
        else {
            continue;
        };
        // With labels there is one line for each set of them.
        let name = name.split('{').next().unwrap_or(name);
        if let (Some(name), Ok(count)) = (name.strip_suffix("_count"), count.parse::<u64>()) {
            *counts.entry(name).or_insert(0) += count;
        }
    }
    let of = |name: &str| counts.get(name).copied().unwrap_or_default();
    let routed = |operations: &[&str], mount: &str| -> u64 {
        operations.iter().map(|operation| of(&format!("route_{operation}_{mount}_"))).sum()
    };
    let (reads, writes) =
        (&["read", "list", "scan"][..], &["create", "update", "patch", "delete"][..]);
    let (renewed, renewed_tokens) = (of("expire_renew"), of("expire_renew_token"));
    let sys_written = routed(writes, "sys").saturating_sub(own_written);
    let tokens = routed(reads, "auth_token") + routed(writes, "auth_token");
    let mut kinds = Kinds::from([
        ("kv-read", routed(reads, "kv1") + routed(reads, "kv2")),
        ("kv-write", routed(writes, "kv1") + routed(writes, "kv2")),
        ("login", routed(writes, "auth_jwt")),
        ("lookup", tokens.saturating_sub(renewed_tokens)),
        ("lease", routed(reads, "database")),
        ("renew", renewed + renewed_tokens),
        ("capabilities", sys_written.saturating_sub(renewed)),
        ("mount", routed(&["read"], "sys")),
    ]);
    let known: u64 = kinds.values().sum();
    let all = of("core_handle_request") + of("core_handle_login_request");
    kinds.insert("other", all.saturating_sub(own + known));
    kinds
}

/// A process and all that it has started.
pub(super) fn family(pid: u32) -> Vec<u32> {
    let mut family = vec![pid];
    let mut next = 0;
    while let Some(pid) = family.get(next).copied() {
        next += 1;
        // Each thread has those that it has started.
        let threads = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten();
        for thread in threads.flatten() {
            let children = std::fs::read_to_string(thread.path().join("children"));
            let children = children.unwrap_or_default();
            family.extend(children.split_whitespace().filter_map(|pid| pid.parse::<u32>().ok()));
        }
    }
    family
}

/// Bytes of memory that a process holds now.
pub fn resident(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests;
