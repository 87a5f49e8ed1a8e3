//! Which figures can a condition be about, and what are they in a result?

use std::fmt;

use crate::amount;
use crate::result::{self, Kind, Latency, Phase, share};

/// A figure of one phase.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Figure {
    /// As the condition names it.
    pub(super) target: Option<String>,
    pub(super) name: Name,
    pub(super) phase: String,
    pub(super) kind: Option<String>,
}

/// What is asked for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Name {
    P50,
    P90,
    P99,
    P999,
    Max,
    Mean,
    Rate,
    Errors,
    Availability,
    Hits,
    Upstream,
    Leases,
    Recovery,
    Cpu,
    Resident,
}

/// In what it is measured.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Measure {
    Micros,
    Bytes,
    Share,
    Plain,
}

/// Which kinds of requests it can be restricted to.
const KINDS: [&str; 6] = ["read", "write", "login", "lease", "renew", "other"];
const UPSTREAM_KINDS: [&str; 11] = [
    "kv-read",
    "kv-write",
    "login",
    "lookup",
    "capabilities",
    "mount",
    "lease",
    "renew",
    "revoke",
    "health",
    "other",
];
/// A time is of reads where it says nothing else: times of different kinds do not add up.
const USUAL_KIND: &str = "read";

impl Name {
    pub(super) const ALL: [(&'static str, Self); 15] = [
        ("p50", Self::P50),
        ("p90", Self::P90),
        ("p99", Self::P99),
        ("p999", Self::P999),
        ("max", Self::Max),
        ("mean", Self::Mean),
        ("rate", Self::Rate),
        ("errors", Self::Errors),
        ("availability", Self::Availability),
        ("hits", Self::Hits),
        ("upstream", Self::Upstream),
        ("leases", Self::Leases),
        ("recovery", Self::Recovery),
        ("cpu", Self::Cpu),
        ("resident", Self::Resident),
    ];

    pub(super) fn measure(self) -> Measure {
        match self {
            Self::P50
            | Self::P90
            | Self::P99
            | Self::P999
            | Self::Max
            | Self::Mean
            | Self::Recovery
            | Self::Cpu => Measure::Micros,
            Self::Resident => Measure::Bytes,
            Self::Errors | Self::Availability | Self::Hits => Measure::Share,
            Self::Rate | Self::Upstream | Self::Leases => Measure::Plain,
        }
    }

    /// What may follow the phase's name.
    pub(super) fn kinds(self) -> &'static [&'static str] {
        match self {
            Self::P50
            | Self::P90
            | Self::P99
            | Self::P999
            | Self::Max
            | Self::Mean
            | Self::Rate
            | Self::Errors
            | Self::Availability => &KINDS,
            Self::Upstream => &UPSTREAM_KINDS,
            Self::Hits | Self::Leases | Self::Recovery | Self::Cpu | Self::Resident => &[],
        }
    }

    /// For people.
    pub(super) fn written(self, value: f64) -> String {
        match self.measure() {
            Measure::Micros => amount::micros(value),
            Measure::Bytes => amount::bytes(value),
            Measure::Share => amount::percent(value),
            Measure::Plain if self == Self::Leases => amount::number(value),
            Measure::Plain => format!("{}/s", amount::number(value)),
        }
    }
}

impl Figure {
    /// In base units; `Err` says that there is none, and why.
    pub(super) fn of(&self, result: &result::Result, target: &str) -> Result<f64, String> {
        let measured = result.targets.iter().find(|one| one.name == target);
        let phase = measured.and_then(|one| one.phases.iter().find(|one| one.name == self.phase));
        let phase = phase.ok_or_else(|| {
            format!("{self} of {target}: the run has nothing of this phase; see how it ended")
        })?;
        let value = match self.name {
            Name::P50 => self.latency(phase).map(|latency| latency.p50),
            Name::P90 => self.latency(phase).map(|latency| latency.p90),
            Name::P99 => self.latency(phase).map(|latency| latency.p99),
            Name::P999 => self.latency(phase).map(|latency| latency.p999),
            Name::Max => self.latency(phase).map(|latency| latency.max),
            Name::Mean => self.latency(phase).map(|latency| latency.mean),
            Name::Rate => share(self.sum(phase, |kind| kind.answered), phase.seconds),
            Name::Errors => {
                self.of_ended(phase, |kind| kind.ended() - kind.counted(|status| status < 400))
            }
            Name::Availability => {
                share(phase.good(self.kind.as_deref()), as_number(self.sum(phase, Kind::ended)))
            }
            Name::Hits => phase.hit_ratio,
            Name::Upstream => self.upstream(phase),
            Name::Leases => phase.leases.map(as_number),
            Name::Recovery => phase.recovery_seconds.map(|seconds| seconds * 1e6),
            Name::Cpu => phase.cpu_per_answer,
            Name::Resident => phase.resident.map(as_number),
        };
        value.ok_or_else(|| format!("{self} of {target}: {}", self.why_not(phase)))
    }

    fn latency(&self, phase: &Phase) -> Option<Latency> {
        let kind = phase.kinds.get(self.kind.as_deref().unwrap_or(USUAL_KIND))?;
        (kind.latency.count > 0).then_some(kind.latency)
    }

    fn of_ended(&self, phase: &Phase, part: impl Fn(&Kind) -> u64) -> Option<f64> {
        share(self.sum(phase, part), as_number(self.sum(phase, Kind::ended)))
    }

    fn sum(&self, phase: &Phase, part: impl Fn(&Kind) -> u64) -> u64 {
        phase.kinds(self.kind.as_deref()).map(part).sum()
    }

    fn upstream(&self, phase: &Phase) -> Option<f64> {
        match &self.kind {
            None => phase.upstream_rate(),
            Some(_) if phase.upstream.is_empty() => None,
            Some(kind) => share(phase.upstream.get(kind).copied().unwrap_or(0), phase.seconds),
        }
    }

    fn why_not(&self, phase: &Phase) -> String {
        match self.name {
            Name::Hits => "no read was answered, or none says where its answer is from".to_owned(),
            Name::Recovery => {
                "nothing happened from which to recover, or it was not over when the phase was"
                    .to_owned()
            }
            Name::Upstream | Name::Leases | Name::Cpu | Name::Resident => {
                "this target does not say".to_owned()
            }
            _ => {
                let kinds: Vec<&str> = phase.kinds.keys().map(String::as_str).collect();
                let asked = self.kind.as_deref().unwrap_or(USUAL_KIND);
                let there = if kinds.is_empty() { "none".to_owned() } else { kinds.join(", ") };
                format!("no request of kind {asked} was answered; kinds of this phase: {there}")
            }
        }
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name =
            Name::ALL.iter().find(|(_, name)| *name == self.name).map_or("", |(text, _)| text);
        write!(f, "{name}({}", self.phase)?;
        if let Some(kind) = &self.kind {
            write!(f, ", {kind}")?;
        }
        write!(f, ")")
    }
}

#[expect(clippy::cast_precision_loss, reason = "exact to 2^53, far past any run")]
fn as_number(count: u64) -> f64 {
    count as f64
}
