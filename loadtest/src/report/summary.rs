//! What is the result in one sentence, a few figures and a few verdicts?

use super::html::{Cell, Html, Table, Text};
use super::latency::KINDS;
use super::protagonist;
use crate::amount;
use crate::result::{Kind, Objective, Phase, Result as Measured, Target};
use crate::verdict;

/// What was played, on what.
pub(super) fn head(result: &Measured) -> Html {
    let about = &result.scenario;
    let mut facts = vec![
        amount::several(u64::from(about.nodes), "node"),
        amount::several(u64::from(about.pods), "pod"),
        amount::several(u64::from(about.secrets), "secret"),
        format!("seed {}", about.seed),
    ];
    facts.extend(
        [&result.began, &result.machine].into_iter().filter(|fact| !fact.is_empty()).cloned(),
    );
    let mut html = Html::default();
    html.add(format_args!("<header>\n<h1>{}</h1>\n", Text(&about.name)));
    if !about.about.is_empty() {
        html.add(format_args!("<p class=\"about\">{}</p>\n", Text(&about.about)));
    }
    html.add(format_args!("<p class=\"facts\">{}</p>\n</header>\n", Text(&facts.join(" · "))));
    html
}

/// The verdict, what casts doubt on it, key figures, objectives, conditions.
pub(super) fn summary(result: &Measured) -> Html {
    let mut html = Html::default();
    html.add(format_args!("<section aria-label=\"Summary\">\n<p class=\"lead\">"));
    for sentence in verdict::sentences(result) {
        html.add(format_args!("{} ", Text(&sentence)));
    }
    html.add(format_args!("</p>\n"));
    for warning in warnings(result) {
        html.add(format_args!("<p class=\"warning\"><b>Mind:</b> {}</p>\n", Text(&warning)));
    }
    html.add(format_args!("{}", figures(result)));
    if !result.objectives.is_empty() {
        html.add(format_args!("<h2>Objectives</h2>\n{}", objectives(&result.objectives)));
    }
    if !result.conditions.is_empty() {
        html.add(format_args!("<h2>Conditions to fail</h2>\n{}", conditions(result).open()));
    }
    html.add(format_args!("</section>\n"));
    html
}

/// What makes figures doubtful.
fn warnings(result: &Measured) -> Vec<String> {
    let early = result.interrupted.iter().map(|why| format!("the run ended early: {why}"));
    let slow = result.targets.iter().filter_map(|target| {
        let words = target.generator.bottleneck.as_ref()?;
        Some(format!("while {} was measured, {words}", target.name))
    });
    early.chain(slow).collect()
}

/// Of the protagonist, in its busiest phase that is not about how much is possible.
fn figures(result: &Measured) -> Html {
    let mut html = Html::default();
    let Some((target, phase)) =
        protagonist(&result.targets).and_then(|one| Some((one, usual(one)?)))
    else {
        return html;
    };
    let read = phase.kinds.get("read").map(|kind| kind.latency).filter(|latency| latency.count > 0);
    #[expect(clippy::cast_precision_loss, reason = "a size to three digits")]
    let figures = [
        ("median of reads", read.map(|latency| amount::micros(latency.p50))),
        ("p99 of reads", read.map(|latency| amount::micros(latency.p99))),
        ("answers per second", phase.rate().map(amount::number)),
        ("of reads from memory", phase.hit_ratio.map(amount::percent)),
        ("upstream requests per second", phase.upstream_rate().map(amount::number)),
        ("CPU time per answer", phase.cpu_per_answer.map(amount::micros)),
        ("resident memory", phase.resident.map(|bytes| amount::bytes(bytes as f64))),
    ];
    html.add(format_args!(
        "<h2 class=\"quiet\">{} in phase {}</h2>\n<dl class=\"figures\">",
        Text(&target.name),
        Text(&phase.name)
    ));
    for (name, value) in figures {
        if let Some(value) = value {
            html.add(format_args!("<div><dt>{name}</dt><dd>{value}</dd></div>"));
        }
    }
    html.add(format_args!("</dl>\n"));
    html
}

/// The phase with most reads, saturated ones left out.
fn usual(target: &Target) -> Option<&Phase> {
    let reads = |phase: &&Phase| phase.kinds.get("read").map_or(0, |kind| kind.answered);
    let paced = target.phases.iter().filter(|phase| !phase.saturated);
    paced.max_by_key(reads).or_else(|| target.phases.iter().max_by_key(reads))
}

