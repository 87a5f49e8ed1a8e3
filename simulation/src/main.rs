//! Plays seeds, and says what came of them: `vaultlet-simulate --help`.

use std::io::{self, Write as _};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use clap::Parser;
use vaultlet_simulate::{Met, play};

/// Plays vaultlet in time that is not real, in front of a server that misbehaves
///
/// Exits with 0 if nothing went wrong, 1 if something did, 2 if what it was asked for is none.
#[derive(Debug, Parser)]
#[command(
    version,
    after_help = "Examples:\n  vaultlet-simulate --seeds 10000\n  vaultlet-simulate --replay 4711"
)]
struct Arguments {
    /// How many seeds to play
    #[arg(long, default_value_t = 1000, conflicts_with = "replay")]
    seeds: u64,
    /// The first of them
    #[arg(long, default_value_t = 0, conflicts_with = "replay")]
    from: u64,
    /// Plays this one, and prints all that happens
    #[arg(long)]
    replay: Option<u64>,
    /// Fails unless every situation was met
    #[arg(long, conflicts_with = "replay")]
    complete: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = match arguments.replay {
        Some(seed) => replay(seed),
        None => all(&arguments),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            writeln!(io::stderr(), "vaultlet-simulate: {error}").ok();
            ExitCode::FAILURE
        }
    }
}

fn replay(seed: u64) -> Result<bool, String> {
    let outcome = play(seed, true)?;
    let mut out = io::stdout().lock();
    for line in &outcome.trace {
        writeln!(out, "{line}").map_err(|error| error.to_string())?;
    }
    let (hash, steps) = (outcome.hash, outcome.steps);
    writeln!(out, "seed {seed}: {steps} steps, trace {hash:016x}").map_err(|e| e.to_string())?;
    for violation in &outcome.violations {
        writeln!(out, "seed {seed}: {violation}").map_err(|error| error.to_string())?;
    }
    Ok(outcome.violations.is_empty())
}

/// What came of all seeds together.
#[derive(Default)]
struct Sum {
    met: Met,
    steps: u64,
    /// Of all traces, in whatever order they came.
    hash: u64,
    failed: Vec<u64>,
}

fn all(arguments: &Arguments) -> Result<bool, String> {
    let (next, stop) = (AtomicU64::new(arguments.from), AtomicBool::new(false));
    let end = arguments.from.saturating_add(arguments.seeds);
    let sum = Mutex::new(Sum::default());
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let work = || {
        while !stop.load(Ordering::Relaxed) {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= end {
                return Ok(());
            }
            let outcome = play(seed, false)?;
            let mut sum = sum.lock().unwrap_or_else(PoisonError::into_inner);
            sum.met.add(&outcome.met);
            sum.steps += outcome.steps;
            sum.hash ^= outcome.hash;
            for violation in &outcome.violations {
                writeln!(io::stdout(), "seed {seed}: {violation}").ok();
            }
            if !outcome.violations.is_empty() {
                sum.failed.push(seed);
                // More of them say no more.
                stop.store(sum.failed.len() >= 20, Ordering::Relaxed);
            }
        }
        Ok::<_, String>(())
    };
    thread::scope(|scope| {
        let all: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        all.into_iter().try_for_each(|thread| thread.join().map_err(|_| "a thread died")?)
    })?;
    let sum = sum.into_inner().unwrap_or_else(PoisonError::into_inner);
    report(arguments, &sum).map_err(|error| error.to_string())
}

fn report(arguments: &Arguments, sum: &Sum) -> io::Result<bool> {
    let mut out = io::stdout().lock();
    for (situation, count) in sum.met.counts() {
        writeln!(out, "{count:>9}  {}", situation.text())?;
    }
    let missed = sum.met.counts().filter(|(_, count)| *count == 0).count();
    let all = sum.met.counts().count();
    let Sum { steps, hash, failed, .. } = sum;
    writeln!(
        out,
        "{} seeds, {steps} steps, traces {hash:016x}: {} failed, {} of {all} situations met",
        arguments.seeds,
        failed.len(),
        all - missed
    )?;
    Ok(failed.is_empty() && (missed == 0 || !arguments.complete))
}
