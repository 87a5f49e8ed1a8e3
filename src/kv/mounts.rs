//! Which mounts are KV mounts, and of which version?
//!
//! Learnt from `sys/internal/ui/mounts/<path>`, asked with the caller's own token: whoever may
//! read a secret may ask that about its path, and the answer names the longest mount. That a mount
//! is of another kind is remembered as well, so that its reads are not asked about each time.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use hyper::StatusCode;
use serde::Deserialize;

use crate::clock::{Clock, Time};
use crate::error::Error;
use crate::sealed::content::StoredMount;

/// What is mounted at a path.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Engine {
    /// KV version 1.
    KvV1,
    /// KV version 2.
    KvV2,
    /// KV whose reads are leased, or that is not to be cached: no KV to this module.
    Uncached,
    /// One whose answers are made for one request: nobody shares them.
    Fresh,
    /// Anything else, by its type as metrics show it.
    Other(&'static str),
}

/// The mounts known, by namespace and path with a slash at the end.
#[derive(Debug)]
pub struct Mounts {
    known: ArcSwap<HashMap<Box<str>, Mount>>,
    /// How long what was learnt is believed.
    window: Duration,
    clock: Clock,
}

#[derive(Clone, Debug)]
struct Mount {
    engine: Engine,
    uuid: Box<str>,
    learnt: Time,
}

/// More mounts than this are not worth knowing on one node.
const MOST_MOUNTS: usize = 4096;

/// Types of engines that metrics tell apart.
const TYPES: [&str; 13] = [
    "ad",
    "aws",
    "azure",
    "consul",
    "database",
    "gcp",
    "kubernetes",
    "kv",
    "ldap",
    "nomad",
    "openldap",
    "pki",
    "rabbitmq",
];

/// `data` of the answer (OpenBao `internal/vault/logical_system.go`, `pathInternalUIMountRead`).
#[derive(Deserialize)]
struct Data {
    path: String,
    #[serde(rename = "type")]
    engine: String,
    #[serde(default)]
    uuid: String,
    #[serde(default)]
    options: Option<HashMap<String, String>>,
    #[serde(default)]
    config: Config,
}

#[derive(Default, Deserialize)]
struct Config {
    #[serde(default)]
    force_no_cache: bool,
}

/// Types of engines whose answers are made for one request, and those of the server itself, which in
/// a namespace have `ns_` before them.
const FRESH: [&str; 8] =
    ["cubbyhole", "identity", "kmip", "ssh", "system", "totp", "transform", "transit"];

/// What metrics call an engine of this type.
pub fn label(engine: &str) -> &'static str {
    TYPES.iter().find(|known| **known == engine).copied().unwrap_or("other")
}

impl Mounts {
    /// Knows none yet.
    pub fn new(window: Duration, clock: Clock) -> Self {
        Self { known: ArcSwap::default(), window, clock }
    }

    /// The longest known mount above `path`, as the length of its path and its engine. `recent`:
    /// only if it was learnt within the window.
    pub fn find(&self, path: &str, recent: bool) -> Option<(usize, Engine)> {
        let known = self.known.load();
        let now = self.clock.now();
        let prefixes = path.match_indices('/').map(|(slash, _)| slash + 1);
        let mut mounts = prefixes.filter_map(|length| Some((length, known.get(&path[..length])?)));
        let (length, mount) = mounts.next_back()?;
        (!recent || now.since(mount.learnt) <= self.window).then_some((length, mount.engine))
    }

    /// Takes in the answer to a question about `path` in `namespace`; says whether it shows that
    /// a mount is not the one known before, so that all that was read from it is void.
    ///
    /// # Errors
    /// It is no answer to that, but a balancer's page, say.
    pub fn learn(
        &self,
        namespace: &str,
        path: &str,
        status: StatusCode,
        body: &[u8],
    ) -> Result<bool, Error> {
        #[derive(Deserialize)]
        struct Answer {
            data: Data,
        }
        if status != StatusCode::OK {
            return Ok(false);
        }
        let Answer { data } = serde_json::from_slice(body).map_err(Error::garbage)?;
        // Auth methods answer with a path of their own, below `auth/`.
        if !data.path.ends_with('/') || !path.starts_with(&data.path) {
            return Ok(false);
        }
        let at = match namespace {
            "" => data.path.clone(),
            namespace => format!("{namespace}/{}", data.path),
        };
        let mount =
            Mount { engine: data.engine(), uuid: data.uuid.into(), learnt: self.clock.now() };
        let mut replaced = false;
        self.known.rcu(|known| {
            let mut known = HashMap::clone(known);
            if known.len() >= MOST_MOUNTS {
                known.clear();
            }
            let before = known.insert(at.clone().into(), mount.clone());
            replaced = before
                .is_some_and(|before| before.uuid != mount.uuid || before.engine != mount.engine);
            Arc::new(known)
        });
        Ok(replaced)
    }

