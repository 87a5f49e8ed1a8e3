//! Who takes part in a run, and what do they share?

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::happenings::Happenings;
use super::record::{Change, History, Path, Rank, Read, Reader, Span, What};
use super::{readers, writers};
use crate::stand::{Stand, Token, nonce};
use vaultlet_loadtest::{Api, Ask};

pub(super) const GROUPS: u8 = 4;

/// Secrets of each group.
pub(super) const SECRETS: u8 = 6;

/// Identities of each group, at any time.
pub(super) const READERS: usize = 4;

/// Connections that read. Each waits for its answer before it sends the next request, so there are
/// many: an outage that some of them see must not stop the others.
const CONNECTIONS: u32 = 120;

/// What all share who take part.
pub(super) struct Play {
    pub(super) port: u16,
    epoch: Instant,
    over: Cell<bool>,
    /// Those that read now, by group.
    pub(super) readers: RefCell<Vec<Vec<(Reader, Token)>>>,
    pub(super) writer: Token,
    /// Reads below `canary/`, where nothing is.
    pub(super) canary: Token,
    /// The newest version of each secret, where it is known.
    pub(super) versions: RefCell<BTreeMap<Path, u64>>,
    reads: RefCell<Vec<Read>>,
    changes: RefCell<Vec<Change>>,
    outages: RefCell<Vec<Span>>,
    seen: RefCell<BTreeMap<&'static str, u64>>,
}

/// The rules of a group's policy, as long as it has any rights.
pub(super) fn rules(group: u8) -> String {
    format!("path \"secret/data/g{group}/*\" {{ capabilities = [\"read\"] }}")
}

pub(super) fn policy(group: u8) -> String {
    format!("group-{group}")
}

/// What a secret holds.
pub(super) fn value(path: Path) -> Value {
    json!({"data": {"nonce": nonce(&path.name()), "lot": fastrand::u64(..)}})
}

impl Play {
    /// Secrets, and who may read them.
    pub(super) async fn prepare(stand: &mut Stand) -> Result<Rc<Self>, String> {
        let all = "path \"secret/data/*\" { capabilities = [\"create\", \"update\", \"delete\"] }";
        stand.policy("writer", all).await?;
        stand
            .policy("canary", "path \"secret/data/canary/*\" { capabilities = [\"read\"] }")
            .await?;
        let writer = stand.token("writer", &["writer"]).await?;
        let canary = stand.token("canary", &["canary"]).await?;
        let (mut groups, mut number) = (Vec::new(), 0);
        for group in 0..GROUPS {
            stand.policy(&policy(group), &rules(group)).await?;
            let mut readers = Vec::new();
            for _ in 0..READERS {
                let token = stand.token(&format!("reader-{number}"), &[&policy(group)]).await?;
                readers.push((Reader { group, number }, token));
                number += 1;
            }
            groups.push(readers);
        }
        let play = Self {
            port: stand.vaultlet.port(),
            epoch: Instant::now(),
            over: Cell::new(false),
            readers: RefCell::new(groups),
            writer,
            canary,
            versions: RefCell::default(),
            reads: RefCell::default(),
            changes: RefCell::default(),
            outages: RefCell::default(),
            seen: RefCell::default(),
        };
        for path in paths() {
            let began = play.now();
            let written = write(&mut stand.api, path).await?;
            play.wrote(path, began, Rank::there(written), false);
            play.versions.borrow_mut().insert(path, written);
        }
        Ok(Rc::new(play))
    }

    /// Everybody at once.
    pub(super) async fn run(
        self: &Rc<Self>,
        stand: &mut Stand,
        lasting: Duration,
        rate: u32,
        seed: u64,
    ) -> Result<(), String> {
        let mut tasks = JoinSet::new();
        // Half again and more, for the time in which many wait.
        let gap = Duration::from_secs(1) * CONNECTIONS / (rate * 5 / 2);
        for _ in 0..CONNECTIONS {
            tasks.spawn_local(readers::read(self.clone(), gap));
        }
        for group in 0..GROUPS {
            tasks.spawn_local(writers::write(self.clone(), group, stand.openbao.api()));
        }
        let end = self.now() + lasting;
        let mut happenings = Happenings::new(self.clone(), seed);
        let outcome = happenings.until(stand, end).await;
        self.over.set(true);
        while tasks.join_next().await.is_some() {}
        outcome
    }

    pub(super) fn history(&self) -> History {
        History {
            reads: self.reads.borrow().clone(),
            changes: self.changes.borrow().clone(),
            outages: self.outages.borrow().clone(),
            audited: vec![],
            broken_chain: None,
        }
    }

    pub(super) fn seen(&self) -> BTreeMap<&'static str, u64> {
        self.seen.borrow().clone()
    }

    pub(super) fn now(&self) -> Duration {
        self.epoch.elapsed()
    }

    pub(super) fn over(&self) -> bool {
        self.over.get()
    }

    pub(super) async fn pause(&self, least: Duration, most: Duration) {
        sleep(least + most.saturating_sub(least).mul_f64(fastrand::f64())).await;
    }

    pub(super) fn saw(&self, what: &'static str) {
        *self.seen.borrow_mut().entry(what).or_default() += 1;
    }

    pub(super) fn read(&self, read: Read) {
        self.reads.borrow_mut().push(read);
    }

    /// Something was acknowledged just now.
    pub(super) fn changed(&self, began: Duration, what: What) {
        self.changes.borrow_mut().push(Change { began, acked: self.now(), what });
    }

    pub(super) fn wrote(&self, path: Path, began: Duration, rank: Rank, through_vaultlet: bool) {
        self.changed(began, What::Wrote { path, rank, through_vaultlet });
    }

    pub(super) fn outage(&self, from: Duration, to: Duration) {
        self.outages.borrow_mut().push(Span { from, to });
    }
}

/// Writes past vaultlet; the version that was made.
pub(super) async fn write(api: &mut Api, path: Path) -> Result<u64, String> {
    let asked = Ask::write(format!("secret/data/{}", path.name()), value(path));
    let made = api.ask(&asked).await?;
    made["data"]["version"].as_u64().ok_or_else(|| "a write without a version".to_owned())
}

fn paths() -> impl Iterator<Item = Path> {
    (0..GROUPS).flat_map(|group| (0..SECRETS).map(move |number| Path { group, number }))
}
