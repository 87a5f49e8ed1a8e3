//! Where may a caller's token go? To the configured upstream, and nowhere that an answer names.

use serde_json::json;

use crate::client::Call;
use crate::stub::{Reply, Stub, json as answer};
use crate::vaultlet::Vaultlet;

#[tokio::test]
async fn a_redirect_is_returned_and_never_followed_elsewhere() {
    let elsewhere = Stub::alone(|_| Reply::Answer(answer(200, "{\"data\":{}}"))).await;
    let location = format!("{}/v1/secret/data/app", elsewhere.address());
    let moved = location.clone();
    let stub = Stub::alone(move |seen| {
        if seen.target.starts_with("/v1/sys/") || seen.target.starts_with("/v1/auth/") {
            return Reply::Forward;
        }
        let head = format!("Location: {moved}\r\nContent-Length: 0\r\n\r\n");
        let status = seen.header("x-status").unwrap_or("307 Temporary Redirect");
        Reply::Answer(format!("HTTP/1.1 {status}\r\n{head}").into_bytes())
    })
    .await;
    let vaultlet = Vaultlet::start(&stub.address(), json!({})).await;
    let client = vaultlet.client().token("root");

    for method in ["GET", "PUT", "LIST", "DELETE"] {
        for status in ["301 Moved", "302 Found", "307 Temporary Redirect", "308 Permanent"] {
            let call = Call::new(method, "secret/data/app").with("X-Status", status);
            let answer = client.send(&call).await;
            assert_eq!(answer.status.to_string(), status[..3], "{method}: {answer:?}");
            assert_eq!(answer.header("location"), Some(&*location));
        }
    }
    assert_eq!(elsewhere.accepted(), 0, "somebody connected to where the answer pointed");
}

#[tokio::test]
async fn an_unclean_path_gets_the_servers_own_redirect() {
    let world = crate::world::World::new(json!({})).await;
    world.put("app", "canary").await;
    let (through, direct) = (world.caller("root"), world.server());

    for target in ["/v1/secret//data/app", "/v1/secret/data/../data/app", "/v1/secret/./data/app"] {
        let call = Call::get("").target(target);
        let (answer, truth) = (through.send(&call).await, direct.send(&call).await);
        assert!(!answer.text().contains("canary"), "{target} was cleaned: {answer:?}");
        if answer.status != 400 {
            assert_eq!(answer.status, truth.status, "{target}");
            assert_eq!(answer.header("location"), truth.header("location"), "{target}");
        }
    }
}
