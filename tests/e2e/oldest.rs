//! Does the core of the cache hold with the oldest supported server too?

use serde_json::json;

use crate::bao::Bao;
use crate::cache::{lifetimes, sharing, writes};
use crate::world::World;

async fn world() -> World {
    let settings = json!({"cache": {"kv": {"negative_ttl": "60s", "ttl": "60s"}}});
    World::before(Bao::oldest().await, settings).await
}

#[tokio::test]
async fn callers_share_entries() {
    sharing::a_second_caller_hits(&world().await).await;
}

#[tokio::test]
async fn deleted_versions_are_remembered() {
    lifetimes::deleted_versions(&world().await).await;
}

#[tokio::test]
async fn writes_are_seen_at_once() {
    writes::every_write_is_seen(&world().await).await;
}
