//! What happened when?
//!
//! All plots of the section have the same time axis and the same bands, one for each phase.

use super::html::{Html, Table};
use super::latency::time as short_time;
use super::plot::{Names, WIDTHS};
use super::{colours, figure};
use crate::amount;
use crate::result::{Result as Measured, Second, Target};

mod axis;
mod panel;

use panel::{Chart, Series, Shape};

/// The axis counts in these, and so has round numbers.
const MIB: f64 = 1_048_576.0;

/// Plots over time, where there is any.
pub(super) fn section(result: &Measured, names: &mut Names) -> Html {
    let mut html = Html::default();
    let colours = colours(&result.targets);
    let targets: Vec<(&Target, &str)> = result
        .targets
        .iter()
        .zip(colours)
        .filter(|(target, _)| !target.seconds.is_empty())
        .collect();
    if targets.is_empty() {
        return html;
    }
    html.add(format_args!("<section>\n<h2>Over time</h2>\n"));
    for chart in charts(&targets) {
        if chart.is_empty() {
            continue;
        }
        let [wide, narrow] = WIDTHS.map(|width| chart.plot(width, names));
        let plots = [wide, narrow, chart.key()];
        html.add(format_args!("{}", figure(chart.title, &chart.about(), &plots)));
    }
    html.add(format_args!("{}</section>\n", table(&targets).closed()));
    html
}

fn charts<'a>(targets: &[(&'a Target, &'a str)]) -> [Chart<'a>; 5] {
    let several = |value: fn(&Second) -> Option<f64>| -> Vec<Series<'a>> {
        targets.iter().map(|(target, colour)| Series::new(target, colour, "", value)).collect()
    };
    let latency = targets.iter().flat_map(|(target, colour)| {
        let some = |micros: f64| (micros > 0.0).then_some(micros);
        [
            Series::new(target, colour, "p50", move |second| some(second.p50)),
            Series::new(target, colour, "p99", move |second| some(second.p99)),
        ]
    });
    // What is possible would leave no room for what is asked for; the bars above show it.
    let paced = |target: &'a Target, second: &Second| {
        target.phases.get(second.phase).is_some_and(|phase| !phase.saturated)
    };
    let answered = targets.iter().flat_map(|(target, colour)| {
        let of = move |value: fn(&Second) -> u64| {
            move |second: &Second| paced(target, second).then(|| count(value(second)))
        };
        [
            Series::new(target, colour, "answered", of(|second| second.answered)),
            Series::new(target, "failed", "failed", of(|second| second.failed)),
        ]
    });
    [
        Chart {
            title: "Latency, second by second",
            says: "Median (thin) and 99th percentile of all requests, logarithmic.",
            shape: Shape::EachAlone { log: true },
            series: latency.collect(),
            tick: short_time,
            written: amount::micros,
        },
        Chart {
            title: "Answers, second by second",
            says: "Whole answers per second, saturated phases left out. Filled: failed requests, \
                   which are those without a good answer.",
            shape: Shape::EachAlone { log: false },
            series: answered.collect(),
            tick: amount::short,
            written: |value| format!("{}/s", amount::number(value)),
        },
        Chart {
            title: "Answers from memory",
            says: "Share of all answers.",
            shape: Shape::Together,
            series: several(|second| {
                (second.answered > 0).then(|| count(second.hits) / count(second.answered))
            })
            .into_iter()
            .filter(Series::is_ever_above_zero)
            .collect(),
            tick: amount::percent,
            written: amount::percent,
        },
        Chart {
            title: "Upstream load",
            says: "Requests per second that reached the upstream, as it counted them.",
            shape: Shape::Together,
            series: several(|second| second.upstream.map(count)),
            tick: amount::short,
            written: |value| format!("{}/s", amount::number(value)),
        },
        Chart {
            title: "Memory",
            says: "Resident, all processes of the target.",
            shape: Shape::Together,
            series: several(|second| second.resident.map(|bytes| count(bytes) / MIB)),
            tick: |mib| format!("{} MiB", amount::short(mib)),
            written: |mib| amount::bytes(mib * MIB),
        },
    ]
}

#[expect(clippy::cast_precision_loss, reason = "exact to 2^53, far past any run")]
fn count(count: u64) -> f64 {
    count as f64
}

/// Second by second is in the result; here is what becomes of the seconds of each phase.
fn table(targets: &[(&Target, &str)]) -> Table {
    let mut table = Table::new(
        "Numbers: over time, by phase",
        &[
            "Phase",
            "Target",
            "#Seconds",
            "#Answers/s",
            "#Failed",
            "#Worst p99 of a second",
            "#From memory",
            "#Upstream/s",
            "#Most in a second",
            "#Memory at the end",
        ],
    );
    for (target, _) in targets {
        for (index, phase) in target.phases.iter().enumerate() {
            let seconds: Vec<&Second> =
                target.seconds.iter().filter(|second| second.phase == index).collect();
            if seconds.is_empty() {
                continue;
            }
            let sum =
                |of: fn(&Second) -> u64| -> u64 { seconds.iter().map(|second| of(second)).sum() };
            let answered = sum(|second| second.answered);
            let worst = seconds.iter().map(|second| second.p99).fold(0.0, f64::max);
            let upstream: Vec<u64> = seconds.iter().filter_map(|second| second.upstream).collect();
            let per_second =
                |total: u64| amount::number(count(total) / count(seconds.len() as u64));
            let unknown = || "–".to_owned();
            table.texts([
                phase.name.clone(),
                target.name.clone(),
                amount::count(seconds.len() as u64),
                per_second(answered),
                amount::count(sum(|second| second.failed)),
                amount::micros(worst),
                match answered {
                    0 => unknown(),
                    _ => amount::percent(count(sum(|second| second.hits)) / count(answered)),
                },
                if upstream.is_empty() { unknown() } else { per_second(upstream.iter().sum()) },
                upstream.iter().max().map_or_else(unknown, |most| amount::count(*most)),
                seconds
                    .iter()
                    .rev()
                    .find_map(|second| second.resident)
                    .map_or_else(unknown, |bytes| amount::bytes(count(bytes))),
            ]);
        }
    }
    table
}
