//! K11: an upstream that is broken or hostile, and a real server behind it that is asked afterwards.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde::Deserialize;
use serde_json::json;

use super::scene::{Audit, CANARIES};
use super::{Tally, cut, read, repeated};
use crate::bao::Bao;
use crate::client::{Call, Client};
use crate::service_accounts::until;
use crate::stub::{Reply, Seen, Stub};
use crate::vaultlet::Vaultlet;
use crate::world::{hit, policy, prepare, put, reads, token};

const CLASS: &str = "k11_answers";
const KNOWN: &str = "secret/data/known";
const RIGHT: &str = CANARIES[0];
/// What only the answers of this class hold.
const POISON: &str = "poison";
const SECRET: &str = r#"{"request_id":"0","lease_id":"","renewable":false,"lease_duration":0,"data":{"data":{"value":"poison"},"metadata":{"created_time":"2026-01-01T00:00:00Z","custom_metadata":null,"deletion_time":"","destroyed":false,"version":1}},"wrap_info":null,"warnings":null,"auth":null}"#;
/// What an endless answer comes to, and how much more memory all of them together may leave taken.
const ENDLESS: usize = 256 << 20;
const MORE_MEMORY: u64 = 96 << 20;

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Input {
    name: String,
    to: To,
    then: Then,
    /// All that is sent.
    answers: Vec<String>,
    /// Or the body of a success.
    body: Option<String>,
    good: bool,
}

impl Default for Input {
    fn default() -> Self {
        let (name, answers, body) = (String::new(), Vec::new(), None);
        Self { name, to: To::Read, then: Then::Close, answers, body, good: false }
    }
}

/// Which question is answered so.
#[derive(Clone, Copy, Deserialize, PartialEq)]
#[serde(rename_all = "lowercase")]
enum To {
    Health,
    Lookup,
    Mount,
    Read,
}

/// What becomes of the connection.
#[derive(Clone, Copy, Deserialize, PartialEq)]
#[serde(rename_all = "lowercase")]
enum Then {
    Close,
    Endless,
    Reuse,
    Stay,
}

impl Input {
    fn bytes(&self, here: &str) -> Vec<Vec<u8>> {
        let own = self.body.iter().map(|body| {
            let body = body.replace("{SECRET}", SECRET);
            format!("{{OK}}Content-Length: {}\r\n\r\n{body}", body.len())
        });
        let fill = |text: String| {
            let (half, rest) = (&SECRET[..SECRET.len() / 2], &SECRET[1..]);
            let (length, ok) =
                (SECRET.len(), "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n");
            let named = [
                ("{OK}", ok.to_owned()),
                ("{SECRET}", SECRET.to_owned()),
                ("{SECRET-1}", rest.to_owned()),
                ("{HALF}", half.to_owned()),
                ("{LENGTH}", length.to_string()),
                ("{HEX}", format!("{length:x}")),
                ("{HEX-1}", format!("{:x}", length - 1)),
                ("{HERE}", here.to_owned()),
            ];
            let text = named.iter().fold(text, |text, (from, to)| text.replace(from, to));
            repeated(&text).into_bytes()
        };
        self.answers.iter().cloned().chain(own).map(fill).collect()
    }
}

/// What is answered now, and to which targets.
type Trap = Arc<Mutex<Option<(String, Then, Vec<u8>)>>>;

struct Scene {
    bao: Bao,
    stub: Stub,
    vaultlet: Vaultlet,
    trap: Trap,
    reader: Client,
}

