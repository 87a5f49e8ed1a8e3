//! Leased credentials: how long they are kept alive, and where they outlive the process.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::glob;
use super::reader::{Field, Section};

/// What happens to answers with a lease.
#[derive(Clone, Debug, PartialEq)]
pub struct Leases {
    /// Who is given the same credential.
    pub scope: LeaseScope,
    /// Share of a lease after which it is renewed, ±10 % jitter; 0.1 to 0.95.
    pub renew_at: f64,
    /// Below this share of its longest life a successor is fetched; 0.05 to 0.9.
    pub min_remaining: f64,
    /// The longest a revocation behind our back goes unnoticed; 1 s to 1 h.
    pub check_after: Duration,
    /// How long after it was last handed out a lease is kept alive; then it is left to end.
    pub idle: Duration,
    /// Renewals a second, over all leases, successors included.
    pub renewals_per_second: u32,
    /// What a caller's revoke does to a lease that others hold as well.
    pub on_revoke: OnRevoke,
    /// What becomes of the leases when the process ends.
    pub on_shutdown: OnShutdown,
    /// Where they outlive the process; `None`: nowhere.
    pub store: Option<LeaseStore>,
}

/// See [`Leases::scope`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum LeaseScope {
    /// All pods of a service account, and otherwise whoever brings the same token.
    Identity,
    /// Whoever brings the same credential.
    Token,
    /// Nobody: requests for leases are forwarded.
    None,
}

/// See [`Leases::on_revoke`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum OnRevoke {
    /// It is refused while others hold the lease.
    Refuse,
    /// Nobody is given the lease any more; it is revoked when the last holder is done with it.
    Detach,
    /// It is passed on, and the others lose their credential.
    Pass,
}

/// See [`Leases::on_shutdown`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum OnShutdown {
    /// They live on until they end by themselves.
    Keep,
    /// They are revoked.
    Revoke,
}

/// Answers on disk, encrypted.
#[derive(Clone, Debug, PartialEq)]
pub struct LeaseStore {
    /// The directory, or where one can be made; vaultlet's alone.
    pub dir: PathBuf,
    /// What they are encrypted with; never in `dir`.
    pub key: StoreKey,
    /// Whether KV entries are kept there too.
    pub kv: bool,
}

/// See [`LeaseStore::key`].
#[derive(Clone, Debug, PartialEq)]
pub enum StoreKey {
    /// 32 bytes in a file, raw or as base64.
    File(PathBuf),
    /// A data key that the upstream's transit engine unwraps.
    Transit {
        /// Path of the engine, without slashes at its ends.
        mount: String,
        /// Name of the key in it.
        key: String,
        /// Holds a Vault token that may use the key.
        token_file: PathBuf,
    },
}

const SECOND: Duration = Duration::from_secs(1);
const DEFAULT_TRANSIT: &str = "transit";

/// The section `cache.leases`.
pub(super) fn leases(leases: &Section<'_>) -> Leases {
    let scopes = [
        ("identity", LeaseScope::Identity),
        ("token", LeaseScope::Token),
        ("none", LeaseScope::None),
    ];
    let revoke =
        [("refuse", OnRevoke::Refuse), ("detach", OnRevoke::Detach), ("pass", OnRevoke::Pass)];
    let shutdown = [("keep", OnShutdown::Keep), ("revoke", OnShutdown::Revoke)];
    let (check, budget) = (leases.field("check_after"), leases.field("renewals_per_second"));
    let store = leases.field("store");
    Leases {
        scope: leases.field("scope").choice(&scopes).unwrap_or(LeaseScope::Identity),
        renew_at: leases.field("renew_at").share_in(0.1..=0.95).unwrap_or(0.66),
        min_remaining: leases.field("min_remaining").share_in(0.05..=0.9).unwrap_or(0.25),
        check_after: check.duration_in(SECOND..=Duration::from_hours(1)).unwrap_or(30 * SECOND),
        idle: leases.field("idle").duration(SECOND).unwrap_or(Duration::from_hours(24)),
        renewals_per_second: budget.number(1..=100_000).unwrap_or(500),
        on_revoke: leases.field("on_revoke").choice(&revoke).unwrap_or(OnRevoke::Detach),
        on_shutdown: leases.field("on_shutdown").choice(&shutdown).unwrap_or(OnShutdown::Keep),
        store: store.given().then(|| store.section(lease_store)).flatten(),
    }
}

