//! What a run found out: the JSON that is written, and all that other reports are made of.
//!
//! Times are microseconds unless a name says otherwise. Nothing in it is a secret, a token or a
//! path of one.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

mod begin;
mod file;

pub(crate) use file::{replace, schema, writable};

/// Of the format that is written here, and the only one that is read.
pub(crate) const VERSION: u32 = 1;

/// What one command of vaultlet-loadtest found out.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
pub(crate) struct Result {
    /// Of this format: [`VERSION`].
    pub(crate) version: u32,
    /// When it began, RFC 3339, UTC.
    pub(crate) began: String,
    /// Kernel and processor.
    pub(crate) machine: String,
    /// The scenario's name, what it is about, and its seed.
    pub(crate) scenario: About,
    /// One for each of what was measured, in the order in which they are shown.
    pub(crate) targets: Vec<Target>,
    /// What `plan` says.
    pub(crate) plan: Option<Plan>,
    /// The service level objectives, per target.
    pub(crate) objectives: Vec<Objective>,
    /// Conditions of `--fail-if`, and whether they came true.
    pub(crate) conditions: Vec<Condition>,
    /// Why it ended before its end, if it did.
    pub(crate) interrupted: Option<String>,
}

/// The scenario.
#[expect(clippy::struct_field_names, reason = "a scenario says what it is about")]
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
pub(crate) struct About {
    pub(crate) name: String,
    pub(crate) about: String,
    pub(crate) seed: u64,
    pub(crate) nodes: u32,
    pub(crate) pods: u32,
    pub(crate) secrets: u32,
}

/// What one of the servers did.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
pub(crate) struct Target {
    /// `direct`, `vaultlet`, `openbao-proxy`, `nginx`, `bare`; or a URL.
    pub(crate) name: String,
    pub(crate) phases: Vec<Phase>,
    /// Second by second, from the begin of the first phase; of the last round where there are more.
    pub(crate) seconds: Vec<Second>,
    pub(crate) generator: Generator,
}

/// One phase; all rounds of it together.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
pub(crate) struct Phase {
    pub(crate) name: String,
    pub(crate) seconds: f64,
    /// Each connection sent its next request when the last was answered: this found out how much is
    /// possible, and no objective is about how long its requests took.
    pub(crate) saturated: bool,
    /// By what was asked for: `read`, `write`, `login`, `lease`, `renew`, `other`.
    pub(crate) kinds: BTreeMap<String, Kind>,
    /// Requests that reached the upstream, by kind.
    pub(crate) upstream: BTreeMap<String, u64>,
    /// Shares of the read answers that came from memory, stale ones among them.
    pub(crate) hit_ratio: Option<f64>,
    /// CPU time of the server for an answer.
    pub(crate) cpu_per_answer: Option<f64>,
    /// CPU time of the upstream and its database, seconds.
    pub(crate) upstream_cpu_seconds: Option<f64>,
    /// Resident bytes at the end.
    pub(crate) resident: Option<u64>,
    /// Leases at the upstream at the end.
    pub(crate) leases: Option<u64>,
    /// From the begin of what happened (for an outage: from its end) until every pod had all it
    /// asked for; `None` where nothing happened, or it was not over when the run was.
    pub(crate) recovery_seconds: Option<f64>,
    /// The same figures of each round, for ranges.
    pub(crate) rounds: Vec<Round>,
}

impl Phase {
    /// All kinds together, where `kind` is `None`.
    pub(crate) fn kinds(&self, kind: Option<&str>) -> impl Iterator<Item = &Kind> {
        self.kinds
            .iter()
            .filter(move |(name, _)| kind.is_none_or(|kind| kind == *name))
            .map(|(_, kind)| kind)
    }

    /// Good answers of one kind, or of all together: see [`is_good`].
    pub(crate) fn good(&self, kind: Option<&str>) -> u64 {
        let kinds = self.kinds.iter().filter(|(name, _)| kind.is_none_or(|kind| kind == *name));
        kinds.map(|(name, of)| of.counted(|status| is_good(name, status))).sum()
    }

    /// Requests of all kinds without a good answer.
    pub(crate) fn failed(&self) -> u64 {
        let ended: u64 = self.kinds(None).map(Kind::ended).sum();
        ended.saturating_sub(self.good(None))
    }

    /// Whole answers per second.
    pub(crate) fn rate(&self) -> Option<f64> {
        share(self.kinds(None).map(|kind| kind.answered).sum(), self.seconds)
    }

    /// Requests per second that reached the upstream, of all kinds.
    pub(crate) fn upstream_rate(&self) -> Option<f64> {
        let known = !self.upstream.is_empty();
        known.then(|| share(self.upstream.values().sum(), self.seconds)).flatten()
    }
}

/// Whether whoever sent a request of this kind has what they wanted, or what they had to expect.
///
/// Pods may do all that they do, so a refusal is a failure. But a renewal asks whether something
/// still lives, and no is an answer; and what `other` requests ask for is a log's, which may have
/// asked for what is not there.
pub(crate) fn is_good(kind: &str, status: u16) -> bool {
    match kind {
        "renew" => status < 400 || matches!(status, 400 | 403 | 404),
        "other" => status < 400 || status == 404,
        _ => status < 400,
    }
}

