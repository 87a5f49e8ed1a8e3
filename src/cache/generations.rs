//! Is what was read before a change still worth anything?
//!
//! Each path has a generation, raised by every change to it; an entry remembers the generation it
//! was read under, *before* its request left, and is worth nothing once that has moved. This one
//! comparison on every hit is the whole fence: it does not matter whether a fill is stored before,
//! during or after the write that makes it old, nor when the entry itself is removed.
//!
//! Paths share generations by hash. A write may thereby make a neighbour read its secret once more
//! than necessary; it can never leave one unread.

use std::hash::BuildHasher as _;
use std::sync::atomic::{AtomicU64, Ordering};

use foldhash::quality::FixedState;

/// A power of two. With ten thousand entries two in three share with nobody.
const STRIPES: usize = 1 << 15;

/// The generation of every path.
#[derive(Debug)]
pub struct Generations {
    everything: AtomicU64,
    stripes: Box<[AtomicU64]>,
    hasher: FixedState,
}

/// When something was read, in generations.
#[derive(Clone, Copy, Debug)]
pub struct Stamp {
    stripe: usize,
    sum: u64,
}

impl Default for Generations {
    fn default() -> Self {
        Self {
            everything: AtomicU64::new(0),
            stripes: (0..STRIPES).map(|_| AtomicU64::new(0)).collect(),
            // Another in each process, and the same where a simulation is played again.
            hasher: FixedState::with_seed(fastrand::u64(..)),
        }
    }
}

impl Generations {
    /// The stamp of something about to be read at `path`.
    pub fn stamp(&self, path: &str) -> Stamp {
        let stripe = self.stripe(path);
        Stamp { stripe, sum: self.sum(stripe) }
    }

    /// Whether nothing has changed since `stamp`.
    pub fn current(&self, stamp: Stamp) -> bool {
        self.sum(stamp.stripe) == stamp.sum
    }

    /// `path` has changed, or may have.
    pub fn raise(&self, path: &str) {
        self.stripes[self.stripe(path)].fetch_add(1, Ordering::SeqCst);
    }

    /// Anything may have changed.
    pub fn raise_all(&self) {
        self.everything.fetch_add(1, Ordering::SeqCst);
    }

    /// Both only rise, so their sum is the same only while neither has moved.
    fn sum(&self, stripe: usize) -> u64 {
        self.everything.load(Ordering::SeqCst) + self.stripes[stripe].load(Ordering::SeqCst)
    }

    fn stripe(&self, path: &str) -> usize {
        #[expect(clippy::cast_possible_truncation, reason = "the low bits are as good as any")]
        let hash = self.hasher.hash_one(path) as usize;
        hash & (STRIPES - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_is_current_until_its_path_or_everything_changes() {
        let generations = Generations::default();
        let before = generations.stamp("secret/data/app");
        assert!(generations.current(before));

        generations.raise("secret/data/app");
        assert!(!generations.current(before));

        let after = generations.stamp("secret/data/app");
        assert!(generations.current(after));
        generations.raise_all();
        assert!(!generations.current(after));
    }
}
