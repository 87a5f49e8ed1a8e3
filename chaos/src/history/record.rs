//! What has happened in a run, as those saw it who took part?
//!
//! All times are since the run began. A change counts from the moment in which it was acknowledged,
//! a read from the one in which it was sent.

use std::time::Duration;

/// What is promised.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Promises {
    /// The longest that lost rights go unseen.
    pub(crate) window: Duration,
    /// The longest that a change made elsewhere goes unseen.
    pub(crate) ttl: Duration,
    /// The longest that an answer may be old while the upstream cannot be asked.
    pub(crate) stale: Duration,
    /// On top of each.
    pub(crate) slack: Duration,
}

/// A whole run.
#[derive(Clone, Debug, Default)]
pub(crate) struct History {
    pub(crate) reads: Vec<Read>,
    pub(crate) changes: Vec<Change>,
    /// When the upstream could not be asked, or answered nonsense.
    pub(crate) outages: Vec<Span>,
    pub(crate) audited: Vec<Audited>,
    /// What `vaultlet audit verify` found wrong.
    pub(crate) broken_chain: Option<String>,
}

/// A span of time.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Span {
    pub(crate) from: Duration,
    pub(crate) to: Duration,
}

/// A secret: those of a group may be read with the same rights.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(crate) struct Path {
    pub(crate) group: u8,
    pub(crate) number: u8,
}

/// Who reads. A token that was revoked is not used for another.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(crate) struct Reader {
    pub(crate) group: u8,
    pub(crate) number: u32,
}

/// A read of a secret, with its answer.
#[derive(Clone, Debug)]
pub(crate) struct Read {
    pub(crate) reader: Reader,
    pub(crate) path: Path,
    pub(crate) began: Duration,
    pub(crate) ended: Duration,
    pub(crate) told: Told,
    pub(crate) age: Option<Duration>,
    /// The reader's, as vaultlet sees it.
    pub(crate) port: u16,
}

/// What an answer says.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Told {
    /// This is the value, which says that it is of `path`.
    Value { path: String, rank: Rank },
    /// There was one, which is deleted.
    Deleted { rank: Rank },
    /// With 200, something that is no secret.
    Nonsense,
    /// No, for a reason that is not looked at here.
    Refused,
    /// Nothing, or not all: it may have been answered.
    Lost,
}

/// Which of two states of a secret is newer: versions count, and a version is deleted after it was
/// there.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct Rank(u64);

/// Something that was acknowledged.
#[derive(Clone, Debug)]
pub(crate) struct Change {
    pub(crate) began: Duration,
    pub(crate) acked: Duration,
    pub(crate) what: What,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum What {
    /// A policy takes the group's rights away.
    Denied(u8),
    /// And gives them back.
    Granted(u8),
    /// A token is worth nothing any more.
    Revoked(Reader),
    /// A secret is in this state.
    Wrote { path: Path, rank: Rank, through_vaultlet: bool },
}

/// An audit record of an answer with a secret.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Audited {
    pub(crate) port: u16,
    pub(crate) path: String,
}

impl Path {
    /// As its value names it, and below the mount's data.
    pub(crate) fn name(self) -> String {
        format!("g{}/{}", self.group, self.number)
    }
}

impl Rank {
    pub(crate) fn there(version: u64) -> Self {
        Self(version * 2)
    }

    pub(crate) fn deleted(version: u64) -> Self {
        Self(version * 2 + 1)
    }
}

impl Read {
    /// Of the state that was told, if one was.
    pub(crate) fn rank(&self) -> Option<Rank> {
        match self.told {
            Told::Value { rank, .. } | Told::Deleted { rank } => Some(rank),
            Told::Nonsense | Told::Refused | Told::Lost => None,
        }
    }
}
