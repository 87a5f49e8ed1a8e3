//! The upstream's answer is nonsense: nobody is shown it, and nobody remembers it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::json;
use tokio::time::sleep;

use super::{short_lived, warm};
use crate::bao::Bao;
use crate::stub::{Reply, Stub, json as answer};
use crate::vaultlet::Vaultlet;
use crate::world::{hit, prepare, put, reads, token};

/// What a read gets from an upstream, or from something in between, that has gone wrong.
fn garbage() -> Vec<(&'static str, Vec<u8>)> {
    let secret = r#"{"request_id":"0","lease_id":"","renewable":false,"lease_duration":0,"data":{"data":{"value":"poison"},"metadata":{"created_time":"2026-01-01T00:00:00Z","custom_metadata":null,"deletion_time":"","destroyed":false,"version":1}},"wrap_info":null,"warnings":null,"auth":null}"#;
    let with = |field: &str| answer(200, &secret.replacen('{', &format!("{{{field},"), 1));
    let raw = |head: &str, body: &str| {
        format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n{head}\r\n{body}")
            .into_bytes()
    };
    let cut = &secret[..secret.len() / 2];
    vec![
        ("nothing", Vec::new()),
        ("not HTTP", b"SSH-2.0-OpenSSH_9.6\r\n".to_vec()),
        ("half a head", b"HTTP/1.1 200 OK\r\nContent-".to_vec()),
        ("a cut body", raw("Content-Length: 999\r\n", secret)),
        ("half a body", raw(&format!("Content-Length: {}\r\n", secret.len()), cut)),
        (
            "no last chunk",
            raw("Transfer-Encoding: chunked\r\n", &format!("{:x}\r\n{secret}\r\n", secret.len())),
        ),
        ("a bad chunk", raw("Transfer-Encoding: chunked\r\n", "zz\r\n")),
        ("a balancer's page", answer(200, "<html><body>It works!</body></html>")),
        ("half of the JSON", answer(200, cut)),
        ("an empty body", answer(200, "")),
        ("an array", answer(200, "[]")),
        ("null", answer(200, "null")),
        ("another shape", answer(200, r#"{"status":"ok"}"#)),
        ("errors and data", with(r#""errors":["permission denied"]"#)),
        ("two objects", answer(200, &format!("{secret}{secret}"))),
        ("trailing bytes", answer(200, &format!("{secret} trailing"))),
        ("a body with 204", b"HTTP/1.1 204 No Content\r\nContent-Length: 2\r\n\r\n{}".to_vec()),
        ("204", b"HTTP/1.1 204 No Content\r\n\r\n".to_vec()),
        ("206", answer(206, secret)),
        (
            "two lengths",
            raw(&format!("Content-Length: 3\r\nContent-Length: {}\r\n", secret.len()), secret),
        ),
        (
            "a field twice",
            answer(
                200,
                &secret.replacen("\"data\":{\"data\"", "\"data\":{},\"data\":{\"data\"", 1),
            ),
        ),
    ]
}

/// A server that can be made to answer reads below `secret/data/` with one fixed thing.
struct Scene {
    stub: Stub,
    bao: Bao,
    broken: Arc<AtomicBool>,
}

impl Scene {
    async fn new(instead: Vec<u8>) -> Self {
        let bao = Bao::dev().await;
        prepare(&bao.root()).await;
        Self::before(bao, instead).await
    }

    async fn before(bao: Bao, instead: Vec<u8>) -> Self {
        let broken = Arc::new(AtomicBool::new(false));
        let now = broken.clone();
        let stub = Stub::before(&bao.address(), move |seen| {
            if now.load(Ordering::SeqCst) && seen.target.starts_with("/v1/secret/data/") {
                Reply::Bytes(instead.clone())
            } else {
                Reply::Forward
            }
        })
        .await;
        Self { stub, bao, broken }
    }

    fn broken(&self, broken: bool) {
        self.broken.store(broken, Ordering::SeqCst);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_is_an_error_to_new_readers_and_nothing_to_old_ones() {
    let mut bao = Bao::dev().await;
    prepare(&bao.root()).await;
    put(&bao.root(), "known", "right").await.expect(200);
    put(&bao.root(), "cold", "right").await.expect(200);
    let reader = token(&bao.root(), json!({"policies": ["reader"]})).await;

    for (name, bytes) in garbage() {
        let scene = Scene::before(bao, bytes).await;
        let vaultlet = Vaultlet::start(&scene.stub.address(), short_lived(json!({}))).await;
        let caller = vaultlet.client().token(&reader);
        warm(&caller, "secret/data/known", "right").await;
        sleep(Duration::from_millis(1200)).await;
        scene.broken(true);
        println!("{name}");

        let cold = caller.get("secret/data/cold").await;
        assert!(!cold.text().contains("poison"), "{name}: {cold:?}");
        cold.expect_own_error(&[502]);
        hit(&caller, "secret/data/known", "right").await;

        scene.broken(false);
        for path in ["secret/data/cold", "secret/data/known"] {
            let mut answer = caller.get(path).await;
            // Once it has failed, an upstream may be left alone for a moment.
            for _ in 0..50 {
                if answer.status == 200 {
                    break;
                }
                sleep(Duration::from_millis(100)).await;
                answer = caller.get(path).await;
            }
            reads(&answer, "right");
        }
        bao = scene.bao;
    }
}

/// Something in between answers everything, also what vaultlet asks for itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_balancers_page_takes_the_place_of_nothing_known() {
    let bao = Bao::dev().await;
    prepare(&bao.root()).await;
    put(&bao.root(), "known", "right").await.expect(200);
    let reader = token(&bao.root(), json!({"policies": ["reader"]})).await;
    let broken = Arc::new(AtomicBool::new(false));
    let now = broken.clone();
    let stub = Stub::before(&bao.address(), move |seen| {
        if now.load(Ordering::SeqCst) && !seen.target.starts_with("/v1/sys/health") {
            Reply::Answer(answer(200, "<html><body>It works!</body></html>"))
        } else {
            Reply::Forward
        }
    })
    .await;
    let settings = short_lived(json!({"policy": {"refresh": "1s"}}));
    let vaultlet = Vaultlet::start(&stub.address(), settings).await;
    let caller = vaultlet.client().token(&reader);
    warm(&caller, "secret/data/known", "right").await;

    broken.store(true, Ordering::SeqCst);
    // Nothing of it is recent any more: neither the entry, nor the login, nor the mount.
    sleep(Duration::from_millis(1200)).await;
    for _ in 0..5 {
        super::stale(&caller.get("secret/data/known").await, "right");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failing_server_is_covered_for_and_its_own_words_reach_new_readers() {
    for status in [500, 502, 503, 504, 429] {
        let words = format!(r#"{{"errors":["failing with {status}"]}}"#);
        let scene = Scene::new(answer(status, &words)).await;
        let root = scene.bao.root();
        put(&root, "known", "right").await.expect(200);
        let vaultlet = Vaultlet::start(&scene.stub.address(), short_lived(json!({}))).await;
        let caller = vaultlet.client().token(&token(&root, json!({"policies": ["reader"]})).await);
        warm(&caller, "secret/data/known", "right").await;
        sleep(Duration::from_millis(1200)).await;
        scene.broken(true);

        super::stale(&caller.get("secret/data/known").await, "right");
        let cold = caller.get("secret/data/cold").await;
        assert!(cold.status >= 429, "{status}: {cold:?}");
        assert!(cold.json()["errors"][0].is_string(), "{status}: {cold:?}");
    }
}

#[tokio::test]
async fn a_403_is_not_an_outage() {
    let denied = answer(403, r#"{"errors":["permission denied"]}"#);
    let scene = Scene::new(denied).await;
    put(&scene.bao.root(), "known", "right").await.expect(200);
    let vaultlet = Vaultlet::start(&scene.stub.address(), short_lived(json!({}))).await;
    let caller = vaultlet.client().token("root");
    warm(&caller, "secret/data/known", "right").await;
    sleep(Duration::from_millis(1200)).await;

    scene.broken(true);
    for _ in 0..3 {
        caller.get("secret/data/known").await.expect(403);
    }
}
