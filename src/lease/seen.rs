//! What is known of a credential, as of when?
//!
//! What was seen counts for a window, unless something has happened since that casts doubt on it.

use std::time::Duration;

use crate::clock::Time;

/// Something was so, as of a request that left then.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    /// When that was.
    pub(super) at: Time,
    /// What had been cast on all of them by then.
    pub(super) doubts: Doubts,
}

/// How many doubts were cast on all of them so far.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Doubts {
    /// On each.
    pub(super) all: u64,
    /// On those that were issued to callers' own tokens.
    pub(super) own: u64,
}

impl Doubts {
    /// Some that no other are: what was seen under these is always doubted.
    pub(super) const OTHER: Self = Self { all: u64::MAX, own: u64::MAX };
}

/// What has to be asked before it may be handed out.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Lack {
    /// Whether its owner still has the right to it.
    pub(super) right: bool,
    /// Whether it is still there.
    pub(super) confirmation: bool,
}

impl Lack {
    /// Whether anything has.
    pub(super) fn any(self) -> bool {
        self.right || self.confirmation
    }
}

/// What holds of all of them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Windows {
    /// W: how long a right is believed.
    pub(super) right: Duration,
    /// How long it is believed that it is there.
    pub(super) confirmation: Duration,
    /// As of now.
    pub(super) doubts: Doubts,
}
