//! When does something happen that happens so often?
//!
//! Points are drawn on a line on which one is expected per unit of length, and the line is then
//! bent: the n-th unit lies where n points are expected from the begin. That is exact for any rate
//! that changes, where drawing gaps from the rate of the moment is not.

use std::time::Duration;

use fastrand::Rng;

/// How often, over the time of a phase.
#[derive(Clone, Debug)]
pub(super) enum Pace {
    /// So many a second at its begin and at its end.
    Ramp { from: f64, to: f64, length: f64 },
    /// So many a second in the mean; of each `every` seconds, all within the first `within`.
    Bursts { per_second: f64, every: f64, within: f64, length: f64 },
}

impl Pace {
    pub(super) fn ramp((from, to): (f64, f64), length: Duration) -> Self {
        Self::Ramp { from, to, length: length.as_secs_f64() }
    }

    pub(super) fn bursts(
        per_second: f64,
        every: Duration,
        within: Duration,
        length: Duration,
    ) -> Self {
        let (every, within) = (every.as_secs_f64(), within.as_secs_f64());
        Self::Bursts { per_second, every, within, length: length.as_secs_f64() }
    }

    /// Where so many points are expected from the begin; `None`: not within the phase.
    fn at(&self, units: f64) -> Option<Duration> {
        let (seconds, length) = match *self {
            Self::Ramp { from, to, length } => {
                // from t + bend t² = units, in the form that loses no digits where bend is small.
                let bend = (to - from) / (2.0 * length);
                let root = (from * from + 4.0 * bend * units).sqrt();
                (2.0 * units / (from + root), length)
            }
            Self::Bursts { per_second, every, within, length } => {
                let seconds = units / per_second;
                let begin = (seconds / every).floor() * every;
                (begin + (seconds - begin) * within / every, length)
            }
        };
        // Not a number: fewer are expected in all.
        (seconds < length).then(|| Duration::from_secs_f64(seconds))
    }
}

/// The points themselves.
#[derive(Clone, Debug)]
pub(super) struct Points {
    pace: Pace,
    /// Independent of each other; otherwise one in each unit.
    poisson: bool,
    units: f64,
    rng: Rng,
}

impl Points {
    pub(super) fn new(pace: Pace, poisson: bool, mut rng: Rng) -> Self {
        let units = if poisson { 0.0 } else { rng.f64() - 1.0 };
        Self { pace, poisson, units, rng }
    }

    /// For what is drawn at each of them.
    pub(super) fn rng(&mut self) -> &mut Rng {
        &mut self.rng
    }
}

impl Iterator for Points {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        self.units += if self.poisson { -(1.0 - self.rng.f64()).ln() } else { 1.0 };
        self.pace.at(self.units)
    }
}
