//! How does OpenBao come to trust a cluster's service accounts?

use serde_json::{Value, json};

use crate::client::Client;
use crate::cluster::Cluster;

/// Has OpenBao accept the cluster's tokens at `auth/MOUNT` by asking its API server.
pub async fn enable_kubernetes(root: &Client, cluster: &Cluster, mount: &str) {
    root.post(&format!("sys/auth/{mount}"), json!({"type": "kubernetes"})).await.expect(204);
    // It wants authorities even where it speaks plain HTTP.
    let authority = rcgen::generate_simple_self_signed(vec!["localhost".into()]).unwrap();
    let config = json!({
        "kubernetes_host": cluster.address(),
        "kubernetes_ca_cert": authority.cert.pem(),
        "token_reviewer_jwt": cluster.reviewer(),
        "disable_local_ca_jwt": true,
    });
    root.post(&format!("auth/{mount}/config"), config).await.expect(204);
}

/// Has OpenBao accept the cluster's tokens at `auth/MOUNT` by its keys.
pub async fn enable_jwt(root: &Client, cluster: &Cluster, mount: &str) {
    root.post(&format!("sys/auth/{mount}"), json!({"type": "jwt"})).await.expect(204);
    let config = json!({
        "jwks_url": format!("{}/openid/v1/jwks", cluster.address()),
        "bound_issuer": cluster.address(),
    });
    root.post(&format!("auth/{mount}/config"), config).await.expect(204);
}

/// A role of an `auth/kubernetes` mount for one service account; `settings` is laid over it.
pub async fn kubernetes_role(
    root: &Client,
    (mount, role): (&str, &str),
    (namespace, service_account): (&str, &str),
    settings: Value,
) {
    let body = json!({
        "bound_service_account_names": [service_account],
        "bound_service_account_namespaces": [namespace],
        "audience": "vault",
        "token_ttl": "1h",
    });
    write(root, &format!("auth/{mount}/role/{role}"), body, settings).await;
}

/// The same of an `auth/jwt` mount.
pub async fn jwt_role(
    root: &Client,
    (mount, role): (&str, &str),
    (namespace, service_account): (&str, &str),
    settings: Value,
) {
    let body = json!({
        "role_type": "jwt",
        "user_claim": "sub",
        "bound_audiences": ["vault"],
        "bound_subject": format!("system:serviceaccount:{namespace}:{service_account}"),
        "token_ttl": "1h",
    });
    write(root, &format!("auth/{mount}/role/{role}"), body, settings).await;
}

async fn write(root: &Client, path: &str, mut body: Value, settings: Value) {
    body.as_object_mut().unwrap().extend(settings.as_object().unwrap().clone());
    root.post(path, body).await.expect_any(&[200, 204]);
}
