//! What did a comparison find, phase by phase, in Markdown?

use std::fmt::Write as _;

use super::ratio::{Spread, figure};
use crate::result::{Phase, Result as Measured, Round, Target};

/// What the others are compared with.
const OURS: &str = "vaultlet";

/// A figure of a round, and what it is called in a ratio.
type Figure = (&'static str, fn(&Round) -> Option<f64>);

const FIGURES: [Figure; 4] = [
    ("the answers per second", |round| Some(round.per_second)),
    ("the CPU per answer", |round| round.cpu_per_answer),
    ("the p50", |round| (round.per_second > 0.0).then_some(round.p50)),
    ("the p99", |round| (round.per_second > 0.0).then_some(round.p99)),
];

/// Medians and ranges of all rounds, and what vaultlet's are of the others'.
pub(crate) fn table(measured: &Measured, left_out: &[String], rounds: u32) -> String {
    let mut text = String::new();
    let phases = measured.targets.first().map_or(&[][..], |target| &target.phases);
    for (number, phase) in phases.iter().enumerate() {
        let rows: Vec<_> = measured
            .targets
            .iter()
            .filter_map(|target| {
                Some((target, target.phases.get(number).filter(|it| !it.rounds.is_empty())?))
            })
            .collect();
        if rows.is_empty() {
            continue;
        }
        let _ = writeln!(text, "### {}\n", phase.name);
        rows_of(&mut text, &rows);
        ratios_of(&mut text, &rows);
    }
    for target in &measured.targets {
        if let Some(bottleneck) = &target.generator.bottleneck {
            let _ = writeln!(text, "{}: {bottleneck}\n", target.name);
        }
    }
    for line in left_out {
        let _ = writeln!(text, "{line}.\n");
    }
    let _ = writeln!(
        text,
        "{}. `{}`, seed {}, {}; times in microseconds.\n",
        measured.machine,
        measured.scenario.name,
        measured.scenario.seed,
        match rounds {
            1 => "one round".to_owned(),
            rounds => format!("medians and ranges of {rounds} interleaved rounds"),
        },
    );
    text
}

fn rows_of(text: &mut String, rows: &[(&Target, &Phase)]) {
    text.push_str(
        "| | answers/s | p50 | p99 | CPU per answer | hits | upstream/s | failed |\n\
         |---|---|---|---|---|---|---|---|\n",
    );
    for (target, phase) in rows {
        let of = |figure: fn(&Round) -> Option<f64>| {
            let spread = Spread::of(phase.rounds.iter().filter_map(figure));
            spread.map_or_else(|| "–".to_owned(), |spread| spread.to_string())
        };
        let hits = phase.hit_ratio.map_or("–".to_owned(), |it| format!("{:.2} %", 100.0 * it));
        let failed = phase.failed();
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} | {hits} | {} | {failed} |",
            target.name,
            of(|round| Some(round.per_second)),
            of(|round| Some(round.p50)),
            of(|round| Some(round.p99)),
            of(|round| round.cpu_per_answer),
            phase.upstream_rate().map_or("–".to_owned(), figure),
        );
    }
    text.push('\n');
}

fn ratios_of(text: &mut String, rows: &[(&Target, &Phase)]) {
    let Some((_, ours)) = rows.iter().find(|(target, _)| target.name == OURS) else { return };
    for (target, theirs) in rows.iter().filter(|(target, _)| target.name != OURS) {
        let ratios: Vec<String> = FIGURES
            .iter()
            .filter_map(|(name, figure)| {
                let [ours, theirs] =
                    [ours, theirs].map(|phase| phase.rounds.iter().map(figure).collect::<Vec<_>>());
                Some(format!("**{}** x {name}", Spread::of_ratios(&ours, &theirs)?))
            })
            .collect();
        if !ratios.is_empty() {
            let _ = writeln!(text, "{OURS} to {}: {}.\n", target.name, ratios.join(", "));
        }
    }
}

#[cfg(test)]
mod tests;
