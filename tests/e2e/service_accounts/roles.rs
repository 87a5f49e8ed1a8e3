//! As which role is a service account logged in, and what if that role is no good?

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::{DB, LOGIN, Node, SHOP, SHOP_VALUE, VALUE, message, rules};
use crate::bao::Bao;
use crate::client::{Call, Client};
use crate::cluster::Cluster;
use crate::roles::{enable_kubernetes, kubernetes_role};
use crate::world::{policy, put, reads};

/// The role of whoever asks, as it is told.
async fn role(client: &Client) -> Value {
    client.get("auth/token/lookup-self").await.expect(200).json()["data"]["meta"]["role"].clone()
}

#[tokio::test]
async fn the_first_rule_that_matches_names_role_and_mount() {
    let (bao, cluster) = (Bao::dev().await, Cluster::start().await);
    let root = bao.root();
    let mut section = cluster.settings();
    section["login"] = json!({"rules": [
        {"namespace": "batch-*", "service_account": "*-night", "role": "night"},
        {"namespace": "batch-*", "role": "batch-{service_account}"},
        {"namespace": "tools", "service_account": "deployer", "choose": ["deploy-*"]},
        {"namespace": "edge", "mount": "auth/kubernetes-edge"},
    ]});
    for mount in ["kubernetes", "kubernetes-edge"] {
        enable_kubernetes(&root, &cluster, mount).await;
    }
    for (mount, name, namespace) in [
        ("kubernetes", "night", "batch-*"),
        ("kubernetes", "batch-app", "batch-*"),
        ("kubernetes", "tools-deployer", "tools"),
        ("kubernetes", "deploy-x", "tools"),
        ("kubernetes", "admin", "tools"),
        ("kubernetes-edge", "edge-app", "edge"),
    ] {
        let settings = json!({"token_policies": ["payments"]});
        kubernetes_role(&root, (mount, name), (namespace, "*"), settings).await;
    }
    let node = Node::before(bao, cluster, section, json!({})).await;
    let caller =
        |namespace: &str, account: &str| node.caller(&node.cluster.token(namespace, account, "p"));

    for (namespace, account, expected) in [
        ("batch-1", "late-night", "night"),
        ("batch-1", "app", "batch-app"),
        ("tools", "deployer", "tools-deployer"),
        ("edge", "app", "edge-app"),
        ("payments", "api", "payments-api"),
    ] {
        assert_eq!(role(&caller(namespace, account)).await, json!(expected));
        reads(&caller(namespace, account).get(DB).await, VALUE);
    }
    assert_eq!(node.upstream("auth/kubernetes-edge/login"), 1);

    let deployer = caller("tools", "deployer");
    let choose = async |caller: &Client, role: &str| {
        caller.send(&Call::get("auth/token/lookup-self").with("X-Vault-Role", role)).await
    };
    for chosen in ["deploy-x", "tools-deployer"] {
        let answer = choose(&deployer, chosen).await.expect(200);
        assert_eq!(answer.json()["data"]["meta"]["role"], json!(chosen));
    }
    let logins = node.upstream(LOGIN);
    for (caller, chosen) in [
        (&deployer, "admin"),
        (&caller("batch-1", "app"), "night"),
        (&caller("payments", "api"), "web-shop"),
        (&caller("payments", "api"), "payments-api/../admin"),
    ] {
        let answer = choose(caller, chosen).await.expect_own_error(&[403]);
        assert!(message(&answer).contains("X-Vault-Role"), "{answer:?}");
    }
    assert_eq!(node.upstream(LOGIN), logins);
    // A chosen role is that request's, and no other's.
    assert_eq!(role(&deployer).await, json!("tools-deployer"));
    let told = node.asked().iter().any(|seen| seen.header("x-vault-role").is_some());
    assert!(!told, "how a pod chooses is not the server's affair");
}