/// Requests of one kind.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
pub(crate) struct Kind {
    /// That the schedule had, or that a pod's life brought along.
    pub(crate) intended: u64,
    /// With a whole answer, whatever its status.
    pub(crate) answered: u64,
    /// By status.
    pub(crate) statuses: BTreeMap<u16, u64>,
    /// Without a whole answer, by reason: `connect`, `broken`, `timed out`, `not started`.
    pub(crate) broken: BTreeMap<String, u64>,
    /// By `X-Cache`, in lower case, and `stale` for a hit that says so; `none` without it.
    pub(crate) cached: BTreeMap<String, u64>,
    /// Good answers within 50 ms of the intended time; good is a status below 400, for `renew` 400,
    /// 403 and 404 too, and for `other` 404.
    pub(crate) within_50ms: u64,
    /// Good answers that did not come from memory,
    pub(crate) fetched: u64,
    /// and those of them within 200 ms of the intended time.
    pub(crate) fetched_within_200ms: u64,
    /// From the intended time to the whole answer.
    pub(crate) latency: Latency,
    /// The same of answers from memory alone, and of all others.
    pub(crate) hit_latency: Latency,
    pub(crate) other_latency: Latency,
}

impl Kind {
    /// Requests that came to an end: answered, or broken.
    pub(crate) fn ended(&self) -> u64 {
        self.answered + self.broken.values().sum::<u64>()
    }

    /// Answers of the statuses that are `wanted`.
    pub(crate) fn counted(&self, wanted: impl Fn(u16) -> bool) -> u64 {
        self.statuses.iter().filter(|(status, _)| wanted(**status)).map(|(_, count)| count).sum()
    }
}

/// Of whole answers, microseconds.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
pub(crate) struct Latency {
    pub(crate) count: u64,
    pub(crate) mean: f64,
    pub(crate) p50: f64,
    pub(crate) p90: f64,
    pub(crate) p99: f64,
    pub(crate) p999: f64,
    pub(crate) max: f64,
}

/// One round of a phase.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
pub(crate) struct Round {
    pub(crate) per_second: f64,
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    pub(crate) cpu_per_answer: Option<f64>,
    /// Of the core or cores that the server may use.
    pub(crate) busy: Option<f64>,
}

/// One second of a run.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
pub(crate) struct Second {
    /// Index into the target's phases.
    pub(crate) phase: usize,
    pub(crate) answered: u64,
    /// Without a good answer.
    pub(crate) failed: u64,
    pub(crate) hits: u64,
    /// Requests that reached the upstream; `None` where that is not known.
    pub(crate) upstream: Option<u64>,
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    pub(crate) resident: Option<u64>,
}

/// Was it the server that was measured?
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
pub(crate) struct Generator {
    /// By how much requests left after their intended time.
    pub(crate) late: Latency,
    /// Of the core it ran on.
    pub(crate) busy: Option<f64>,
    /// In words, where it could not keep up: the latencies then are its own.
    pub(crate) bottleneck: Option<String>,
}

/// A service level objective.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
pub(crate) struct Objective {
    pub(crate) target: String,
    /// `retrieval`, `generation`, `availability`, `rotation`.
    pub(crate) name: String,
    /// In words, as `99 % of reads within 50 ms`.
    pub(crate) wanted: String,
    /// `None`: nothing of the kind was asked for.
    pub(crate) met: Option<bool>,
    /// In words, what was measured.
    pub(crate) measured: String,
}

/// A condition under which the command fails.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
pub(crate) struct Condition {
    pub(crate) text: String,
    /// `None`: it asks for a figure that this run does not have, as `measured` says.
    pub(crate) came_true: Option<bool>,
    /// What was measured, in words.
    pub(crate) measured: String,
}

/// How much Vault does it take?
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
pub(crate) struct Plan {
    /// What one request costs the upstream, CPU microseconds by kind, and where that is from.
    pub(crate) unit_costs: BTreeMap<String, f64>,
    pub(crate) costs_from: String,
    pub(crate) rows: Vec<PlanRow>,
    /// Predicted against measured, by `--verify`.
    pub(crate) checks: Vec<Check>,
}

/// A cluster of some size, with and without vaultlet.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
pub(crate) struct PlanRow {
    pub(crate) nodes: u32,
    pub(crate) pods: u64,
    pub(crate) phase: String,
    pub(crate) with: Demand,
    pub(crate) without: Demand,
}

/// What one phase asks of the upstream.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
pub(crate) struct Demand {
    /// Requests per second, by kind.
    pub(crate) per_second: BTreeMap<String, f64>,
    /// In the largest second.
    pub(crate) peak: f64,
    /// Of the reads.
    pub(crate) hit_ratio: Option<f64>,
    pub(crate) leases: u64,
    /// Cores that the upstream needs for it.
    pub(crate) cores: f64,
    /// vaultlet's resident bytes on a node.
    pub(crate) resident: Option<u64>,
    pub(crate) recovery_seconds: Option<f64>,
}

/// One figure, twice.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
pub(crate) struct Check {
    pub(crate) phase: String,
    /// `upstream per second`, `hit ratio`, `leases`.
    pub(crate) figure: String,
    pub(crate) predicted: f64,
    /// `None`: the server does not say.
    pub(crate) measured: Option<f64>,
    /// By how much the prediction may be off: 0.05.
    pub(crate) within: f64,
    /// `None`: too few requests happened to tell.
    pub(crate) holds: Option<bool>,
}

/// So much of it; `None` of nothing.
#[expect(clippy::cast_precision_loss, reason = "exact to 2^53, far past any run")]
pub(crate) fn share(part: u64, of: f64) -> Option<f64> {
    (of > 0.0).then(|| part as f64 / of)
}
