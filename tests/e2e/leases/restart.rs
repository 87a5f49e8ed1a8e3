//! vaultlet ends and starts again. Do its callers notice?

mod kills;
mod outages;
mod stores;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::sleep;

use super::{CREDS, Credential, LOOKUP, RENEW, REVOKE, World, is_hit};
use crate::bao::Bao;
use crate::postgres::Postgres;
use crate::service_accounts::until;
use crate::vaultlet::merge;

const LOGIN: &str = "/v1/auth/kubernetes/login";
const LOOKUP_SELF: &str = "/v1/auth/token/lookup-self";
const COLD: &str = "the sealed store is not used: starting cold";
const WARM: &str = "went on with what was stored";

/// Where a store is, and the file with its key.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        place.another_key();
        place
    }

    fn another_key(&self) {
        let key: Vec<u8> = (0..32).map(|_| fastrand::u8(..)).collect();
        fs::write(self.key(), key).unwrap();
        fs::set_permissions(self.key(), fs::Permissions::from_mode(0o600)).unwrap();
    }

    fn key(&self) -> PathBuf {
        self.0.path().join("store.key")
    }

    fn file(&self) -> PathBuf {
        self.0.path().join("store/store.sealed")
    }

    /// What vaultlet is told of it; `over` is laid over that.
    fn settings(&self, over: Value) -> Value {
        let store = json!({"dir": self.0.path().join("store"), "key_file": self.key()});
        let mut settings = json!({"cache": {"leases": {"store": store}}});
        merge(&mut settings, over);
        settings
    }
}

/// What is written when nobody waits for it is on disk by then.
const WRITTEN: Duration = Duration::from_secs(2);

/// How vaultlet ends.
#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    Crash,
    Signal,
}

impl World {
    async fn start_again_after(&mut self, end: End) {
        match end {
            End::Crash => self.vaultlet.kill().await,
            End::Signal => self.vaultlet.terminate().await,
        }
        self.vaultlet.start_again().await;
    }

    /// A service-account token of one of the pods of `payments/api`.
    fn jwt(&self, pod: usize) -> String {
        self.cluster.token("payments", "api", &format!("api-{pod}"))
    }

    /// What `credential` gives, where it is given the same twice.
    async fn held(&self, credential: &str) -> Credential {
        let held = self.credential(&self.caller(credential)).await;
        assert!(self.credential(&self.caller(credential)).await.is(&held));
        held
    }

    /// How many logins of service accounts came to the server.
    fn logins(&self) -> usize {
        self.tap.count("POST", LOGIN) + self.tap.count("PUT", LOGIN)
    }
}

/// Each waits more than it works.
#[tokio::test]
async fn with_a_store_nothing_is_noticed() {
    tokio::join!(
        all_of_it_goes_on(End::Crash),
        all_of_it_goes_on(End::Signal),
        a_server_on_disk_and_vaultlet_start_again_one_after_the_other(),
        what_was_in_doubt_still_is(),
    );
}

/// A pod's credential, that of a caller with a token of its own, a token that vaultlet gave out: all
/// are as they were, nobody logs in, and nothing that was secret can be read in the file.
async fn all_of_it_goes_on(end: End) {
    let place = Place::new();
    let mut world = World::new(json!({"default_ttl": "4s"}), place.settings(json!({}))).await;
    let (jwt, badge, own) = (world.jwt(1), world.badge(2).await, world.token(json!({})).await);
    let (shared, private) = (world.held(&jwt).await, world.held(&own).await);
    assert!(world.held(&badge).await.is(&shared) && !private.is(&shared));
    let login = world.owner();
    let logins = world.logins();
    nothing_can_be_read(&place.file(), &[&shared, &private], &[&jwt, &badge, &own, &login]);

    world.start_again_after(end).await;
    assert_eq!(world.vaultlet.events(WARM).len(), 1, "{end:?}");
    for (caller, held) in [(&jwt, &shared), (&badge, &shared), (&own, &private)] {
        let answer = world.caller(caller).get(CREDS).await;
        is_hit(&answer);
        let given = Credential::of(answer);
        assert!(given.is(held) && given.seconds >= 1, "{given:?} after {end:?}");
        assert!(world.logs_in(held).await, "{end:?}");
    }
    assert!(world.held(&world.jwt(7)).await.is(&shared), "a pod that is new");

    // Longer than the lease was for.
    let before = world.asked(RENEW);
    sleep(Duration::from_secs(5)).await;
    assert!(world.held(&badge).await.is(&shared) && world.held(&own).await.is(&private));
    assert!(world.logs_in(&shared).await && world.logs_in(&private).await);
    assert!(world.asked(RENEW) >= before + 2, "{end:?}");
    assert_eq!((world.issued(), world.logins()), (2, logins), "{end:?}");
    assert_eq!(world.counted("vaultlet_leases_orphaned_total", &[]).await, 0, "{end:?}");
}

/// Fails the test if any of it is in the file.
#[track_caller]
fn nothing_can_be_read(file: &Path, credentials: &[&Credential], tokens: &[&str]) {
    let bytes = fs::read(file).unwrap();
    let secrets = credentials.iter().flat_map(|it| [&*it.user, &*it.password, &*it.lease]);
    for secret in secrets.chain(tokens.iter().copied()) {
        // A part of it is bad enough.
        let part = &secret.as_bytes()[secret.len() - 12..];
        assert!(!bytes.windows(part.len()).any(|window| window == part), "{secret} is in it");
    }
    assert_eq!(fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o600);
}

