//! Does the policy evaluator decide as the server does?
//!
//! Random policies for callers of every kind, read back from a real server and judged by
//! `vaultlet::policy`; the server's own answers beside each decision. `sys/capabilities` says which
//! rule governs a path, real requests say the rest. No decision may differ; few may be left open.

mod cast;
mod requests;
mod texts;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::SystemTime;

use serde_json::{Value, json};
use tokio::time::Instant;
use vaultlet::policy::{Acl, Decision, Dialect, Operation, Policy, Request, Selectors};

use crate::bao::Bao;
use crate::client::Client;
use crate::differential::number;
use crate::differential::random::Random;
use cast::{Caller, Cast};
use requests::Question;

/// Paths in one call of `sys/capabilities`.
const PATHS: usize = 400;

/// Real requests of each caller, under the same policies.
const REQUESTS: usize = 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_decision_is_the_servers_own() {
    let decisions = number("VAULTLET_POLICY_DECISIONS", 100_000);

    let counts = run(number("VAULTLET_POLICY_SEED", 1), decisions, Bao::dev().await).await;

    counts.judge();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_decision_is_that_of_the_oldest_supported_server() {
    run(2, 10_000, Bao::oldest().await).await.judge();
}

/// What a run was made of.
#[derive(Debug, Default)]
struct Counts {
    capabilities: u64,
    /// Of those on capabilities.
    unknown: u64,
    granted: u64,
    denied: u64,
    asked: u64,
    /// Texts that the server refused to store.
    refused: u64,
    /// Texts that it stored and that were not understood here.
    opaque: u64,
    texts: u64,
}

impl Counts {
    fn requests(&self) -> u64 {
        self.granted + self.denied + self.asked
    }

    fn judge(&self) {
        assert!(self.unknown * 20 <= self.capabilities, "too much is left open: {self:?}");
        assert!(self.asked * 20 <= self.requests(), "too much is left open: {self:?}");
        assert!(self.granted * 5 >= self.requests(), "too little was allowed: {self:?}");
        assert!(self.denied * 5 >= self.requests(), "too little was denied: {self:?}");
        assert!(self.opaque * 100 <= self.texts, "too few texts were understood: {self:?}");
        assert!(self.refused * 10 <= self.texts, "the server refused too many: {self:?}");
    }
}

async fn run(seed: u64, decisions: u64, bao: Bao) -> Counts {
    let began = Instant::now();
    let root = bao.root();
    let cast = Cast::new(&root).await;
    let mut random = Random::new(seed);
    let mut counts = Counts::default();
    let mut round = 0;
    while counts.capabilities + counts.requests() < decisions {
        round += 1;
        write(&root, &cast, &mut random, &mut counts).await;
        let policies = cast.read_back(&root).await;
        for (policy, _) in policies.values() {
            counts.opaque += u64::from(policy.opaque().is_some());
        }
        for caller in &cast.callers {
            let scene = Scene {
                name: format!("seed {seed}, round {round}, {}", caller.name),
                caller,
                root: &root,
                policies: &policies,
            };
            let acl = scene.acl();
            scene.capabilities(&acl, &mut random, &mut counts).await;
            scene.requests(&acl, &mut random, &mut counts).await;
        }
    }
    let total = counts.capabilities + counts.requests();
    println!(
        "policies: seed {seed}, {total} decisions in {:?}, 0 differ: {counts:?}",
        began.elapsed()
    );
    counts
}

/// New texts for all policies. What the server refuses must not be understood here either.
async fn write(root: &Client, cast: &Cast, random: &mut Random, counts: &mut Counts) {
    for (namespace, name) in cast::POLICIES {
        loop {
            let text = texts::any(random, &cast.selectors);
            counts.texts += 1;
            let path = format!("{namespace}sys/policies/acl/{name}");
            let answer = root.post(&path, json!({"policy": text})).await;
            if answer.status < 300 {
                break;
            }
            counts.refused += 1;
            let read = vaultlet::policy::parse(name, namespace, &text);
            assert!(read.opaque().is_some(), "refused and understood: {text}\n{answer:?}");
        }
    }
}

/// By namespace and name; each with its text.
type Policies = HashMap<(String, String), (Arc<Policy>, String)>;

/// One caller, while the policies stay as they are.
struct Scene<'s> {
    name: String,
    caller: &'s Caller,
    root: &'s Client,
    policies: &'s Policies,
}

