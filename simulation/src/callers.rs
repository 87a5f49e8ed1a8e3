//! Who asks what, and what happens to the server meanwhile.
//!
//! One task decides all of it, so that what is drawn does not depend on what is answered when.

use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::{advance, sleep};
use vaultlet::app::Embedded;

use crate::history::{Content, Kind, Policy, SECRETS, Token, Trouble};
use crate::properties::RECOVERY;
use crate::situations::Situation;
use crate::wish::{PATIENCE, Wish};
use crate::world::{CREDENTIALS, CREDENTIALS_PATH, Fault, World};

/// How many policies there are.
const POLICIES: usize = 3;

/// What a seed does.
pub(crate) struct Callers {
    world: World,
    proxy: Arc<Embedded>,
    rng: Rng,
    underway: JoinSet<()>,
    writes: u64,
    /// What this seed leaves out: with less of everything, what is left gets further.
    without: u32,
}

impl Callers {
    pub(crate) fn new(world: World, proxy: Arc<Embedded>, mut rng: Rng) -> Self {
        let without = rng.u32(..) & rng.u32(..);
        let mut state = world.state();
        for _ in 0..POLICIES {
            let all = (0..=CREDENTIALS).map(|_| vec![(Duration::ZERO, rng.u8(..4) > 0)]);
            state.policies.push(Policy(all.collect()));
        }
        // Two of one class, one of another, one with the rights of both, a writer.
        for (policies, writes) in [
            (vec![0], false),
            (vec![0], false),
            (vec![1], false),
            (vec![0, 1], false),
            (vec![2], true),
        ] {
            state.tokens.push(Token { policies, writes, ends: None, gone: None, uses: None });
        }
        drop(state);
        Self { world, proxy, rng, underway: JoinSet::new(), writes: 0, without }
    }

    /// Safety first, while anything may go wrong; then liveness, when nothing does any more.
    pub(crate) async fn play(mut self) {
        for _ in 0..self.rng.u32(60..140) {
            self.step();
            let pause = self.pause();
            sleep(pause).await;
            if self.world.state().violations.len() > 3 {
                break;
            }
        }
        while self.underway.join_next().await.is_some() {}
        self.end_troubles().await;
        self.ask_everything().await;
        let settings = self.world.state().settings;
        sleep(settings.window + settings.ttl + Duration::from_secs(2)).await;
        self.ask_everything().await;
    }

    fn pause(&mut self) -> Duration {
        let micros = match self.rng.u8(..20) {
            0..=7 => 0,
            8..=13 => self.rng.u64(..20_000),
            14..=17 => self.rng.u64(..800_000),
            _ => self.rng.u64(..6_000_000),
        };
        Duration::from_micros(micros)
    }

    fn step(&mut self) {
        let what = self.rng.u32(..100);
        let kind = match what {
            0..=44 => 0,
            45..=52 => 1,
            53..=57 => 2,
            58..=62 => 3,
            63..=70 => 4,
            71..=76 => 5,
            77..=78 => 6,
            79..=81 => 7,
            82..=87 => 8,
            88..=89 => 9,
            90 => 10,
            91..=93 => 11,
            94..=95 => 12,
            _ => 13,
        };
        if self.without & (1 << kind) != 0 && kind > 0 {
            return self.read();
        }
        match kind {
            1 => (0..self.rng.usize(2..6)).for_each(|_| self.read_alike()),
            2 => self.write(),
            3 => self.write_elsewhere(),
            4 => self.borrow(),
            5 => self.change_policy(),
            6 => self.revoke_token(),
            7 => self.make_token(),
            8 => self.fault(),
            9 => self.seal(),
            10 => self.other_cluster(),
            11 => self.pause_process(),
            12 => self.revoke_lease_elsewhere(),
            13 => self.revoke_lease(),
            _ => self.read(),
        }
    }

    fn any_token(&mut self) -> usize {
        let tokens = self.world.state().tokens.len();
        self.rng.usize(..tokens)
    }

    fn read(&mut self) {
        let (token, secret) = (self.any_token(), self.rng.usize(..SECRETS.len()));
        self.read_of(token, secret);
    }

    /// A read of the one secret that crowds read.
    fn read_alike(&mut self) {
        let token = self.any_token();
        let secret = usize::from(self.rng.u8(..4) == 0);
        self.read_of(token, secret);
    }

