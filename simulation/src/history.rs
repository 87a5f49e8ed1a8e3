//! What was so at the server, and from when to when.
//!
//! Instants are durations since the seed began.

use std::time::Duration;

/// Secrets, by their number: path below `/v1/`, and whether it is of KV version 2.
pub(crate) const SECRETS: [(&str, bool); 6] = [
    ("kv/data/a", true),
    ("kv/data/b", true),
    ("kv/data/deep/c", true),
    ("old/x", false),
    ("old/y", false),
    // Nothing is there at first.
    ("kv/data/later", true),
];

/// What a path of a secret held, from an instant on until the next one's.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Content {
    pub(crate) at: Duration,
    pub(crate) cluster: u32,
    /// 0: nothing was ever there.
    pub(crate) version: u32,
    pub(crate) deleted: bool,
    /// When it is deleted by itself.
    pub(crate) dies: Option<Duration>,
}

impl Content {
    /// Whether there is a secret.
    pub(crate) fn there(&self, now: Duration) -> bool {
        self.version > 0 && !self.deleted && self.dies.is_none_or(|dies| now < dies)
    }
}

/// One path's contents, in their order; never empty.
#[derive(Clone, Debug)]
pub(crate) struct Contents(pub(crate) Vec<Content>);

impl Contents {
    pub(crate) fn last(&self) -> Content {
        self.0[self.0.len() - 1]
    }

    /// When the one with this number was what there was, up to `now`.
    fn reign(&self, number: usize) -> (Duration, Duration) {
        let next = self.0.get(number + 1).map_or(Duration::MAX, |next| next.at);
        (self.0[number].at, next)
    }

    /// The number of what was read: the secret of this version, in that cluster.
    pub(crate) fn number(&self, cluster: u32, version: u32) -> Option<usize> {
        let secret = |it: &Content| it.cluster == cluster && it.version == version && !it.deleted;
        self.0.iter().position(secret)
    }

    /// Whether that one was what there was at any instant of these.
    pub(crate) fn current(&self, number: usize, from: Duration, to: Duration) -> bool {
        let (begun, mut over) = self.reign(number);
        over = over.min(self.0[number].dies.unwrap_or(Duration::MAX));
        begun <= to && over >= from
    }

    /// The first of them that meant that there was nothing at an instant of these.
    pub(crate) fn absent(&self, from: Duration, to: Duration) -> Option<usize> {
        self.0.iter().enumerate().position(|(number, content)| {
            let (mut begun, over) = self.reign(number);
            if content.version > 0 && !content.deleted {
                let Some(dies) = content.dies else { return false };
                begun = dies;
            }
            begun <= to && over >= from && begun <= over
        })
    }
}

/// What a policy lets its holders read: for each secret and for the credentials (the last), since
/// when it does or does not.
#[derive(Clone, Debug)]
pub(crate) struct Policy(pub(crate) Vec<Vec<(Duration, bool)>>);

impl Policy {
    pub(crate) fn allows(&self, what: usize) -> bool {
        self.0[what].last().is_some_and(|(_, allowed)| *allowed)
    }

    /// Whether it did, or did not, at any instant of these.
    fn overlaps(&self, what: usize, wanted: bool, from: Duration, to: Duration) -> bool {
        let turns = &self.0[what];
        turns.iter().enumerate().any(|(number, (begun, allowed))| {
            let over = turns.get(number + 1).map_or(Duration::MAX, |next| next.0);
            *allowed == wanted && *begun <= to && over >= from
        })
    }
}

/// A token.
#[derive(Clone, Debug)]
pub(crate) struct Token {
    pub(crate) policies: Vec<usize>,
    pub(crate) writes: bool,
    /// When it ends by itself.
    pub(crate) ends: Option<Duration>,
    /// When it ended otherwise.
    pub(crate) gone: Option<Duration>,
    /// How often it may still be used, where that is counted.
    pub(crate) uses: Option<u32>,
}

impl Token {
    /// When it is none any more.
    pub(crate) fn over(&self) -> Duration {
        let [ends, gone] = [self.ends, self.gone].map(|end| end.unwrap_or(Duration::MAX));
        ends.min(gone)
    }

    pub(crate) fn lives(&self, now: Duration) -> bool {
        now < self.over() && self.uses != Some(0)
    }

    /// Whether its policies gave it the right to something at any instant of these.
    pub(crate) fn may(
        &self,
        policies: &[Policy],
        what: usize,
        from: Duration,
        to: Duration,
    ) -> bool {
        self.policies.iter().any(|policy| policies[*policy].overlaps(what, true, from, to))
    }

    /// Whether it lacked that right at any instant of these.
    pub(crate) fn lacked(
        &self,
        policies: &[Policy],
        what: usize,
        from: Duration,
        to: Duration,
    ) -> bool {
        // Two policies that take turns within one request are taken for a lack.
        self.uses.is_some()
            || self.over() <= to
            || self.policies.iter().all(|policy| policies[*policy].overlaps(what, false, from, to))
    }
}

/// A credential that was issued.
#[derive(Clone, Debug)]
pub(crate) struct Lease {
    pub(crate) token: usize,
    pub(crate) made: Duration,
    pub(crate) ends: Duration,
    pub(crate) longest: Duration,
    pub(crate) gone: Option<Duration>,
    /// When the renewal that is under way began.
    pub(crate) renewal: Option<Duration>,
    /// The place in the order from which on nobody may be given it: its revocation through the
    /// proxy was acknowledged.
    pub(crate) revoked: Option<u64>,
}

impl Lease {
    /// When it is none any more. `token`: that it was issued to.
    pub(crate) fn over(&self, token: &Token) -> Duration {
        self.ends.min(self.gone.unwrap_or(Duration::MAX)).min(token.over())
    }
}

/// Why the server could not be asked.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Kind {
    Fault,
    Sealed,
}

/// For how long it could not.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Trouble {
    pub(crate) kind: Kind,
    pub(crate) from: Duration,
    pub(crate) to: Duration,
}
