//! Those who write: one for each group, so that what happens to a secret has an order.

use std::rc::Rc;
use std::time::Duration;

use serde_json::Value;
use tokio::time::timeout;
use vaultlet_loadtest::{Api, Ask};

use super::play::{self, Play, SECRETS};
use super::record::{Path, Rank};
use crate::caller::{Caller, request};

/// Longest that anybody waits.
const LONGEST: Duration = Duration::from_secs(12);

const PAUSE: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(250));

/// How a change came out.
enum Outcome {
    /// With the version that was made.
    Done(Option<u64>),
    /// It may have happened.
    Unknown,
}

/// Writes and deletes the secrets of a group, through vaultlet and past it.
pub(super) async fn write(play: Rc<Play>, group: u8, mut api: Api) {
    let mut connection = None;
    while !play.over() {
        play.pause(PAUSE.0, PAUSE.1).await;
        let path = Path { group, number: fastrand::u8(..SECRETS) };
        let known = play.versions.borrow().get(&path).copied();
        let began = play.now();
        let through = fastrand::u8(..10) < 6;
        // Which version a deletion deletes is known only of one that was seen being made.
        let deletes = known.filter(|_| fastrand::u8(..10) < 2);
        let outcome = match (through, deletes) {
            (true, None) => ask(&play, &mut connection, "POST", path).await,
            (true, Some(_)) => ask(&play, &mut connection, "DELETE", path).await,
            (false, None) => match play::write(&mut api, path).await {
                Ok(version) => Outcome::Done(Some(version)),
                Err(_) => Outcome::Unknown,
            },
            (false, Some(_)) => {
                let delete = Ask::delete(format!("secret/data/{}", path.name()));
                match api.ask(&delete).await {
                    Ok(_) => Outcome::Done(None),
                    Err(_) => Outcome::Unknown,
                }
            }
        };
        match (outcome, deletes) {
            (Outcome::Done(Some(version)), None) => {
                play.wrote(path, began, Rank::there(version), through);
                play.versions.borrow_mut().insert(path, version);
                play.saw(if through { "wrote through vaultlet" } else { "wrote elsewhere" });
            }
            (Outcome::Done(_), Some(version)) => {
                play.wrote(path, began, Rank::deleted(version), through);
                // It is written again before it is deleted again.
                play.versions.borrow_mut().remove(&path);
                play.saw("deleted");
            }
            _ => drop(play.versions.borrow_mut().remove(&path)),
        }
    }
}

async fn ask(play: &Play, connection: &mut Option<Caller>, method: &str, path: Path) -> Outcome {
    let body = match method {
        "POST" => play::value(path).to_string(),
        _ => String::new(),
    };
    let target = format!("/v1/secret/data/{}", path.name());
    let sent = request(method, &target, Some(&play.writer.token), body.as_bytes());
    let exchange = async {
        let mut caller = match connection.take() {
            Some(caller) => caller,
            None => Caller::connect(play.port).await?,
        };
        let answer = caller.send(&sent).await?;
        Ok::<_, std::io::Error>((caller, answer))
    };
    let Ok(Ok((caller, answer))) = timeout(LONGEST, exchange).await else {
        return Outcome::Unknown;
    };
    if !answer.head.closes() {
        *connection = Some(caller);
    }
    let said: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    match answer.head.status() {
        // A page with 200 is no answer of a server that has written anything.
        200 => match said["data"]["version"].as_u64() {
            Some(version) => Outcome::Done(Some(version)),
            None => Outcome::Unknown,
        },
        204 => Outcome::Done(None),
        _ => Outcome::Unknown,
    }
}
