//! What must have happened at least once, in one seed or another: a property that nothing ever put
//! to the test says nothing.

macro_rules! situations {
    ($($(#[doc = $text:literal])+ $name:ident,)+) => {
        /// Each of them.
        #[derive(Clone, Copy, Debug, Eq, PartialEq)]
        pub enum Situation {
            $($(#[doc = $text])+ $name,)+
        }

        impl Situation {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// What it is, in words.
            pub fn text(self) -> &'static str {
                match self {
                    $(Self::$name => concat!($($text),+).trim_ascii(),)+
                }
            }
        }
    };
}

situations! {
    /// a read was answered from memory
    Hit,
    /// a read from memory was given to a token that had never read that path itself
    SharedHit,
    /// a read was answered by the upstream and kept
    Stored,
    /// a read waited for another's answer
    Collapsed,
    /// a read was answered by the upstream and not kept, as something changed meanwhile
    Passed,
    /// a read asked for the upstream's own answer
    Refreshed,
    /// a read took the place of one whose time was over
    Renewed,
    /// a secret was read in the background, ahead of its end
    Ahead,
    /// a stale answer was served while the upstream failed
    StaleIfError,
    /// a stale answer was served while the upstream was sealed
    StaleIfSealed,
    /// nothing stale was served while the upstream was sealed, as that is the default
    SealObeyed,
    /// nothing stale was served while the upstream failed, as none was good any more
    NothingStale,
    /// a "not found" was answered from memory
    AbsenceHit,
    /// a token whose uses are counted was answered for a use that a look-up had spent
    Owed,
    /// a policy refused
    RefusedByPolicy,
    /// a dead token was refused
    RefusedAsDead,
    /// a right was taken away from somebody who had been answered from memory
    RightTaken,
    /// a right was taken away while a read that had it was under way
    TakenInFlight,
    /// a right was given to somebody who had been refused
    RightGiven,
    /// a token was revoked behind the proxy's back
    TokenRevoked,
    /// a token was revoked through the proxy
    TokenRevokedHere,
    /// a token that had been answered from memory ended by itself
    TokenEnded,
    /// a secret was written behind the proxy's back while it was held
    WrittenElsewhere,
    /// a secret was written through the proxy
    WrittenHere,
    /// a secret was written through the proxy while a read of it was under way
    WrittenInFlight,
    /// an answer read before a write through the proxy came after it
    OvertakenRead,
    /// a write was carried out and its answer lost
    WriteLost,
    /// a secret was deleted
    Deleted,
    /// a version came to the end it had named itself
    VersionDied,
    /// a caller hung up while its request was under way
    HungUp,
    /// a caller hung up for whose answer others were waiting
    LeaderLeft,
    /// the upstream became another cluster
    OtherCluster,
    /// an answer of the cluster before came after the change was noticed
    LateFromOther,
    /// the upstream was sealed
    Sealed,
    /// connections were refused
    Refused,
    /// requests were not answered
    Hung,
    /// an answer broke off
    Torn,
    /// an answer was garbage
    Garbage,
    /// an answer came after its time
    Late,
    /// the upstream said that it could not
    Failing,
    /// the upstream said that it was asked too much
    Throttled,
    /// the process was paused for longer than any window
    Paused,
    /// a request was turned away as too many were under way
    Shed,
    /// a credential was issued
    Issued,
    /// a credential was handed out again
    LeaseHit,
    /// a lease was renewed
    LeaseRenewed,
    /// a credential took the place of one near its end
    Succeeded,
    /// a lease was revoked behind the proxy's back, and another credential issued
    LeaseRevoked,
    /// a lease was revoked through the proxy
    LeaseRevokedHere,
    /// a credential was handed out while the upstream failed
    LeaseStale,
}

/// How often each was met.
#[derive(Clone, Debug)]
pub struct Met(Vec<u64>);

impl Default for Met {
    fn default() -> Self {
        Self(vec![0; Situation::ALL.len()])
    }
}

impl Met {
    pub(crate) fn note(&mut self, situation: Situation) {
        self.0[situation as usize] += 1;
    }

    /// Adds those of another seed.
    pub fn add(&mut self, other: &Self) {
        for (mine, its) in self.0.iter_mut().zip(&other.0) {
            *mine += its;
        }
    }

    /// Each with how often it was met.
    pub fn counts(&self) -> impl Iterator<Item = (Situation, u64)> {
        Situation::ALL.iter().copied().zip(self.0.iter().copied())
    }
}
