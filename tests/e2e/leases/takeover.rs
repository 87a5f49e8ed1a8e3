//! A process takes over from another that holds leases. Is anything asked for, renewed or revoked
//! that should not be?

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use super::{CREDS, Fault, RENEW, REVOKE, World};
use crate::service_accounts::until;
use crate::vaultlet::merge;

/// What vaultlet is told; `over` is laid over that.
fn settings(home: &TempDir, over: Value) -> Value {
    fs::set_permissions(home.path(), fs::Permissions::from_mode(0o700)).unwrap();
    let key = home.path().join("store.key");
    fs::write(&key, [7; 32]).unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    let store = json!({"dir": home.path().join("store"), "key_file": key});
    let mut settings = json!({
        "upgrade": {"socket": home.path().join("upgrade.sock")},
        "cache": {"leases": {"on_shutdown": "revoke", "store": store}},
        "shutdown": {"drain": "5s"},
    });
    merge(&mut settings, over);
    settings
}

impl World {
    async fn take_over(&mut self) {
        let next = self.vaultlet.another().await;
        let mut before = std::mem::replace(&mut self.vaultlet, next);
        assert!(before.ended().await.success(), "{}", before.log());
    }
}

#[tokio::test]
async fn leases_go_on_and_are_renewed_by_one() {
    let home = tempfile::tempdir().unwrap();
    let mut world = World::new(json!({"default_ttl": "4s"}), settings(&home, json!({}))).await;
    let jwt = world.cluster.token("payments", "api", "api-1");
    let (badge, own) = (world.badge(2).await, world.token(json!({})).await);
    let shared = world.credential(&world.caller(&jwt)).await;
    let private = world.credential(&world.caller(&own)).await;
    let (began, renewed) = (Instant::now(), world.asked(RENEW));

    for _ in 0..3 {
        world.take_over().await;
        assert!(world.credential(&world.caller(&jwt)).await.is(&shared));
        assert!(world.credential(&world.caller(&badge)).await.is(&shared));
        assert!(world.credential(&world.caller(&own)).await.is(&private));
        sleep(Duration::from_secs(3)).await;
    }
    assert!(world.logs_in(&shared).await && world.logs_in(&private).await);
    assert_eq!((world.issued(), world.asked(REVOKE)), (2, 0));
    // Two thirds of four seconds, less the jitter, and one that was under way.
    let most = 2 * (1 + (began.elapsed().as_secs_f64() / (4.0 * 0.66 * 0.9)).ceil() as usize);
    let renewals = world.asked(RENEW) - renewed;
    assert!((4..=most).contains(&renewals), "{renewals} of {most}");

    // The store is the last process's by now, and so are the revocations.
    world.vaultlet.terminate().await;
    world.until_gone(&shared).await;
}

/// Asked for at the old process, which answers when there is another already.
#[tokio::test]
async fn what_was_being_issued_is_not_lost() {
    let home = tempfile::tempdir().unwrap();
    let mut world = World::new(json!({}), settings(&home, json!({}))).await;
    world.credential(&world.neighbour(1)).await;
    world.fail(CREDS, Some(Fault::Late(Duration::from_secs(2))));
    let caller = world.pod(1);
    let asked = tokio::spawn(async move { caller.get(CREDS).await });
    until("it is asked for", Duration::from_secs(5), async || world.issued() == 2).await;

    world.take_over().await;
    world.fail(CREDS, None);
    let issued = super::Credential::of(asked.await.unwrap());
    assert!(world.credential(&world.pod(2)).await.is(&issued));
    assert_eq!(world.issued(), 2);
}
