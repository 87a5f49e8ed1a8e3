//! Does vaultlet live within its memory, whatever is thrown at it, and do its neighbours notice?
//!
//! A neighbour reads a hot set at a steady rate. Meanwhile others ask for secrets that are not there,
//! come with thousands of tokens, and fetch bodies that are larger than all the memory there is.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};
use tokio::task::{JoinSet, spawn_local};
use tokio::time::{Instant, sleep};

use crate::caller::{Caller, request};
use crate::fault::{Effect, Toxic};
use crate::limit::Limit;
use crate::load::{self, Came, Source, Tally};
use crate::outage::World;
use crate::stand::Stand;
use crate::verdict::{Verdict, number, quantile};

/// The neighbour's reads, in a second.
const NEIGHBOUR: u32 = 200;

/// Secrets of the neighbour.
const HOT: u32 = 100;

/// Callers at once.
const CONNECTIONS: usize = 64;

/// Downloads at once.
const DOWNLOADS: usize = 4;

const GIB: u64 = 1 << 30;

/// Longest that an answer may take to begin, or to go on.
const LONGEST: Duration = Duration::from_secs(30);

/// Absent secrets, many identities and large bodies, under a limit of memory
#[derive(Clone, Debug, Args)]
#[command(
    after_help = "Example:\n  vaultlet-chaos flood --paths 1000000 --identities 10000 --downloads 8"
)]
pub(crate) struct Options {
    /// Secrets that are not there, each asked for once
    #[arg(long, default_value_t = 1_000_000)]
    pub(crate) paths: u64,
    /// Tokens, each shown once
    #[arg(long, default_value_t = 10_000)]
    pub(crate) identities: u64,
    /// Bodies of a GiB
    #[arg(long, default_value_t = 8)]
    pub(crate) downloads: u64,
    /// Memory that vaultlet may have, in MiB
    #[arg(long, default_value_t = 128, value_parser = clap::value_parser!(u64).range(16..))]
    pub(crate) limit: u64,
}

/// What the flood sends.
enum Wave {
    Absent { token: String, left: Cell<u64> },
    Identities(RefCell<Vec<String>>),
    Bodies { token: String, left: Cell<u64> },
}

pub(crate) async fn run(options: &Options) -> Result<Vec<Verdict>, String> {
    let mut stand = Stand::start(&settings(options)).await?;
    let limit = Limit::set(stand.vaultlet.pid().unwrap_or(0), options.limit << 20);
    let world = World::create(&mut stand, HOT, 0).await?;
    let intruder = stand.token("intruder", &["reader", "intruder"]).await?.token;
    let mut tokens = Vec::new();
    for n in 0..options.identities {
        // Another policy, though there is none of that name, makes another rights class.
        let name = format!("crowd-{n}");
        tokens.push(stand.token(&name, &["reader", &name]).await?.token);
    }
    let for_prefix = |prefix, effect| Toxic { prefix, ..Toxic::new(effect) };
    stand.injector.switch.set(vec![
        for_prefix("/v1/secret/data/absent/", Effect::Status(404)),
        for_prefix("/v1/secret/data/large/", Effect::Download { bytes: GIB }),
    ]);
    let pool = load::pool(&stand.vaultlet.url())?;
    let warm = world.warm(&pool).await;

    let (stop, calm) = (Rc::new(Cell::new(false)), Tally::new(false));
    let current = Rc::new(RefCell::new(calm.clone()));
    let neighbour = {
        let (stop, current, hot) = (stop.clone(), current.clone(), world.hot.clone());
        let next = move || (!stop.get()).then(|| hot[fastrand::usize(..hot.len())].clone());
        spawn_local(load::play(pool.clone(), NEIGHBOUR, move || current.borrow().clone(), next))
    };
    let watch = spawn_local(peak(stop.clone(), stand.vaultlet.pid().unwrap_or(0)));
    sleep(Duration::from_secs(5)).await;

    let mut verdict = Verdict::new("flood");
    verdict.at_least("share of the warmed hot set that hits", 0.99, warm);
    let waves = [
        (
            "absent",
            CONNECTIONS,
            Wave::Absent { token: intruder.clone(), left: Cell::new(options.paths) },
        ),
        ("identities", CONNECTIONS, Wave::Identities(RefCell::new(tokens))),
        ("bodies", DOWNLOADS, Wave::Bodies { token: intruder, left: Cell::new(options.downloads) }),
    ];
    let mut stormy = Vec::new();
    for (name, connections, wave) in waves {
        let tally = Tally::new(false);
        current.replace(tally.clone());
        let came = flood(stand.vaultlet.port(), connections, wave).await;
        verdict.figure(&format!("{name}_answers"), came);
        verdict.figure(&format!("{name}_resident_mib"), stand.vaultlet.resident() >> 20);
        stormy.push((name, tally));
    }
    stop.set(true);
    neighbour.await.map_err(|e| e.to_string())??;
    let peak = watch.await.map_err(|e| e.to_string())?;

    let before = quantile(&calm.latencies(), 0.99);
    verdict.figure("neighbour_p99_before_ms", before);
    for (name, tally) in &stormy {
        tally.settled().await;
        neighbour_is_well(&mut verdict, name, tally, before);
    }
    verdict.none("ends of the process", u64::from(stand.vaultlet.ended().is_some()));
    verdict.none("kills for want of memory", limit.kills());
    let allowed = number(options.limit) * 0.95;
    verdict.at_most(
        "resident memory, MiB",
        allowed,
        number(limit.peak().unwrap_or(0).max(peak) >> 20),
    );
    verdict.figure("limit", limit.how());
    verdict.figure("resident_peak_mib", peak >> 20);
    verdict.figure("downloads_begun", stand.injector.switch.fired("download"));
    if options.downloads > 0 {
        verdict.some("bodies of a GiB that were sent", stand.injector.switch.fired("download"));
    }
    verdict.at_least(
        "secrets that are not there, upstream",
        number(options.paths) * 0.5,
        number(stand.injector.switch.fired("status")),
    );
    verdict.print();
    Ok(vec![verdict])
}

