//! The values labels can have. Closed sets: the number of series is known when this compiles.

/// What was asked for, as far as routing can tell.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Route {
    /// A read of a KV secret, or the mount lookup clients make before one.
    KvRead,
    /// A write to a KV mount.
    KvWrite,
    /// A read that creates a leased credential.
    Lease,
    /// Renewal, lookup or revocation of a lease.
    LeaseOp,
    /// A listing.
    List,
    /// A login to an auth method.
    Login,
    /// Everything else.
    Passthrough,
}

impl Route {
    /// Whether it is about a secret in a mount known to be a KV mount.
    pub fn is_kv(self) -> bool {
        matches!(self, Self::KvRead | Self::KvWrite)
    }

    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::KvRead => "kv_read",
            Self::KvWrite => "kv_write",
            Self::Lease => "lease",
            Self::LeaseOp => "lease_op",
            Self::List => "list",
            Self::Login => "login",
            Self::Passthrough => "passthrough",
        }
    }
}

/// How an answer was come by.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Outcome {
    /// The upstream was asked, and the cache had no part in it.
    Bypass,
    /// The answer to another caller's request in flight.
    Collapsed,
    /// The upstream refused.
    Denied,
    /// vaultlet had no answer, or the upstream's was a failure.
    Error,
    /// From memory.
    Hit,
    /// The upstream was asked.
    Miss,
    /// Refused for want of room, or of a share in it.
    Shed,
    /// From memory, past its time, because the upstream could not be asked.
    Stale,
}

impl Outcome {
    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::Bypass => "bypass",
            Self::Collapsed => "collapsed",
            Self::Denied => "denied",
            Self::Error => "error",
            Self::Hit => "hit",
            Self::Miss => "miss",
            Self::Shed => "shed",
            Self::Stale => "stale",
        }
    }
}

/// What the upstream was asked for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Operation {
    /// What a token may do.
    Capabilities,
    /// What decides about somebody, for `vaultlet explain`.
    Explain,
    /// A caller's request, passed on.
    Forward,
    /// Its health.
    Health,
    /// A KV secret for the cache.
    KvRead,
    /// A leased credential.
    LeaseIssue,
    /// Whether a lease is there.
    LeaseLookup,
    /// More time for a lease.
    LeaseRenew,
    /// The end of a lease.
    LeaseRevoke,
    /// A shared login.
    Login,
    /// What a token is.
    LookupSelf,
    /// Which mount a path belongs to.
    Mount,
    /// Policies and identity data, with vaultlet's own token.
    Policies,
    /// The renewal of a shared login, or of vaultlet's own token.
    Renew,
    /// The key of the sealed store, from Transit.
    StoreKey,
}

impl Operation {
    pub(super) const fn label(self) -> &'static str {
        match self {
            Self::Capabilities => "capabilities",
            Self::Explain => "explain",
            Self::Forward => "forward",
            Self::Health => "health",
            Self::KvRead => "kv_read",
            Self::LeaseIssue => "lease_issue",
            Self::LeaseLookup => "lease_lookup",
            Self::LeaseRenew => "lease_renew",
            Self::LeaseRevoke => "lease_revoke",
            Self::Login => "login",
            Self::LookupSelf => "lookup_self",
            Self::Mount => "mount",
            Self::Policies => "policies",
            Self::Renew => "renew",
            Self::StoreKey => "store_key",
        }
    }
}

/// What was learnt of a token.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Lookup {
    /// The upstream does not know it, or does not let it ask.
    Dead,
    /// The upstream could not be asked.
    Failed,
    /// Its rights class.
    Learnt,
    /// That its uses are counted or its addresses bound, so that it never shares.
    Limited,
}

impl Lookup {
    pub(super) const fn label(self) -> &'static str {
        match self {
            Self::Dead => "dead",
            Self::Failed => "failed",
            Self::Learnt => "learnt",
            Self::Limited => "limited",
        }
    }
}

/// Who said yes or no to a read.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Decision {
    /// The upstream's policies, evaluated here.
    LocalAllowed,
    /// They leave it to the upstream.
    LocalAsked,
    /// They say no, and the upstream is asked.
    LocalDenied,
    /// A proof of the caller's rights class.
    Proven,
    /// The upstream answered.
    UpstreamAllowed,
    /// The upstream refused.
    UpstreamDenied,
}

/// Why an entry was dropped.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Cause {
    /// Its time was over.
    Expired,
    /// A write, an operator or a change of cluster.
    Invalidated,
    /// Others needed the room.
    Size,
}

impl Cause {
    pub(super) const fn label(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::Invalidated => "invalidated",
            Self::Size => "size",
        }
    }
}

/// What became of an audit record.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Audited {
    /// It was not given to the sink, which still had not taken others.
    Dropped,
    /// The sink did not take it, or not in time.
    Failed,
    /// The sink took it.
    Written,
}

impl Audited {
    pub(super) const fn label(self) -> &'static str {
        match self {
            Self::Dropped => "dropped",
            Self::Failed => "failed",
            Self::Written => "written",
        }
    }
}
