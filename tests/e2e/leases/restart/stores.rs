//! The store is not what was written, or somebody else's. What is believed?

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Stdio;
use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;

use super::{COLD, End, Place, WARM};
use crate::leases::{CREDS, World};
use crate::service_accounts::until;

const FORGOTTEN: &str = "the upstream is another cluster than before: forgetting all of it";

/// Each waits more than it works.
#[tokio::test]
async fn a_store_that_is_not_ours() {
    tokio::join!(
        one_that_is_damaged_is_not_believed_and_replaced(),
        one_of_another_cluster_is_forgotten(),
        of_two_processes_one_waits_for_the_other_to_end(),
        of_two_processes_one_does_not_wait_for_ever(),
    );
}

/// What is done to a store, and what the log says of it.
type Damage = (&'static str, fn(&Place));

const DAMAGES: [Damage; 7] = [
    ("altered or cut", |place| alter(place, |bytes| bytes.truncate(bytes.len() / 2))),
    ("altered or cut", |place| alter(place, |bytes| bytes.truncate(bytes.len() - 1))),
    ("altered or cut", |place| {
        alter(place, |bytes| {
            let at = fastrand::usize(11..bytes.len());
            bytes[at] ^= 1 << fastrand::u8(..8);
        });
    }),
    ("altered or cut", Place::another_key),
    ("format 2", |place| alter(place, |bytes| bytes[8] = 2)),
    ("not a store", |place| alter(place, Vec::clear)),
    ("mode other than 0600", |place| {
        fs::set_permissions(place.file(), fs::Permissions::from_mode(0o644)).unwrap();
    }),
];

fn alter(place: &Place, how: fn(&mut Vec<u8>)) {
    let mut bytes = fs::read(place.file()).unwrap();
    how(&mut bytes);
    fs::write(place.file(), bytes).unwrap();
}

async fn one_that_is_damaged_is_not_believed_and_replaced() {
    let place = Place::new();
    let mut world = World::new(json!({}), place.settings(json!({}))).await;
    let jwt = world.jwt(1);
    let mut held = world.held(&jwt).await;

    for (number, (why, damage)) in DAMAGES.into_iter().enumerate() {
        world.vaultlet.kill().await;
        damage(&place);
        world.vaultlet.start_again().await;
        let told = world.vaultlet.events(COLD);
        let reasons: Vec<_> = told.iter().map(|it| it["reject"].as_str().unwrap()).collect();
        assert!(reasons.len() == 1 && reasons[0].contains(why), "{number}: {reasons:?}");
        assert_eq!(world.vaultlet.events(WARM).len(), 0, "{number}");
        let new = world.held(&jwt).await;
        assert!(!new.is(&held), "{number}: {why}");
        held = new;
        assert_eq!(world.issued(), number + 2);

        // What is written now is believed again.
        world.start_again_after(End::Crash).await;
        assert_eq!(world.vaultlet.events(COLD).len(), 0, "{number}");
        assert!(world.held(&jwt).await.is(&held), "{number}: {why}");
    }
}

async fn one_of_another_cluster_is_forgotten() {
    let place = Place::new();
    let mut world = World::new(json!({}), place.settings(json!({}))).await;
    let (jwt, badge) = (world.jwt(1), world.badge(2).await);
    let old = world.held(&jwt).await;

    world.vaultlet.kill().await;
    // In memory: nothing of what it was.
    world.bao.restart().await;
    world.vaultlet.start_again().await;
    until("it shows", Duration::from_secs(5), async || world.vaultlet.events(FORGOTTEN).len() == 1)
        .await;
    for caller in [&jwt, &badge] {
        let answer = world.caller(caller).get(CREDS).await;
        assert!(answer.status >= 400 && !answer.text().contains(&old.password), "{answer:?}");
    }
    assert_eq!(world.counted("vaultlet_leases", &[]).await, 0);

    world.furnish(json!({})).await;
    let own = world.caller(&world.cluster.token("web", "shop", "shop-1"));
    let new = world.credential(&own).await;
    assert!(!new.is(&old) && world.logs_in(&new).await);
    until("what was refused is not any more", Duration::from_secs(15), async || {
        world.caller(&jwt).get(CREDS).await.status == 200
    })
    .await;
    assert!(!world.held(&badge).await.is(&old));
}

/// As when a new version takes the place of the old.
async fn of_two_processes_one_waits_for_the_other_to_end() {
    let place = Place::new();
    let mut world = World::new(json!({}), place.settings(json!({}))).await;
    let jwt = world.jwt(1);
    let held = world.held(&jwt).await;
    let pid = world.vaultlet.pid();
    let end = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let pid = rustix::process::Pid::from_raw(pid.cast_signed()).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    };
    let began = Instant::now();
    let (new, ()) = tokio::join!(world.vaultlet.another(), end);
    assert!(began.elapsed() >= Duration::from_secs(1), "two at once");
    assert!(world.vaultlet.ended().await.success());
    world.vaultlet = new;
    assert_eq!(
        world.vaultlet.events("another process has the store: waiting for its end").len(),
        1
    );
    assert!(world.held(&jwt).await.is(&held));
    assert_eq!(world.issued(), 1);
}

async fn of_two_processes_one_does_not_wait_for_ever() {
    let place = Place::new();
    let world = World::new(json!({}), place.settings(json!({}))).await;
    let jwt = world.jwt(1);
    let held = world.held(&jwt).await;
    let file = fs::read(place.file()).unwrap();

    let mut second = tokio::process::Command::new(env!("CARGO_BIN_EXE_vaultlet"));
    second.arg("serve").arg("--config").arg(world.vaultlet.config()).env_clear();
    let began = Instant::now();
    let output = second.stdin(Stdio::null()).kill_on_drop(true).output();
    let output = tokio::time::timeout(Duration::from_secs(30), output).await.unwrap().unwrap();
    assert!(!output.status.success() && began.elapsed() > Duration::from_secs(9));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("is in use by another process"), "{said}");
    assert_eq!(fs::read(place.file()).unwrap(), file);
    assert!(world.held(&jwt).await.is(&held));
}
