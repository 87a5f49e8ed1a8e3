//! Is there any difference between a server and a server behind vaultlet?
//!
//! Two identical servers take the same random operations, one through vaultlet, the other directly.
//! Every write goes through vaultlet, so no staleness is allowed: every answer must be the same.

mod ops;
pub mod random;
mod twins;

use std::collections::VecDeque;

use serde_json::json;

use crate::bao::Bao;
use crate::client::{Answer, Call, Client, PATIENCE};
use crate::local_policies::{own_token, settings_with};
use crate::vaultlet::Vaultlet;
use ops::{Kind, Op, SLOTS};
use random::Random;
use twins::Twins;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_answer_differs_from_the_servers_own() {
    let operations = number("VAULTLET_DIFF_OPS", 4_000);
    let seeds = number("VAULTLET_DIFF_SEEDS", 5);
    let mut counts = Counts::default();

    for seed in 1..=seeds {
        counts.add(&run(seed, operations, (Bao::dev().await, Bao::dev().await), false).await);
    }
    counts.judge();
}

/// The same where vaultlet decides by the server's policies.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_answer_differs_that_is_decided_locally() {
    let operations = number("VAULTLET_DIFF_OPS", 4_000);
    let seeds = number("VAULTLET_DIFF_SEEDS", 5);
    let mut counts = Counts::default();

    for seed in 201..=200 + seeds {
        counts.add(&run(seed, operations, (Bao::dev().await, Bao::dev().await), true).await);
    }
    counts.judge();
    let decided = counts.local;
    assert!(decided * 200 > counts.reads, "too few were decided locally: {counts:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_answer_differs_with_the_oldest_supported_server() {
    let operations = number("VAULTLET_DIFF_OPS", 4_000);

    run(101, operations, (Bao::oldest().await, Bao::oldest().await), false).await.judge();
}

/// A setting of the environment, for a longer run.
pub fn number(variable: &str, default: u64) -> u64 {
    let set = std::env::var(variable);
    set.map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{variable}={text}")))
}

/// What a run was made of: a run without hits, or without denials, would prove nothing.
#[derive(Debug, Default)]
struct Counts {
    operations: u64,
    reads: u64,
    hits: u64,
    denied: u64,
    failed: u64,
    refused: u64,
    /// Reads that vaultlet itself allowed.
    local: u64,
}

impl Counts {
    fn count(&mut self, op: &Op, answer: &Answer, truth: &Answer) {
        let kv_read = op.kind == Kind::KvRead;
        self.operations += 1;
        self.reads += u64::from(kv_read);
        self.hits += u64::from(kv_read && answer.cache() == "HIT");
        self.denied += u64::from(truth.status == 403);
        self.failed += u64::from(truth.status >= 400);
        self.refused += u64::from(answer.status != truth.status);
    }

    fn add(&mut self, other: &Self) {
        self.operations += other.operations;
        self.reads += other.reads;
        self.hits += other.hits;
        self.denied += other.denied;
        self.failed += other.failed;
        self.refused += other.refused;
        self.local += other.local;
    }

    fn judge(&self) {
        println!("differential: {self:?}");
        assert!(self.reads * 4 > self.operations, "too few reads: {self:?}");
        assert!(self.denied * 50 > self.operations, "too few denials: {self:?}");
        assert!(self.failed * 5 < self.operations * 3, "too few successes: {self:?}");
        assert!(self.hits * 5 >= self.reads, "fewer than a fifth of the reads were hits: {self:?}");
    }
}

/// One side: how to reach it, and its names for what both sides made.
struct Side {
    client: Client,
    /// Of each slot: token and accessor.
    tokens: Vec<(String, String)>,
    wrapped: String,
}

impl Side {
    fn new(client: Client) -> Self {
        let root = ("root".to_owned(), "none".to_owned());
        Self { client, tokens: vec![root; SLOTS], wrapped: "none".into() }
    }

