//! How is a figure drawn second by second?

use super::super::html::{Html, Text};
use super::super::plot::{Anchor, Names, Plot, Scale, Width, apart, clipped};
use super::axis::{Axis, phases};
use crate::result::{Second, Target};

/// A figure of several targets.
pub(super) struct Chart<'a> {
    pub(super) title: &'static str,
    pub(super) says: &'static str,
    pub(super) shape: Shape,
    pub(super) series: Vec<Series<'a>>,
    /// Of the axis.
    pub(super) tick: fn(f64) -> String,
    /// Beside the lines.
    pub(super) written: fn(f64) -> String,
}

/// How several targets share a plot.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Shape {
    /// A panel for each, one above the other, all to the same scale.
    EachAlone { log: bool },
    /// All in one.
    Together,
}

/// A figure of a target, second by second.
pub(super) struct Series<'a> {
    target: &'a Target,
    colour: &'a str,
    name: &'static str,
    values: Vec<Option<f64>>,
}

/// The space of one panel.
#[derive(Clone, Copy)]
struct Area {
    width: Width,
    left: f64,
    right: f64,
    top: f64,
    bottom: f64,
}

/// Beside the lines there is room for a name as `openbao-proxy`.
const LABEL: f64 = 92.0;
const TOP: f64 = 24.0;
const AXIS: f64 = 24.0;

impl<'a> Series<'a> {
    pub(super) fn new(
        target: &'a Target,
        colour: &'a str,
        name: &'static str,
        value: impl Fn(&Second) -> Option<f64>,
    ) -> Self {
        Self { target, colour, name, values: target.seconds.iter().map(value).collect() }
    }

    pub(super) fn is_ever_above_zero(&self) -> bool {
        self.values.iter().flatten().any(|value| *value > 0.0)
    }

    /// No more points than there are pixels; of several seconds, the largest: none is hidden.
    fn points(&self, width: Width) -> Vec<(usize, Option<f64>)> {
        let together = seconds_of_a_point(self.values.len(), width);
        let largest = |chunk: &[Option<f64>]| chunk.iter().flatten().copied().reduce(f64::max);
        self.values
            .chunks(together)
            .enumerate()
            .map(|(index, chunk)| (index * together, largest(chunk)))
            .collect()
    }
}

/// Where the axis begins and ends.
fn sides(width: Width) -> (f64, f64) {
    width.pick((66.0, 880.0), (56.0, 246.0))
}

fn seconds_of_a_point(seconds: usize, width: Width) -> usize {
    let (start, end) = sides(width);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a width")]
    let points = ((end - start) / 1.25) as usize;
    seconds.div_ceil(points.max(1)).max(1)
}

