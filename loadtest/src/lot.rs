//! How is drawn by lot, so that the same seed gives the same?
//!
//! Each thing that draws has a stream of its own, named by numbers: what one of them draws, or how
//! often, changes nothing for the others.

use fastrand::Rng;

/// The stream called `name`.
pub(crate) fn stream(seed: u64, name: &[u64]) -> Rng {
    Rng::with_seed(name.iter().fold(mixed(seed), |state, part| mixed(state ^ mixed(*part))))
}

/// The mixer of `SplitMix64`: neighbours become strangers.
fn mixed(number: u64) -> u64 {
    let number = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

/// The numbers below `count`, each once, in an order drawn by lot.
pub(crate) fn shuffled(mut rng: Rng, count: u32) -> Vec<u32> {
    let mut numbers: Vec<u32> = (0..count).collect();
    rng.shuffle(&mut numbers);
    numbers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_have_nothing_to_do_with_each_other() {
        let first = |seed, name: &[u64]| stream(seed, name).u64(..);

        assert_eq!(first(1, &[2, 3]), first(1, &[2, 3]));
        let all = [first(1, &[2, 3]), first(2, &[2, 3]), first(1, &[3, 2]), first(1, &[2, 3, 0])];
        for (index, one) in all.iter().enumerate() {
            assert!(!all[..index].contains(one), "{all:?}");
        }
    }
}
