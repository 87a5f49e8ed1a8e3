//! How long did requests take, by phase and target?

use super::html::{Html, Table};
use super::plot::{Anchor, Names, Plot, Scale, WIDTHS, Width, clipped};
use super::{colours, figure};
use crate::amount;
use crate::result::{Kind, Latency, Result as Measured};

/// Kinds in the order in which they are shown, with what their requests are called.
pub(super) const KINDS: [(&str, &str); 6] = [
    ("read", "Reads"),
    ("lease", "Leases"),
    ("renew", "Renewals"),
    ("login", "Logins"),
    ("write", "Writes"),
    ("other", "Other requests"),
];
/// Of reads, as in the objectives, microseconds.
const OBJECTIVE: f64 = 50_000.0;
const ROW: f64 = 20.0;
const HEAD: f64 = 52.0;

/// A plot for each kind of requests.
pub(super) fn section(result: &Measured, names: &mut Names) -> Html {
    let mut figures = Html::default();
    for (kind, called) in KINDS {
        let rows = rows(result, kind);
        if rows.is_empty() {
            continue;
        }
        let about =
            "From the intended time of sending to the whole answer, on a logarithmic scale.";
        let plots = WIDTHS.map(|width| plot(&rows, kind, called, width, names));
        let table = table(&rows, called);
        let title = format!("{called}, by phase");
        figures.add(format_args!("{}{}", figure(&title, about, &plots), table.closed()));
    }
    let mut html = Html::default();
    if !figures.to_string().is_empty() {
        html.add(format_args!("<section>\n<h2>Latency</h2>\n{figures}</section>\n"));
    }
    html
}

/// One target in one phase.
struct Row<'a> {
    phase: &'a str,
    target: &'a str,
    colour: &'static str,
    kind: &'a Kind,
}

fn rows<'a>(result: &'a Measured, kind: &str) -> Vec<Row<'a>> {
    let mut phases: Vec<&str> = Vec::new();
    for phase in result.targets.iter().flat_map(|target| &target.phases) {
        if !phases.contains(&phase.name.as_str()) {
            phases.push(&phase.name);
        }
    }
    let colours = colours(&result.targets);
    let mut rows = Vec::new();
    for name in phases {
        for (target, colour) in result.targets.iter().zip(&colours) {
            let phase = target.phases.iter().find(|phase| phase.name == name);
            let measured = phase.and_then(|phase| phase.kinds.get(kind));
            if let Some(kind) = measured.filter(|kind| kind.latency.count > 0) {
                rows.push(Row { phase: name, target: &target.name, colour, kind });
            }
        }
    }
    rows
}

