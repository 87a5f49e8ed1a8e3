//! What does `vaultlet status` show of a running proxy, and say when there is none?

use std::process::Output;

use serde_json::{Value, json};
use tokio::process::Command;

use crate::bao::free_port;
use crate::world::{World, hit};

/// Exit code, standard output, standard error of `vaultlet status` with an empty environment.
async fn status(arguments: &[&str]) -> (i32, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_vaultlet"));
    let output = command.arg("status").args(arguments).env_clear().output().await.unwrap();
    let Output { status, stdout, stderr } = output;
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code().unwrap(), text(stdout), text(stderr))
}

#[tokio::test]
async fn a_running_proxy_is_shown() {
    let world = World::new(json!({})).await;
    world.put("canary-path", "canary-value").await;
    let caller = world.caller_with(&["reader"]).await;
    caller.get("secret/data/canary-path").await.expect(200);
    hit(&caller, "secret/data/canary-path", "canary-value").await;
    let url = format!("http://{}", world.vaultlet.admin_address());

    let (code, shown, said) = status(&["--admin", &url]).await;
    assert_eq!((code, said.as_str()), (0, ""));
    let (code, json, _) = status(&["--admin", &url, "--json"]).await;
    assert_eq!(code, 0, "{json}");
    let json: Value = serde_json::from_str(&json).unwrap();
    let key = format!("admin.address={}", world.vaultlet.admin_address());
    let (code, same, _) = status(&["--set", &key]).await;
    assert_eq!((code, &same), (0, &shown));

    let cluster = world.server().get("sys/health").await.expect(200).json()["cluster_id"].clone();
    let server = world.bao.address();
    assert_eq!(json["upstream"]["cluster_id"], cluster);
    assert_eq!(json["upstream"]["addresses"], json!([{"address": server, "state": "active"}]));
    assert_eq!((&json["state"], &json["identities"]), (&json!("ready"), &json!(1)), "{json}");
    let (entries, bytes) = (&json["cache"]["entries"], &json["cache"]["bytes"]);
    assert!(entries.as_u64().unwrap() >= 1, "{json}");
    let expected = format!(
        "vaultlet    {}, ready\n\
         upstream    {server}  active\n\
         cluster     {}\n\
         cache       entries: {entries}, bytes: {bytes}\n\
         identities  1\n",
        env!("CARGO_PKG_VERSION"),
        cluster.as_str().unwrap(),
    );
    assert_eq!(shown, expected);
}

#[tokio::test]
async fn a_proxy_without_its_upstream_says_so() {
    let mut world = World::new(json!({})).await;
    let url = format!("http://{}", world.vaultlet.admin_address());
    world.bao.kill().await;
    world.caller("any").get("secret/data/x").await.expect_own_error(&[502, 503, 504]);

    let mut shown = String::new();
    for _ in 0..100 {
        shown = status(&["--admin", &url]).await.1;
        if shown.contains("  down\n") {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    panic!("{shown}");
}

#[tokio::test]
async fn what_does_not_answer_as_a_proxy_is_complained_of() {
    let world = World::new(json!({})).await;
    let nobody = format!("http://127.0.0.1:{}", free_port());
    // A server, but not an admin listener.
    let other = world.bao.address();
    for (url, said) in
        [(nobody, "gives no answer: "), (other, "is no admin listener of vaultlet: ")]
    {
        for arguments in [&["--admin", &url][..], &["--json", "--admin", &url]] {
            let (code, shown, problem) = status(arguments).await;
            assert_eq!((code, shown.as_str()), (1, ""), "{problem}");
            assert!(problem.starts_with(&format!("vaultlet: {url}/status {said}")), "{problem}");
            assert!(problem.trim_end().lines().count() == 1, "{problem}");
        }
    }
    // Without anything, the default address of the default configuration, or the file's.
    let config = world.vaultlet.config().display().to_string();
    let (code, _, problem) = status(&["--config", &config]).await;
    assert_eq!(code, 2, "its admin address has port 0: {problem}");
    assert!(problem.starts_with("admin.address: "), "{problem}");
}

#[tokio::test]
async fn what_is_no_address_is_the_users_mistake() {
    for wrong in [
        &["--admin", "127.0.0.1:8101"][..],
        &["--admin", "https://127.0.0.1:8101"],
        &["--admin", "http://127.0.0.1:8101/status"],
        &["--admin", "http://127.0.0.1:8101", "--config", "vaultlet.yaml"],
        &["--set", "admin.address=nowhere"],
    ] {
        let (code, shown, problem) = status(wrong).await;
        assert_eq!((code, shown.as_str()), (2, ""), "{wrong:?}: {problem}");
    }
}