/// What was revoked is not there again, and what may have been is asked about.
async fn what_was_in_doubt_still_is() {
    let place = Place::new();
    let mut world = World::new(json!({}), place.settings(json!({}))).await;
    let (jwt, own) = (world.jwt(1), world.token(json!({})).await);
    let (shared, private) = (world.held(&jwt).await, world.held(&own).await);

    let body = json!({"lease_id": private.lease});
    world.caller(&own).post(REVOKE, body).await.expect(204);
    world.until_gone(&private).await;
    // Casts doubt on all.
    let body = json!({"token": world.token(json!({})).await});
    world.caller("root").post("auth/token/revoke", body).await.expect(204);
    sleep(WRITTEN).await;
    let (logins, lookups) = (world.tap.count("GET", LOOKUP_SELF), world.asked(LOOKUP));
    world.start_again_after(End::Crash).await;
    let another = world.held(&own).await;
    assert!(!another.is(&private) && world.logs_in(&another).await);
    assert!(world.held(&jwt).await.is(&shared));
    assert_eq!(world.asked(LOOKUP), lookups + 1, "the lease of the pods");
    assert_eq!(world.tap.count("GET", LOOKUP_SELF), logins + 2, "both logins");
}

/// The answer to a revocation is a promise that a crash does not break.
#[tokio::test]
async fn what_was_revoked_a_moment_before_a_crash_is_not_handed_out() {
    let place = Place::new();
    let mut world = World::new(json!({}), place.settings(json!({}))).await;
    let (jwt, own) = (world.jwt(1), world.token(json!({})).await);
    let (shared, private) = (world.held(&jwt).await, world.held(&own).await);
    sleep(WRITTEN).await;

    let root = world.caller("root");
    for lease in [&shared.lease, &private.lease] {
        root.post(REVOKE, json!({"lease_id": lease})).await.expect(204);
    }
    world.start_again_after(End::Crash).await;
    for (caller, old) in [(&jwt, &shared), (&own, &private)] {
        let another = world.held(caller).await;
        assert!(!another.is(old), "{} was revoked", old.user);
        assert!(world.logs_in(&another).await);
    }
}

async fn a_server_on_disk_and_vaultlet_start_again_one_after_the_other() {
    let place = Place::new();
    let settings = json!({"cache": {"leases": {"check_after": "1s"}}});
    let (bao, postgres) = (Bao::on_disk().await, Postgres::shared().await);
    let role = json!({"default_ttl": "10s"});
    let mut world = World::of(bao, postgres, role, place.settings(settings)).await;
    let jwt = world.jwt(1);
    let held = world.held(&jwt).await;

    world.bao.restart().await;
    let back = Duration::from_secs(10);
    until("it is asked about", back, async || {
        let answer = world.caller(&jwt).get(CREDS).await;
        answer.status == 200 && answer.cache() == "HIT"
    })
    .await;
    assert!(world.held(&jwt).await.is(&held));
    world.start_again_after(End::Crash).await;
    assert!(world.held(&jwt).await.is(&held));
    let renewed = world.asked(RENEW);
    until("it is renewed", back, async || world.asked(RENEW) > renewed).await;
    sleep(Duration::from_millis(300)).await;
    assert!(world.held(&jwt).await.is(&held) && world.logs_in(&held).await);
    assert_eq!(world.issued(), 1);
}

/// Each waits more than it works.
#[tokio::test]
async fn without_a_store_a_user_is_left_to_its_end_or_ended() {
    tokio::join!(
        without_a_store_there_is_another(),
        on_shutdown_revoke_none_is_left(true),
        on_shutdown_revoke_none_is_left(false),
        on_shutdown_keep_all_are_left(),
    );
}

async fn without_a_store_there_is_another() {
    let mut world = World::new(json!({"default_ttl": "4s"}), json!({})).await;
    let jwt = world.jwt(1);
    let old = world.held(&jwt).await;

    world.start_again_after(End::Crash).await;
    let new = world.held(&jwt).await;
    assert!(!new.is(&old) && world.logs_in(&new).await);
    assert!(world.logs_in(&old).await, "its lease goes on");
    until("the old one ends", Duration::from_secs(6), async || {
        world.users().await == [new.user.clone()]
    })
    .await;
    assert!(world.held(&jwt).await.is(&new));
}

async fn on_shutdown_revoke_none_is_left(stored: bool) {
    let (place, revoke) = (Place::new(), json!({"cache": {"leases": {"on_shutdown": "revoke"}}}));
    let settings = if stored { place.settings(revoke) } else { revoke };
    let mut world = World::new(json!({}), settings).await;
    let (jwt, badge, own) = (world.jwt(1), world.badge(2).await, world.token(json!({})).await);
    let (shared, private) = (world.held(&jwt).await, world.held(&own).await);
    let neighbour = world.credential(&world.neighbour(1)).await;
    assert_eq!(world.users().await.len(), 3);

    world.vaultlet.terminate().await;
    // The server revokes what a token had after it has said that the token is gone.
    for user in [&shared, &private, &neighbour] {
        world.until_gone(user).await;
    }
    world.vaultlet.start_again().await;
    assert!(!world.held(&jwt).await.is(&shared) && !world.held(&own).await.is(&private));
    if stored {
        // An application goes on with what it has: its login is made anew.
        assert!(world.held(&badge).await.is(&world.held(&jwt).await));
    }
    assert_eq!(world.users().await.len(), 2);
}

async fn on_shutdown_keep_all_are_left() {
    let keep = json!({"cache": {"leases": {"on_shutdown": "keep"}}});
    let mut world = World::new(json!({}), keep).await;
    let (shared, own) = (world.credential(&world.pod(1)).await, world.token(json!({})).await);
    let private = world.held(&own).await;

    world.vaultlet.terminate().await;
    sleep(Duration::from_millis(500)).await;
    assert!(world.logs_in(&shared).await && world.logs_in(&private).await);
}
