//! What can a caller or the configuration say about the cache?

use std::time::Duration;

use serde_json::json;
use tokio::time::sleep;

use crate::client::Call;
use crate::world::{World, fresh, hit, reads};

const PATH: &str = "secret/data/controlled";

/// Two callers of one class, the entry warm with `old`, and `new` written behind the back.
async fn changed_behind_the_back(
    settings: serde_json::Value,
) -> (World, [crate::client::Client; 2]) {
    let world = World::new(settings).await;
    world.put("controlled", "old").await;
    let callers = [world.caller_with(&["reader"]).await, world.caller_with(&["reader"]).await];
    callers[0].get(PATH).await.expect(200);
    callers[1].get(PATH).await.expect(200);
    world.put("controlled", "new").await;
    (world, callers)
}

#[tokio::test]
async fn no_cache_asks_the_upstream_and_refreshes_for_everyone() {
    let (_world, [first, second]) = changed_behind_the_back(json!({})).await;
    hit(&second, PATH, "old").await;

    fresh(&first.send(&Call::get(PATH).with("Cache-Control", "no-cache")).await, "new");
    hit(&second, PATH, "new").await;
}

#[tokio::test]
async fn vaults_own_cache_header_is_obeyed() {
    let (world, [first, second]) = changed_behind_the_back(json!({})).await;
    let say = |word: &str| Call::get(PATH).with("X-Vault-Cache-Control", word);

    hit(&second, &say("cache"), "old").await;
    fresh(&first.send(&say("nocache")).await, "new");
    fresh(&first.send(&say("recache")).await, "new");
    hit(&second, PATH, "new").await;
    hit(&second, &say("cache"), "new").await;
    drop(world);
}

#[tokio::test]
async fn a_rule_can_keep_paths_out_of_the_cache() {
    let rules = json!({"cache": {"rules": [{"path": "secret/data/contr*", "cache": false}]}});
    let (world, [first, second]) = changed_behind_the_back(rules).await;

    for caller in [&first, &second, &first] {
        fresh(&caller.get(PATH).await, "new");
    }
    world.put("other", "cached").await;
    first.get("secret/data/other").await;
    hit(&second, "secret/data/other", "cached").await;
}

#[tokio::test]
async fn the_first_rule_that_matches_gives_the_lifetime() {
    let rules = json!({"cache": {"rules": [
        {"path": "secret/data/+", "ttl": "1s"},
        {"path": "secret/data/*", "ttl": "1h"},
    ]}});
    let (_world, [first, _]) = changed_behind_the_back(rules).await;

    sleep(Duration::from_millis(1300)).await;
    reads(&first.get(PATH).await, "new");
}

#[tokio::test]
async fn an_entry_lives_as_long_as_configured_and_no_longer() {
    let ttl = json!({"cache": {"kv": {"ttl": "2s", "refresh_ahead": 1.0}}});
    let (_world, [first, second]) = changed_behind_the_back(ttl).await;
    hit(&first, PATH, "old").await;

    sleep(Duration::from_millis(2200)).await;
    fresh(&first.get(PATH).await, "new");
    hit(&second, PATH, "new").await;
}

#[tokio::test]
async fn vault_tokens_can_be_kept_out_of_the_cache() {
    let off = json!({"auth": {"vault_tokens": false}});
    let (_world, [first, second]) = changed_behind_the_back(off).await;

    for caller in [&first, &second, &first] {
        fresh(&caller.get(PATH).await, "new");
    }
}
