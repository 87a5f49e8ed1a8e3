use std::collections::BTreeSet;

use super::*;
use crate::lot;

const DRAWS: u32 = 200_000;

/// How often each number was drawn.
fn counts(popularity: &Popularity, count: u32) -> Vec<f64> {
    let (draw, mut rng, mut turn) =
        (Draw::new(popularity, count), lot::stream(1, &[count.into()]), 0);
    let mut counts = vec![0.0; count as usize];
    for _ in 0..DRAWS {
        counts[draw.draw(&mut rng, &mut turn) as usize] += 1.0;
    }
    counts
}

/// Pearson's: how far from what the weights say, in standard deviations of that.
fn distance(counts: &[f64], weights: &[f64]) -> f64 {
    let total: f64 = weights.iter().sum();
    let parts = counts.iter().zip(weights).filter(|(_, weight)| **weight > 0.0);
    let (mut sum, mut freedom) = (0.0, -1.0);
    for (count, weight) in parts {
        let expected = f64::from(DRAWS) * weight / total;
        if expected >= 5.0 {
            sum += (count - expected).powi(2) / expected;
            freedom += 1.0;
        }
    }
    if freedom < 1.0 { 0.0 } else { (sum - freedom) / (2.0_f64 * freedom).sqrt() }
}

#[test]
fn zipf_s_law_is_the_formula() {
    for exponent in [0.0, 0.3, 0.8, 1.0, 1.0 + 1e-12, 1.1, 2.0, 5.0] {
        for count in [2, 3, 10, 100, 1000] {
            let weights: Vec<f64> =
                (1..=count).map(|rank| f64::from(rank).powf(-exponent)).collect();

            let found = counts(&Popularity::Zipf(exponent), count);

            let off = distance(&found, &weights);
            assert!(off.abs() < 5.0, "{exponent} {count}: {off}");
        }
    }
}

#[test]
fn the_ends_of_zipf_s_law_hold() {
    for exponent in [0.0, 1.0, 3.0, 10.0] {
        for count in [1, 10_000_000] {
            let (draw, mut rng) = (Zipf::new(exponent, count), lot::stream(2, &[]));
            assert!((0..10_000).all(|_| draw.draw(&mut rng) < count), "{exponent} {count}");
        }
    }
    let (draw, mut rng) = (Zipf::new(1.0, 10_000_000), lot::stream(2, &[]));
    let first = (0..DRAWS).filter(|_| draw.draw(&mut rng) == 0).count();
    let first = f64::from(number(first));
    // One in the ten millionth harmonic number, ln n + Euler's constant.
    let expected = f64::from(DRAWS) / (1e7_f64.ln() + 0.577_215_664_9);
    assert!((first - expected).abs() < 5.0 * expected.sqrt(), "{first} of {expected}");
}

#[test]
fn listed_weights_count_and_the_rest_are_alike() {
    for (listed, count) in [
        (vec![50.0, 20.0, 10.0], 12),
        (vec![1.0, 0.0, 3.0], 3),
        (vec![6.0, 5.0, 4.0, 0.1, 0.2, 1.0], 9),
        (vec![0.0], 2),
        (vec![5.0], 1),
        (vec![0.001, 1000.0, 0.5, 0.5], 4),
    ] {
        let mut weights = listed.clone();
        weights.resize(count as usize, 1.0);

        let found = counts(&Popularity::Listed(listed.clone()), count);

        assert!(distance(&found, &weights).abs() < 5.0, "{listed:?}: {found:?}");
        let never = found.iter().zip(&weights).filter(|(_, weight)| **weight == 0.0);
        assert!(never.into_iter().all(|(count, _)| *count == 0.0), "{listed:?}");
    }
}

#[test]
fn the_others_are_alike_or_in_turn() {
    assert!(distance(&counts(&Popularity::Uniform, 100), &[1.0; 100]).abs() < 5.0);

    let (draw, mut rng) = (Draw::new(&Popularity::InTurn, 1000), lot::stream(1, &[]));
    let mut turn = u32::MAX - 5;
    let drawn: Vec<u32> = (0..2000).map(|_| draw.draw(&mut rng, &mut turn)).collect();
    for round in drawn[10..].windows(1000) {
        assert_eq!((round[0] + 999) % 1000, round[999]);
    }
    assert_eq!(drawn[10..1010].iter().collect::<BTreeSet<_>>().len(), 1000);
}
