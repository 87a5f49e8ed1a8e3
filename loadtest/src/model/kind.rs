//! Which kinds of requests does an upstream answer, and what does one of them cost it?

use std::collections::BTreeMap;
use std::time::Duration;

use hyper::Method;

/// A kind of request, as [`Gauges::upstream`](crate::stage::Gauges::upstream) names them.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(crate) enum Kind {
    KvRead,
    KvWrite,
    Login,
    Lookup,
    /// May somebody do something, or is a lease still there?
    Capabilities,
    Mount,
    Lease,
    Renew,
    Revoke,
    Health,
    Other,
}

impl Kind {
    pub(crate) const ALL: [Self; 11] = [
        Self::KvRead,
        Self::KvWrite,
        Self::Login,
        Self::Lookup,
        Self::Capabilities,
        Self::Mount,
        Self::Lease,
        Self::Renew,
        Self::Revoke,
        Self::Health,
        Self::Other,
    ];

    /// As reports call it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::KvRead => "kv-read",
            Self::KvWrite => "kv-write",
            Self::Login => "login",
            Self::Lookup => "lookup",
            Self::Capabilities => "capabilities",
            Self::Mount => "mount",
            Self::Lease => "lease",
            Self::Renew => "renew",
            Self::Revoke => "revoke",
            Self::Health => "health",
            Self::Other => "other",
        }
    }

    /// That of a request. `path`: below `/v1/`.
    pub(super) fn of(method: &Method, path: &str) -> Self {
        match path.split('/').next().unwrap_or_default() {
            "kv1" | "kv2" if method == Method::GET => Self::KvRead,
            "kv1" | "kv2" => Self::KvWrite,
            "database" => Self::Lease,
            "auth" if path.ends_with("/login") => Self::Login,
            "auth" => Self::of_a_token(path),
            "sys" => Self::of_the_system(path),
            _ => Self::Other,
        }
    }

    fn of_a_token(path: &str) -> Self {
        match path {
            "auth/token/lookup-self" => Self::Lookup,
            "auth/token/renew-self" => Self::Renew,
            "auth/token/revoke-self" => Self::Revoke,
            _ => Self::Other,
        }
    }

    fn of_the_system(path: &str) -> Self {
        match path {
            "sys/health" => Self::Health,
            // Of both kinds of questions a server's own telemetry says the same.
            "sys/capabilities-self" | "sys/leases/lookup" => Self::Capabilities,
            "sys/leases/renew" => Self::Renew,
            "sys/leases/revoke" => Self::Revoke,
            _ if path.starts_with("sys/internal/ui/mounts/") => Self::Mount,
            _ => Self::Other,
        }
    }
}

/// CPU time of an upstream for one request of each kind.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Costs(BTreeMap<Kind, Duration>);

impl Costs {
    /// `of`: by name, in microseconds.
    ///
    /// # Errors
    /// One of them is missing, is no kind, or is no time.
    pub(crate) fn new(of: &BTreeMap<String, f64>) -> Result<Self, String> {
        let names = Kind::ALL.map(Kind::name);
        if let Some(unknown) = of.keys().find(|name| !names.contains(&name.as_str())) {
            return Err(format!("{unknown:?} is no kind of request: {}", names.join(", ")));
        }
        let cost = |kind: Kind| {
            let cost =
                of.get(kind.name()).ok_or_else(|| format!("{:?} is missing", kind.name()))?;
            let cost = Duration::try_from_secs_f64(cost / 1e6);
            Ok((kind, cost.map_err(|_| format!("{:?} is no number of microseconds", kind.name()))?))
        };
        Kind::ALL.into_iter().map(cost).collect::<Result<_, String>>().map(Self)
    }

    /// Of one request.
    pub(crate) fn of(&self, kind: Kind) -> Duration {
        self.0.get(&kind).copied().unwrap_or_default()
    }
}
