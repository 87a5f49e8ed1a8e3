//! Does everything that anybody saw of a run make sense together?
//!
//! Readers, writers and whoever takes rights away or breaks things work at the same time, and write
//! down what they did and what they were told. What was promised is checked afterwards.

use std::collections::BTreeMap;
use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::stand::Stand;
use crate::verdict::{Verdict, number};

use check::Property::{P1, P2, P3, P4, P5, P6};
use check::check;
use play::Play;
use record::Promises;

mod audit;
mod check;
mod happenings;
mod play;
mod readers;
mod record;
mod writers;

/// What must have come about in a run, or the run shows nothing.
const SOMETIMES: [&str; 9] = [
    "hit",
    "miss",
    "stale",
    "denied",
    "revalidated",
    "fault",
    "wrote through vaultlet",
    "wrote elsewhere",
    "deleted",
];

/// The same of all runs together.
const AT_ALL: [&str; 5] =
    ["sealed", "restarted", "policy taken away", "policy given back", "revoked"];

/// Seconds in which all of that comes about.
const ENOUGH: u64 = 120;

/// Random faults, changes and revocations under load, and a check of all that was seen
#[derive(Clone, Debug, Args)]
#[command(after_help = "Example:\n  vaultlet-chaos history --runs 24 --seconds 60")]
pub(crate) struct Options {
    #[arg(long, default_value_t = 24, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) runs: u32,
    /// Of each run
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(5..))]
    pub(crate) seconds: u64,
    /// Reads a second, at least
    #[arg(long, default_value_t = 1000)]
    pub(crate) rate: u32,
    /// Of the first run, each further one has the next; another each time without it
    #[arg(long)]
    pub(crate) seed: Option<u64>,
}

pub(crate) const PROMISES: Promises = Promises {
    window: Duration::from_secs(2),
    ttl: Duration::from_secs(3),
    stale: Duration::from_secs(20),
    slack: Duration::from_secs(1),
};

pub(crate) async fn run(options: &Options) -> Result<Vec<Verdict>, String> {
    let first = options.seed.unwrap_or_else(|| fastrand::u64(..1 << 32));
    let mut verdicts = Vec::new();
    let mut all = BTreeMap::<&str, u64>::new();
    for run in 0..options.runs {
        let (verdict, seen) = one(first + u64::from(run), options).await?;
        verdict.print();
        verdicts.push(verdict);
        for (what, count) in seen {
            *all.entry(what).or_default() += count;
        }
    }
    let mut verdict = Verdict::new("history");
    let enough = u64::from(options.runs) * options.seconds >= ENOUGH;
    for what in AT_ALL.iter().copied().filter(|_| enough) {
        verdict.some(&format!("sometimes: {what}"), all.get(what).copied().unwrap_or(0));
    }
    verdict.figure("runs", options.runs);
    verdict.figure("seed", first);
    verdict.figure("seen", json!(all));
    verdict.print();
    verdicts.push(verdict);
    Ok(verdicts)
}

async fn one(
    seed: u64,
    options: &Options,
) -> Result<(Verdict, BTreeMap<&'static str, u64>), String> {
    fastrand::seed(seed);
    let mut stand = Stand::start(&settings()).await?;
    let play = Play::prepare(&mut stand).await?;
    let began = Instant::now();
    play.run(&mut stand, Duration::from_secs(options.seconds), options.rate, seed).await?;
    let lasted = began.elapsed().as_secs_f64();
    // The last records are on their way.
    stand.vaultlet.terminate();
    let ended = stand.vaultlet.end().await;
    let mut history = play.history();
    audit::read(&stand, &mut history)?;
    let violations = check(&history, &PROMISES);

    let mut verdict = Verdict::new(format!("history {seed}"));
    let mut by_property = BTreeMap::<_, u64>::new();
    for violation in &violations {
        *by_property.entry(violation.property).or_default() += 1;
    }
    for (property, words) in [
        (P1, "P1, secrets told without the right to them"),
        (P2, "P2, answers that were too old"),
        (P3, "P3, versions that went back"),
        (P4, "P4, own writes that went unseen"),
        (P5, "P5, values of other paths"),
        (P6, "P6, secrets without their one audit record"),
    ] {
        verdict.none(words, by_property.get(&property).copied().unwrap_or(0));
    }
    let sighted = play.seen();
    for what in SOMETIMES {
        verdict.some(&format!("sometimes: {what}"), sighted.get(what).copied().unwrap_or(0));
    }
    let reads = history.reads.len() as u64;
    verdict.at_least("reads a second", f64::from(options.rate), number(reads) / lasted);
    verdict
        .none("recoveries that took longer than 10 s", sighted.get("late").copied().unwrap_or(0));
    verdict.some("ended when it was told to", u64::from(ended.is_some()));
    verdict.figure("seed", seed);
    verdict.figure("reads", reads);
    verdict.figure("changes", history.changes.len());
    verdict.figure("outages", history.outages.len());
    verdict.figure("seen", json!(sighted));
    verdict.figure("fired", json!(stand.injector.switch.all_fired()));
    let words: Vec<&String> = violations.iter().map(|it| &it.words).take(5).collect();
    if !words.is_empty() {
        verdict.figure("violations", json!(words));
    }
    Ok((verdict, sighted))
}

fn settings() -> Value {
    json!({
        "policy": {"refresh": "2s"},
        "cache": {"kv": {"ttl": "3s", "stale_if_error": "20s", "stale_if_sealed": "20s"}},
        "auth": {"limits": {"misses_per_second": 100_000, "in_flight": 1000}},
        "audit": {"file": "audit.jsonl"},
        "shutdown": {"drain": "2s"},
    })
}
