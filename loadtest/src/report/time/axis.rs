//! Where is a second on the time axis, and in which phase?

use super::super::plot::{Anchor, Plot, Scale, width_of};
use crate::amount;
use crate::result::Target;

/// The time axis of a plot.
pub(super) struct Axis {
    scale: Scale,
    /// Seconds in what the axis counts in, and its name.
    unit: (f64, &'static str),
}

impl Axis {
    pub(super) fn new(seconds: usize, start: f64, end: f64) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "seconds of a run")]
        let seconds = seconds as f64;
        let unit = match seconds {
            _ if seconds < 300.0 => (1.0, "s"),
            _ if seconds < 10_800.0 => (60.0, "min"),
            _ => (3600.0, "h"),
        };
        Self { scale: Scale::up_to(seconds / unit.0, start, end), unit }
    }

    /// Of the begin of a second.
    #[expect(clippy::cast_precision_loss, reason = "seconds of a run")]
    pub(super) fn at(&self, second: usize) -> f64 {
        self.scale.at(second as f64 / self.unit.0)
    }

    /// Its ticks, at the bottom.
    pub(super) fn draw(&self, plot: &mut Plot, y: f64) {
        for tick in self.scale.ticks() {
            let x = self.scale.at(tick);
            let text = format!("{} {}", amount::short(tick), self.unit.1);
            let text = if tick == 0.0 { "0".to_owned() } else { text };
            plot.line("rule", (x, y), (x, y + 4.0));
            plot.text("small muted", (x, y + 17.0), Anchor::Middle, &text);
        }
    }

    /// Every other phase has a ground of its own.
    pub(super) fn bands(&self, plot: &mut Plot, target: &Target, top: f64, bottom: f64) {
        for (index, (phase, from, to)) in phases(target).into_iter().enumerate() {
            let (left, right) = (self.at(from), self.at(to));
            let says = target.phases.get(phase).map_or("", |phase| phase.name.as_str());
            if index % 2 == 1 {
                plot.rect("band", (left, top), (right - left, bottom - top), says);
            }
        }
    }

    /// The phases' names above their bands; where one has no room, all have numbers.
    pub(super) fn names(&self, plot: &mut Plot, target: &Target, y: f64) {
        let bands = phases(target);
        let fits = self.fits(target);
        for (index, (phase, from, to)) in bands.into_iter().enumerate() {
            let middle = f64::midpoint(self.at(from), self.at(to));
            let number = (index + 1).to_string();
            let name = target.phases.get(phase).map_or("", |phase| phase.name.as_str());
            plot.text(
                "small strong",
                (middle, y),
                Anchor::Middle,
                if fits { name } else { &number },
            );
        }
    }

    /// Whether every phase's name has room above its band.
    pub(super) fn fits(&self, target: &Target) -> bool {
        phases(target).into_iter().all(|(phase, from, to)| {
            let name = target.phases.get(phase).map_or("", |phase| phase.name.as_str());
            width_of(name) + 6.0 <= self.at(to) - self.at(from)
        })
    }
}

/// Index of the phase, its first second, and the first one after it.
pub(super) fn phases(target: &Target) -> Vec<(usize, usize, usize)> {
    let mut bands: Vec<(usize, usize, usize)> = Vec::new();
    for (index, second) in target.seconds.iter().enumerate() {
        match bands.last_mut() {
            Some(band) if band.0 == second.phase => band.2 = index + 1,
            _ => bands.push((second.phase, index, index + 1)),
        }
    }
    bands
}
