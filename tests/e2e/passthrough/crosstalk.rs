//! Does each caller get its own answer, whatever the others break off?

use std::time::Duration;

use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::world::World;

const KEYS: usize = 40;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cancelled_callers_never_mix_up_the_answers_of_others() {
    // Odd keys are cached, even ones pass through: both roads are tried.
    let rules = json!({"cache": {"rules": [{"path": "secret/data/even/*", "cache": false}]}});
    let world = World::new(rules).await;
    for key in 0..KEYS {
        world.put(&name(key), &format!("nonce {key}")).await;
    }
    let token = world.token(&["reader"]).await;
    let mut callers = JoinSet::new();
    for number in 0..24 {
        let (client, address) = (world.caller(&token), world.vaultlet.address().to_owned());
        let token = token.clone();
        callers.spawn(async move {
            let mut answered = 0;
            for round in 0..250_usize {
                let key = (number * 7 + round * 13) % KEYS;
                let path = format!("secret/data/{}", name(key));
                match (number + round) % 10 {
                    // Given up after a moment: the connection breaks somewhere in the exchange.
                    0 => {
                        let moment = Duration::from_micros(200 * (round as u64 % 12));
                        let _ = timeout(moment, client.get(&path)).await;
                    }
                    1 => break_off(&address, &path, &token, round).await,
                    _ => {
                        let answer = client.get(&path).await;
                        let expected = format!("nonce {key}");
                        assert_eq!(answer.value(), Some(expected), "{path}: {answer:?}");
                        answered += 1;
                    }
                }
            }
            answered
        });
    }

    let answered: usize = callers.join_all().await.into_iter().sum();
    assert!(answered > 4000, "only {answered} answers were checked");
}

fn name(key: usize) -> String {
    format!("{}/{key}", if key.is_multiple_of(2) { "even" } else { "odd" })
}

/// Sends a part of a request, or two whole ones, and leaves.
async fn break_off(address: &str, path: &str, token: &str, round: usize) {
    let request = format!("GET /v1/{path} HTTP/1.1\r\nHost: a\r\nX-Vault-Token: {token}\r\n\r\n");
    let twice = request.repeat(2);
    let part = &twice.as_bytes()[..round * twice.len() / 250];
    let mut stream = TcpStream::connect(address).await.unwrap();
    let _ = stream.write_all(part).await;
}