fn lease_store(store: &Section<'_>) -> Option<LeaseStore> {
    let (dir, file, transit) =
        (store.field("dir"), store.field("key_file"), store.field("transit"));
    let kv = store.field("kv").flag().unwrap_or(false);
    if !dir.given() {
        store.complain("`dir` is missing", "add `dir: leases`, a directory of vaultlet's own");
    }
    let dir = dir.directory();
    let dir_of_keys = dir.as_deref().unwrap_or(Path::new(""));
    let key = match (file.given(), transit.given()) {
        (true, false) => key_file(&file, dir_of_keys).map(StoreKey::File),
        (false, true) => transit.section(|section| transit_key(section, dir_of_keys)),
        (true, true) => {
            transit.complain("given beside `key_file`", "remove one of the two");
            transit.section(|section| transit_key(section, dir_of_keys))
        }
        (false, false) => {
            let hint = "add `key_file: store.key`, made by `openssl rand -base64 32`, or `transit`";
            store.complain("does not say what it is encrypted with", hint);
            None
        }
    };
    Some(LeaseStore { dir: dir?, key: key?, kv })
}

fn transit_key(transit: &Section<'_>, dir: &Path) -> Option<StoreKey> {
    let (mount, key) = (transit.field("mount"), transit.field("key"));
    let token_file = transit.field("token_file");
    let engine = "the path of a transit engine";
    let mount = if mount.given() {
        name(&mount, engine, "write transit", |path| path.split('/').all(is_segment))
    } else {
        Some(DEFAULT_TRANSIT.to_owned())
    };
    if !key.given() {
        transit.complain("`key` is missing", "add `key: vaultlet`, the name of a key in transit");
    }
    if !token_file.given() {
        let hint = "add `token_file: transit.token`, a Vault token that may use the key";
        transit.complain("`token_file` is missing", hint);
    }
    let hint = "write letters, digits, `-`, `_` and `.`";
    let key = name(&key, "the name of a key", hint, is_segment);
    let token_file = key_file(&token_file, dir);
    Some(StoreKey::Transit { mount: mount?, key: key?, token_file: token_file? })
}

/// A file that opens the store, and so must not be found with it.
fn key_file(field: &Field<'_>, dir: &Path) -> Option<PathBuf> {
    let path = field.readable_file()?;
    let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
    if dir != Path::new("") && (path.starts_with(dir) || real(&path).starts_with(real(dir))) {
        let hint = "keep it elsewhere, as in /etc/vaultlet";
        field.complain("is in `dir`: whoever copies that could open it", hint);
        return None;
    }
    Some(path)
}

fn name(field: &Field<'_>, what: &str, hint: &str, right: impl Fn(&str) -> bool) -> Option<String> {
    let text = field.text()?.trim_matches('/');
    if !right(text) {
        field.complain(format!("expected {what}"), hint);
        return None;
    }
    Some(text.to_owned())
}

fn is_segment(text: &str) -> bool {
    !matches!(text, "" | "." | "..") && text.bytes().all(glob::in_role)
}

#[cfg(test)]
mod tests {
    use super::super::tests::Given;
    use super::*;

    fn leases(yaml: &str) -> Leases {
        Given::new(&format!("cache: {{leases: {yaml}}}")).config().cache.leases
    }

    #[test]
    fn every_key_has_its_place() {
        let leases = leases(
            "{scope: token, renew_at: 0.5, min_remaining: 0.9, check_after: 1s, idle: 2h, \
             renewals_per_second: 7, on_revoke: refuse, on_shutdown: revoke}",
        );
        assert_eq!(
            leases,
            Leases {
                scope: LeaseScope::Token,
                renew_at: 0.5,
                min_remaining: 0.9,
                check_after: SECOND,
                idle: Duration::from_hours(2),
                renewals_per_second: 7,
                on_revoke: OnRevoke::Refuse,
                on_shutdown: OnShutdown::Revoke,
                store: None,
            }
        );
    }

    #[test]
    fn a_store_has_its_key_elsewhere() {
        let given = Given::new("cache: {leases: {store: {dir: leases, key_file: f.yaml}}}");
        let dir = given.file().with_file_name("leases");
        let key = StoreKey::File(given.file());
        let store = given.config().cache.leases.store;
        assert_eq!(store, Some(LeaseStore { dir: dir.clone(), key, kv: false }));

        let given = given
            .set("cache.leases.store.transit.mount=/keys/transit/")
            .set("cache.leases.store.transit.key=node")
            .set("cache.leases.store.transit.token_file=Cargo.toml");
        let store = given.set("cache.leases.store.kv=true").config().cache.leases.store;
        let (mount, key) = ("keys/transit".to_owned(), "node".to_owned());
        let key = StoreKey::Transit { mount, key, token_file: "Cargo.toml".into() };
        assert_eq!(
            store,
            Some(LeaseStore { dir, key, kv: true }),
            "transit takes the file's place"
        );
    }

    #[test]
    fn a_link_does_not_hide_that_the_key_is_in_the_store() {
        let given = Given::new("cache: {leases: {store: {dir: link, key_file: leases/key}}}");
        let leases = given.file().with_file_name("leases");
        std::fs::create_dir(&leases).unwrap();
        std::fs::write(leases.join("key"), "").unwrap();
        std::os::unix::fs::symlink(&leases, given.file().with_file_name("link")).unwrap();

        assert!(given.problems().contains("is in `dir`"), "{}", given.problems());
    }
}