impl Chart<'_> {
    pub(super) fn is_empty(&self) -> bool {
        self.series.iter().all(|series| series.values.iter().all(Option::is_none))
    }

    /// How it is read.
    pub(super) fn about(&self) -> String {
        let together = seconds_of_a_point(self.seconds(), Width::Wide);
        if together > 1 {
            format!("{} Each point is the largest of {together} seconds.", self.says)
        } else {
            self.says.to_owned()
        }
    }

    /// What the numbers stand for, where the phases' names have no room.
    pub(super) fn key(&self) -> Html {
        let mut html = Html::default();
        let Some(target) = self.series.first().map(|series| series.target) else {
            return html;
        };
        for width in [Width::Wide, Width::Narrow] {
            let (start, end) = sides(width);
            if Axis::new(self.seconds(), start, end).fits(target) {
                continue;
            }
            let class = width.pick("wide", "narrow");
            html.add(format_args!("<p class=\"key {class}\">"));
            for (index, (phase, _, _)) in phases(target).into_iter().enumerate() {
                let name = target.phases.get(phase).map_or("", |phase| phase.name.as_str());
                html.add(format_args!("<b>{}</b> {} ", index + 1, Text(name)));
            }
            html.add(format_args!("</p>\n"));
        }
        html
    }

    pub(super) fn plot(&self, width: Width, names: &mut Names) -> Html {
        let (left, right) = sides(width);
        let panels = self.panels();
        let (height, gap) = match self.shape {
            Shape::EachAlone { .. } => (width.pick(84.0, 72.0), 30.0),
            Shape::Together => (width.pick(190.0, 150.0), 0.0),
        };
        #[expect(clippy::cast_precision_loss, reason = "a handful of panels")]
        let bottom = TOP + panels.len() as f64 * (height + gap);
        let mut plot = Plot::new(width, bottom + AXIS);
        let axis = Axis::new(self.seconds(), left, right);
        if let Some(series) = self.series.first() {
            axis.bands(&mut plot, series.target, TOP, bottom);
            axis.names(&mut plot, series.target, 14.0);
        }
        let mut top = TOP;
        for panel in &panels {
            let Some(first) = panel.first() else { continue };
            top += gap;
            let area = Area { width, left, right, top, bottom: top + height };
            self.panel(&mut plot, &axis, panel, area);
            if gap > 0.0 {
                let class = format!("label {}", first.colour);
                plot.text(&class, (left, top - 8.0), Anchor::Start, &first.target.name);
            }
            top += height;
        }
        axis.draw(&mut plot, top);
        let about = format!("{} The table below has the numbers by phase.", self.about());
        plot.finish(names, self.title, &about)
    }

    fn seconds(&self) -> usize {
        self.series.iter().map(|series| series.values.len()).max().unwrap_or(0)
    }

    /// Of one panel each.
    fn panels(&self) -> Vec<Vec<&Series<'_>>> {
        let mut panels: Vec<Vec<&Series<'_>>> = Vec::new();
        for series in &self.series {
            match panels.last_mut() {
                Some(panel)
                    if self.shape == Shape::Together
                        || panel[0].target.name == series.target.name =>
                {
                    panel.push(series);
                }
                _ => panels.push(vec![series]),
            }
        }
        panels
    }

    fn panel(&self, plot: &mut Plot, axis: &Axis, panel: &[&Series<'_>], area: Area) {
        let all = self.series.iter().flat_map(|series| series.values.iter().flatten().copied());
        let scale = match self.shape {
            Shape::EachAlone { log: true } => Scale::log(all, area.bottom, area.top),
            _ => Scale::linear(all, area.bottom, area.top),
        };
        let ticks = scale.ticks();
        let every = if ticks.len() > 5 || area.bottom - area.top < 80.0 { 2 } else { 1 };
        for tick in ticks.into_iter().step_by(every) {
            let y = scale.at(tick);
            plot.line("grid", (area.left, y), (area.right, y));
            plot.text("small muted", (area.left - 8.0, y + 4.0), Anchor::End, &(self.tick)(tick));
        }
        for series in panel {
            let points = series.points(area.width);
            if series.colour == "failed" {
                filled(plot, axis, &points, &scale, area.bottom);
                continue;
            }
            let at = |(second, value): &(usize, Option<f64>)| {
                value.map(|value| (axis.at(*second), scale.at(value)))
            };
            let points: Vec<_> = points.iter().map(at).collect();
            let class = if series.name == "p50" { "curve thin" } else { "curve" };
            plot.path(&format!("{class} {}", series.colour), &points);
        }
        self.labels(plot, panel, &scale, area);
    }

    /// At the end of each line: whose it is, or what, and its last value.
    fn labels(&self, plot: &mut Plot, panel: &[&Series<'_>], scale: &Scale, area: Area) {
        let ends: Vec<(&&Series<'_>, f64)> = panel
            .iter()
            .filter(|series| series.colour != "failed" || series.is_ever_above_zero())
            .filter_map(|series| Some((series, series.values.iter().flatten().last().copied()?)))
            .collect();
        let mut wanted: Vec<f64> = ends.iter().map(|(_, value)| scale.at(*value) + 4.0).collect();
        apart(&mut wanted, 15.0, area.top + 8.0, area.bottom + 4.0);
        for ((series, value), y) in ends.iter().zip(wanted) {
            let text = match (self.shape, series.colour) {
                (Shape::Together, _) => clipped(&series.target.name, LABEL),
                (_, "failed") => {
                    let all: f64 = series.values.iter().flatten().sum();
                    format!("{} failed", crate::amount::number(all))
                }
                _ if series.name == "answered" => (self.written)(*value),
                _ => format!("{} {}", series.name, (self.written)(*value)),
            };
            let class = format!("label {}", series.colour);
            plot.text(&class, (area.right + 8.0, y), Anchor::Start, &text);
        }
    }
}

fn filled(
    plot: &mut Plot,
    axis: &Axis,
    points: &[(usize, Option<f64>)],
    scale: &Scale,
    bottom: f64,
) {
    for (index, (second, value)) in points.iter().enumerate() {
        let next = points.get(index + 1).map_or(second + 1, |(next, _)| *next);
        if let Some(value) = value.filter(|value| *value > 0.0) {
            let top = scale.at(value).min(bottom - 1.0);
            let width = axis.at(next) - axis.at(*second);
            plot.rect("fill failed", (axis.at(*second), top), (width, bottom - top), "");
        }
    }
}