    fn read_of(&mut self, token: usize, secret: usize) {
        let hurried = self.rng.u8(..12) == 0;
        let patience = Duration::from_micros(self.rng.u64(..60_000));
        let fresh = self.rng.u8(..16) == 0;
        let path = SECRETS[secret].0.to_owned();
        self.ask(Wish {
            fresh,
            patience: if hurried { patience } else { PATIENCE },
            ..Wish::get(path, token, secret)
        });
    }

    fn borrow(&mut self) {
        let token = self.any_token();
        if self.world.state().tokens[token].uses.is_none() {
            self.ask(Wish::get(CREDENTIALS_PATH.to_owned(), token, CREDENTIALS));
        }
    }

    fn write(&mut self) {
        self.writes += 1;
        let secret = self.rng.usize(..SECRETS.len());
        let (path, versioned) = SECRETS[secret];
        let life = (versioned && self.rng.u8(..4) == 0).then(|| self.rng.u64(2..12));
        let delete = self.rng.u8(..5) == 0;
        let body = json!({ "id": self.writes, "life": life, "data": { "a": "b" } });
        let hurried = self.rng.u8(..12) == 0;
        let patience = Duration::from_micros(self.rng.u64(..60_000));
        if self.world.state().reads.iter().any(|(_, read, _)| *read == secret) {
            self.world.state().met(Situation::WrittenInFlight);
        }
        self.ask(Wish {
            method: if delete { "DELETE" } else { "POST" },
            body: body.to_string().into(),
            what: None,
            write: Some(self.writes),
            patience: if hurried { patience } else { PATIENCE },
            ..Wish::get(path.to_owned(), 4, secret)
        });
    }

    fn write_elsewhere(&mut self) {
        let now = self.world.now();
        let mut state = self.world.state();
        let secret = self.rng.usize(..SECRETS.len());
        let held = state.contents[secret].last();
        let deleted = self.rng.u8(..4) == 0;
        let version = held.version + u32::from(!deleted);
        let content = Content { at: now, version, deleted, dies: None, ..held };
        state.put(secret, content);
        state.met(if deleted { Situation::Deleted } else { Situation::WrittenElsewhere });
        let path = SECRETS[secret].0;
        state.trace.note(now, format_args!("elsewhere: {path} is version {version} {deleted}"));
    }

    fn change_policy(&mut self) {
        let now = self.world.now();
        let mut state = self.world.state();
        let (policy, what) = (self.rng.usize(..POLICIES), self.rng.usize(..=CREDENTIALS));
        let allowed = !state.policies[policy].allows(what);
        state.policies[policy].0[what].push((now, allowed));
        if !allowed && state.reads.iter().any(|(_, read, _)| *read == what) {
            state.met(Situation::TakenInFlight);
        }
        state.trace.note(now, format_args!("elsewhere: policy {policy}, {what}: {allowed}"));
    }

    fn make_token(&mut self) {
        let now = self.world.now();
        let mut policies: Vec<usize> = (0..POLICIES).filter(|_| self.rng.bool()).collect();
        if policies.is_empty() {
            policies.push(0);
        }
        let ends = (self.rng.u8(..3) == 0).then(|| now + Duration::from_secs(self.rng.u64(3..30)));
        let ends = ends.map(|ends| Duration::from_secs(ends.as_secs()));
        let uses = (self.rng.u8(..4) == 0).then(|| self.rng.u32(1..8));
        let mut state = self.world.state();
        let token = Token { policies, writes: false, ends, gone: None, uses };
        state.tokens.push(token);
        let number = state.tokens.len() - 1;
        state.trace.note(now, format_args!("elsewhere: token {number}, {ends:?} {uses:?}"));
    }

    fn revoke_token(&mut self) {
        let token = self.any_token();
        // One that nobody else has: the writer stays.
        if token == 4 {
            return;
        }
        if self.rng.bool() {
            let now = self.world.now();
            let mut state = self.world.state();
            state.tokens[token].gone.get_or_insert(now);
            state.met(Situation::TokenRevoked);
            state.trace.note(now, format_args!("elsewhere: token {token} is revoked"));
            return;
        }
        self.ask(Wish {
            method: "POST",
            what: None,
            ..Wish::get("auth/token/revoke-self".to_owned(), token, 0)
        });
    }