/// A row for each target, a column for each objective.
fn objectives(objectives: &[Objective]) -> Html {
    let mut targets: Vec<&str> = Vec::new();
    let mut names: Vec<&str> = Vec::new();
    let mut columns = vec!["Target".to_owned()];
    for one in objectives {
        if !targets.contains(&one.target.as_str()) {
            targets.push(&one.target);
        }
        if !names.contains(&one.name.as_str()) {
            names.push(&one.name);
            columns.push(format!("{}: {}", one.name, one.wanted));
        }
    }
    let columns: Vec<&str> = columns.iter().map(String::as_str).collect();
    let mut table = Table::new("What share kept it, and of how many", &columns);
    for target in targets {
        let mut row = vec![Cell::Text(target.to_owned())];
        for name in &names {
            let one = objectives.iter().find(|one| one.name == *name && one.target == target);
            row.push(one.map_or(Cell::Text(String::new()), |one| {
                Cell::Verdict(one.met, one.measured.clone())
            }));
        }
        table.row(row);
    }
    table.open()
}

fn conditions(result: &Measured) -> Table {
    let mut table = Table::new(
        "Each fails the command if it comes true",
        &["Condition", "Verdict", "Measured"],
    );
    for condition in &result.conditions {
        let words = match condition.came_true {
            Some(true) => "came true",
            Some(false) => "did not come true",
            None => "cannot be decided",
        };
        table.row(vec![
            Cell::Text(condition.text.clone()),
            Cell::Verdict(condition.came_true.map(|came_true| !came_true), words.to_owned()),
            Cell::Text(condition.measured.clone()),
        ]);
    }
    table
}

/// Everything that was counted, and how well the generator kept up.
pub(super) fn numbers(result: &Measured) -> Html {
    let mut html = Html::default();
    if result.targets.is_empty() {
        return html;
    }
    html.add(format_args!(
        "<section>\n<h2>How it was measured</h2>\n{}",
        generators(result).open()
    ));
    html.add(format_args!("{}</section>\n", counts(result).closed()));
    html
}

fn generators(result: &Measured) -> Table {
    let columns = ["Target", "#Late, p50", "#p99", "#most", "#Busy", "Kept up"];
    let mut table =
        Table::new("How late requests were sent, and how busy the sender was", &columns);
    for target in &result.targets {
        let generator = &target.generator;
        let late = generator.late;
        let mut cells: Vec<Cell> = [
            target.name.clone(),
            amount::micros(late.p50),
            amount::micros(late.p99),
            amount::micros(late.max),
            generator.busy.map_or("–".to_owned(), amount::percent),
        ]
        .map(Cell::Text)
        .into();
        let words = if generator.bottleneck.is_none() { "yes" } else { "no, as said at the top" };
        cells.push(Cell::Verdict(Some(generator.bottleneck.is_none()), words.to_owned()));
        table.row(cells);
    }
    table
}

fn counts(result: &Measured) -> Table {
    let columns = [
        "Target",
        "Phase",
        "Kind",
        "#Intended",
        "#Answered",
        "Statuses",
        "Without an answer",
        "From",
    ];
    let mut table = Table::new("Numbers: requests and answers", &columns);
    for target in &result.targets {
        for phase in &target.phases {
            for (name, called) in KINDS {
                let Some(kind) = phase.kinds.get(name) else { continue };
                let Kind { statuses, broken, cached, .. } = kind;
                table.texts([
                    target.name.clone(),
                    phase.name.clone(),
                    called.to_owned(),
                    amount::count(kind.intended),
                    amount::count(kind.answered),
                    listed(statuses.iter()),
                    listed(broken.iter()),
                    listed(cached.iter()),
                ]);
            }
        }
    }
    table
}

fn listed<'a, K: std::fmt::Display + 'a>(counts: impl Iterator<Item = (K, &'a u64)>) -> String {
    let counts: Vec<String> = counts
        .filter(|(_, count)| **count > 0)
        .map(|(name, count)| format!("{name}: {}", amount::count(*count)))
        .collect();
    if counts.is_empty() { "–".to_owned() } else { counts.join(", ") }
}
