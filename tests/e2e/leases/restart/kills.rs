//! vaultlet is killed again and again. Is anything dead handed out, and what is left behind?

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::json;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::{End, Place, WARM, WRITTEN};
use crate::client::{Call, Client};
use crate::leases::{CREDS, Credential, Fault, World};
use crate::postgres::Postgres;
use crate::service_accounts::until;

const INTENDED: &str = "a credential was being asked for when the process before ended: there may \
                        be one that nobody has, until its lease ends";

/// The longest that a lease of these roles is left to itself.
const TTL: Duration = Duration::from_secs(6);

/// Each waits more than it works.
#[tokio::test]
async fn killed_at_any_moment() {
    tokio::join!(killed(8), what_was_being_asked_for_is_told_of());
}

/// `make test-leases`
#[tokio::test]
#[ignore = "three minutes"]
async fn killed_a_hundred_times() {
    killed(100).await;
}

/// Who reads what, again and again.
#[derive(Clone)]
struct Reader {
    token: String,
    role: &'static str,
    /// Whether a new one is asked for each time.
    fresh: bool,
}

/// What one of them was given.
struct Given {
    role: &'static str,
    user: String,
    at: Instant,
    end: Instant,
}

/// What all of them were given.
#[derive(Clone, Default)]
struct Ledger(Arc<Mutex<Vec<Given>>>);

impl Ledger {
    fn note(&self, role: &'static str, credential: &Credential) {
        let (user, at) = (credential.user.clone(), Instant::now());
        let end = at + Duration::from_secs(credential.seconds);
        self.0.lock().unwrap().push(Given { role, user, at, end });
    }

    fn users(&self) -> HashSet<String> {
        self.0.lock().unwrap().iter().map(|given| given.user.clone()).collect()
    }

    /// Who was given last for this role, and an end of it that is on disk at `killed`.
    fn stored(&self, role: &str, killed: Instant) -> Option<(String, Instant)> {
        let given = self.0.lock().unwrap();
        let last = given.iter().rfind(|given| given.role == role && given.at < killed)?;
        let written = given.iter().filter(|given| {
            given.role == role && given.user == last.user && given.at + WRITTEN < killed
        });
        Some((last.user.clone(), written.map(|given| given.end).max()?))
    }
}

impl Reader {
    /// Asks; `None`: there is nobody to ask, as vaultlet is being killed.
    async fn read(&self, client: &Client, fresh: bool) -> Option<Credential> {
        let mut call = Call::get(&format!("database/creds/{}", self.role));
        if fresh {
            call = call.with("Cache-Control", "no-cache");
        }
        let answer = client.token(&self.token).try_send(&call).await.ok()?;
        Some(Credential::of(answer))
    }

    async fn run(
        self,
        client: watch::Receiver<Option<Client>>,
        ledger: Ledger,
        postgres: Arc<Postgres>,
    ) {
        loop {
            sleep(Duration::from_millis(fastrand::u64(100..300))).await;
            let Some(vaultlet) = client.borrow().clone() else { continue };
            let asked = Instant::now();
            let Some(given) = self.read(&vaultlet, self.fresh).await else { continue };
            ledger.note(self.role, &given);
            let lives = postgres.logs_in(&given.user, &given.password).await;
            let promised = asked.elapsed() < Duration::from_secs(given.seconds);
            assert!(lives || !promised, "{given:?} is dead");
        }
    }
}

/// Roles that are read again and again: one that lives on, one that is succeeded all the time, one
/// of which a new user is asked for all the time, and that of another service account.
async fn readers(world: &World) -> Vec<Reader> {
    world.role("turning", json!({"default_ttl": "3s", "max_ttl": "6s"})).await;
    world.role("fresh", json!({"default_ttl": "5s"})).await;
    world.role("other", json!({"default_ttl": TTL.as_secs()})).await;
    let shop = world.cluster.token("web", "shop", "shop-1");
    [
        (world.jwt(1), "app", false),
        (world.jwt(2), "app", false),
        (world.jwt(1), "turning", false),
        (world.jwt(3), "fresh", true),
        (shop, "other", false),
    ]
    .map(|(token, role, fresh)| Reader { token, role, fresh })
    .to_vec()
}

