//! What does a path of the system backend need besides its capability?
//!
//! Mirrors the special paths of OpenBao `internal/vault/logical_system.go`, `NewSystemBackend`.

/// What a policy's grant of a path is worth.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Need {
    /// It is what decides.
    Capability,
    /// It counts only together with `sudo`.
    Sudo,
    /// It may not be what decides: some of these paths need no token, and some are judged
    /// elsewhere.
    Unknown,
}

/// A star at the end stands for anything.
const SUDO: [&str; 18] = [
    "audit",
    "audit/*",
    "auth/*",
    "config/auditing/*",
    "config/cors",
    "config/ui/headers/*",
    "internal/inspect/*",
    "leases",
    "leases/lookup/*",
    "leases/revoke-force/*",
    "leases/revoke-prefix/*",
    "plugins/catalog/*",
    "raw",
    "raw/*",
    "remount",
    "rotate",
    "rotate/keyring",
    "rotate/root",
];

/// Where a capability decides: what operators and programs ask for by policy.
const PLAIN: [&str; 11] = [
    "auth",
    "capabilities",
    "capabilities-accessor",
    "leases/renew",
    "leases/revoke",
    "mounts",
    "mounts/*",
    "namespaces/*",
    "policies/*",
    "policy",
    "policy/*",
];

/// `path`: with the namespace in front, so that `sys` is its first or a later segment. No namespace
/// may be called so.
pub(super) fn need(path: &str) -> Need {
    let below =
        path.strip_prefix("sys/").or_else(|| path.split_once("/sys/").map(|(_, below)| below));
    let Some(below) = below else { return Need::Unknown };
    let in_list = |list: &[&str]| {
        list.iter().any(|known| match known.strip_suffix('*') {
            Some(stem) => below.starts_with(stem),
            None => below == *known,
        })
    };
    match (in_list(&SUDO), in_list(&PLAIN)) {
        (true, _) => Need::Sudo,
        (false, true) => Need::Capability,
        (false, false) => Need::Unknown,
    }
}
