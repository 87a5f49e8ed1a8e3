//! vaultlet starts while its upstream is away. What does it answer with?

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::sleep;

use super::{End, Place, WRITTEN};
use crate::bao::wait_for_kv;
use crate::client::Call;
use crate::leases::{CREDS, Credential, Fault, RULES, World, is_hit};
use crate::service_accounts::until;
use crate::world::policy;

const SECRET: &str = "secret/data/app";
const BACK: Duration = Duration::from_secs(10);

/// Each waits more than it works.
#[tokio::test]
async fn a_start_without_an_upstream() {
    tokio::join!(
        with_a_store_what_was_held_is_handed_out(),
        with_a_store_for_kv_secrets_are_too(),
        without_a_store_there_is_nothing_until_it_is_back(),
    );
}

/// Everything has to be asked about again after a second.
fn hasty() -> Value {
    json!({"cache": {"leases": {"check_after": "1s"}}, "policy": {"refresh": "1s"}})
}

impl World {
    /// The upstream is gone, and vaultlet starts again.
    async fn start_again_alone(&mut self) {
        self.vaultlet.kill().await;
        self.fail("", Some(Fault::Reset));
        self.vaultlet.start_again().await;
        // Until what was known when it ended is too old to be relied on.
        sleep(Duration::from_millis(1200)).await;
    }

    async fn until_well(&self) {
        self.fail("", None);
        let well = async || self.readiness().await == (200, "ready\n".to_owned());
        until("it is ready", BACK, well).await;
        assert_eq!(self.state().await, "ready");
    }

    async fn readiness(&self) -> (u16, String) {
        let ready = Call::get("").target("/readyz");
        let answer = self.vaultlet.admin().send(&ready).await;
        (answer.status, answer.text())
    }

    async fn state(&self) -> String {
        let status = self.vaultlet.admin().send(&Call::get("").target("/status")).await;
        status.expect(200).json()["state"].as_str().unwrap().to_owned()
    }

    /// It is ready, with what it has, and says what it lacks.
    async fn is_degraded(&self) {
        let (status, said) = self.readiness().await;
        assert!(status == 200 && said.starts_with("degraded: "), "{status}: {said}");
        assert_eq!(self.state().await, "degraded");
        assert_eq!(self.vaultlet.metric("vaultlet_upstream_up", &[]).await, 0.0);
    }
}

#[track_caller]
fn is_stale(answer: &crate::client::Answer) {
    let said = answer.header("cache-status");
    assert_eq!(said, Some("vaultlet; hit; detail=stale-if-error"), "{answer:?}");
    assert_eq!(answer.status, 200);
}

async fn with_a_store_what_was_held_is_handed_out() {
    let place = Place::new();
    let role = json!({"default_ttl": "8s"});
    let mut world = World::new(role, place.settings(hasty())).await;
    let jwt = world.jwt(1);
    let (held, badge) = (world.held(&jwt).await, world.badge(2).await);
    // Nobody waits for this to be written.
    sleep(WRITTEN).await;

    world.start_again_alone().await;
    world.is_degraded().await;
    for caller in [&jwt, &badge, &world.jwt(3)] {
        let answer = world.caller(caller).get(CREDS).await;
        is_stale(&answer);
        assert!(Credential::of(answer).is(&held));
    }
    assert!(world.logs_in(&held).await);
    let stranger = world.cluster.token("web", "shop", "shop-1");
    world.caller(&stranger).get(CREDS).await.expect_own_error(&[502, 503]);

    world.until_well().await;
    until("it is asked about", BACK, async || world.caller(&jwt).get(CREDS).await.cache() == "HIT")
        .await;
    assert!(world.held(&badge).await.is(&held));
    // Longer than the lease was for.
    sleep(Duration::from_secs(8)).await;
    assert!(world.held(&jwt).await.is(&held) && world.logs_in(&held).await);
    assert_eq!(world.issued(), 1);
}

async fn with_a_store_for_kv_secrets_are_too() {
    let place = Place::new();
    let kv = json!({"cache": {"leases": {"store": {"kv": true}}}});
    let mut settings = place.settings(kv);
    crate::vaultlet::merge(&mut settings, hasty());
    let mut world = World::new(json!({}), settings).await;
    wait_for_kv(&world.server(), "secret").await;
    let rules = format!("{RULES}\npath \"secret/data/*\" {{ capabilities = [\"read\"] }}");
    policy(&world.server(), "payments-api", &rules).await;
    let secret = json!({"data": {"value": "kept"}});
    world.server().post(SECRET, secret).await.expect(200);
    let (jwt, badge) = (world.jwt(1), world.badge(2).await);
    let held = world.held(&jwt).await;
    sleep(WRITTEN).await;
    let read = world.caller(&jwt).get(SECRET).await.expect(200);
    assert_eq!(read.value().as_deref(), Some("kept"));
    sleep(2 * WRITTEN).await;
    assert!(!holds(&place, b"kept"));

    world.start_again_alone().await;
    world.is_degraded().await;
    for caller in [&jwt, &badge] {
        let answer = world.caller(caller).get(SECRET).await;
        is_stale(&answer);
        assert_eq!(answer.value().as_deref(), Some("kept"));
    }
    let stranger = world.cluster.token("web", "shop", "shop-1");
    world.caller(&stranger).get(SECRET).await.expect_own_error(&[502, 503]);

    world.until_well().await;
    let other = json!({"data": {"value": "another"}});
    world.server().post(SECRET, other).await.expect(200);
    until("it is read again", BACK, async || {
        world.caller(&jwt).get(SECRET).await.value().as_deref() == Some("another")
    })
    .await;
    assert!(world.held(&jwt).await.is(&held));

    // What was written through vaultlet is not what it was, after a crash either.
    let writer = world.caller("root");
    let third = json!({"data": {"value": "third"}});
    writer.post(SECRET, third).await.expect(200);
    sleep(WRITTEN).await;
    world.start_again_after(End::Crash).await;
    let read = world.caller(&badge).get(SECRET).await;
    assert_eq!(read.value().as_deref(), Some("third"));
}

fn holds(place: &Place, what: &[u8]) -> bool {
    let bytes = std::fs::read(place.file()).unwrap();
    bytes.windows(what.len()).any(|window| window == what)
}

async fn without_a_store_there_is_nothing_until_it_is_back() {
    let mut world = World::new(json!({}), json!({})).await;
    let jwt = world.jwt(1);
    let old = world.held(&jwt).await;

    world.start_again_alone().await;
    assert_eq!((world.readiness().await.0, world.state().await), (503, "starting".into()));
    let answer = world.caller(&jwt).get(CREDS).await.expect_own_error(&[502, 503]);
    assert!(!answer.text().contains(&old.password));
    world.until_well().await;
    let new = world.held(&jwt).await;
    assert!(!new.is(&old) && world.logs_in(&new).await);
    world.start_again_after(End::Signal).await;
    is_hit(&{
        world.held(&jwt).await;
        world.caller(&jwt).get(CREDS).await
    });
}
