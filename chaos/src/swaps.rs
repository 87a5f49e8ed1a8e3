//! Does one process take the place of another without anybody noticing?
//!
//! All that is assumed of how it is done: a second `vaultlet serve` with the same configuration is
//! started while the first one runs, and the first one ends by itself.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use clap::Args;
use serde_json::json;
use tokio::task::spawn_local;
use tokio::time::{Instant, sleep};

use crate::load::{self, Tally};
use crate::outage::World;
use crate::stand::Stand;
use crate::verdict::{Verdict, number, quantile};

const HOT: u32 = 200;

/// Load goes on for so long between two.
const BETWEEN: Duration = Duration::from_secs(5);

/// What counts as right after one.
const RIGHT_AFTER: Duration = Duration::from_secs(1);

/// One process takes over from another, again and again, under load
#[derive(Clone, Debug, Args)]
#[command(after_help = "Example:\n  vaultlet-chaos swaps --swaps 12 --rate 5000")]
pub(crate) struct Options {
    /// How often
    #[arg(long, default_value_t = 12, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) swaps: u32,
    /// Requests a second
    #[arg(long, default_value_t = 5000, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) rate: u32,
}

pub(crate) async fn run(options: &Options) -> Result<Vec<Verdict>, String> {
    let settings = json!({"cache": {"kv": {"ttl": "60s"}}, "shutdown": {"drain": "10s"}});
    let mut stand = Stand::start(&settings).await?;
    let world = World::create(&mut stand, HOT, 0).await?;
    let pool = load::pool(&stand.vaultlet.url())?;
    let warm = world.warm(&pool).await;
    let (all, stop) = (Tally::new(false), Rc::new(Cell::new(false)));
    let current = Rc::new(RefCell::new(all.clone()));
    let (next, stopped) = (world.hot.clone(), stop.clone());
    let next = move || (!stopped.get()).then(|| next[fastrand::usize(..next.len())].clone());
    let tally = {
        let current = current.clone();
        move || current.borrow().clone()
    };
    let hot = spawn_local(load::play(pool.clone(), options.rate, tally, next));
    // Others are new: a connection of their own for each request.
    let strangers = spawn_local(strangers(stand.vaultlet.url(), world.hot.clone(), stop.clone()));

    let (mut done, mut problems, mut after) = (0_u32, Vec::new(), Vec::new());
    let mut longest = Duration::ZERO;
    for _ in 0..options.swaps {
        sleep(BETWEEN).await;
        let began = Instant::now();
        let right_after = Tally::new(false);
        let succeeded = stand.vaultlet.succeed().await;
        longest = longest.max(began.elapsed());
        if let Err(problem) = succeeded.and(stand.vaultlet.ready().await) {
            problems.push(problem);
            break;
        }
        done += 1;
        current.replace(right_after.clone());
        sleep(RIGHT_AFTER).await;
        current.replace(all.clone());
        after.push(right_after);
    }
    stop.set(true);
    hot.await.map_err(|e| e.to_string())??;
    let strange = strangers.await.map_err(|e| e.to_string())??;

    let mut verdict = Verdict::new("swaps");
    verdict.at_least("share of the warmed hot set that hits", 0.99, warm);
    verdict.at_least("hand-overs", f64::from(options.swaps), f64::from(done));
    let mut failed = all.failed() + strange.failed();
    let mut sent = all.all() + strange.all();
    let mut least = 1.0_f64;
    for tally in &after {
        tally.settled().await;
        failed += tally.failed();
        sent += tally.all();
        least = least.min(number(tally.hits()) / number(tally.all().max(1)));
    }
    all.settled().await;
    verdict.some("requests", sent);
    verdict.none("requests that failed", failed);
    verdict.at_least("share that hits right after one, the least", 0.99, least);
    verdict.at_most("seconds until the old process was gone", 30.0, longest.as_secs_f64());
    verdict.figure("requests", sent);
    verdict.figure("came", all.shown());
    verdict.figure("came_on_new_connections", strange.shown());
    verdict.figure("p99_ms", quantile(&all.latencies(), 0.99));
    if !problems.is_empty() {
        verdict.figure("problems", json!(problems));
    }
    verdict.print();
    Ok(vec![verdict])
}

async fn strangers(
    url: String,
    hot: Vec<load::Ask>,
    stop: Rc<Cell<bool>>,
) -> Result<Rc<Tally>, String> {
    let tally = Tally::new(false);
    while !stop.get() {
        let ask = &hot[fastrand::usize(..hot.len())];
        load::send(&*load::pool(&url)?, ask, Instant::now(), &tally).await;
        sleep(Duration::from_millis(5)).await;
    }
    Ok(tally)
}
