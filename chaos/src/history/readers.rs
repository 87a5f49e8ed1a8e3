//! Those who read.

use std::rc::Rc;
use std::time::Duration;

use serde_json::Value;
use tokio::time::{sleep, timeout};

use super::play::{GROUPS, Play, READERS, SECRETS};
use super::record::{Path, Rank, Read, Told};
use crate::caller::{Answer, Caller};

/// Longest that anybody waits.
const LONGEST: Duration = Duration::from_secs(12);

/// Reads on one connection after another, with about so much time between two answers.
pub(super) async fn read(play: Rc<Play>, gap: Duration) {
    let mut connection = None;
    while !play.over() {
        play.pause(Duration::ZERO, gap * 2).await;
        let opened = match connection.take() {
            Some(caller) => Ok(caller),
            None => Caller::connect(play.port).await,
        };
        let Ok(mut caller) = opened else {
            // It is being started anew.
            sleep(Duration::from_millis(10)).await;
            continue;
        };
        let group = fastrand::u8(..GROUPS);
        let (reader, token) =
            play.readers.borrow()[usize::from(group)][fastrand::usize(..READERS)].clone();
        // Once in a while what is none of theirs.
        let group = if fastrand::u8(..20) == 0 { fastrand::u8(..GROUPS) } else { group };
        let path = Path { group, number: fastrand::u8(..SECRETS) };
        let target = format!("/v1/secret/data/{}", path.name());
        let (began, port) = (play.now(), caller.port);
        let answer = timeout(LONGEST, caller.get(&target, Some(&token.token))).await;
        let ended = play.now();
        let answer = answer.ok().and_then(Result::ok);
        let read = Read { reader, path, began, ended, told: Told::Lost, age: None, port };
        play.read(match &answer {
            Some(answer) => taken(&play, &read, answer),
            None => read,
        });
        connection = answer.filter(|answer| !answer.head.closes()).map(|_| caller);
    }
}

/// A read with what its answer says.
fn taken(play: &Play, read: &Read, answer: &Answer) -> Read {
    let said: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    let version = said["data"]["metadata"]["version"].as_u64();
    let status = answer.head.status();
    let told = match (status, version) {
        (200, Some(version)) => {
            let path = said["data"]["data"]["nonce"].as_str().unwrap_or_default();
            let path = path.trim_matches(['[', ']']).to_owned();
            Told::Value { path, rank: Rank::there(version) }
        }
        (200, None) => Told::Nonsense,
        (404, Some(version)) => Told::Deleted { rank: Rank::deleted(version) },
        _ => Told::Refused,
    };
    let cache = answer.head.header("cache-status").unwrap_or_default();
    for (mark, what) in [
        ("detail=stale", "stale"),
        ("fwd=stale", "revalidated"),
        ("fwd=miss", "miss"),
        ("; hit", "hit"),
    ] {
        if cache.contains(mark) {
            play.saw(what);
            break;
        }
    }
    match status {
        200 | 404 => {}
        403 => play.saw("denied"),
        500.. => play.saw("failed"),
        _ => play.saw("refused otherwise"),
    }
    let age = answer.head.header("age").and_then(|age| age.parse().ok()).map(Duration::from_secs);
    Read { told, age, ..read.clone() }
}