    fn fault(&mut self) {
        let now = self.world.now();
        let fault = match self.rng.u8(..10) {
            0 | 1 => Fault::Refuse,
            2 => Fault::Hang,
            3 => Fault::Tear,
            4 => Fault::Garbage,
            5 | 6 => Fault::Late,
            7 => Fault::Status(429),
            _ => Fault::Status([500, 502, 503, 504][self.rng.usize(..4)]),
        };
        let to = now + Duration::from_millis(self.rng.u64(100..25_000));
        let share = [100, 100, 50, 20][self.rng.usize(..4)];
        let mut state = self.world.state();
        if state.fault.is_none_or(|(_, until, _)| until < now) {
            state.fault = Some((fault, to, share));
            // What is late may come after the fault has ended.
            let until = if fault == Fault::Late { to + Duration::from_secs(15) } else { to };
            state.troubles.push(Trouble { kind: Kind::Fault, from: now, to: until });
            state.trace.note(now, format_args!("fault: {fault:?} for {share} % until {to:?}"));
        }
    }

    fn seal(&mut self) {
        let now = self.world.now();
        let to = now + Duration::from_millis(self.rng.u64(100..25_000));
        let mut state = self.world.state();
        state.sealed_until = to;
        state.troubles.push(Trouble { kind: Kind::Sealed, from: now, to });
        state.met(Situation::Sealed);
        state.trace.note(now, format_args!("elsewhere: sealed until {to:?}"));
    }

    fn other_cluster(&mut self) {
        let now = self.world.now();
        let mut state = self.world.state();
        state.other_cluster(now);
        state.met(Situation::OtherCluster);
        state.trace.note(now, format_args!("elsewhere: another cluster"));
    }

    /// The process stands still, and time does not.
    fn pause_process(&mut self) {
        let span = Duration::from_millis(self.rng.u64(500..90_000));
        let world = self.world.clone();
        self.underway.spawn(async move {
            let from = world.now();
            let to = from + span;
            {
                let mut state = world.state();
                state.pauses.push((from, to));
                // Whatever was under way has taken too long by then.
                state.troubles.push(Trouble { kind: Kind::Fault, from, to });
                state.met(Situation::Paused);
                state.trace.note(from, format_args!("paused for {span:?}"));
            }
            advance(span).await;
        });
    }

    fn revoke_lease_elsewhere(&mut self) {
        let now = self.world.now();
        let mut state = self.world.state();
        if let Some(last) = state.seen.given.values().max().copied() {
            state.leases[last].gone.get_or_insert(now);
            state.trace.note(now, format_args!("elsewhere: lease {last} is revoked"));
        }
    }

    fn revoke_lease(&mut self) {
        // One that somebody has been told of.
        let given: Vec<_> = self.world.state().seen.given.clone().into_iter().collect();
        if given.is_empty() {
            return;
        }
        let (token, last) = given[self.rng.usize(..given.len())];
        let id = format!("{CREDENTIALS_PATH}/{last}");
        self.ask(Wish {
            method: "POST",
            what: None,
            body: json!({ "lease_id": id }).to_string().into(),
            revokes: Some(last),
            ..Wish::get("sys/leases/revoke".to_owned(), token, 0)
        });
    }

    fn ask(&mut self, wish: Wish) {
        let (world, proxy) = (self.world.clone(), Arc::clone(&self.proxy));
        self.underway.spawn(async move { wish.made(world, proxy).await });
    }

    async fn end_troubles(&mut self) {
        let now = self.world.now();
        {
            let mut state = self.world.state();
            state.fault = None;
            state.sealed_until = state.sealed_until.min(now);
            state.trace.note(now, format_args!("all is well"));
        }
        sleep(RECOVERY).await;
        self.world.state().seen.calm = true;
    }

    /// Everyone reads everything, one after the other.
    async fn ask_everything(&mut self) {
        let tokens = self.world.state().tokens.len();
        for token in 0..tokens {
            if self.world.state().tokens[token].uses.is_some() {
                continue;
            }
            for (secret, (path, _)) in SECRETS.iter().enumerate() {
                let wish = Wish::get((*path).to_owned(), token, secret);
                wish.made(self.world.clone(), Arc::clone(&self.proxy)).await;
            }
        }
    }
}