impl Scene {
    async fn new(audit: &Audit) -> Self {
        let (bao, trap) = (Bao::dev().await, Trap::default());
        let root = bao.root();
        prepare(&root).await;
        put(&root, "known", RIGHT).await.expect(200);
        policy(&root, "mounts", r#"path "m-*" { capabilities = ["read"] }"#).await;
        let set = trap.clone();
        let rule = move |seen: &Seen| match set.lock().unwrap().clone() {
            Some((target, then, bytes)) if seen.target.starts_with(&target) => match then {
                Then::Close => Reply::Bytes(bytes),
                Then::Endless => Reply::Download(ENDLESS),
                Then::Reuse => Reply::Answer(bytes),
                Then::Stay => Reply::Stuck(bytes),
            },
            _ => Reply::Forward,
        };
        let stub = Stub::before(&bao.address(), rule).await;
        let settings = json!({"upstream": {"timeout": "2s"}, "policy": {"refresh": "1h"},
            "cache": {"kv": {"ttl": "1h"}}});
        let vaultlet = Vaultlet::start(&stub.address(), audit.settings(settings)).await;
        let reader = token(&root, json!({"policies": ["reader", "mounts"]})).await;
        let reader = vaultlet.client().token(&reader);
        let scene = Self { bao, stub, vaultlet, trap, reader };
        reads(&scene.reader.get(KNOWN).await, RIGHT);
        hit(&scene.reader, KNOWN, RIGHT).await;
        scene
    }

    /// Has the trap sprung by what the input is about; what is wrong with what came of it.
    async fn spring(&self, input: &Input, index: usize, bytes: Vec<u8>) -> Option<String> {
        let root = self.bao.root();
        let key = format!("k11/{}-{index}", input.name.replace([' ', ','], "-"));
        let mount = format!("m-{}{index}", input.name.len());
        put(&root, &key, RIGHT).await.expect(200);
        let (target, path) = match input.to {
            To::Health => ("/v1/sys/health".to_owned(), KNOWN.to_owned()),
            To::Lookup => ("/v1/auth/token/lookup-self".to_owned(), KNOWN.to_owned()),
            To::Mount => {
                let v1 = json!({"type": "kv", "options": {"version": "1"}});
                root.post(&format!("sys/mounts/{mount}"), v1).await.expect(204);
                root.post(&format!("{mount}/x"), json!({"value": RIGHT})).await.expect(204);
                ("/v1/sys/internal/ui/mounts".to_owned(), format!("{mount}/x"))
            }
            To::Read => (format!("/v1/secret/data/{key}"), format!("secret/data/{key}")),
        };
        let caller = match input.to {
            To::Lookup => {
                self.vaultlet.client().token(&token(&root, json!({"policies": ["default"]})).await)
            }
            _ => self.reader.clone(),
        };
        let before = self.stub.count_below("GET", &target);
        *self.trap.lock().unwrap() = Some((target.clone(), input.then, bytes));
        let answer = caller.try_send(&Call::get(&path)).await;
        until("it was asked", Duration::from_secs(20), async || {
            self.stub.count_below("GET", &target) > before
        })
        .await;
        let during = self.reader.get(KNOWN).await;
        *self.trap.lock().unwrap() = None;

        let (status, text, value) = match &answer {
            Ok(answer) => (answer.status, answer.text(), answer.value()),
            Err(why) => (0, why.clone(), None),
        };
        let right = value.as_deref() == Some(RIGHT);
        let fits = match input.to {
            _ if input.good => status == 200 && value.as_deref() == Some(POISON),
            _ if text.contains(POISON) => false,
            To::Lookup => status == 403 || status >= 500,
            To::Read if input.then == Then::Endless => status != 200 || !right,
            To::Read => !(200..300).contains(&status),
            To::Health | To::Mount => right || status >= 500,
        };
        let fault = (!fits).then(|| format!("{status} {:?}", cut(&text)));
        let fault = fault.or_else(|| {
            let kept = during.value().as_deref() == Some(RIGHT);
            (!kept).then(|| format!("what was known was lost: {during:?}"))
        });
        // Once it has failed, an upstream may be left alone for a moment.
        let call = Call::get(&path);
        let call = if input.good { call.with("Cache-Control", "no-cache") } else { call };
        until("it is well again", Duration::from_secs(20), async || {
            let answer = self.reader.send(&call).await;
            assert!(input.good || !answer.text().contains(POISON), "{}: {answer:?}", input.name);
            answer.value().as_deref() == Some(RIGHT)
        })
        .await;
        hit(&self.reader, KNOWN, RIGHT).await;
        fault
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn k11_answers() {
    let audit = Audit::new();
    let scene = Scene::new(&audit).await;
    let (mut tally, mut faults) = (Tally::default(), Vec::new());
    let before = scene.vaultlet.resident_bytes();
    for input in read::<Input>(CLASS) {
        for (index, bytes) in input.bytes(&scene.stub.address()).into_iter().enumerate() {
            tally.spellings += 1;
            tally.accepted += usize::from(input.good);
            tally.refused += usize::from(!input.good);
            let fault = scene.spring(&input, index, bytes).await;
            faults.extend(fault.map(|fault| format!("{} ({index}): {fault}", input.name)));
        }
    }
    let more = scene.vaultlet.resident_bytes().saturating_sub(before);
    println!("{CLASS}: {} KiB more than before", more >> 10);
    if more > MORE_MEMORY {
        faults.push(format!("{more} bytes more than before"));
    }
    if scene.vaultlet.log().contains("panicked") {
        faults.push("a panic".to_owned());
    }
    faults.extend(audit.traces(&scene.vaultlet, &[]).await);
    tally.judge(CLASS, &faults);
}