async fn killed(times: usize) {
    let place = Place::new();
    let role = json!({"default_ttl": TTL.as_secs()});
    let mut world = World::new(role, place.settings(json!({}))).await;
    let readers = readers(&world).await;
    let (ledger, switch) = (Ledger::default(), watch::Sender::new(Some(world.vaultlet.client())));
    let mut running = JoinSet::new();
    for reader in readers.clone() {
        running.spawn(reader.run(switch.subscribe(), ledger.clone(), world.postgres.clone()));
    }

    let (mut orphans, mut went_on, mut told) = (HashMap::new(), 0, 0);
    for kill in 1..=times {
        sleep(Duration::from_millis(fastrand::u64(300..2500))).await;
        let at = Instant::now();
        switch.send_replace(None);
        world.start_again_after(End::Crash).await;
        assert_eq!(world.vaultlet.events(WARM).len(), 1, "{}", world.vaultlet.log());
        told += world.vaultlet.events(INTENDED).len();

        // Before anybody asks: what comes later may be nobody's yet.
        let users = world.users().await;
        for reader in &readers {
            let given = reader.read(&world.vaultlet.client(), false).await.unwrap();
            ledger.note(reader.role, &given);
            assert!(world.logs_in(&given).await, "{given:?} is dead after kill {kill}");
            let stored = ledger.stored(reader.role, at);
            let lives_on = ["app", "other"].contains(&reader.role);
            if let Some((user, end)) = stored.filter(|_| lives_on)
                && Instant::now() + Duration::from_millis(500) < end
            {
                assert_eq!(given.user, user, "kill {kill}");
                went_on += 1;
            }
        }
        let given = ledger.users();
        for user in users.into_iter().filter(|user| !given.contains(user)) {
            let role = user[world.tag.len()..].split('-').next().unwrap().to_owned();
            orphans.entry(role).or_insert_with(HashSet::new).insert(user);
        }
        let most = orphans.values().map(HashSet::len).max().unwrap_or_default();
        assert!(most <= kill, "after {kill} kills: {orphans:?}");
        switch.send_replace(Some(world.vaultlet.client()));
        if let Some(ended) = running.try_join_next() {
            panic!("{ended:?}");
        }
    }
    running.abort_all();
    while let Some(ended) = running.join_next().await {
        assert!(ended.is_err_and(|error| error.is_cancelled()), "a reader had something to say");
    }
    let orphans: HashSet<_> = orphans.into_values().flatten().collect();
    println!("{times} kills: {} orphans, {told} told of, {went_on} times the same", orphans.len());
    assert!(went_on >= times / 2, "{went_on} times the same after {times} kills");
    until("orphans end with their leases", TTL + Duration::from_secs(3), async || {
        world.users().await.iter().all(|user| !orphans.contains(user))
    })
    .await;
}

/// The server has made a user, and its answer never comes.
async fn what_was_being_asked_for_is_told_of() {
    let place = Place::new();
    let mut world = World::new(json!({"default_ttl": "4s"}), place.settings(json!({}))).await;
    let jwt = world.jwt(1);
    world.fail(CREDS, Some(Fault::Late(Duration::from_mins(1))));
    let caller = world.caller(&jwt);
    let asking = tokio::spawn(async move { caller.try_send(&Call::get(CREDS)).await.is_ok() });
    until("there is a user", Duration::from_secs(5), async || world.users().await.len() == 1).await;
    sleep(Duration::from_millis(300)).await;

    world.vaultlet.kill().await;
    assert!(!asking.await.unwrap(), "nobody has it");
    world.fail(CREDS, None);
    let orphan = world.users().await.remove(0);
    world.role("app", json!({})).await;
    world.vaultlet.start_again().await;
    let told = world.vaultlet.events(INTENDED);
    assert!(told.len() == 1 && told[0]["mount"] == "database", "{told:?}");
    assert_eq!(world.counted("vaultlet_leases_orphaned_total", &[]).await, 1);
    let held = world.held(&jwt).await;
    assert_ne!(held.user, orphan);
    until("it ends", Duration::from_secs(6), async || !world.users().await.contains(&orphan)).await;

    world.start_again_after(End::Crash).await;
    assert_eq!(world.vaultlet.events(INTENDED).len(), 0, "that is over");
    assert!(world.held(&jwt).await.is(&held));
}
