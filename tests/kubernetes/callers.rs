//! Are pods of a real cluster told apart, and do those of one service account share?

use serde_json::json;

use crate::cluster::NODE;
use crate::site::{Site, bearer, client_token, log_in};
use crate::world::{fresh, hit};

#[tokio::test]
#[ignore = "needs make test-kubernetes"]
async fn pods_of_a_service_account_share_a_login_and_its_reads() {
    let site = Site::new().await;
    let vaultlet = site.vaultlet(json!({})).await;
    let (first, second) = (site.token("app-1").await, site.token("app-2").await);
    let other = site.token("other-1").await;
    let client = vaultlet.client();

    let answer = client.send(&bearer("secret/data/shop/db", &first)).await;

    fresh(&answer, "one");
    hit(&client, bearer("secret/data/shop/db", &first), "one").await;
    hit(&client.token(&first), "secret/data/shop/db", "one").await;
    hit(&client, bearer("secret/data/shop/db", &second), "one").await;
    hit(&client.token(&second), "secret/data/shop/db", "one").await;
    assert_eq!(site.logins().await, 1);
    let refused = client.send(&bearer("secret/data/shop/db", &other)).await.expect(403);
    assert!(!refused.text().contains("one"), "{refused:?}");
    client.token(&other).get("secret/data/shop/db").await.expect(403);
    assert_eq!(site.logins().await, 2);
}

#[tokio::test]
#[ignore = "needs make test-kubernetes"]
async fn a_token_for_somebody_else_is_refused() {
    let site = Site::new().await;
    // So that nothing but vaultlet stands in the way.
    site.role("app", json!({"token_policies": ["shop"], "audience": ""})).await;
    let vaultlet = site.vaultlet(json!({})).await;
    let good = site.token("app-1").await;
    let elsewhere = site.api.pod_token("shop", "app-1", "elsewhere").await;
    let for_the_api = site.api.api_token("shop", "app").await;
    let client = vaultlet.client();
    fresh(&client.send(&bearer("secret/data/shop/db", &good)).await, "one");

    for token in [&elsewhere, &for_the_api] {
        let answers = [
            client.send(&bearer("secret/data/shop/db", token)).await,
            client.token(token).get("secret/data/shop/db").await,
        ];
        for answer in answers {
            answer.expect_own_error(&[403]);
        }
    }

    assert_eq!(site.logins().await, 1, "a refused token reached OpenBao");
    hit(&client, bearer("secret/data/shop/db", &good), "one").await;
}

#[tokio::test]
#[ignore = "needs make test-kubernetes"]
async fn an_unmodified_login_is_answered_from_the_shared_one() {
    let site = Site::new().await;
    let vaultlet = site.vaultlet(json!({})).await;
    let (first, second) = (site.token("app-1").await, site.token("app-2").await);
    let client = vaultlet.client();

    let login = log_in(&client, "shop-app", &first).await.expect(200);

    let metadata = login.json()["auth"]["metadata"].clone();
    assert_eq!(metadata["service_account_name"], "app", "{login:?}");
    assert_eq!(metadata["service_account_namespace"], "shop", "{login:?}");
    let (own, seconds) =
        (client_token(login), client_token(log_in(&client, "shop-app", &second).await));
    assert!(own.starts_with("vlt.") && seconds.starts_with("vlt.") && own != seconds);
    let (own, seconds) = (client.token(&own), client.token(&seconds));
    let lookup = own.get("auth/token/lookup-self").await.expect(200).json();
    assert_eq!(lookup["data"]["policies"], json!(["default", "shop"]));
    fresh(&own.get("secret/data/shop/db").await, "one");
    hit(&own, "secret/data/shop/db", "one").await;
    hit(&seconds, "secret/data/shop/db", "one").await;

    own.post("auth/token/revoke-self", json!({})).await.expect(204);

    own.get("secret/data/shop/db").await.expect(403);
    own.get("auth/token/lookup-self").await.expect(403);
    hit(&seconds, "secret/data/shop/db", "one").await;
    hit(&client, bearer("secret/data/shop/db", &first), "one").await;
    assert_eq!(site.logins().await, 1);
}

#[tokio::test]
#[ignore = "needs make test-kubernetes"]
async fn a_login_that_is_nobodys_business_passes_through() {
    let site = Site::new().await;
    let vaultlet = site.vaultlet(json!({"auth": {"kubernetes": {"answer_logins": false}}})).await;
    let token = site.token("app-1").await;
    let elsewhere = site.api.pod_token("shop", "app-1", "elsewhere").await;
    let client = vaultlet.client();

    let own = client_token(log_in(&client, "shop-app", &token).await);

    assert!(!own.starts_with("vlt."), "answered here although that is off");
    fresh(&client.token(&own).get("secret/data/shop/db").await, "one");
    hit(&client.token(&own), "secret/data/shop/db", "one").await;
    // The server's own refusal, which names the audience.
    let refused = log_in(&client, "shop-app", &elsewhere).await.expect(403);
    assert!(!refused.text().contains("vaultlet: "), "{refused:?}");
    assert_eq!(site.logins().await, 1);
}

#[tokio::test]
#[ignore = "needs make test-kubernetes"]
async fn keys_are_found_from_the_issuer() {
    let site = Site::new().await;
    let vaultlet = site.vaultlet_by_discovery(json!({})).await;
    let token = site.token("app-1").await;

    let answer = vaultlet.client().send(&bearer("secret/data/shop/db", &token)).await;

    fresh(&answer, "one");
}

#[tokio::test]
#[ignore = "needs make test-kubernetes"]
async fn only_pods_of_the_node_are_let_in_where_it_is_named() {
    let site = Site::new().await;
    let here = site.vaultlet(json!({"auth": {"kubernetes": {"node": NODE}}})).await;
    let token = site.token("app-1").await;
    site.api.pod_on("node-2", "shop", "app-3", "app").await;
    let strayed = site.token("app-3").await;
    fresh(&here.client().send(&bearer("secret/data/shop/db", &token)).await, "one");

    let answer = here.client().send(&bearer("secret/data/shop/db", &strayed)).await;

    answer.expect_own_error(&[403]);
}