    /// The operation with this side's own tokens in it.
    fn call(&self, op: &Op) -> Call {
        let mut call = op.call.clone();
        let (subject, accessor) = &self.tokens[op.subject];
        let text = String::from_utf8(call.body.to_vec()).unwrap();
        let text = text.replace("{token}", subject).replace("{accessor}", accessor);
        call.body = text.replace("{wrapped}", &self.wrapped).into();
        for (_, value) in &mut call.headers {
            *value = value.replace("{wrapped}", &self.wrapped);
        }
        if op.bearer {
            return call.with("Authorization", &format!("Bearer {}", self.tokens[op.caller].0));
        }
        call.with("X-Vault-Token", &self.tokens[op.caller].0)
    }

    fn learn(&mut self, op: &Op, answer: &Answer) {
        let Ok(body) = serde_json::from_slice::<serde_json::Value>(&answer.body) else { return };
        let text = |pointer: &str| body.pointer(pointer).and_then(|value| value.as_str());
        if op.kind == Kind::NewToken
            && let (Some(token), Some(accessor)) =
                (text("/auth/client_token"), text("/auth/accessor"))
        {
            self.tokens[op.subject] = (token.to_owned(), accessor.to_owned());
        }
        if let Some(wrapped) = text("/wrap_info/token") {
            wrapped.clone_into(&mut self.wrapped);
        }
    }
}

async fn run(seed: u64, operations: u64, (ours, theirs): (Bao, Bao), local: bool) -> Counts {
    let home = tempfile::tempdir().unwrap();
    let mut settings = json!({});
    for server in [&theirs, &ours] {
        ops::prepare(&server.root()).await;
        if local {
            settings = settings_with(&home, &own_token(&server.root()).await);
        }
    }
    let vaultlet = Vaultlet::start(&ours.address(), settings).await;
    let mut through = Side::new(vaultlet.client());
    let mut direct = Side::new(Client::tcp(&theirs.address()));
    let (mut random, mut twins) = (Random::new(seed), Twins::default());
    let mut history = VecDeque::new();
    let mut counts = Counts::default();

    for index in 0..operations {
        // The first operations give every slot a token.
        let op = match usize::try_from(index).unwrap() {
            slot @ 1..SLOTS => ops::new_token(&mut random, slot),
            _ => ops::any(&mut random),
        };
        let (our_call, their_call) = (through.call(&op), direct.call(&op));
        let (answer, truth) =
            (through.client.try_send(&our_call).await, direct.client.try_send(&their_call).await);
        history.push_back(format!("{index}: slot {} {our_call:?}", op.caller));
        if history.len() > 11 {
            history.pop_front();
        }
        let difference = match (&answer, &truth) {
            (Ok(answer), Ok(truth)) => {
                counts.count(&op, answer, truth);
                through.learn(&op, answer);
                direct.learn(&op, truth);
                twins.difference(answer, truth, op.odd)
            }
            // The server itself breaks off on some odd requests.
            (Err(_), Err(_)) => None,
            _ => Some("one side gave no answer".to_owned()),
        };
        if let Some(difference) = difference {
            let history = Vec::from(history).join("\n  ");
            panic!(
                "seed {seed}, operation {index}: {difference}\nthe last operations:\n  {history}\n\
                 vaultlet: {answer:?}\nserver:   {truth:?}"
            );
        }
        let began = truth.as_ref().is_ok_and(|truth| truth.status < 300);
        if op.kind == Kind::Unfinished && began {
            settle(&op, &[&ours, &theirs]).await;
        }
    }
    let labels = [r#"decision="allow""#, r#"source="local""#];
    let allowed = vaultlet.metric("vaultlet_policy_decisions_total", &labels).await;
    counts.local = allowed as u64;
    println!("seed {seed}: {counts:?}");
    counts
}

/// Waits until both servers have finished what they do after their answer: deleting a namespace.
async fn settle(op: &Op, servers: &[&Bao]) {
    let path = op.call.target.trim_start_matches("/v1/");
    for server in servers {
        let began = tokio::time::Instant::now();
        while server.root().get(path).await.status != 404 {
            assert!(began.elapsed() < PATIENCE, "{path} does not end");
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    }
}
