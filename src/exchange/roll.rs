//! Which badges stand for one shared login?

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use crate::secret::Fingerprint;

/// Badges of one service account in one role that count at once. An application that logs in
/// for each request and never revokes loses the oldest first.
const MOST_PER_SLOT: usize = 512;

/// The badges of one slot, oldest first.
#[derive(Debug, Default)]
pub struct Roll(Mutex<VecDeque<Fingerprint>>);

impl Roll {
    /// Adds one; gives back the oldest if there are too many.
    pub fn add(&self, own: Fingerprint) -> Option<Fingerprint> {
        let mut roll = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        roll.push_back(own);
        (roll.len() > MOST_PER_SLOT).then(|| roll.pop_front()).flatten()
    }

    /// Takes one away.
    pub fn remove(&self, own: Fingerprint) {
        let mut roll = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        roll.retain(|other| *other != own);
    }
}