#[tokio::test]
async fn two_clusters_have_one_vaultlet_and_nothing_in_common() {
    let (bao, blue, green) = (Bao::dev().await, Cluster::start().await, Cluster::start().await);
    let root = bao.root();
    for (cluster, mount) in [(&blue, "kubernetes"), (&green, "green")] {
        enable_kubernetes(&root, cluster, mount).await;
    }
    let role = json!({"token_policies": ["green"]});
    kubernetes_role(&root, ("green", "payments-api"), ("payments", "api"), role).await;
    policy(&root, "green", &rules("green")).await;
    put(&root, "green/db", "green").await.expect(200);
    let mut second = green.settings();
    second["login"] = json!({"mount": "green"});
    let section = json!([blue.settings(), second]);
    let node = Node::before(bao, blue, section, json!({})).await;

    let ours = node.pod(1);
    // The same names, to the pod's: only the issuer differs.
    let jwt = green.token("payments", "api", "api-1");
    let theirs = node.caller(&jwt);
    for _ in 0..2 {
        reads(&ours.get(DB).await, VALUE);
        reads(&theirs.get("secret/data/green/db").await, "green");
        ours.get("secret/data/green/db").await.expect(403);
        theirs.get(DB).await.expect(403);
    }
    assert_eq!((node.upstream(LOGIN), node.upstream("auth/green/login")), (1, 1));
    // Each cluster's logins are answered on its own mount; on the other's the server decides.
    let client = node.vaultlet.client();
    let body = json!({"role": "payments-api", "jwt": jwt});
    let answer = client.post("auth/green/login", body.clone()).await.expect(200).json();
    assert!(answer["auth"]["client_token"].as_str().unwrap().starts_with("vlt."));
    client.post(LOGIN, body).await.expect(403);
    assert_eq!((node.upstream(LOGIN), node.upstream("auth/green/login")), (2, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_role_that_is_not_there_costs_next_to_nothing_and_says_so() {
    let node = Node::new(json!({}), json!({})).await;
    let began = Instant::now();
    // A pod that crashes and comes back, each time with another token, and in all three ways.
    let mut statuses = BTreeMap::new();
    for round in 0..10 {
        let mut asking = JoinSet::new();
        for number in 0..20 {
            let pod = format!("lost-{round}-{number}");
            let jwt = node.cluster.token("payments", "lost", &pod);
            let (client, caller) = (node.vaultlet.client(), node.caller(&jwt));
            asking.spawn(async move {
                let body = json!({"role": "payments-lost", "jwt": jwt});
                if number % 3 == 0 { client.post(LOGIN, body).await } else { caller.get(DB).await }
            });
        }
        for answer in asking.join_all().await {
            let answer = answer.expect_own_error(&[403]);
            let why = message(&answer);
            let named =
                ["payments/lost", "\"payments-lost\"", "auth/kubernetes", "create that role"];
            assert!(named.iter().all(|part| why.contains(part)), "{why}");
            *statuses.entry(answer.status).or_insert(0) += 1;
        }
        reads(&node.pod(round).get(DB).await, VALUE);
    }
    assert_eq!(statuses, BTreeMap::from([(403, 200)]));
    // One for the pods that go on, and one each ten seconds for those that do not.
    let most = 2 + began.elapsed().as_secs() / 10;
    assert!(node.upstream(LOGIN) as u64 <= most, "{} logins", node.upstream(LOGIN));

    // It is there now: pods get it without anybody's doing.
    node.team(("payments", "lost"), json!({})).await;
    let pod = node.caller(&node.cluster.token("payments", "lost", "found"));
    super::until("the role", Duration::from_secs(12), async || {
        sleep(Duration::from_millis(200)).await;
        pod.get(DB).await.status == 200
    })
    .await;
}

#[tokio::test]
async fn tokens_with_counted_uses_are_nobodys_to_share() {
    let node = Node::new(json!({}), json!({})).await;
    node.team(("payments", "counted"), json!({"token_num_uses": 2})).await;
    let jwt = node.cluster.token("payments", "counted", "c");

    for _ in 0..20 {
        let answer = node.caller(&jwt).get(DB).await.expect_own_error(&[403]);
        assert!(message(&answer).contains("token_num_uses"), "{answer:?}");
    }
    assert_eq!(node.upstream(LOGIN), 1);
    // An application that logs in itself gets a token of its own, with uses of its own.
    for _ in 0..2 {
        let token = node.log_in(&jwt, "payments-counted").await;
        assert!(!token.starts_with("vlt."), "{token}");
        reads(&node.caller(&token).get(DB).await, VALUE);
        reads(&node.caller(&token).get(DB).await, VALUE);
        node.caller(&token).get(DB).await.expect(403);
    }
    reads(&node.neighbour(1).get(SHOP).await, SHOP_VALUE);
}
