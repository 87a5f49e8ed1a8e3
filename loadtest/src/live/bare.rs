//! How is the bare server started, and what does it answer?

use std::process::Command;
use std::rc::Rc;

use hyper::Request;
use hyper::body::Bytes;
use rustix::process::Signal;
use tokio::time::{Duration, Instant, sleep};

use super::edge::Edge;
use super::server::Spec;
use super::{Ground, Kind, Live, PATIENCE, ground};
use crate::scenario::{Deployment, Wanted};
use crate::schedule::Secret;
use crate::stage::{Answer, Stage as _};

/// hyper alone, which gives `answer` to everything.
pub(super) fn spec(ground: &Ground, edge: &Edge, answer: &[u8]) -> Result<Spec, String> {
    let home = ground::directory()?;
    let at = edge.place()?;
    let file = home.path().join("answer");
    std::fs::write(&file, answer).map_err(|e| format!("{}: {e}", file.display()))?;
    let program = ground.places().bare.clone().unwrap_or_else(|| "bare".into());
    let place = edge.bare(&at);
    let command = Box::new(move || {
        let mut command = Command::new(&program);
        command.arg("--answer").arg(&file).args(&place);
        command.env_clear();
        command
    });
    Ok(Spec { name: "bare", command, at, home, ending: Signal::KILL, kept: None })
}

/// A read that vaultlet has answered from memory, head and body: what `bare` is to answer too.
pub(super) async fn answer(ground: &Rc<Ground>) -> Result<Vec<u8>, String> {
    let vaultlet = Box::pin(Live::start(Kind::Vaultlet, ground)).await?;
    let cluster = ground.cluster();
    let reads = |of: &Deployment| {
        of.reads.iter().find_map(|reads| match reads.of {
            Wanted::Secrets(set) => Some(set),
            Wanted::Role(_) => None,
        })
    };
    let deployments = &ground.scenario().world.deployments;
    let read = cluster.pods.iter().zip(0..).find_map(|(pod, number)| {
        reads(&deployments[pod.deployment]).map(|set| (pod, number, set))
    });
    let (pod, number, set) =
        read.ok_or("nobody reads a secret, so there is nothing for `bare` to answer")?;
    let target = format!("/v1/{}", cluster.secret_path(Secret { set, index: 0 }));
    let began = Instant::now();
    loop {
        let request = Request::get(&target)
            .header("x-vault-token", ground.pass(number).as_str())
            .body(Bytes::new())
            .map_err(|e| e.to_string())?;
        let answer = vaultlet.send(pod.node, request).await;
        match answer {
            Ok(answer) if answer.headers.get("x-cache").is_some_and(|it| it == "HIT") => {
                return Ok(wire(&answer));
            }
            Ok(answer) if began.elapsed() > PATIENCE => {
                return Err(format!(
                    "vaultlet's answer, which `bare` is to give, is not one from memory after \
                     {PATIENCE:?}, but {}",
                    answer.status
                ));
            }
            Err(failure) if began.elapsed() > PATIENCE => {
                return Err(format!("vaultlet does not answer: {failure:?}"));
            }
            _ => sleep(Duration::from_millis(50)).await,
        }
    }
}

/// As it came, or nearly: hyper writes its names in lower case, on both sides.
fn wire(answer: &Answer) -> Vec<u8> {
    let mut wire = b"HTTP/1.1 200 OK\r\n".to_vec();
    for (name, value) in &answer.headers {
        wire.extend_from_slice(name.as_str().as_bytes());
        wire.extend_from_slice(b": ");
        wire.extend_from_slice(value.as_bytes());
        wire.extend_from_slice(b"\r\n");
    }
    wire.extend_from_slice(b"\r\n");
    wire.extend_from_slice(&answer.body);
    wire
}
