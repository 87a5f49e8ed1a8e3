//! Does a process that is told to end answer everything that it has accepted?

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use clap::Args;
use serde_json::json;
use tokio::task::{JoinSet, spawn_local};
use tokio::time::{Instant, sleep, timeout};

use crate::caller::{Caller, request};
use crate::load;
use crate::outage::World;
use crate::stand::{Stand, Token};
use crate::verdict::{Verdict, number};

const HOT: u32 = 100;

/// Longest that an answer may take.
const LONGEST: Duration = Duration::from_secs(15);

/// SIGTERM under load: everything that was accepted is answered, and the process ends well
#[derive(Clone, Debug, Args)]
#[command(after_help = "Example:\n  vaultlet-chaos term --rate 5000 --connections 50 --times 5")]
pub(crate) struct Options {
    /// Requests a second, together
    #[arg(long, default_value_t = 5000, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) rate: u32,
    /// That are kept open
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) connections: u32,
    /// Seconds of load before the signal
    #[arg(long, default_value_t = 5)]
    pub(crate) seconds: u64,
    /// How often a process is started and told to end
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) times: u32,
}

/// What all connections share.
#[derive(Default)]
struct Seen {
    answered: Cell<u64>,
    refused: RefCell<std::collections::BTreeMap<u16, u64>>,
    /// The request was sent on a connection that was open, and no answer came.
    broken: Cell<u64>,
    /// The connection was closed by an answer that said so, or while nothing was asked.
    closed: Cell<u64>,
    told: Cell<bool>,
    answered_after: Cell<u64>,
}

pub(crate) async fn run(options: &Options) -> Result<Vec<Verdict>, String> {
    let mut verdicts = Vec::new();
    for _ in 0..options.times {
        let verdict = one(options).await?;
        verdict.print();
        verdicts.push(verdict);
    }
    Ok(verdicts)
}

async fn one(options: &Options) -> Result<Verdict, String> {
    let mut stand = Stand::start(&json!({})).await?;
    let world = World::create(&mut stand, HOT, 0).await?;
    let token = stand.token("caller", &["reader"]).await?;
    world.warm(&*load::pool(&stand.vaultlet.url())?).await;
    let seen = Rc::new(Seen::default());
    let gap = Duration::from_secs(1) * options.connections / options.rate;
    let mut callers = JoinSet::new();
    for _ in 0..options.connections {
        callers.spawn_local(call(stand.vaultlet.port(), token.clone(), gap, seen.clone()));
    }
    // New connections come all the time, and are refused once nobody listens.
    let newcomers = spawn_local(newcomers(stand.vaultlet.port(), token, seen.clone()));
    sleep(Duration::from_secs(options.seconds)).await;
    seen.told.set(true);
    let told = Instant::now();
    stand.vaultlet.terminate();
    let ended = stand.vaultlet.end().await;
    let took = told.elapsed();
    while callers.join_next().await.is_some() {}
    newcomers.await.map_err(|e| e.to_string())?;

    let mut verdict = Verdict::new("term");
    let wanted = u64::from(options.rate) * options.seconds;
    verdict.at_least("requests answered", number(wanted) * 0.9, number(seen.answered.get()));
    verdict.none("answers that were not 2xx", seen.refused.borrow().values().sum());
    verdict.none("requests on open connections without an answer", seen.broken.get());
    let well = ended.as_ref().is_some_and(|how| how.contains("exit status: 0"));
    verdict.some("ends with exit code 0", u64::from(well));
    verdict.figure("ended", ended.unwrap_or_else(|| "not at all".to_owned()));
    verdict.figure("seconds_until_it_ended", took.as_secs_f64());
    verdict.figure("answered_after_the_signal", seen.answered_after.get());
    verdict.figure("connections_closed_in_order", seen.closed.get());
    verdict.figure("refused", json!(&*seen.refused.borrow()));
    Ok(verdict)
}

/// Asks on one connection until that is closed.
async fn call(port: u16, token: Token, gap: Duration, seen: Rc<Seen>) {
    let Ok(mut caller) = Caller::connect(port).await else { return };
    loop {
        sleep(gap.mul_f64(fastrand::f64() * 2.0)).await;
        if !once(&mut caller, &token, &seen).await {
            break;
        }
    }
}

/// Connects anew for each request until nobody listens.
async fn newcomers(port: u16, token: Token, seen: Rc<Seen>) {
    while let Ok(mut caller) = Caller::connect(port).await {
        once(&mut caller, &token, &seen).await;
        sleep(Duration::from_millis(5)).await;
    }
}

/// Whether the connection may be used again.
async fn once(caller: &mut Caller, token: &Token, seen: &Seen) -> bool {
    // One that was closed before anything was asked of it has broken no promise.
    if caller.is_closed() {
        seen.closed.set(seen.closed.get() + 1);
        return false;
    }
    let target = format!("/v1/secret/data/hot/{}", fastrand::u32(..HOT));
    let sent = request("GET", &target, Some(&token.token), b"");
    let Ok(Ok(answer)) = timeout(LONGEST, caller.send(&sent)).await else {
        seen.broken.set(seen.broken.get() + 1);
        return false;
    };
    match answer.head.status() {
        200..300 => {
            seen.answered.set(seen.answered.get() + 1);
            if seen.told.get() {
                seen.answered_after.set(seen.answered_after.get() + 1);
            }
        }
        status => *seen.refused.borrow_mut().entry(status).or_default() += 1,
    }
    if answer.head.closes() {
        seen.closed.set(seen.closed.get() + 1);
        return false;
    }
    true
}
