//! How much Vault does it take, with and without vaultlet?

use super::figure;
use super::html::{Cell, Html, Table, Text};
use super::plot::{Anchor, Names, Plot, Scale, Width, apart};
use crate::amount;
use crate::result::{Demand, Plan, PlanRow};

const LEFT: f64 = 46.0;
const RIGHT: f64 = 222.0;
const TOP: f64 = 10.0;
const BOTTOM: f64 = 168.0;

/// What is drawn over the number of nodes.
type Figure = (&'static str, fn(&Demand) -> f64, fn(f64) -> String);

const FIGURES: [Figure; 2] = [
    ("Upstream requests per second", per_second, |value| format!("{}/s", amount::number(value))),
    ("Cores of the upstream", |demand| demand.cores, amount::number),
];

/// Of all kinds, in the mean.
fn per_second(demand: &Demand) -> f64 {
    demand.per_second.values().sum()
}

/// Sentence, plots, table, checks, unit costs.
pub(super) fn section(plan: &Plan, names: &mut Names) -> Html {
    let mut html = Html::default();
    html.add(format_args!(
        "<section>\n<h2>How much Vault it takes</h2>\n<p class=\"note\">The scenario's deployments on \
         more and more nodes, both axes logarithmic. Without vaultlet every pod asks the upstream \
         itself.</p>\n"
    ));
    for (title, value, written) in FIGURES {
        html.add(format_args!("<h3>{title}</h3>\n<div class=\"grid\">"));
        for phase in phases(plan) {
            let rows: Vec<&PlanRow> = plan.rows.iter().filter(|row| row.phase == phase).collect();
            let plot = plot(&rows, phase, (title, value, written), names);
            html.add(format_args!("{}", figure("", phase, &[plot])));
        }
        html.add(format_args!("</div>\n"));
    }
    html.add(format_args!("{}", rows(plan).open()));
    if !plan.checks.is_empty() {
        html.add(format_args!("<h3>Predicted against measured</h3>\n{}", checks(plan).open()));
    }
    if !plan.unit_costs.is_empty() {
        let mut costs =
            Table::new("What one request costs the upstream", &["Request", "#CPU time"]);
        for (kind, micros) in &plan.unit_costs {
            costs.texts([kind.clone(), amount::micros(*micros)]);
        }
        html.add(format_args!(
            "{}<p class=\"note\">Costs: {}.</p>\n",
            costs.closed(),
            Text(&plan.costs_from)
        ));
    }
    html.add(format_args!("</section>\n"));
    html
}

fn phases(plan: &Plan) -> Vec<&str> {
    let mut phases: Vec<&str> = Vec::new();
    for row in &plan.rows {
        if !phases.contains(&row.phase.as_str()) {
            phases.push(&row.phase);
        }
    }
    phases
}

fn plot(rows: &[&PlanRow], phase: &str, figure: Figure, names: &mut Names) -> Html {
    let (title, value, written) = figure;
    let mut plot = Plot::new(Width::Panel, BOTTOM + 36.0);
    let x = Scale::log(rows.iter().map(|row| f64::from(row.nodes)), LEFT, RIGHT);
    let both = rows.iter().flat_map(|row| [value(&row.with), value(&row.without)]);
    let y = Scale::log(both, BOTTOM, TOP);
    for tick in x.ticks() {
        plot.line("grid", (x.at(tick), TOP), (x.at(tick), BOTTOM));
        plot.text("small muted", (x.at(tick), BOTTOM + 16.0), Anchor::Middle, &amount::short(tick));
    }
    plot.text("small muted", (f64::midpoint(LEFT, RIGHT), BOTTOM + 32.0), Anchor::Middle, "nodes");
    for tick in y.ticks() {
        plot.line("grid", (LEFT, y.at(tick)), (RIGHT, y.at(tick)));
        plot.text("small muted", (LEFT - 6.0, y.at(tick) + 4.0), Anchor::End, &amount::short(tick));
    }
    let side = |plot: &mut Plot, colour: &str, of: fn(&PlanRow) -> &Demand| -> f64 {
        let point = |row: &&PlanRow| {
            let value = value(of(row));
            (value > 0.0).then(|| (x.at(f64::from(row.nodes)), y.at(value)))
        };
        let points: Vec<_> = rows.iter().map(point).collect();
        plot.path(&format!("curve {colour}"), &points);
        for (row, (cx, cy)) in rows.iter().zip(&points).filter_map(|(row, at)| Some((row, (*at)?)))
        {
            let says = format!("{} nodes: {}", row.nodes, written(value(of(row))));
            plot.circle(&format!("dot {colour}"), (cx, cy), 2.5, &says);
        }
        points.iter().flatten().last().map_or(BOTTOM, |(_, y)| *y)
    };
    let without = side(&mut plot, "t1", |row| &row.without);
    let with = side(&mut plot, "t0", |row| &row.with);
    let mut labels = [without, with];
    apart(&mut labels, 30.0, TOP + 4.0, BOTTOM - 14.0);
    if let Some(last) = rows.last() {
        let sides = [("t1", "without", &last.without), ("t0", "with vaultlet", &last.with)];
        for ((colour, name, demand), at) in sides.into_iter().zip(labels) {
            plot.text(&format!("label {colour}"), (RIGHT + 8.0, at + 2.0), Anchor::Start, name);
            let number = written(value(demand));
            plot.text("number", (RIGHT + 8.0, at + 16.0), Anchor::Start, &number);
        }
    }
    let about = "Over the number of nodes, with vaultlet and without. The table has the numbers.";
    plot.finish(names, &format!("{phase}: {title}"), about)
}

fn rows(plan: &Plan) -> Table {
    let mut table = Table::new(
        "What the upstream is asked for",
        &[
            "Phase",
            "#Nodes",
            "#Pods",
            "#Requests/s",
            "#without",
            "#Peak/s",
            "#without",
            "#Cores",
            "#without",
            "#Leases",
            "#without",
            "#Hits",
            "#Memory per node",
            "#Recovery",
            "#without",
        ],
    );
    let recovery =
        |demand: &Demand| demand.recovery_seconds.map_or("–".to_owned(), amount::seconds);
    for row in &plan.rows {
        let PlanRow { nodes, pods, phase, with, without } = row;
        table.texts([
            phase.clone(),
            amount::count(u64::from(*nodes)),
            amount::count(*pods),
            amount::number(per_second(with)),
            amount::number(per_second(without)),
            amount::number(with.peak),
            amount::number(without.peak),
            amount::number(with.cores),
            amount::number(without.cores),
            amount::count(with.leases),
            amount::count(without.leases),
            with.hit_ratio.map_or("–".to_owned(), amount::percent),
            #[expect(clippy::cast_precision_loss, reason = "a size to three digits")]
            with.resident.map_or("–".to_owned(), |bytes| amount::bytes(bytes as f64)),
            recovery(with),
            recovery(without),
        ]);
    }
    table
}

fn checks(plan: &Plan) -> Table {
    let mut table = Table::new(
        "The same scenario in the model and on real servers",
        &["Phase", "Figure", "#Predicted", "#Measured", "#Off by", "Within"],
    );
    for check in &plan.checks {
        let share = check.figure.contains("ratio");
        let written = if share { amount::percent } else { amount::number };
        let off = match check.measured {
            None | Some(0.0) => "–".to_owned(),
            Some(measured) => amount::percent((check.predicted - measured).abs() / measured.abs()),
        };
        let mut cells: Vec<Cell> = [
            check.phase.clone(),
            check.figure.clone(),
            written(check.predicted),
            check.measured.map_or("–".to_owned(), written),
            off,
        ]
        .map(Cell::Text)
        .into();
        let within = match check.holds {
            None => "too few to tell".to_owned(),
            Some(_) => amount::percent(check.within),
        };
        cells.push(Cell::Verdict(check.holds, within));
        table.row(cells);
    }
    table
}
