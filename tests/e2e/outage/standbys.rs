//! A standby answers reads, and lags behind the active node.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::json;

use crate::bao::Bao;
use crate::stub::{Reply, Stub};
use crate::vaultlet::Vaultlet;
use crate::world::{prepare, put, reads};

#[tokio::test]
async fn what_was_written_through_here_is_read_from_a_node_that_knows_it() {
    let bao = Bao::dev().await;
    prepare(&bao.root()).await;
    for key in ["before", "after"] {
        put(&bao.root(), key, "right").await.expect(200);
    }
    let index = BASE64_STANDARD.encode(r#"{"cluster":"a-cluster","value":"17"}"#);
    let written = format!(
        "HTTP/1.1 204 No Content\r\nX-Vault-Index: {index}\r\nContent-Type: application/json\r\n\r\n"
    );
    let stub = Stub::before(&bao.address(), move |seen| match seen.method.as_str() {
        "POST" => Reply::Answer(written.clone().into_bytes()),
        _ => Reply::Forward,
    })
    .await;
    let vaultlet = Vaultlet::start(&stub.address(), json!({})).await;
    let root = vaultlet.client().token("root");

    reads(&root.get("secret/data/before").await, "right");
    root.post("secret/data/after", json!({"data": {}})).await.expect(204);
    reads(&root.get("secret/data/after").await, "right");

    let seen = stub.seen();
    let read = |key: &str| {
        let target = format!("/v1/secret/data/{key}");
        seen.iter().find(|seen| seen.method == "GET" && seen.target == target).unwrap()
    };
    assert_eq!(read("before").header("x-vault-index"), None);
    assert_eq!(read("before").header("x-vault-inconsistent"), None);
    assert_eq!(read("after").header("x-vault-index"), Some(&*index));
    assert_eq!(read("after").header("x-vault-inconsistent"), Some("forward-active-node"));
}
