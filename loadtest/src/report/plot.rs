//! How is a plot drawn: scales, ticks, marks, text?
//!
//! A plot has a width in CSS pixels and is shown at about that width, so that its text is as large
//! as the page's. Colours are the style sheet's: marks carry classes.

use std::fmt;

use super::html::{Html, Text};

mod scale;

pub(super) use scale::Scale;

/// Wide enough for a screen, and for a phone; the page shows one of them.
pub(super) const WIDTHS: [Width; 2] = [Width::Wide, Width::Narrow];

/// For which of them a plot is drawn.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Width {
    Wide,
    Narrow,
    /// One of several side by side, on any screen.
    Panel,
}

impl Width {
    pub(super) fn pixels(self) -> f64 {
        match self {
            Self::Wide => 1000.0,
            Self::Narrow => 350.0,
            Self::Panel => 320.0,
        }
    }

    fn class(self) -> &'static str {
        match self {
            Self::Wide => "wide",
            Self::Narrow => "narrow",
            Self::Panel => "panel",
        }
    }

    /// The first where it is wide, the second elsewhere.
    pub(super) fn pick<T>(self, wide: T, narrow: T) -> T {
        if self == Self::Wide { wide } else { narrow }
    }
}

/// Where a text is held.
#[derive(Clone, Copy)]
pub(super) enum Anchor {
    Start,
    Middle,
    End,
}

/// A plot as it grows.
pub(super) struct Plot {
    marks: Html,
    width: Width,
    height: f64,
}

impl Plot {
    pub(super) fn new(width: Width, height: f64) -> Self {
        Self { marks: Html::default(), width, height }
    }

    pub(super) fn line(&mut self, class: &str, from: (f64, f64), to: (f64, f64)) {
        self.marks.add(format_args!(
            "<line class=\"{class}\" x1=\"{}\" y1=\"{}\" x2=\"{}\" y2=\"{}\"/>",
            P(from.0),
            P(from.1),
            P(to.0),
            P(to.1)
        ));
    }

    /// `at` is its upper left corner.
    pub(super) fn rect(&mut self, class: &str, at: (f64, f64), size: (f64, f64), says: &str) {
        self.marks.add(format_args!(
            "<rect class=\"{class}\" x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\">{}</rect>",
            P(at.0),
            P(at.1),
            P(size.0.max(0.0)),
            P(size.1.max(0.0)),
            Says(says)
        ));
    }

    pub(super) fn circle(&mut self, class: &str, at: (f64, f64), radius: f64, says: &str) {
        self.marks.add(format_args!(
            "<circle class=\"{class}\" cx=\"{}\" cy=\"{}\" r=\"{}\">{}</circle>",
            P(at.0),
            P(at.1),
            P(radius),
            Says(says)
        ));
    }

    pub(super) fn text(&mut self, class: &str, at: (f64, f64), anchor: Anchor, text: &str) {
        let anchor = match anchor {
            Anchor::Start => "",
            Anchor::Middle => " text-anchor=\"middle\"",
            Anchor::End => " text-anchor=\"end\"",
        };
        self.marks.add(format_args!(
            "<text class=\"{class}\" x=\"{}\" y=\"{}\"{anchor}>{}</text>",
            P(at.0),
            P(at.1),
            Text(text)
        ));
    }

    /// A line through the points that are there, and none across those that are not.
    pub(super) fn path(&mut self, class: &str, points: &[Option<(f64, f64)>]) {
        let mut pen_is_down = false;
        self.marks.add(format_args!("<path class=\"{class}\" d=\""));
        for (index, point) in points.iter().enumerate() {
            let Some((x, y)) = point else {
                pen_is_down = false;
                continue;
            };
            let how = if pen_is_down { 'L' } else { 'M' };
            self.marks.add(format_args!("{how}{} {}", P(*x), P(*y)));
            // One by itself would not be seen.
            if !pen_is_down && points.get(index + 1).is_none_or(Option::is_none) {
                self.marks.add(format_args!("h1"));
            }
            pen_is_down = true;
        }
        self.marks.add(format_args!("\"/>"));
    }