fn plot(rows: &[Row<'_>], kind: &str, called: &str, width: Width, names: &mut Names) -> Html {
    let phases = 1 + rows.windows(2).filter(|pair| pair[0].phase != pair[1].phase).count();
    #[expect(clippy::cast_precision_loss, reason = "a handful of rows")]
    let height = HEAD + rows.len() as f64 * ROW + phases as f64 * 26.0 + 8.0;
    let mut plot = Plot::new(width, height);
    let (start, end) = width.pick((124.0, 768.0), (96.0, 286.0));
    let times = rows.iter().flat_map(|row| [row.kind.latency.p50, row.kind.latency.max]);
    let scale = Scale::log(times, start, end);
    key(&mut plot, width);
    axis(&mut plot, &scale, height, width);
    if kind == "read" && rows.iter().any(|row| row.kind.latency.max > OBJECTIVE) {
        let x = scale.at(OBJECTIVE);
        plot.line("objective", (x, HEAD - 6.0), (x, height));
        plot.text("small muted", (x + 4.0, height - 3.0), Anchor::Start, "50 ms objective");
    }
    let mut y = HEAD;
    let mut before = "";
    for row in rows {
        if row.phase != before {
            y += 26.0;
            plot.text("strong", (0.0, y - 6.0), Anchor::Start, row.phase);
            before = row.phase;
        }
        strip(&mut plot, row, &scale, y + ROW / 2.0, width);
        y += ROW;
    }
    let about = "One row for each target in each phase: a dot at the median, a line to the 99th \
                 percentile with a bar there, a thin line on to the largest. The table below has \
                 the numbers.";
    plot.finish(names, &format!("Latency of {} by phase and target", called.to_lowercase()), about)
}

/// What the marks mean, drawn as they are.
fn key(plot: &mut Plot, width: Width) {
    let columns: &[(&str, f64)] =
        width.pick(&[("p50", 836.0), ("p99", 918.0), ("p99.9", 1000.0)], &[("p99", 350.0)]);
    for (name, x) in columns {
        plot.text("small muted", (*x, 12.0), Anchor::End, name);
    }
    let step = width.pick(72.0, 52.0);
    let x = width.pick(124.0, 0.0);
    let y = 8.0;
    plot.line("whisker k", (x + 12.0, y), (x + 12.0 + 3.0 * step, y));
    plot.line("stem k", (x + 12.0, y), (x + 12.0 + 2.0 * step, y));
    plot.circle("dot k", (x + 12.0, y), 4.0, "");
    plot.line("tick k", (x + 12.0 + step, y - 3.0), (x + 12.0 + step, y + 3.0));
    plot.line("bar k", (x + 12.0 + 2.0 * step, y - 6.0), (x + 12.0 + 2.0 * step, y + 6.0));
    plot.circle("ring k", (x + 12.0 + 3.0 * step, y), 3.0, "");
    for (index, name) in ["p50", "p90", "p99", "max"].into_iter().enumerate() {
        #[expect(clippy::cast_precision_loss, reason = "one of four")]
        let at = x + 12.0 + index as f64 * step;
        plot.text("small muted", (at, y + 19.0), Anchor::Middle, name);
    }
}

fn axis(plot: &mut Plot, scale: &Scale, height: f64, width: Width) {
    let ticks = scale.ticks();
    // On a phone every other one has a name.
    let every = if ticks.len() > width.pick(9, 4) { 2 } else { 1 };
    for (index, tick) in ticks.into_iter().enumerate() {
        let x = scale.at(tick);
        plot.line("grid", (x, HEAD - 2.0), (x, height));
        if index % every == 0 {
            plot.text("small muted", (x, HEAD - 6.0), Anchor::Middle, &time(tick));
        }
    }
}

/// A round time, as short as it can be.
pub(super) fn time(micros: f64) -> String {
    match micros {
        _ if micros < 1e3 => format!("{} µs", amount::short(micros)),
        _ if micros < 1e6 => format!("{} ms", amount::short(micros / 1e3)),
        _ => format!("{} s", amount::short(micros / 1e6)),
    }
}

fn strip(plot: &mut Plot, row: &Row<'_>, scale: &Scale, y: f64, width: Width) {
    let Latency { p50, p90, p99, p999, max, .. } = row.kind.latency;
    let colour = row.colour;
    let says = format!(
        "{}, {}: p50 {}, p90 {}, p99 {}, p99.9 {}, largest {}",
        row.target,
        row.phase,
        amount::micros(p50),
        amount::micros(p90),
        amount::micros(p99),
        amount::micros(p999),
        amount::micros(max)
    );
    plot.text(
        &format!("label {colour}"),
        (0.0, y + 4.0),
        Anchor::Start,
        &clipped(row.target, 92.0),
    );
    plot.line(&format!("whisker {colour}"), (scale.at(p50), y), (scale.at(max), y));
    plot.line(&format!("stem {colour}"), (scale.at(p50), y), (scale.at(p99), y));
    plot.line(&format!("tick {colour}"), (scale.at(p90), y - 3.0), (scale.at(p90), y + 3.0));
    plot.line(&format!("bar {colour}"), (scale.at(p99), y - 6.0), (scale.at(p99), y + 6.0));
    plot.circle(&format!("ring {colour}"), (scale.at(max), y), 3.0, "");
    plot.circle(&format!("dot {colour}"), (scale.at(p50), y), 4.0, &says);
    let columns = [(p50, 836.0), (p99, 918.0), (p999, 1000.0)];
    let narrow = [(p99, 350.0)];
    for (value, x) in width.pick(columns.as_slice(), &narrow) {
        plot.text("number", (*x, y + 4.0), Anchor::End, &amount::micros(*value));
    }
}

fn table(rows: &[Row<'_>], called: &str) -> Table {
    let mut table = Table::new(
        &format!("Numbers: latency of {}", called.to_lowercase()),
        &[
            "Phase",
            "Target",
            "#Answers",
            "#Mean",
            "#p50",
            "#p90",
            "#p99",
            "#p99.9",
            "#Largest",
            "#p99 from memory",
            "#p99 of others",
        ],
    );
    for row in rows {
        let Kind { latency, hit_latency, other_latency, .. } = row.kind;
        let p99 = |latency: &Latency| match latency.count {
            0 => "–".to_owned(),
            _ => amount::micros(latency.p99),
        };
        let mut cells =
            vec![row.phase.to_owned(), row.target.to_owned(), amount::count(latency.count)];
        let times =
            [latency.mean, latency.p50, latency.p90, latency.p99, latency.p999, latency.max];
        cells.extend(times.map(amount::micros));
        cells.extend([p99(hit_latency), p99(other_latency)]);
        table.texts(cells);
    }
    table
}
