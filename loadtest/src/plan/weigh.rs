//! How much memory does a vaultlet take for what it says that it holds, and how much CPU time for a
//! request that it passes on?
//!
//! One that is there reads five thousand secrets, and then a thousand tokens read one of them. How
//! much that is by its own count, a vaultlet in this process says that does the same.

use std::rc::Rc;
use std::time::Duration;

use hyper::Request;
use hyper::body::Bytes;

use super::book::{Book, Weights};
use super::calibrate::read;
use crate::cluster::Cluster;
use crate::drive::{self, Time};
use crate::live::{Ground, Kind, Live, Places};
use crate::model::{Held, Model};
use crate::signals::{Signals, unless_stopped};
use crate::stage::Stage;

const SCENARIO: &str = include_str!("weigh.yaml");

/// Weighs one.
///
/// # Errors
/// A server does not start, or refuses something.
pub(super) fn weigh(book: &Book, signals: &Signals) -> Result<Weights, String> {
    let scenario = read(SCENARIO)?;
    let cluster = Rc::new(Cluster::new(&scenario));
    let places = Places::find(&[Kind::Vaultlet], &scenario)?.unpinned();
    let (mut cpu, mut resident) = (Vec::new(), Vec::new());
    let weigh = async {
        let ground = Rc::new(Ground::lay(&scenario, &cluster, places).await?);
        let live = Live::start(Kind::Vaultlet, &ground).await?;
        for step in Step::ALL {
            step.take(&live, &cluster).await?;
            let gauges = live.gauges().await;
            let (used, bytes) = gauges.cpu.zip(gauges.resident).ok_or(
                "this system does not say what a process takes: give --costs a file that was \
                 measured elsewhere",
            )?;
            cpu.push(used);
            resident.push(super::count(bytes));
        }
        Ok(())
    };
    drive::runtime(Time::Real)?.block_on(signals.hold(unless_stopped(&signals.stop, weigh)))?;
    let held: Vec<Held> = drive::runtime(Time::Paused)?.block_on(async {
        let upstream = book.upstream(None, 1.0);
        let model = Model::start(&scenario, &cluster, true, upstream).await?;
        let mut held = Vec::new();
        for step in Step::ALL {
            step.take(&model, &cluster).await?;
            held.push(model.held());
        }
        Ok::<_, String>(held)
    })?;
    let ([idle, full, known], [_, held, last]) = (&resident[..], &held[..]) else {
        return Err("a step was left out".to_owned());
    };
    let secrets = cluster.secrets().count();
    let each = cpu[1].saturating_sub(cpu[0]).as_secs_f64() * 1e6 / super::count(secrets as u64);
    Ok(Weights {
        microseconds_for_a_miss: rounded(each),
        idle_bytes: *idle,
        bytes_for_a_cached_byte: rounded(((full - idle) / held.bytes).max(1.0)),
        bytes_for_an_identity: rounded((known - full) / (last.identities - held.identities))
            .max(0.0),
    })
}

/// More than that is not known of it.
fn rounded(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

/// What is done between two looks at the scales.
#[derive(Clone, Copy, Debug)]
enum Step {
    Nothing,
    Secrets,
    Tokens,
}

impl Step {
    const ALL: [Self; 3] = [Self::Nothing, Self::Secrets, Self::Tokens];

    async fn take<S: Stage>(self, stage: &S, cluster: &Cluster) -> Result<(), String> {
        let secrets = || cluster.secrets().map(|secret| cluster.secret_path(secret));
        let pods = 0..u32::try_from(cluster.pods.len()).unwrap_or(u32::MAX);
        match self {
            Self::Nothing => (),
            Self::Secrets => {
                for path in secrets() {
                    get(stage, 0, &path).await?;
                }
            }
            Self::Tokens => {
                let path = secrets().next().ok_or("the scenario has no secrets")?;
                for pod in pods {
                    get(stage, pod, &path).await?;
                }
            }
        }
        // What it counts of itself it counts once a second.
        tokio::time::sleep(Duration::from_secs(2)).await;
        Ok(())
    }
}

async fn get<S: Stage>(stage: &S, pod: u32, path: &str) -> Result<(), String> {
    let request = Request::get(format!("/v1/{path}"));
    let request = request.header("x-vault-token", stage.pass(pod).as_str()).body(Bytes::new());
    let answer = stage.send(0, request.map_err(|e| e.to_string())?).await;
    let answer = answer.map_err(|failure| format!("vaultlet did not answer: {failure:?}"))?;
    if answer.status.is_success() {
        return Ok(());
    }
    Err(format!("vaultlet answered {} while it was weighed", answer.status))
}
