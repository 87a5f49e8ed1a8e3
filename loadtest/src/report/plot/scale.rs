//! Where on an axis is a value?

/// Values from `from` to `to`, shown from the pixel `start` to the pixel `end`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in super::super) struct Scale {
    from: f64,
    to: f64,
    start: f64,
    end: f64,
    log: bool,
}

impl Scale {
    /// From 0 to a round value that none of `values` is above.
    pub(in super::super) fn linear(
        values: impl Iterator<Item = f64>,
        start: f64,
        end: f64,
    ) -> Self {
        let largest = values.filter(|value| value.is_finite()).fold(0.0, f64::max);
        let to = if largest > 0.0 { largest } else { 1.0 };
        let step = step(to);
        Self { from: 0.0, to: (to / step - 1e-9).ceil() * step, start, end, log: false }
    }

    /// From 0 to `to` itself.
    pub(in super::super) fn up_to(to: f64, start: f64, end: f64) -> Self {
        Self { from: 0.0, to, start, end, log: false }
    }

    /// Over the values above 0, each power of ten as wide as the next.
    pub(in super::super) fn log(values: impl Iterator<Item = f64>, start: f64, end: f64) -> Self {
        let range = values.filter(|value| value.is_finite() && *value > 0.0).fold(
            None,
            |range: Option<(f64, f64)>, value| {
                Some(range.map_or((value, value), |(low, high)| (low.min(value), high.max(value))))
            },
        );
        let (low, high) = range.unwrap_or((1.0, 10.0));
        let from = below(low);
        let to = above(high).max(from * 10.0);
        Self { from, to, start, end, log: true }
    }

    /// The pixel of a value; of one outside, the end that is nearer.
    pub(in super::super) fn at(&self, value: f64) -> f64 {
        let value = value.clamp(self.from, self.to);
        let share = if self.log {
            (value / self.from).ln() / (self.to / self.from).ln()
        } else {
            (value - self.from) / (self.to - self.from)
        };
        self.start + share * (self.end - self.start)
    }

    /// Round values to be marked.
    pub(in super::super) fn ticks(&self) -> Vec<f64> {
        if !self.log {
            let step = step(self.to);
            return std::iter::successors(Some(0.0), |tick| Some(tick + step))
                .take_while(|tick| *tick <= self.to + step * 1e-6)
                .collect();
        }
        let decades = (self.to / self.from).log10();
        // Where there are few powers of ten, some between them; where there are many, not all.
        let between: &[f64] = if decades < 2.1 { &[1.0, 3.0] } else { &[1.0] };
        let every = if decades > 7.0 { 2 } else { 1 };
        let first = self.from.log10().floor();
        std::iter::successors(Some(first), |power| Some(power + 1.0))
            .take_while(|power| 10_f64.powf(*power) <= self.to * 1.001)
            .step_by(every)
            .flat_map(|power| between.iter().map(move |times| times * 10_f64.powf(power)))
            .filter(|tick| *tick >= self.from * 0.999 && *tick <= self.to * 1.001)
            .collect()
    }
}

/// 1, 2 or 5 of a power of ten: about four of them to `to`.
fn step(to: f64) -> f64 {
    let power = 10_f64.powf((to / 4.0).log10().floor());
    let times = to / 4.0 / power;
    let round = [1.0, 2.0, 5.0, 10.0].into_iter().find(|round| times <= *round * 1.2);
    round.unwrap_or(10.0) * power
}

/// 1 or 3 of a power of ten, not above `value`.
fn below(value: f64) -> f64 {
    let power = 10_f64.powf(value.log10().floor());
    if value >= 3.0 * power { 3.0 * power } else { power }
}

/// The same, not below it.
fn above(value: f64) -> f64 {
    let power = 10_f64.powf(value.log10().floor());
    [1.0, 3.0]
        .into_iter()
        .map(|times| times * power)
        .find(|top| value <= *top)
        .unwrap_or(10.0 * power)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn linear_scales_begin_at_nothing_and_end_round() {
        let scale = Scale::linear([3.0, 187.0, f64::NAN].into_iter(), 0.0, 100.0);
        assert_eq!(scale.ticks(), [0.0, 50.0, 100.0, 150.0, 200.0]);
        assert_eq!((scale.at(0.0), scale.at(100.0), scale.at(1e9)), (0.0, 50.0, 100.0));
        assert_eq!(Scale::linear([0.0].into_iter(), 0.0, 1.0).ticks(), [0.0, 0.5, 1.0]);
    }

    #[test]
    fn powers_of_ten_are_equally_far_apart() {
        let scale = Scale::log([20.0, 0.0, 9e4].into_iter(), 0.0, 100.0);
        assert_eq!(scale.ticks(), [10.0, 100.0, 1e3, 1e4, 1e5]);
        let distance = scale.at(100.0) - scale.at(10.0);
        assert!((distance - 25.0).abs() < 1e-9, "{distance}");
        assert!(scale.at(0.0).abs() < 1e-9);
    }

    #[test]
    fn a_short_logarithmic_scale_has_ticks_between() {
        let scale = Scale::log([40.0, 200.0].into_iter(), 0.0, 100.0);
        assert_eq!(scale.ticks(), [30.0, 100.0, 300.0]);
        assert_eq!(Scale::log(std::iter::empty(), 0.0, 1.0).ticks(), [1.0, 3.0, 10.0]);
    }
}
