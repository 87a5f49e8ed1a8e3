//! What do callers notice while the upstream is gone, stuck, sealed, failing or not itself?

mod addresses;
mod breaker;
mod garbage;
mod gone;
mod herd;
mod load;
mod rights;
mod slow;
mod standbys;

use serde_json::{Value, json};

use crate::client::{Answer, Client};
use crate::vaultlet::merge;

/// Short lifetimes, so that what is stale now was fresh a second ago.
fn short_lived(more: Value) -> Value {
    let mut settings = json!({
        "upstream": {"timeout": "3s", "connect_timeout": "1s"},
        "cache": {"kv": {"ttl": "1s", "negative_ttl": "1s"}},
    });
    merge(&mut settings, more);
    settings
}

/// Reads twice: the second answer must be a hit, so that the caller's right is proven.
async fn warm(caller: &Client, path: &str, value: &str) {
    crate::world::reads(&caller.get(path).await, value);
    crate::world::hit(caller, path, value).await;
}

/// Fails the test unless this is the old value, and says why it still is.
#[track_caller]
fn stale(answer: &Answer, value: &str) {
    crate::world::is_hit(answer, value);
    assert_eq!(
        answer.header("cache-status"),
        Some("vaultlet; hit; detail=stale-if-error"),
        "{answer:?}"
    );
}