/// Half of the limit is for answers. The intruder is kept by no other bound: what is to be seen is
/// memory, and with the usual ones most of its requests would not get that far.
fn settings(options: &Options) -> Value {
    json!({
        "cache": {"max_bytes": format!("{}MiB", options.limit / 4), "kv": {"negative_ttl": "60s"}},
        "auth": {"limits": {"misses_per_second": 1_000_000, "in_flight": 1000, "entries": 1_000_000}},
    })
}

fn neighbour_is_well(verdict: &mut Verdict, name: &str, tally: &Tally, before: f64) {
    let hits = number(tally.hits()) / number(tally.all().max(1));
    verdict.at_least(&format!("share of the neighbour's reads that hit, {name}"), 0.95, hits);
    verdict.none(&format!("neighbour's reads that failed, {name}"), tally.failed());
    let p99 = quantile(&tally.latencies(), 0.99);
    verdict.at_most(
        &format!("neighbour's p99, as a multiple of before, {name}"),
        2.0,
        p99 / before,
    );
    verdict.figure(&format!("neighbour_p99_{name}_ms"), p99);
    let missed = tally.count(|came| matches!(came, Came::Right(Source::Miss)));
    verdict.figure(&format!("neighbour_misses_{name}"), missed);
}

/// Until the wave is over; how many were answered with what.
async fn flood(port: u16, connections: usize, wave: Wave) -> Value {
    let wave = Rc::new(wave);
    let came = Rc::new(RefCell::new(std::collections::BTreeMap::<String, u64>::new()));
    let began = Instant::now();
    let mut tasks = JoinSet::new();
    for _ in 0..connections {
        let (wave, came) = (wave.clone(), came.clone());
        tasks.spawn_local(async move {
            let mut connection = None;
            while let Some(request) = wave.next() {
                let opened = match connection.take() {
                    Some(caller) => Ok(caller),
                    None => Caller::connect(port).await,
                };
                let what = match opened {
                    Ok(mut caller) => {
                        let whole = caller.send_and_skip(&request, LONGEST).await;
                        match whole {
                            Ok((status, again)) => {
                                connection = again.then_some(caller);
                                status.to_string()
                            }
                            Err(_) => "broken off".to_owned(),
                        }
                    }
                    Err(_) => "no connection".to_owned(),
                };
                *came.borrow_mut().entry(what).or_default() += 1;
            }
        });
    }
    while tasks.join_next().await.is_some() {}
    let mut came = json!(&*came.borrow());
    came["seconds"] = began.elapsed().as_secs_f64().into();
    came
}

impl Wave {
    fn next(&self) -> Option<Vec<u8>> {
        let get = |target: &str, token: &str| request("GET", target, Some(token), b"");
        match self {
            Self::Absent { token, left } => {
                left.set(left.get().checked_sub(1)?);
                Some(get(&format!("/v1/secret/data/absent/{}", left.get()), token))
            }
            Self::Identities(tokens) => {
                let token = tokens.borrow_mut().pop()?;
                Some(get("/v1/secret/data/hot/0", &token))
            }
            Self::Bodies { token, left } => {
                left.set(left.get().checked_sub(1)?);
                Some(get(&format!("/v1/secret/data/large/{}", left.get()), token))
            }
        }
    }
}

/// The most memory that was seen held.
async fn peak(stop: Rc<Cell<bool>>, pid: u32) -> u64 {
    let mut most = 0;
    while !stop.get() {
        most = most.max(vaultlet_loadtest::resident(pid).unwrap_or(0));
        sleep(Duration::from_millis(50)).await;
    }
    most
}