impl Scene<'_> {
    fn acl(&self) -> Acl {
        let held = self.held().map(|(policy, _)| policy.clone());
        let selectors =
            self.caller.identity.as_ref().map_or(Selectors::NoIdentity, Selectors::Identity);
        Acl::new(&held.collect::<Vec<_>>(), selectors, Dialect::Current, now())
    }

    async fn capabilities(&self, acl: &Acl, random: &mut Random, counts: &mut Counts) {
        // With `default`, which is templated, the server reads all texts anew for every path.
        let slow = self.caller.policies.iter().any(|name| name == "default");
        let count = if slow { PATHS / 10 } else { PATHS };
        let paths: Vec<_> = (0..count).map(|_| requests::path(random)).collect();
        counts.capabilities += paths.len() as u64;
        if acl.doubt().is_some() {
            counts.unknown += paths.len() as u64;
            return;
        }
        let namespace = self.caller.namespace;
        let question = json!({"token": self.caller.token, "paths": paths});
        let answer = self.root.post(&format!("{namespace}sys/capabilities"), question).await;
        let truth = answer.expect(200).json();
        for path in paths {
            let Ok(ours) = acl.capabilities(&format!("{namespace}{path}"), now()) else {
                counts.unknown += 1;
                continue;
            };
            let theirs: Vec<_> = truth["data"][&path]
                .as_array()
                .unwrap()
                .iter()
                .map(|name| name.as_str().unwrap())
                .collect();
            assert_eq!(ours, theirs, "{}: {path}\n{}", self.name, self.told());
        }
    }

    async fn requests(&self, acl: &Acl, random: &mut Random, counts: &mut Counts) {
        for _ in 0..REQUESTS {
            let mut question = requests::any(random, self.caller.namespace);
            if question.operation == Operation::Write {
                let either = decide(acl, &question);
                question.operation = self.kind(&question).await;
                let exact = decide(acl, &question);
                let fits = either == "ask" || either == exact;
                assert!(fits, "{}: {question:?} is {either} and {exact}", self.name);
            }
            let ours = decide(acl, &question);
            if ours == "ask" {
                counts.asked += 1;
                continue;
            }
            let answer = self.caller.client.send(&question.call).await;
            if answer.status == 400 && answer.text().contains("error converting input for field") {
                // Refused while it was looked for what is there, before any policy.
                continue;
            }
            let theirs = if answer.status == 403 { "deny" } else { "allow" };
            assert_eq!(ours, theirs, "{}: {question:?}\n{answer:?}\n{}", self.name, self.told());
            if ours == "allow" {
                counts.granted += 1;
            } else {
                counts.denied += 1;
            }
        }
    }

    /// What a write turns out to be.
    async fn kind(&self, question: &Question) -> Operation {
        let found =
            self.root.get(&question.path.replacen("secret/data/", "secret/metadata/", 1)).await;
        if found.status == 200 { Operation::Update } else { Operation::Create }
    }

    fn held(&self) -> impl Iterator<Item = &(Arc<Policy>, String)> {
        let namespace = self.caller.namespace;
        let names = self.caller.policies.iter();
        names.filter_map(move |name| self.policies.get(&(namespace.to_owned(), name.clone())))
    }

    /// The policies of the caller, for whoever has to find out what is wrong.
    fn told(&self) -> String {
        let written = self.held().filter(|(policy, _)| policy.name() != "default");
        let texts = written.map(|(policy, text)| format!("--- {}\n{text}", policy.name()));
        format!("{}\n{}", self.caller.identity_data, texts.collect::<Vec<_>>().join("\n"))
    }
}

fn decide(acl: &Acl, question: &Question) -> &'static str {
    let parameters = question.parameters();
    let request = Request {
        operation: question.operation,
        path: &question.path,
        mount: vaultlet::policy::Mount::Kv,
        parameters: &parameters,
        now: now(),
    };
    match acl.decide(&request) {
        Decision::Allow(_) => "allow",
        Decision::Ask(_) => "ask",
        Decision::Deny(_) => "deny",
    }
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    i64::try_from(since.as_secs()).unwrap()
}

/// A field that holds a string, or nothing.
fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
