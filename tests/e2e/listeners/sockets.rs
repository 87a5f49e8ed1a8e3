//! Unix sockets, several listeners, and the guard against forged requests.

use std::os::unix::fs::PermissionsExt;

use serde_json::json;

use crate::client::{Call, Client};
use crate::world::{World, fresh, hit};

#[tokio::test]
async fn a_unix_socket_has_its_mode_and_shares_the_cache() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("vaultlet.sock");
    let listeners = json!([{"address": "127.0.0.1:0"}, {"unix": path, "mode": "0600"}]);
    let world = World::new(json!({"listeners": listeners})).await;
    world.put("shared", "one").await;
    let token = world.token(&["reader"]).await;

    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    fresh(&world.caller(&token).get("secret/data/shared").await, "one");
    hit(&Client::unix(&path).token(&token), "secret/data/shared", "one").await;
}

#[tokio::test]
async fn a_socket_left_by_a_crash_is_taken_over() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("vaultlet.sock");
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());

    let world = World::new(json!({"listeners": [{"unix": path, "mode": "0660"}]})).await;
    let client = Client::unix(&path).token(world.bao.root_token());
    client.get("sys/mounts").await.expect(200);
}

#[tokio::test]
async fn the_request_header_is_demanded_where_configured() {
    let listeners = json!([{"address": "127.0.0.1:0", "require_request_header": true}]);
    let world = World::new(json!({"listeners": listeners})).await;
    let root = world.caller("root");

    let without = [None, Some("false"), Some(""), Some("yes")];
    for value in without {
        let call = Call::get("sys/mounts");
        let call = value.map_or(call.clone(), |value| call.with("X-Vault-Request", value));
        root.send(&call).await.expect_own_error(&[400, 403, 412]);
    }
    root.send(&Call::get("sys/mounts").with("X-Vault-Request", "true")).await.expect(200);
}
