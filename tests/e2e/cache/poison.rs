//! Can a request that the server answers differently leave its answer for the plain read?

use serde_json::{Value, json};

use crate::client::{Answer, Call};
use crate::world::{World, hit, reads};

const PATH: &str = "secret/data/target";

/// Requests close to the plain read, whose answers must not be taken for it.
fn neighbours() -> Vec<Call> {
    let get = || Call::get(PATH);
    let query = |query: &str| Call::get(&format!("{PATH}?{query}"));
    vec![
        query("help=1"),
        query("list=true"),
        query("scan=true"),
        query("version=1"),
        query("version=01"),
        query("Version=1"),
        query("version=1&version=2"),
        query("version=1;x=2"),
        query("depth=1"),
        query("unknown=1"),
        query("v%65rsion=1"),
        query(""),
        get().with("X-Vault-Wrap-TTL", "60s"),
        get().with("X-Vault-Wrap-TTL", "bad"),
        get().with("X-Vault-MFA", "junk"),
        get().with("X-Vault-Index", "junk"),
        get().with("X-Vault-Inconsistent", "junk"),
        get().with("X-Vault-Policy-Override", "true"),
        get().with("X-Vault-No-Request-Forwarding", "true"),
        get().with("X-Vault-Unheard-Of", "1"),
        get().with("Range", "bytes=0-3"),
        get().with("If-None-Match", "*"),
        get().with("If-Modified-Since", "Sun, 06 Nov 2044 08:49:37 GMT"),
        get().with("Accept-Encoding", "gzip"),
        get().json(&json!({"version": 1})),
        Call::new("HEAD", PATH),
        Call::new("LIST", PATH),
        Call::new("SCAN", PATH),
        Call::new("OPTIONS", PATH),
        Call::new("get", PATH),
        get().target("/v1/secret/data/target/"),
        get().target("/v1/secret%2Fdata/target"),
        get().target("/v1/secret/data/%74arget"),
    ]
}

/// Whether there is a body, and what it holds besides ids and moments of the one request.
fn shape(answer: &Answer) -> (bool, Option<Value>) {
    let body = serde_json::from_slice::<Value>(&answer.body).ok();
    let kept = body.map(|body| json!([body["data"], body["errors"], body["wrap_info"]["ttl"]]));
    (answer.body.is_empty(), kept)
}

#[tokio::test]
async fn a_neighbouring_request_gets_the_servers_answer_and_leaves_nothing_behind() {
    let world = World::new(json!({})).await;
    world.put("target", "one").await;
    world.put("target", "two").await;
    let token = world.token(&["writer"]).await;
    let (through, direct) =
        (world.caller(&token), crate::client::Client::tcp(&world.bao.address()).token(&token));

    for call in neighbours() {
        // Cold, then warm: the neighbour neither fills the plain entry nor is answered from it.
        let bust = Call::new("POST", "secret/metadata/target").json(&json!({"max_versions": 9}));
        through.send(&bust).await.expect(204);
        for _ in 0..2 {
            let (answer, truth) = (through.send(&call).await, direct.send(&call).await);
            assert_eq!(answer.status, truth.status, "{call:?}: {answer:?}, not {truth:?}");
            assert_eq!(answer.value(), truth.value(), "{call:?}");
            assert_eq!(shape(&answer), shape(&truth), "{call:?}: {answer:?}, not {truth:?}");
            let plain = through.get(PATH).await;
            assert_eq!(plain.value().as_deref(), Some("two"), "after {call:?}: {plain:?}");
        }
        hit(&through, PATH, "two").await;
    }
}

#[tokio::test]
async fn help_never_shows_a_secret_to_who_may_not_read_it() {
    let world = World::new(json!({})).await;
    world.put("target", "canary").await;
    let reader = world.caller_with(&["reader"]).await;
    let stranger = world.caller_with(&["default"]).await;

    stranger.get(&format!("{PATH}?help=1")).await.expect(200);
    stranger.get(PATH).await.expect(403);
    reads(&reader.get(PATH).await, "canary");
    let help = stranger.get(&format!("{PATH}?help=1")).await.expect(200);
    assert!(!help.text().contains("canary"));
}

#[tokio::test]
async fn wrapped_reads_are_wrapped_each_time_and_unwrap_once() {
    let world = World::new(json!({})).await;
    world.put("target", "inside").await;
    let caller = world.caller_with(&["reader", "default"]).await;
    caller.get(PATH).await.expect(200);
    let wrapped = Call::get(PATH).with("X-Vault-Wrap-TTL", "60s");

    let mut tokens = Vec::new();
    for _ in 0..3 {
        let answer = caller.send(&wrapped).await.expect(200);
        let body = answer.json();
        assert!(body["data"].is_null(), "{answer:?}");
        tokens.push(body["wrap_info"]["token"].as_str().unwrap().to_owned());
    }
    for token in &tokens {
        let unwrap = Call::new("POST", "sys/wrapping/unwrap").json(&json!({"token": token}));
        reads(&caller.send(&unwrap).await, "inside");
        caller.send(&unwrap).await.expect(400);
    }
    tokens.dedup();
    assert_eq!(tokens.len(), 3, "one wrapping token was given twice");
    // An unwrap may have executed a deferred request, so it leaves nothing cached; and no wrapped
    // answer has taken the secret's place.
    reads(&caller.get(PATH).await, "inside");
    hit(&caller, PATH, "inside").await;
}
