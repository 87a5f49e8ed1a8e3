//! How many times as much is one target's figure as another's, over all rounds?

use std::fmt;

/// The middle of some figures, and how far they go.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Spread {
    pub(super) median: f64,
    pub(super) least: f64,
    pub(super) most: f64,
}

impl Spread {
    /// `None` of nothing.
    pub(super) fn of(figures: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut figures: Vec<f64> = figures.into_iter().filter(|it| it.is_finite()).collect();
        figures.sort_by(f64::total_cmp);
        let (least, most) = (*figures.first()?, *figures.last()?);
        let half = figures.len() / 2;
        let median = if figures.len().is_multiple_of(2) {
            f64::midpoint(figures[half - 1], figures[half])
        } else {
            figures[half]
        };
        Some(Self { median, least, most })
    }

    /// Of `ours` to `theirs`, round by round: what changed on the machine between rounds is in
    /// neither.
    pub(super) fn of_ratios(ours: &[Option<f64>], theirs: &[Option<f64>]) -> Option<Self> {
        let pairs = ours.iter().zip(theirs);
        Self::of(pairs.filter_map(|(ours, theirs)| {
            let (ours, theirs) = ours.zip(*theirs)?;
            (theirs > 0.0).then(|| ours / theirs)
        }))
    }

    fn varies(self) -> bool {
        self.most > self.least
    }
}

/// `1.08 (1.02 to 1.11)`.
impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&figure(self.median))?;
        if self.varies() {
            write!(f, " ({} to {})", figure(self.least), figure(self.most))?;
        }
        Ok(())
    }
}

/// As many digits as mean something.
pub(super) fn figure(value: f64) -> String {
    match value.abs() {
        0.0 => "0".to_owned(),
        it if it < 9.995 => format!("{value:.2}"),
        it if it < 99.95 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_of_an_even_number_lies_between_two() {
        let spread = Spread::of([4.0, 1.0, 2.0, 100.0]);

        assert_eq!(spread, Some(Spread { median: 3.0, least: 1.0, most: 100.0 }));
        assert_eq!(Spread::of([]), None);
    }

    #[test]
    fn ratios_are_of_the_same_round() {
        let ours = [Some(2.0), Some(30.0), None, Some(1.0)];
        let theirs = [Some(1.0), Some(10.0), Some(1.0), Some(0.0)];

        let spread = Spread::of_ratios(&ours, &theirs).unwrap();

        assert_eq!(spread, Spread { median: 2.5, least: 2.0, most: 3.0 });
    }

    #[test]
    fn figures_have_three_digits_or_all_before_the_point() {
        for (value, shown) in
            [(0.0, "0"), (0.123, "0.12"), (9.999, "10.0"), (12.34, "12.3"), (12345.6, "12346")]
        {
            assert_eq!(figure(value), shown);
        }
        let spread = Spread { median: 1.0, least: 0.5, most: 2.0 };
        assert_eq!(spread.to_string(), "1.00 (0.50 to 2.00)");
    }
}
