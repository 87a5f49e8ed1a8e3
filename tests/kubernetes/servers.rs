//! Do the real servers do what the other tests here take for granted? Without vaultlet.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustix::process::{Pid, test_kill_process};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::apiserver::ApiServer;
use crate::cluster::NODE;
use crate::site::{AUDIENCE, Site, client_token, log_in};
use crate::world::reads;

/// For how long the API server goes by what it has found out of a token.
pub const REVIEW_CACHE: Duration = Duration::from_secs(10);

#[tokio::test]
#[ignore = "needs make test-kubernetes"]
async fn a_pods_token_logs_in_at_openbao() {
    let site = Site::new().await;
    let (token, other) = (site.token("app-1").await, site.token("other-1").await);
    let elsewhere = site.api.pod_token("shop", "app-1", "elsewhere").await;

    let server = site.bao.root().token("");
    let own = client_token(log_in(&server, "shop-app", &token).await);
    let others = client_token(log_in(&server, "shop-other", &other).await);

    reads(&server.token(&own).get("secret/data/shop/db").await, "one");
    server.token(&others).get("secret/data/shop/db").await.expect(403);
    log_in(&server, "shop-app", &other).await.expect(403);
    log_in(&server, "shop-app", &elsewhere).await.expect(403);
    assert_eq!(site.logins().await, 2);
}

#[tokio::test]
#[ignore = "needs make test-kubernetes"]
async fn tokens_say_who_they_are_for_and_can_be_reviewed() {
    let site = Site::new().await;
    let reviewer = site.api.reviewer("vault", "reviewer").await;
    let token = site.token("app-1").await;

    let (head, claims) = (part(&token, 0), part(&token, 1));
    let keys = site.api.jwks(&reviewer).await;
    let review = site.api.review(&reviewer, &token, AUDIENCE).await;
    let for_others = site.api.review(&reviewer, &token, "elsewhere").await;
    let discovery = site.api.discovery(&reviewer).await;

    assert_eq!(head["alg"], "RS256");
    assert_eq!(keys["keys"][0]["kid"], head["kid"]);
    let issuer = json!(site.api.address());
    assert_eq!((&discovery["issuer"], &claims["iss"]), (&issuer, &issuer));
    assert_eq!(discovery["jwks_uri"], format!("{}/openid/v1/jwks", site.api.address()));
    assert_eq!(claims["aud"], json!([AUDIENCE]));
    assert_eq!(claims["sub"], "system:serviceaccount:shop:app");
    let bound = &claims["kubernetes.io"];
    assert_eq!((&bound["pod"]["name"], &bound["node"]["name"]), (&json!("app-1"), &json!(NODE)));
    assert_eq!(review["authenticated"], true, "{review}");
    assert_eq!(review["user"]["username"], claims["sub"]);
    assert!(!for_others["authenticated"].as_bool().unwrap_or_default(), "{for_others}");
}

#[tokio::test]
#[ignore = "needs make test-kubernetes"]
async fn a_review_notices_a_deleted_pod_within_ten_seconds() {
    let site = Site::new().await;
    let reviewer = site.api.reviewer("vault", "reviewer").await;
    let token = site.token("app-1").await;
    assert_eq!(site.api.review(&reviewer, &token, AUDIENCE).await["authenticated"], true);

    site.api.delete_pod("shop", "app-1").await;

    let began = Instant::now();
    while site.api.review(&reviewer, &token, AUDIENCE).await["authenticated"] == true {
        assert!(began.elapsed() < REVIEW_CACHE + Duration::from_secs(1), "still accepted");
        sleep(Duration::from_millis(200)).await;
    }
    println!("noticed after {:?}", began.elapsed());
}

#[tokio::test]
#[ignore = "needs make test-kubernetes"]
async fn after_a_rotation_two_keys_are_published_and_the_new_one_signs() {
    let mut site = Site::new().await;
    let reader = site.api.api_token("shop", "app").await;
    let before = site.token("app-1").await;

    site.api.rotate_keys().await;

    let after = site.token("app-1").await;
    let keys = site.api.jwks(&reader).await;
    let published: Vec<&Value> =
        keys["keys"].as_array().unwrap().iter().map(|k| &k["kid"]).collect();
    let (old, new) = (part(&before, 0)["kid"].clone(), part(&after, 0)["kid"].clone());
    assert_ne!(old, new);
    assert!(published.len() == 2 && published.contains(&&old) && published.contains(&&new));
}

#[tokio::test]
#[ignore = "needs make test-kubernetes"]
async fn nothing_is_left_running() {
    let api = ApiServer::start().await;
    let pids = api.pids();

    drop(api);

    let began = Instant::now();
    while pids.iter().any(|pid| runs(*pid)) {
        assert!(began.elapsed() < Duration::from_secs(10), "{pids:?} still run");
        sleep(Duration::from_millis(50)).await;
    }
}

fn runs(pid: u32) -> bool {
    test_kill_process(Pid::from_raw(pid.cast_signed()).unwrap()).is_ok()
}

/// The JSON of one part of a JWT.
fn part(token: &str, number: usize) -> Value {
    let encoded = token.split('.').nth(number).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(encoded).unwrap()).unwrap()
}
