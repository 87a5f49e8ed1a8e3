//! What does vaultlet make of what happens in a real cluster: things deleted, keys rotated, the API
//! server gone?

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::client::Client;
use crate::servers::REVIEW_CACHE;
use crate::site::{Site, bearer};
use crate::world::{fresh, hit, reads};

/// The window W of these tests: after it a change is seen.
const WINDOW: Duration = Duration::from_secs(2);

/// Keys are asked for again at most this often, however many unknown ones are named.
const KEYS_AGAIN: Duration = Duration::from_secs(10);

fn settings() -> Value {
    json!({"policy": {"refresh": "2s"}})
}

#[tokio::test]
#[ignore = "needs make test-kubernetes"]
async fn a_deleted_pod_or_service_account_is_refused() {
    let site = Site::new().await;
    site.api.service_account("shop", "leaving").await;
    site.api.pod("shop", "leaving-1", "leaving").await;
    site.role("leaving", json!({"token_policies": ["shop"]})).await;
    let vaultlet = site.vaultlet(settings()).await;
    let client = vaultlet.client();
    let (pod, stays) = (site.token("app-1").await, site.token("app-2").await);
    let account = site.token("leaving-1").await;
    for token in [&pod, &stays, &account] {
        reads(&client.send(&bearer("secret/data/shop/db", token)).await, "one");
    }

    site.api.delete_pod("shop", "app-1").await;
    site.api.delete_service_account("shop", "leaving").await;

    let (pod, account) =
        tokio::join!(refused_after(&client, &pod), refused_after(&client, &account));
    println!("refused: pod after {pod:?}, service account after {account:?}");
    reads(&client.send(&bearer("secret/data/shop/db", &stays)).await, "one");
}

/// How long the token was still good for. It may be for W + 1 s after the API server noticed.
async fn refused_after(client: &Client, token: &str) -> Duration {
    let began = Instant::now();
    loop {
        let asked = began.elapsed();
        let answer = client.send(&bearer("secret/data/shop/db", token)).await;
        if answer.status == 403 {
            return asked;
        }
        reads(&answer, "one");
        let longest = REVIEW_CACHE + WINDOW + Duration::from_secs(1);
        assert!(asked <= longest, "still accepted after {asked:?}");
        sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test]
#[ignore = "needs make test-kubernetes"]
async fn rotated_keys_are_found_without_a_restart() {
    let mut site = Site::new().await;
    let vaultlet = site.vaultlet(settings()).await;
    let client = vaultlet.client();
    let old = site.token("app-1").await;
    fresh(&client.send(&bearer("secret/data/shop/db", &old)).await, "one");

    site.api.rotate_keys().await;

    let new = site.token("app-2").await;
    let began = Instant::now();
    while client.send(&bearer("secret/data/shop/db", &new)).await.status != 200 {
        assert!(began.elapsed() <= KEYS_AGAIN + Duration::from_secs(1), "the new key is unknown");
        sleep(Duration::from_millis(200)).await;
    }
    println!("a token of the new key was accepted after {:?}", began.elapsed());
    hit(&client, bearer("secret/data/shop/db", &new), "one").await;
    hit(&client, bearer("secret/data/shop/db", &old), "one").await;
    assert_eq!(site.logins().await, 1);
}

#[tokio::test]
#[ignore = "needs make test-kubernetes"]
async fn without_the_api_server_known_tokens_go_on_and_new_ones_are_refused() {
    let mut site = Site::new().await;
    let vaultlet = site.vaultlet(settings()).await;
    let client = vaultlet.client();
    let (known, unknown) = (site.token("app-1").await, site.token("app-2").await);
    let other = site.token("other-1").await;
    fresh(&client.send(&bearer("secret/data/shop/db", &known)).await, "one");

    site.api.stop().await;
    // Past the window, so that what goes on does so without a review.
    sleep(WINDOW * 2).await;

    reads(&client.send(&bearer("secret/data/shop/db", &known)).await, "one");
    fresh(&client.send(&bearer("secret/data/shop/api", &known)).await, "two");
    for token in [&unknown, &other] {
        let answer = client.send(&bearer("secret/data/shop/db", token)).await;
        answer.expect_own_error(&[403, 503]);
    }

    site.api.restart().await;

    let began = Instant::now();
    while client.send(&bearer("secret/data/shop/db", &unknown)).await.status != 200 {
        assert!(began.elapsed() < Duration::from_secs(30));
        sleep(Duration::from_millis(200)).await;
    }
}
