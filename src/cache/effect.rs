//! What does a request that is not a read make untrue?
//!
//! The map of SEMANTICS 3.5, on the path as the server's router sees it, cleaned as its KV tables
//! clean it: `data/a//b` and `data/a/b` share one metadata record. Where a request's effect cannot
//! be told, it is taken for the largest.

use hyper::Method;

use crate::request::clean;

/// What is not to be relied on once a request has been answered with anything but a refusal.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Effect {
    /// Everything known of the upstream: mounts, policies and identities decide about all of it.
    Everything,
    /// Every login: leases were revoked, and tokens have leases too. Which others were is for
    /// `lease` to say.
    Leases,
    /// Every login: tokens were revoked, or auth mounts changed.
    Logins,
    /// Nothing.
    Nothing,
    /// The login of the caller itself, and those of tokens made with it.
    OwnLogin,
    /// Perhaps the secret a write below this path is about: a namespace, a mount and the rest,
    /// cleaned. Whether there is one depends on the mount.
    Path(String),
}

impl Effect {
    /// The effect of `method` on `path`: decoded once, below `/v1/`, in `namespace`. `None` for
    /// either stands for what cannot be told. `kv` says of a cleaned path whether it is known to
    /// lie in a KV mount.
    pub fn of(
        method: &Method,
        namespace: Option<&str>,
        path: Option<&[u8]>,
        kv: impl FnOnce(&str) -> bool,
    ) -> Self {
        if reads(method) {
            return Self::Nothing;
        }
        // What is not below /v1/ or cannot be decoded reaches no engine.
        let Some(path) = path else { return Self::Nothing };
        let Some(namespace) = namespace else { return Self::anywhere(path) };
        let mut segments: Vec<&[u8]> = namespace.as_bytes().split(|byte| *byte == b'/').collect();
        segments.extend(path.split(|byte| *byte == b'/'));
        let clean = clean(&segments);
        // A KV path that is not UTF-8 has no entry: those are in the safe subset.
        let path = String::from_utf8(clean.join(&b'/')).ok();
        if let Some(path) = &path
            && kv(path)
        {
            return Self::Path(path.clone());
        }
        // A namespace may be part of the path, so system paths are looked for at every depth.
        for depth in 0..clean.len() {
            match Self::system(&clean[depth..]) {
                Self::Nothing => (),
                effect => return effect,
            }
        }
        path.map_or(Self::Nothing, Self::Path)
    }

    /// The effect on `path` in a namespace that cannot be told. These four are never the mounts of
    /// secrets; anything else may be one.
    fn anywhere(path: &[u8]) -> Self {
        let segments: Vec<&[u8]> = path.split(|byte| *byte == b'/').collect();
        match clean(&segments)[..] {
            [b"auth" | b"cubbyhole" | b"identity" | b"sys", ..] => Self::system(&clean(&segments)),
            _ => Self::Everything,
        }
    }

    fn system(segments: &[&[u8]]) -> Self {
        match segments {
            [b"auth", b"token", b"revoke-self", ..] => Self::OwnLogin,
            [b"auth", b"token", verb, ..] if verb.starts_with(b"revoke") => Self::Logins,
            // An OIDC provider's endpoints issue tokens, to whoever asks.
            [b"identity", b"lookup", ..] | [b"identity", b"oidc", b"provider", _, _, ..] => {
                Self::Nothing
            }
            [b"identity", _, ..] => Self::Everything,
            [b"sys", b"auth", _, ..] => Self::Logins,
            [b"sys", b"revoke" | b"revoke-prefix" | b"revoke-force", ..] => Self::Leases,
            [b"sys", b"leases", verb, ..] if verb.starts_with(b"revoke") => Self::Leases,
            [b"sys", rest @ ..] if !harmless(rest) => Self::Everything,
            _ => Self::Nothing,
        }
    }

    /// Whether a request with this effect may have had it although it was answered with `status`.
    ///
    /// The server reads the request and checks policies, path and verb before it acts, so anybody
    /// can have it answer with these statuses; what costs everyone their entries must take more.
    /// A workflow is made of requests that are checked one by one: its refusal may come late.
    pub fn happened(&self, path: Option<&[u8]>, status: u16) -> bool {
        let refused = match (self, status) {
            (_, 300..=399 | 403..=405) => true,
            (Self::Path(_), _) => false,
            (_, status) => (400..=499).contains(&status),
        };
        !refused || path.is_some_and(|path| contains(path, b"sys/workflows/"))
    }
}

/// Methods that change nothing (SEMANTICS 1.5).
pub fn reads(method: &Method) -> bool {
    matches!(method.as_str(), "GET" | "HEAD" | "HELP" | "LIST" | "OPTIONS" | "SCAN" | "TRACE")
}

