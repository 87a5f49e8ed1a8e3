//! Do service accounts get what is theirs, and nothing else?

use serde_json::json;

use crate::bao::Bao;
use crate::client::Client;
use crate::cluster::{Cluster, Kind};
use crate::roles::{enable_jwt, enable_kubernetes, jwt_role, kubernetes_role};

#[tokio::test]
async fn the_stand_in_is_a_cluster_to_openbao() {
    let (cluster, bao) = (Cluster::start().await, Bao::dev().await);
    let root = bao.root();
    enable_kubernetes(&root, &cluster, "kubernetes").await;
    enable_jwt(&root, &cluster, "jwt").await;
    let api = ("payments", "api");
    kubernetes_role(&root, ("kubernetes", "api"), api, json!({"token_policies": ["p1"]})).await;
    jwt_role(&root, ("jwt", "api"), api, json!({"token_policies": ["p2"]})).await;
    let nobody = Client::tcp(&bao.address());
    let login = async |mount: &str, jwt: &str| {
        let body = json!({"role": "api", "jwt": jwt});
        nobody.post(&format!("auth/{mount}/login"), body).await
    };

    let jwt = cluster.token("payments", "api", "api-1");
    for (mount, policy) in [("kubernetes", "p1"), ("jwt", "p2")] {
        let answer = login(mount, &jwt).await.expect(200).json();
        assert_eq!(answer["auth"]["token_policies"], json!(["default", policy]), "{answer}");
    }
    assert!(cluster.count(Kind::Review) >= 1 && cluster.count(Kind::Keys) >= 1);

    let other = cluster.token("payments", "other", "other-1");
    login("kubernetes", &other).await.expect(403);
    login("jwt", &other).await.expect(400);
    cluster.rotate_keys();
    let rotated = cluster.token("payments", "api", "api-2");
    login("kubernetes", &rotated).await.expect(200);
    login("jwt", &rotated).await.expect(200);
    cluster.delete_pod("payments", "api-1");
    login("kubernetes", &jwt).await.expect(403);
    login("jwt", &jwt).await.expect(200);
}