    /// What was drawn, with what it says to those who do not see it.
    pub(super) fn finish(self, names: &mut Names, title: &str, about: &str) -> Html {
        let name = names.next();
        let mut html = Html::default();
        html.add(format_args!(
            "<svg class=\"{}\" viewBox=\"0 0 {} {}\" role=\"img\" \
             aria-labelledby=\"{name}t {name}d\"><title id=\"{name}t\">{}</title>\
             <desc id=\"{name}d\">{}</desc>{}</svg>\n",
            self.width.class(),
            P(self.width.pixels()),
            P(self.height),
            Text(title),
            Text(about),
            self.marks
        ));
        html
    }
}

/// Names of elements, each one once in a page.
#[derive(Default)]
pub(super) struct Names(u32);

impl Names {
    fn next(&mut self) -> String {
        self.0 += 1;
        format!("p{}", self.0)
    }
}

/// How wide a text is, roughly: it is only kept out of the way of others.
#[expect(clippy::cast_precision_loss, reason = "a label's length")]
pub(super) fn width_of(text: &str) -> f64 {
    text.chars().count() as f64 * 6.7
}

/// As much of a text as has room, and a sign that there is more.
pub(super) fn clipped(text: &str, room: f64) -> String {
    if width_of(text) <= room {
        return text.to_owned();
    }
    let mut end = text.to_owned();
    while end.pop().is_some() && width_of(&end) + width_of("…") > room {}
    end + "…"
}

/// Moves labels that want to be at `wanted` apart, and keeps them between `top` and `bottom`.
pub(super) fn apart(wanted: &mut [f64], distance: f64, top: f64, bottom: f64) {
    let mut order: Vec<usize> = (0..wanted.len()).collect();
    order.sort_by(|a, b| wanted[*a].total_cmp(&wanted[*b]));
    let mut free_from = top;
    for index in &order {
        wanted[*index] = wanted[*index].max(free_from);
        free_from = wanted[*index] + distance;
    }
    let mut free_to = bottom;
    for index in order.iter().rev() {
        wanted[*index] = wanted[*index].min(free_to);
        free_to = wanted[*index] - distance;
    }
}

/// A coordinate, to a tenth of a pixel.
struct P(f64);

impl fmt::Display for P {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // What is not a number is nowhere; it must not break the page.
        let value = if self.0.is_finite() { (self.0 * 10.0).round() / 10.0 } else { 0.0 };
        write!(f, "{value}")
    }
}

/// What a mark says when pointed at.
struct Says<'a>(&'a str);

impl fmt::Display for Says<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() { Ok(()) } else { write!(f, "<title>{}</title>", Text(self.0)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_gaps_where_nothing_is_known() {
        let mut plot = Plot::new(Width::Panel, 10.0);
        plot.path("a", &[Some((0.0, 1.0)), Some((1.04, 2.0)), None, Some((3.0, f64::NAN))]);
        assert_eq!(plot.marks.to_string(), "<path class=\"a\" d=\"M0 1L1 2M3 0h1\"/>");
    }

    #[test]
    fn what_is_too_long_is_cut() {
        assert_eq!(clipped("openbao-proxy", 92.0), "openbao-proxy");
        assert_eq!(clipped("http://127.0.0.1:8200", 92.0), "http://127.0…");
        assert_eq!(clipped("a", 1.0), "…");
    }

    #[test]
    fn labels_keep_their_distance() {
        let mut labels = [50.0, 48.0, 99.0, 98.0];
        apart(&mut labels, 12.0, 0.0, 100.0);
        assert_eq!(labels.map(|label| format!("{label}")), ["60", "48", "100", "88"]);
    }
}