/// Requests below `sys/` that change nothing a cached answer depends on.
fn harmless(rest: &[&[u8]]) -> bool {
    match rest {
        [b"wrapping", verb] => matches!(*verb, b"lookup" | b"rewrap" | b"wrap"),
        [b"leases", verb, ..] => matches!(*verb, b"lookup" | b"renew" | b"tidy"),
        [b"internal", part, ..] => matches!(*part, b"specs" | b"ui"),
        [b"mfa", verb] => *verb == b"validate",
        [
            b"audit"
            | b"audit-hash"
            | b"capabilities"
            | b"capabilities-accessor"
            | b"capabilities-self"
            | b"config"
            | b"decode-token"
            | b"generate-root"
            | b"health"
            | b"init"
            | b"leader"
            | b"loggers"
            | b"quotas"
            | b"rekey"
            | b"rekey-recovery-key"
            | b"renew"
            | b"seal"
            | b"seal-status"
            | b"step-down"
            | b"tools"
            | b"unseal",
            ..,
        ] => true,
        _ => false,
    }
}

fn contains(path: &[u8], part: &[u8]) -> bool {
    path.windows(part.len()).any(|window| window == part)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn effect(path: &str) -> Effect {
        Effect::of(&Method::POST, Some(""), Some(path.as_bytes()), |path| {
            path.starts_with("secret/")
        })
    }

    #[test]
    fn each_write_has_the_effect_semantics_lists() {
        for (path, expected) in [
            ("sys/mounts/kv", Effect::Everything),
            ("sys/mounts/kv/tune", Effect::Everything),
            ("sys/remount", Effect::Everything),
            ("sys/policies/acl/reader", Effect::Everything),
            ("sys/policy/reader", Effect::Everything),
            ("sys/namespaces/ns1", Effect::Everything),
            ("ns1/sys/mounts/kv", Effect::Everything),
            ("sys/wrapping/unwrap", Effect::Everything),
            ("sys/raw/core/x", Effect::Everything),
            ("sys/storage/raft/snapshot-force", Effect::Everything),
            ("sys/something/new", Effect::Everything),
            ("identity/entity/id/1", Effect::Everything),
            ("sys/auth/userpass", Effect::Logins),
            ("auth/token/revoke", Effect::Logins),
            ("auth/token/revoke-accessor", Effect::Logins),
            ("auth/token/revoke-orphan", Effect::Logins),
            ("sys/leases/revoke-prefix/auth/userpass", Effect::Leases),
            ("auth/token/revoke-self", Effect::OwnLogin),
            ("secret/data/sys/mounts/x", Effect::Path("secret/data/sys/mounts/x".into())),
            ("secret/data/app", Effect::Path("secret/data/app".into())),
            ("secret/data//a/./b/", Effect::Path("secret/data/a/b".into())),
            ("secret/data/a/../b", Effect::Path("secret/data/b".into())),
            ("sys/internal/ui/mounts", Effect::Path("sys/internal/ui/mounts".into())),
            ("identity/oidc/provider/p", Effect::Everything),
            ("auth/token/create", Effect::Path("auth/token/create".into())),
            ("sys/capabilities-self", Effect::Path("sys/capabilities-self".into())),
        ] {
            assert_eq!(effect(path), expected, "{path}");
        }
    }

    #[test]
    fn a_namespace_counts_wherever_it_is_written() {
        let in_header = Effect::of(&Method::PUT, Some("ns1"), Some(b"kv/data/x"), |_| false);

        assert_eq!(in_header, effect("ns1/kv/data/x"));
        assert_eq!(
            Effect::of(&Method::PUT, None, Some(b"kv/data/x"), |_| false),
            Effect::Everything
        );
        let login = Effect::of(&Method::PUT, None, Some(b"auth/userpass/login/x"), |_| false);
        assert_eq!(login, Effect::Nothing);
    }

    #[test]
    fn reads_have_none_and_unknown_verbs_do() {
        for verb in ["GET", "LIST", "SCAN", "HEAD", "OPTIONS", "HELP"] {
            let method = Method::from_bytes(verb.as_bytes()).unwrap();
            assert_eq!(
                Effect::of(&method, Some(""), Some(b"sys/mounts/x"), |_| false),
                Effect::Nothing
            );
        }
        let odd = Method::from_bytes(b"FROB").unwrap();
        assert_eq!(Effect::of(&odd, Some(""), Some(b"sys/remount"), |_| false), Effect::Everything);
    }

    #[test]
    fn a_refused_write_did_not_happen_and_a_lost_one_may_have() {
        let happened = |path: &str, status| effect(path).happened(Some(path.as_bytes()), status);

        for status in [307, 403, 404, 405] {
            assert!(!happened("secret/data/app", status), "{status}");
        }
        for status in [200, 204, 400, 500, 503] {
            assert!(happened("secret/data/app", status), "{status}");
        }
        assert!(!happened("sys/mounts/kv", 400) && !happened("sys/wrapping/unwrap", 400));
        assert!(happened("sys/mounts/kv", 500) && happened("sys/wrapping/unwrap", 200));
        assert!(happened("sys/workflows/execute/x", 403));
    }
}
