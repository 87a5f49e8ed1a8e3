//! How is a result shown in a terminal?

use std::io::{self, IsTerminal as _};

use crate::result::{Objective, Plan, Result as Measured, Target};
use crate::{amount, verdict};

mod table;

use table::{Colour, Table};

/// The summary, aligned; colours only where asked for.
pub(crate) fn summary(result: &Measured, colours: bool) -> String {
    let about = &result.scenario;
    let mut lines = vec![
        plain(&format!(
            "{}: {}, {}, {}",
            about.name,
            amount::several(u64::from(about.nodes), "node"),
            amount::several(u64::from(about.pods), "pod"),
            amount::several(u64::from(about.secrets), "secret"),
        )),
        plain(&verdict::sentences(result).join(" ")),
    ];
    for target in &result.targets {
        if let Some(words) = &target.generator.bottleneck {
            let words = format!("Mind: while {} was measured, {words}", target.name);
            lines.push(Colour::Bad.of(&plain(&words), colours));
        }
    }
    let tables = [
        phases(&result.targets),
        result.plan.as_ref().map(plan).unwrap_or_default(),
        result.plan.as_ref().map(checks).unwrap_or_default(),
        objectives(&result.objectives),
        conditions(result),
    ];
    let tables = tables.iter().filter(|table| !table.is_empty());
    lines.extend(tables.map(|table| format!("\n{}", table.written(colours).trim_end())));
    lines.join("\n") + "\n"
}

/// Whether whoever reads stdout sees colours.
pub(crate) fn colours() -> bool {
    io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none()
}

fn phases(targets: &[Target]) -> Table {
    let mut table = Table::new(&[
        "phase",
        "target",
        "#answers/s",
        "#p50",
        "#p99",
        "#failed",
        "#hits",
        "#upstream/s",
        "#CPU each",
        "#memory",
    ]);
    for target in targets {
        for phase in &target.phases {
            let read = phase.kinds.get("read").map(|kind| kind.latency).filter(|one| one.count > 0);
            let failed = phase.failed();
            let some = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
            let colour = if failed > 0 { Colour::Bad } else { Colour::None };
            #[expect(clippy::cast_precision_loss, reason = "a size to three digits")]
            table.row(vec![
                (phase.name.clone(), Colour::None),
                (target.name.clone(), Colour::None),
                (some(phase.rate().map(amount::number)), Colour::None),
                (some(read.map(|latency| amount::micros(latency.p50))), Colour::None),
                (some(read.map(|latency| amount::micros(latency.p99))), Colour::None),
                (amount::count(failed), colour),
                (some(phase.hit_ratio.map(amount::percent)), Colour::None),
                (some(phase.upstream_rate().map(amount::number)), Colour::None),
                (some(phase.cpu_per_answer.map(amount::micros)), Colour::None),
                (some(phase.resident.map(|bytes| amount::bytes(bytes as f64))), Colour::None),
            ]);
        }
    }
    table
}

fn plan(plan: &Plan) -> Table {
    let mut table = Table::new(&[
        "phase",
        "#nodes",
        "#upstream/s",
        "#without",
        "#peak/s",
        "#without",
        "#cores",
        "#without",
        "#leases",
        "#hits",
    ]);
    for row in &plan.rows {
        let (with, without) = (&row.with, &row.without);
        let per_second = |by_kind: &std::collections::BTreeMap<String, f64>| {
            amount::number(by_kind.values().sum())
        };
        let cells = [
            row.phase.clone(),
            amount::count(u64::from(row.nodes)),
            per_second(&with.per_second),
            per_second(&without.per_second),
            amount::number(with.peak),
            amount::number(without.peak),
            amount::number(with.cores),
            amount::number(without.cores),
            amount::count(with.leases),
            with.hit_ratio.map_or("-".to_owned(), amount::percent),
        ];
        table.row(cells.map(|cell| (cell, Colour::None)).into());
    }
    table
}

fn checks(plan: &Plan) -> Table {
    let mut table = Table::new(&["phase", "figure", "#predicted", "#measured", "within", ""]);
    for check in &plan.checks {
        let ratio = check.figure.contains("ratio");
        let written = if ratio { amount::percent } else { amount::number };
        table.row(vec![
            (check.phase.clone(), Colour::None),
            (check.figure.clone(), Colour::None),
            (written(check.predicted), Colour::None),
            (check.measured.map_or("-".to_owned(), written), Colour::None),
            (amount::percent(check.within), Colour::None),
            match check.holds {
                None => ("too few to tell".to_owned(), Colour::None),
                holds => verdict_of(holds, "holds", "off"),
            },
        ]);
    }
    table
}

fn objectives(objectives: &[Objective]) -> Table {
    let mut table = Table::new(&["target", "objective", "", "measured"]);
    for one in objectives.iter().filter(|one| one.met.is_some()) {
        table.row(vec![
            (one.target.clone(), Colour::None),
            (format!("{}: {}", one.name, one.wanted), Colour::None),
            verdict_of(one.met, "met", "missed"),
            (one.measured.clone(), Colour::None),
        ]);
    }
    table
}

fn conditions(result: &Measured) -> Table {
    let mut table = Table::new(&["fails if", "", "measured"]);
    for one in &result.conditions {
        table.row(vec![
            (one.text.clone(), Colour::None),
            verdict_of(one.came_true.map(|came_true| !came_true), "no", "yes"),
            (one.measured.clone(), Colour::None),
        ]);
    }
    table
}

fn verdict_of(good: Option<bool>, yes: &str, no: &str) -> (String, Colour) {
    match good {
        Some(true) => (yes.to_owned(), Colour::Good),
        Some(false) => (no.to_owned(), Colour::Bad),
        None => ("undecided".to_owned(), Colour::Bad),
    }
}

/// Text of others must not steer the terminal.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests;
