//! What was asked for, and where did the answer come from?

use hyper::{HeaderMap, Method};

/// What a request is for.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Kind {
    Read,
    Write,
    Login,
    /// Of a new credential.
    Lease,
    /// Of a login or a lease.
    Renew,
    Other,
}

impl Kind {
    /// As results call it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Login => "login",
            Self::Lease => "lease",
            Self::Renew => "renew",
            Self::Other => "other",
        }
    }

    /// Of a line of an access log.
    pub(crate) fn of(method: &Method, target: &str) -> Self {
        let path = target.split('?').next().unwrap_or_default().trim_start_matches("/v1/");
        if path.starts_with("auth/") {
            let renews = path.contains("/renew");
            return match (renews, path.contains("/login")) {
                (true, _) => Self::Renew,
                (_, true) => Self::Login,
                _ => Self::Other,
            };
        }
        match method.as_str() {
            _ if path.starts_with("sys/leases/renew") => Self::Renew,
            _ if path.starts_with("sys/") => Self::Other,
            "GET" if path.contains("/creds/") => Self::Lease,
            "GET" | "HEAD" => Self::Read,
            "POST" | "PUT" | "PATCH" | "DELETE" => Self::Write,
            _ => Self::Other,
        }
    }
}

/// What an answer says about where it came from.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Cached {
    Hit,
    /// From memory, though its time was up.
    Stale,
    Miss,
    /// Something that is none of these.
    Other,
    None,
}

impl Cached {
    /// `X-Cache`, and of a hit whether `Cache-Status` (RFC 9211) calls it stale.
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let Some(value) = headers.get("x-cache") else { return Self::None };
        match value.as_bytes() {
            b"HIT" if says_stale(headers) => Self::Stale,
            b"HIT" => Self::Hit,
            b"STALE" | b"UPDATING" => Self::Stale,
            b"MISS" => Self::Miss,
            _ => Self::Other,
        }
    }

    /// Whether it came from memory alone.
    pub(crate) fn is_from_memory(self) -> bool {
        matches!(self, Self::Hit | Self::Stale)
    }

    /// As results call it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Stale => "stale",
            Self::Miss => "miss",
            Self::Other => "other",
            Self::None => "none",
        }
    }
}

fn says_stale(headers: &HeaderMap) -> bool {
    let status = headers.get("cache-status").and_then(|value| value.to_str().ok());
    status.is_some_and(|status| status.contains("stale"))
}
