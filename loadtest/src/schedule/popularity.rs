//! Which of many is it?

use fastrand::Rng;

use crate::scenario::Popularity;

/// Draws numbers below a count by their popularity.
#[derive(Clone, Debug)]
pub(super) enum Draw {
    Uniform(u32),
    Zipf(Zipf),
    /// The table's last number stands for all from it on, which are alike.
    Listed {
        table: Alias,
        count: u32,
    },
    InTurn(u32),
}

impl Draw {
    pub(super) fn new(popularity: &Popularity, count: u32) -> Self {
        match popularity {
            Popularity::Uniform => Self::Uniform(count),
            Popularity::Zipf(exponent) => Self::Zipf(Zipf::new(*exponent, count)),
            Popularity::Listed(weights) => {
                let rest = f64::from(count - number(weights.len()));
                let table = weights.iter().copied().chain((rest > 0.0).then_some(rest));
                Self::Listed { table: Alias::new(&table.collect::<Vec<_>>()), count }
            }
            Popularity::InTurn => Self::InTurn(count),
        }
    }

    /// The next one; `turn` is the caller's, and moves on.
    pub(super) fn draw(&self, rng: &mut Rng, turn: &mut u32) -> u32 {
        match self {
            Self::Uniform(count) => rng.u32(..*count),
            Self::Zipf(zipf) => zipf.draw(rng),
            Self::Listed { table, count } => {
                let number = table.draw(rng);
                let last = table.len() - 1;
                if number < last || *count == table.len() { number } else { rng.u32(last..*count) }
            }
            Self::InTurn(count) => {
                *turn = turn.wrapping_add(1) % count;
                *turn
            }
        }
    }
}

/// Zipf's law by rejection-inversion, which needs no table (W. Hörmann, G. Derflinger, "Rejection-
/// inversion to generate variates from monotone discrete distributions", 1996).
#[derive(Clone, Debug)]
pub(super) struct Zipf {
    exponent: f64,
    count: f64,
    /// The integral's value at 1.5, less the first one's weight, and at the end.
    integral: (f64, f64),
    /// Closer than this to the number above, nothing is rejected.
    near: f64,
}

impl Zipf {
    fn new(exponent: f64, count: u32) -> Self {
        let mut zipf = Self { exponent, count: count.into(), integral: (0.0, 0.0), near: 0.0 };
        zipf.integral = (zipf.area(1.5) - 1.0, zipf.area(zipf.count + 0.5));
        zipf.near = 2.0 - zipf.place(zipf.area(2.5) - zipf.weight(2.0));
        zipf
    }

    fn draw(&self, rng: &mut Rng) -> u32 {
        let (low, high) = self.integral;
        loop {
            let area = high + rng.f64() * (low - high);
            let place = self.place(area);
            let number = place.round().clamp(1.0, self.count);
            if number - place <= self.near || area >= self.area(number + 0.5) - self.weight(number)
            {
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "within the count"
                )]
                return number as u32 - 1;
            }
        }
    }

    fn weight(&self, number: f64) -> f64 {
        (-self.exponent * number.ln()).exp()
    }

    /// The integral of the weight, (x^(1-s) - 1) / (1 - s), which is ln x for s = 1.
    fn area(&self, number: f64) -> f64 {
        let (log, power) = (number.ln(), 1.0 - self.exponent);
        let small = power * log;
        if small.abs() > 1e-8 { small.exp_m1() / power } else { log * (1.0 + small / 2.0) }
    }

    /// The inverse of `area`.
    fn place(&self, area: f64) -> f64 {
        let power = 1.0 - self.exponent;
        // What rounding has put below the least value that there is.
        let small = (power * area).max(-1.0);
        let log =
            if small.abs() > 1e-8 { small.ln_1p() / power } else { area * (1.0 - small / 2.0) };
        log.exp()
    }
}

/// Numbers by listed weights, each draw in the same time (A. J. Walker's alias method, set up as M.
/// D. Vose does).
#[derive(Clone, Debug)]
pub(super) struct Alias {
    /// Of each number: how likely it stays, and which one it becomes otherwise.
    columns: Vec<(f64, u32)>,
}

impl Alias {
    /// `weights`: none negative, one or more above 0.
    pub(super) fn new(weights: &[f64]) -> Self {
        let total: f64 = weights.iter().sum();
        let scale = f64::from(number(weights.len())) / total;
        let mut columns: Vec<(f64, u32)> =
            weights.iter().zip(0..).map(|(weight, number)| (weight * scale, number)).collect();
        let (mut low, mut high): (Vec<usize>, Vec<usize>) =
            (0..columns.len()).partition(|number| columns[*number].0 < 1.0);
        while let (Some(short), Some(tall)) = (low.pop(), high.pop()) {
            columns[short].1 = columns[tall].1;
            columns[tall].0 -= 1.0 - columns[short].0;
            if columns[tall].0 < 1.0 { low.push(tall) } else { high.push(tall) }
        }
        // What is left is 1 but for rounding.
        for number in low.into_iter().chain(high) {
            columns[number].0 = 1.0;
        }
        Self { columns }
    }

    pub(super) fn draw(&self, rng: &mut Rng) -> u32 {
        let number = rng.u32(..self.len());
        let (stays, other) = self.columns[number as usize];
        if rng.f64() < stays { number } else { other }
    }

    fn len(&self) -> u32 {
        number(self.columns.len())
    }
}

/// There are never more weights than secrets.
fn number(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