    /// The KV mounts, as they outlive the process.
    pub fn stored(&self) -> Vec<StoredMount> {
        let stored = |path: &str, mount: &Mount| {
            let version = match mount.engine {
                Engine::KvV1 => 1,
                Engine::KvV2 => 2,
                Engine::Fresh | Engine::Other(_) | Engine::Uncached => return None,
            };
            Some(StoredMount { path: path.to_string(), version, uuid: mount.uuid.to_string() })
        };
        let known = self.known.load();
        known.iter().filter_map(|(path, mount)| stored(path, mount)).collect()
    }

    /// Takes them in again, as what was known long ago: each is asked about before it is believed,
    /// if the upstream can be asked.
    pub fn restore(&self, mounts: &[StoredMount]) {
        let mount = |it: &StoredMount| {
            let engine = if it.version == 1 { Engine::KvV1 } else { Engine::KvV2 };
            let mount = Mount { engine, uuid: it.uuid.as_str().into(), learnt: Time::LONG_AGO };
            (it.path.as_str().into(), mount)
        };
        self.known.store(Arc::new(mounts.iter().map(mount).collect()));
    }

    /// Forgets all of them.
    pub fn forget_all(&self) {
        self.known.store(Arc::default());
    }
}

impl Data {
    fn engine(&self) -> Engine {
        let option = |name: &str| self.options.as_ref()?.get(name).map(String::as_str);
        let uncached = self.config.force_no_cache || option("leased_passthrough") == Some("true");
        match (self.engine.as_str(), option("version")) {
            ("kv" | "generic", _) if uncached => Engine::Uncached,
            ("kv", Some("2")) => Engine::KvV2,
            ("kv", None | Some("" | "1")) | ("generic", _) => Engine::KvV1,
            ("kv", _) => Engine::Uncached,
            _ if self.config.force_no_cache => Engine::Fresh,
            (engine, _) if FRESH.contains(&engine) || engine.starts_with("ns_") => Engine::Fresh,
            (engine, _) => Engine::Other(label(engine)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn learn(mounts: &Mounts, path: &str, options: &str, uuid: &str) -> bool {
        let body = format!(
            r#"{{"data":{{"path":"{path}","type":"kv","uuid":"{uuid}","options":{options}}}}}"#
        );
        mounts.learn("", &format!("{path}app"), StatusCode::OK, body.as_bytes()).unwrap()
    }

    #[test]
    fn the_longest_mount_wins_for_as_long_as_it_is_believed() {
        let clock = Clock::manual();
        let mounts = Mounts::new(Duration::from_mins(1), clock.clone());
        learn(&mounts, "team/", "null", "a");
        learn(&mounts, "team/kv/", r#"{"version":"2"}"#, "b");

        assert_eq!(mounts.find("team/kv/data/x", true), Some((8, Engine::KvV2)));
        assert_eq!(mounts.find("team/other", true), Some((5, Engine::KvV1)));
        assert_eq!(mounts.find("elsewhere/x", true), None);
        clock.advance(Duration::from_secs(61));
        assert_eq!(mounts.find("team/other", true), None);
        assert_eq!(mounts.find("team/other", false), Some((5, Engine::KvV1)));
    }

    #[test]
    fn engines_that_lease_or_ask_not_to_be_cached_are_not_kv() {
        let mounts = Mounts::new(Duration::from_mins(1), Clock::manual());

        learn(&mounts, "kv/", r#"{"version":"1","leased_passthrough":"true"}"#, "a");
        assert_eq!(mounts.find("kv/x", true), Some((3, Engine::Uncached)));
        let body = br#"{"data":{"path":"c/","type":"kv","config":{"force_no_cache":true}}}"#;
        mounts.learn("", "c/x", StatusCode::OK, body).unwrap();
        assert_eq!(mounts.find("c/x", true), Some((2, Engine::Uncached)));
    }

    #[test]
    fn a_mount_made_anew_is_another_mount() {
        let mounts = Mounts::new(Duration::from_mins(1), Clock::manual());

        assert!(!learn(&mounts, "kv/", "null", "a"));
        assert!(!learn(&mounts, "kv/", "null", "a"));
        assert!(learn(&mounts, "kv/", "null", "b"));
        assert!(learn(&mounts, "kv/", r#"{"version":"2"}"#, "b"));
    }

    #[test]
    fn an_answer_about_something_else_teaches_nothing() {
        let mounts = Mounts::new(Duration::from_mins(1), Clock::manual());
        let body = br#"{"data":{"path":"token/","type":"token"}}"#;

        mounts.learn("ns1", "auth/token/x", StatusCode::OK, body).unwrap();
        mounts.learn("ns1", "token/x", StatusCode::FORBIDDEN, body).unwrap();
        assert_eq!(mounts.find("ns1/token/x", false), None);
        mounts.learn("ns1", "token/x", StatusCode::OK, body).unwrap();
        assert_eq!(mounts.find("ns1/token/x", false), Some((10, Engine::Other("other"))));
    }
}
