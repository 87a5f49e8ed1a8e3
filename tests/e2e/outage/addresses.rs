//! Several addresses: which one is asked, and what is asked twice?

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::json;
use tokio::time::{Instant, sleep};

use crate::bao::{Bao, free_port};
use crate::client::Call;
use crate::stub::{Reply, Stub};
use crate::vaultlet::Vaultlet;
use crate::world::{prepare, put, reads};

async fn server() -> Bao {
    let bao = Bao::dev().await;
    prepare(&bao.root()).await;
    put(&bao.root(), "one", "right").await.expect(200);
    put(&bao.root(), "two", "right").await.expect(200);
    bao
}

async fn before_all(addresses: &[String]) -> Vaultlet {
    // The whole `upstream` key is given, so that the single address of the harness goes away.
    Vaultlet::start("", json!({"upstream": {"addresses": addresses, "connect_timeout": "1s"}}))
        .await
}

#[tokio::test]
async fn the_first_healthy_address_is_used_until_it_goes() {
    let bao = server().await;
    let first = Stub::before(&bao.address(), |_| Reply::Forward).await;
    let second = Stub::before(&bao.address(), |_| Reply::Forward).await;
    let vaultlet = before_all(&[first.address(), second.address()]).await;
    let root = vaultlet.client().token("root");

    reads(&root.get("secret/data/one").await, "right");
    assert_eq!(first.count("GET", "/v1/secret/data/one"), 1);
    assert_eq!(second.count("GET", "/v1/secret/data/one"), 0);

    drop(first);
    let began = Instant::now();
    let again = Call::get("secret/data/two").with("Cache-Control", "no-cache");
    while root.send(&again).await.status != 200 {
        assert!(
            began.elapsed() < Duration::from_secs(5),
            "no failover after {:?}",
            began.elapsed()
        );
        sleep(Duration::from_millis(50)).await;
    }
    assert!(second.count("GET", "/v1/secret/data/two") > 0);
}

#[tokio::test]
async fn a_dead_first_address_costs_nobody_an_answer() {
    let bao = server().await;
    let dead = format!("http://127.0.0.1:{}", free_port());
    let vaultlet = before_all(&[dead, bao.address()]).await;
    let root = vaultlet.client().token("root");

    for path in ["secret/data/one", "secret/data/two"] {
        let began = Instant::now();
        reads(&root.get(path).await, "right");
        assert!(began.elapsed() < Duration::from_secs(3), "took {:?}", began.elapsed());
    }
}

#[tokio::test]
async fn a_sealed_or_standby_address_is_passed_over() {
    for health in [503, 429] {
        let bao = server().await;
        let body = format!(r#"{{"initialized":true,"sealed":{},"standby":true}}"#, health == 503);
        let unfit = Stub::before(&bao.address(), move |seen| {
            if seen.target.starts_with("/v1/sys/health") {
                Reply::Bytes(crate::stub::json(health, &body))
            } else {
                Reply::Bytes(crate::stub::json(503, r#"{"errors":["Vault is sealed"]}"#))
            }
        })
        .await;
        let vaultlet = before_all(&[unfit.address(), bao.address()]).await;
        let root = vaultlet.client().token("root");

        let began = Instant::now();
        while root.get("secret/data/one").await.value().as_deref() != Some("right") {
            assert!(began.elapsed() < Duration::from_secs(10), "health {health} is still used");
            sleep(Duration::from_millis(50)).await;
        }
    }
}

#[tokio::test]
async fn only_what_may_be_repeated_is_retried() {
    let bao = server().await;
    let broken = Arc::new(AtomicUsize::new(0));
    let left = broken.clone();
    // The next so many requests below `secret/` and `database/` are read and then dropped.
    let stub = Stub::before(&bao.address(), move |seen| {
        let ours = ["/v1/secret/", "/v1/database/"].iter().any(|p| seen.target.starts_with(p));
        let drop = ours
            && left.try_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1)).is_ok();
        if drop { Reply::Bytes(Vec::new()) } else { Reply::Forward }
    })
    .await;
    let vaultlet = Vaultlet::start(&stub.address(), json!({})).await;
    let root = vaultlet.client().token("root");
    root.get("secret/data/one").await.expect(200);

    broken.store(1, Ordering::SeqCst);
    reads(&root.get("secret/data/two").await, "right");
    assert_eq!(stub.count("GET", "/v1/secret/data/two"), 2);

    let write = |method: &str, path: &str| Call::new(method, path).json(&json!({"data": {}}));
    let once = [
        write("POST", "secret/data/written"),
        write("PUT", "secret/data/put"),
        write("PATCH", "secret/data/patched"),
        Call::new("DELETE", "secret/data/deleted"),
        // Reading these makes a credential each time.
        Call::get("database/creds/role"),
    ];
    for call in once {
        broken.store(1, Ordering::SeqCst);
        root.send(&call).await.expect_own_error(&[502, 503, 504]);
        assert_eq!(stub.count(call.method.as_str(), &call.target), 1, "{call:?} was repeated");
        broken.store(0, Ordering::SeqCst);
    }
}
