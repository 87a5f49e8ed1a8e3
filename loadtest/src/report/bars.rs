//! Which target did better?

use super::html::{Html, Table};
use super::plot::{Anchor, Names, Plot, Scale, Width, clipped};
use super::{colours, figure};
use crate::amount;
use crate::result::{Phase, Result as Measured, Round};

const ROW: f64 = 19.0;
const START: f64 = 102.0;

/// What is compared, and how.
struct Figure {
    title: &'static str,
    about: &'static str,
    /// `None`: of both saturated and paced phases.
    saturated: Option<bool>,
    of_phase: fn(&Phase) -> Option<f64>,
    of_round: fn(&Round) -> Option<f64>,
    written: fn(f64) -> String,
}

const FIGURES: [Figure; 5] = [
    Figure {
        title: "Median of reads",
        about: "less is better",
        saturated: Some(false),
        of_phase: |phase| read(phase).map(|latency| latency.p50),
        of_round: |round| Some(round.p50),
        written: amount::micros,
    },
    Figure {
        title: "p99 of reads",
        about: "less is better",
        saturated: Some(false),
        of_phase: |phase| read(phase).map(|latency| latency.p99),
        of_round: |round| Some(round.p99),
        written: amount::micros,
    },
    Figure {
        title: "Answers per second at most",
        about: "saturated; more is better",
        saturated: Some(true),
        of_phase: Phase::rate,
        of_round: |round| Some(round.per_second),
        written: amount::number,
    },
    Figure {
        title: "Upstream requests per second",
        about: "less is better",
        saturated: Some(false),
        of_phase: Phase::upstream_rate,
        of_round: |_| None,
        written: amount::number,
    },
    Figure {
        title: "CPU time per answer",
        about: "of the target, its upstream left out; less is better",
        saturated: None,
        of_phase: |phase| phase.cpu_per_answer,
        of_round: |round| round.cpu_per_answer,
        written: amount::micros,
    },
];

/// Panels of bars, where there is more than one target.
pub(super) fn section(result: &Measured, names: &mut Names) -> Html {
    let mut html = Html::default();
    if result.targets.len() < 2 {
        return html;
    }
    let mut panels = Html::default();
    let mut table = Table::new(
        "Numbers: side by side",
        &["Figure", "Phase", "Target", "#Value", "#Rounds from", "#to"],
    );
    for figure_of in &FIGURES {
        let bars = bars(result, figure_of);
        if bars.is_empty() {
            continue;
        }
        let plot = plot(figure_of, &bars, names);
        panels.add(format_args!("{}", figure(figure_of.title, figure_of.about, &[plot])));
        for bar in &bars {
            let range = bar.range.map_or(["–".to_owned(), "–".to_owned()], |(low, high)| {
                [(figure_of.written)(low), (figure_of.written)(high)]
            });
            let [low, high] = range;
            let value = (figure_of.written)(bar.value);
            let [phase, target] = [bar.phase.to_owned(), bar.target.to_owned()];
            table.texts([figure_of.title.to_owned(), phase, target, value, low, high]);
        }
    }
    html.add(format_args!(
        "<section>\n<h2>Side by side</h2>\n<p class=\"note\">The same scenario on each target, in \
         turn. A thin line spans the rounds, where there was more than one.</p>\n\
         <div class=\"grid\">{panels}</div>\n{}</section>\n",
        table.closed()
    ));
    html
}

fn read(phase: &Phase) -> Option<crate::result::Latency> {
    phase.kinds.get("read").map(|kind| kind.latency).filter(|latency| latency.count > 0)
}

struct Bar<'a> {
    phase: &'a str,
    target: &'a str,
    colour: &'static str,
    value: f64,
    range: Option<(f64, f64)>,
}

fn bars<'a>(result: &'a Measured, figure: &Figure) -> Vec<Bar<'a>> {
    let mut phases: Vec<&str> = Vec::new();
    for phase in result.targets.iter().flat_map(|target| &target.phases) {
        if !phases.contains(&phase.name.as_str()) {
            phases.push(&phase.name);
        }
    }
    let colours = colours(&result.targets);
    let mut bars = Vec::new();
    for name in phases {
        for (target, colour) in result.targets.iter().zip(&colours) {
            let phase = target.phases.iter().find(|phase| phase.name == name);
            let wanted = |phase: &&Phase| figure.saturated.is_none_or(|one| one == phase.saturated);
            let Some((phase, value)) =
                phase.filter(wanted).and_then(|phase| Some((phase, (figure.of_phase)(phase)?)))
            else {
                continue;
            };
            let rounds = phase.rounds.iter().filter_map(figure.of_round);
            let range = rounds.fold(None, |range: Option<(f64, f64)>, value| {
                Some(range.map_or((value, value), |(low, high)| (low.min(value), high.max(value))))
            });
            let range = range.filter(|_| phase.rounds.len() > 1);
            bars.push(Bar { phase: name, target: &target.name, colour, value, range });
        }
    }
    bars
}

fn plot(figure: &Figure, bars: &[Bar<'_>], names: &mut Names) -> Html {
    let phases = 1 + bars.windows(2).filter(|pair| pair[0].phase != pair[1].phase).count();
    #[expect(clippy::cast_precision_loss, reason = "a handful of rows")]
    let height = bars.len() as f64 * ROW + phases as f64 * 26.0 + 4.0;
    let mut plot = Plot::new(Width::Panel, height);
    let largest =
        bars.iter().map(|bar| bar.range.map_or(bar.value, |(_, high)| high.max(bar.value)));
    let end = Width::Panel.pixels() - 68.0;
    let scale = Scale::up_to(largest.fold(f64::MIN_POSITIVE, f64::max), START, end);
    let mut y = 0.0;
    let mut before = "";
    for bar in bars {
        if bar.phase != before {
            y += 26.0;
            plot.text("strong", (0.0, y - 7.0), Anchor::Start, bar.phase);
            before = bar.phase;
        }
        let written = (figure.written)(bar.value);
        let says = format!("{}, {}: {written}", bar.target, bar.phase);
        let x = scale.at(bar.value);
        plot.text(
            &format!("label {}", bar.colour),
            (0.0, y + 13.0),
            Anchor::Start,
            &clipped(bar.target, START - 8.0),
        );
        // Even next to nothing is something.
        let length = if bar.value > 0.0 { (x - START).max(1.5) } else { 0.0 };
        plot.rect(&format!("fill {}", bar.colour), (START, y + 3.0), (length, ROW - 7.0), &says);
        let mut label = START + length;
        if let Some((low, high)) = bar.range {
            let middle = y + ROW / 2.0 - 0.5;
            plot.line("range", (scale.at(low), middle), (scale.at(high), middle));
            label = label.max(scale.at(high));
        }
        plot.text("number", (label + 6.0, y + 13.0), Anchor::Start, &written);
        y += ROW;
    }
    plot.line("rule", (START, 22.0), (START, height));
    let about = format!(
        "A bar for each target in each phase; {}. The table has the numbers.",
        figure.about
    );
    plot.finish(names, &format!("{} by phase and target", figure.title), &about)
}
