//! What happens besides: faults, seals, crashes, and rights that come and go.

use std::rc::Rc;
use std::time::Duration;

use fastrand::Rng;
use serde_json::json;
use tokio::time::{sleep, timeout};
use vaultlet_loadtest::Ask;

use super::play::{GROUPS, Play, READERS, policy, rules};
use super::record::{Reader, What};
use crate::caller::Caller;
use crate::fault::{Effect, Named, Toxic};
use crate::stand::Stand;

/// Between two of them.
const PAUSE: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(3));

/// How long a fault lasts.
const LASTS: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(6));

/// Longest until the upstream can be asked again, once it answers.
const RECOVERY: Duration = Duration::from_secs(10);

pub(super) struct Happenings {
    play: Rc<Play>,
    /// Of those who read next.
    number: u32,
    canaries: u32,
    /// Groups without rights now.
    denied: Vec<u8>,
    deck: Vec<Happening>,
    /// Nobody else draws from these, so a seed has the same things happen again.
    lots: Rng,
}

#[derive(Clone, Copy, Debug)]
enum Happening {
    Crash,
    Fault,
    Revocation,
    Rights,
    Seal,
}

/// Each comes in turn, in an order that is drawn: however long a run is, it has some of all. It
/// begins with a fault.
const DECK: [Happening; 9] = [
    Happening::Crash,
    Happening::Revocation,
    Happening::Rights,
    Happening::Rights,
    Happening::Seal,
    Happening::Fault,
    Happening::Fault,
    Happening::Fault,
    Happening::Fault,
];

impl Happenings {
    pub(super) fn new(play: Rc<Play>, seed: u64) -> Self {
        let lots = Rng::with_seed(seed);
        Self { play, number: 1000, canaries: 0, denied: vec![], deck: vec![Happening::Fault], lots }
    }

    /// One after the other, until `end`.
    pub(super) async fn until(&mut self, stand: &mut Stand, end: Duration) -> Result<(), String> {
        while self.play.now() < end {
            self.pause(PAUSE.0, PAUSE.1).await;
            if self.deck.is_empty() {
                self.deck.extend(DECK);
                self.lots.shuffle(&mut self.deck);
            }
            match self.deck.pop() {
                Some(Happening::Crash) => self.crash(stand).await?,
                Some(Happening::Revocation) => self.revoke(stand).await?,
                Some(Happening::Rights) => self.rights(stand).await?,
                Some(Happening::Seal) => self.seal(stand).await?,
                Some(Happening::Fault) | None => self.fault(stand).await?,
            }
            if let Some(how) = stand.vaultlet.ended() {
                return Err(format!("vaultlet {how}"));
            }
        }
        Ok(())
    }

    async fn pause(&mut self, least: Duration, most: Duration) {
        sleep(least + most.saturating_sub(least).mul_f64(self.lots.f64())).await;
    }

    async fn fault(&mut self, stand: &mut Stand) -> Result<(), String> {
        let named = Named::draw(&mut self.lots);
        let from = self.play.now();
        let before: u64 = stand.injector.switch.all_fired().values().sum();
        stand.injector.switch.set(named.toxics());
        self.pause(LASTS.0, LASTS.1).await;
        // Rights change while nobody can be told, too.
        match self.lots.u8(..4) {
            0 => self.rights(stand).await?,
            1 => self.revoke(stand).await?,
            _ => {}
        }
        self.pause(Duration::ZERO, LASTS.0).await;
        stand.injector.switch.clear();
        if !named.spares_answers() {
            self.recover(from).await;
        }
        let after: u64 = stand.injector.switch.all_fired().values().sum();
        if after > before {
            self.play.saw("fault");
        }
        // A little of a fault is no outage, but every answer has to be right all the same.
        let reset = Effect::ResetPeer { after: Duration::ZERO, within: 900 };
        stand.injector.switch.set(vec![Toxic { share: 0.02, ..Toxic::new(reset) }]);
        sleep(Duration::from_millis(300)).await;
        stand.injector.switch.clear();
        Ok(())
    }

    async fn seal(&mut self, stand: &mut Stand) -> Result<(), String> {
        let from = self.play.now();
        stand.api.ask(&Ask::write("sys/seal", json!({}))).await?;
        self.pause(LASTS.0, LASTS.1).await;
        stand.openbao.unseal().await?;
        self.recover(from).await;
        self.play.saw("sealed");
        Ok(())
    }

    async fn crash(&mut self, stand: &mut Stand) -> Result<(), String> {
        stand.vaultlet.restart().await?;
        self.play.saw("restarted");
        Ok(())
    }

    /// Takes a group's rights away, or gives them back.
    async fn rights(&mut self, stand: &mut Stand) -> Result<(), String> {
        let began = self.play.now();
        if let Some(group) = self.denied.pop() {
            stand.policy(&policy(group), &rules(group)).await?;
            self.play.changed(began, What::Granted(group));
            self.play.saw("policy given back");
        } else {
            let group = self.lots.u8(..GROUPS);
            let none = "path \"secret/data/nothing\" { capabilities = [\"read\"] }";
            stand.policy(&policy(group), none).await?;
            self.play.changed(began, What::Denied(group));
            self.denied.push(group);
            self.play.saw("policy taken away");
        }
        Ok(())
    }

    /// Revokes a reader's token. It goes on being used until another takes its place.
    async fn revoke(&mut self, stand: &mut Stand) -> Result<(), String> {
        let (group, place) = (self.lots.u8(..GROUPS), self.lots.usize(..READERS));
        let (reader, token) = self.play.readers.borrow()[usize::from(group)][place].clone();
        let began = self.play.now();
        let body = json!({"token": token.token});
        stand.api.ask(&Ask::write("auth/token/revoke-orphan", body)).await?;
        self.play.changed(began, What::Revoked(reader));
        self.play.saw("revoked");
        self.pause(Duration::from_secs(1), Duration::from_secs(5)).await;
        let number = self.number;
        self.number += 1;
        let token = stand.token(&format!("reader-{number}"), &[&policy(group)]).await?;
        let reader = Reader { group, number };
        self.play.readers.borrow_mut()[usize::from(group)][place] = (reader, token);
        Ok(())
    }

    /// Waits until a read that nothing is known of is answered by the upstream: until then it was,
    /// as far as vaultlet can know, not to be asked.
    async fn recover(&mut self, from: Duration) {
        let over = self.play.now();
        while !self.asked().await {
            if self.play.now().saturating_sub(over) > RECOVERY {
                self.play.saw("late");
                break;
            }
            sleep(Duration::from_millis(50)).await;
        }
        self.play.outage(from, self.play.now());
    }

    async fn asked(&mut self) -> bool {
        self.canaries += 1;
        let target = format!("/v1/secret/data/canary/{}", self.canaries);
        let asked = async {
            let mut caller = Caller::connect(self.play.port).await?;
            caller.get(&target, Some(&self.play.canary.token)).await
        };
        let answer = timeout(Duration::from_secs(1), asked).await;
        answer.is_ok_and(|answer| answer.is_ok_and(|it| it.head.status() == 404))
    }
}
