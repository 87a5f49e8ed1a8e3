//! Is vaultlet ever laxer than the server it stands before? Over 400 requests that no client sends,
//! byte for byte at both. The answer must be the server's, or a stricter one; never a secret that
//! the server did not give; and never anything left behind in the cache.

mod framing;
mod table;

use std::collections::HashSet;

use serde_json::json;

use crate::bao::wait_for_kv;
use crate::client::{Call, Client};
use crate::raw::{Exchange, exchange_many};
use crate::world::{World, policy, token};

/// One odd request.
pub struct Odd {
    /// What is odd about it, for the failure's message.
    pub name: String,
    /// The request, with `{A}` and `{B}` for the two tokens.
    pub text: String,
    /// How many answers its bytes might be taken to ask for.
    pub answers: usize,
}

/// Every secret that might leak.
const CANARIES: [&str; 5] = ["canary-a", "canary-b", "canary-v1", "canary-ns", "canary-old"];

/// Where vaultlet may be laxer: RFC 9112, 2.2 wants empty lines before a request to be skipped.
const ACCEPTED: [&str; 1] = ["\r\n"];

const TEAM_A: &str = r#"
path "secret/data/team-a/*" { capabilities = ["read"] }
path "secret/data/scratch" { capabilities = ["create", "read", "update", "patch", "delete"] }
path "kv1/team-a/*" { capabilities = ["read"] }
path "ns1/secret/data/team-a/*" { capabilities = ["read"] }
"#;
const TEAM_B: &str = r#"path "secret/data/team-b/*" { capabilities = ["read"] }"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_odd_request_is_treated_laxer_than_by_the_server() {
    let scene = Scene::new().await;
    let odds: Vec<Odd> = table::odds().into_iter().chain(framing::odds()).collect();
    let distinct: HashSet<&str> = odds.iter().map(|odd| odd.text.as_str()).collect();
    assert!(distinct.len() >= 400, "only {} distinct requests", distinct.len());

    let (mut faults, mut stricter) = (Vec::new(), 0);
    for odd in &odds {
        let bytes = odd.text.replace("{A}", &scene.a).replace("{B}", &scene.b).into_bytes();
        let through = scene.world.vaultlet.address();
        let answer = exchange_many(through, &bytes, odd.answers).await;
        let truth = exchange_many(&scene.world.bao.address(), &bytes, odd.answers).await;
        stricter += usize::from(answer.status() != truth.status());
        let accepted = ACCEPTED.iter().any(|start| odd.text.starts_with(start));
        let fault = laxer(&answer, &truth).filter(|_| !accepted);
        let poisoned = scene.poisoned().await;
        for fault in [fault, poisoned].into_iter().flatten() {
            let (answer, truth) = (cut(&answer.text()), cut(&truth.text()));
            faults.push(format!(
                "{}: {fault}\nsent: {:?}\nvaultlet: {answer:?}\nserver: {truth:?}",
                odd.name,
                cut(&odd.text)
            ));
        }
    }
    println!("odd requests: {} distinct, {stricter} treated stricter", distinct.len());
    assert!(faults.is_empty(), "{} faults\n{}", faults.len(), faults.join("\n\n"));
    scene.still_caching().await;
}

fn cut(text: &str) -> String {
    text.chars().take(600).collect()
}

/// In what way the answer is laxer than the server's own, if it is.
fn laxer(answer: &Exchange, truth: &Exchange) -> Option<String> {
    let (ours, theirs) = (answer.text(), truth.text());
    let leaked =
        CANARIES.iter().find(|canary| ours.contains(**canary) && !theirs.contains(**canary));
    if let Some(canary) = leaked {
        return Some(format!("{canary} came out"));
    }
    let stricter = match (answer.status(), truth.status()) {
        // No answer is the strictest one; but it must come in time.
        (None, _) => answer.closed || truth.status().is_none(),
        (Some(ours), None) => ours >= 400,
        (Some(ours), Some(theirs)) => ours == theirs || (400..500).contains(&ours),
    };
    if !stricter {
        return Some(format!("{:?}, not {:?}", answer.status(), truth.status()));
    }
    let (ours, theirs) = (answer.statuses().len(), truth.statuses().len());
    (ours > theirs.max(1)).then(|| format!("{ours} answers, not {theirs}"))
}

struct Scene {
    world: World,
    a: String,
    b: String,
}

impl Scene {
    async fn new() -> Self {
        let world = World::new(json!({})).await;
        let root = world.server();
        root.send(&Call::new("POST", "sys/namespaces/ns1")).await.expect(200);
        let v2 = json!({"type": "kv", "options": {"version": "2"}});
        root.post("ns1/sys/mounts/secret", v2).await.expect(204);
        wait_for_kv(&root, "ns1/secret").await;
        let data = |value: &str| json!({"data": {"value": value}});
        root.post("secret/data/team-a/x", data("canary-old")).await.expect(200);
        root.post("secret/data/team-a/x", data("canary-a")).await.expect(200);
        root.post("secret/data/team-b/x", data("canary-b")).await.expect(200);
        root.post("ns1/secret/data/team-a/x", data("canary-ns")).await.expect(200);
        root.post("kv1/team-a/x", json!({"value": "canary-v1"})).await.expect(204);
        policy(&root, "a", TEAM_A).await;
        policy(&root, "b", TEAM_B).await;
        let a = token(&root, json!({"policies": ["a"]})).await;
        let b = token(&root, json!({"policies": ["b"]})).await;
        let scene = Self { world, a, b };
        // Warm: an attack on an empty cache would be none.
        for _ in 0..2 {
            assert_eq!(scene.poisoned().await, None);
        }
        scene.still_caching().await;
        scene
    }

    fn callers(&self) -> (Client, Client) {
        (self.world.caller(&self.a), self.world.caller(&self.b))
    }

    /// What a clean read now gets that it should not.
    async fn poisoned(&self) -> Option<String> {
        let (a, b) = self.callers();
        let header = Call::get("secret/data/team-a/x").with("X-Vault-Namespace", "ns1");
        let reads = [
            (a.get("secret/data/team-a/x").await, 200, Some("canary-a")),
            (a.get("secret/data/team-b/x").await, 403, None),
            (a.get("kv1/team-a/x").await, 200, Some("canary-v1")),
            (a.send(&header).await, 200, Some("canary-ns")),
            (b.get("secret/data/team-a/x").await, 403, None),
            (b.get("secret/data/team-b/x").await, 200, Some("canary-b")),
        ];
        let wrong = reads.into_iter().enumerate().find(|(_, (answer, status, value))| {
            answer.status != *status || answer.value().as_deref() != *value
        });
        wrong.map(|(index, (answer, ..))| format!("poisoned: clean read {index} got {answer:?}"))
    }

    async fn still_caching(&self) {
        let (a, _) = self.callers();
        crate::world::hit(&a, "secret/data/team-a/x", "canary-a").await;
    }
}
