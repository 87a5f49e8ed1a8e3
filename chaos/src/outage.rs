//! Do cached reads go on while the upstream does not, and is all well soon after?
//!
//! A hot set is read at a steady rate, and secrets that nobody has read before at a slow one, while
//! the upstream fails for a while and is well again.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use clap::{Args, ValueEnum as _};
use serde_json::{Value, json};
use tokio::task::spawn_local;
use tokio::time::{Instant, sleep};
use vaultlet_loadtest::{Ask as Told, Pool};

use crate::fault::Named;
use crate::load::{self, Ask, Came, Source, Tally, Went};
use crate::stand::{Stand, Token};
use crate::verdict::{Verdict, number, quantile};

/// Identities that share the hot set.
const TOKENS: usize = 20;

/// First reads of secrets, in a second.
const COLD_RATE: u32 = 20;

/// How long load goes on before the fault.
const BEFORE: Duration = Duration::from_secs(3);

/// Longest until full service, once the fault is over.
const RECOVERY: Duration = Duration::from_secs(10);

/// Load goes on for so long behind that.
const AFTER: Duration = Duration::from_secs(2);

/// Longest that a read may take that cannot be answered from memory.
const DEADLINE: Duration = Duration::from_secs(10);

/// The same, once the breaker is open, and when it has to be: the longest that a connection whose
/// peer has vanished may go unnoticed.
const OPEN: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// Read a hot set while the upstream fails, and for a while after
#[derive(Clone, Debug, Args)]
#[command(
    after_help = "Example:\n  vaultlet-chaos outage --fault black-hole --rate 5000 --seconds 60"
)]
pub(crate) struct Options {
    /// What fails; `all` of them in turn, or some, with commas between
    #[arg(long, value_delimiter = ',', value_parser = faults, default_value = "all")]
    pub(crate) fault: Vec<Choice>,
    /// Cached reads a second
    #[arg(long, default_value_t = 5000, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) rate: u32,
    /// How long it fails
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) seconds: u64,
    /// Secrets in the hot set
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) hot: u32,
    /// Requests a second that the upstream may see while all is made fresh again
    #[arg(long, default_value_t = 200)]
    pub(crate) bucket: u32,
}

/// One fault, or those that are demanded.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Choice {
    All,
    One(Named),
}

/// Those whose figures are demanded.
const DEMANDED: [Named; 10] = [
    Named::Refused,
    Named::BlackHole,
    Named::Reset,
    Named::Sealed,
    Named::Internal,
    Named::Unavailable,
    Named::Limited,
    Named::Garbage,
    Named::Truncated,
    Named::Slow,
];

fn faults(name: &str) -> Result<Choice, String> {
    if name == "all" {
        return Ok(Choice::All);
    }
    Named::from_str(name, false).map(Choice::One).map_err(|_| {
        let names = Named::value_variants().iter().filter_map(clap::ValueEnum::to_possible_value);
        let names: Vec<String> = names.map(|value| value.get_name().to_owned()).collect();
        format!("no such fault; there are all, {}", names.join(", "))
    })
}

pub(crate) async fn run(options: &Options) -> Result<Vec<Verdict>, String> {
    let faults = options.fault.iter().flat_map(|choice| match choice {
        Choice::All => DEMANDED.to_vec(),
        Choice::One(named) => vec![*named],
    });
    let mut verdicts = Vec::new();
    for fault in faults {
        let verdict = one(fault, options).await?;
        verdict.print();
        verdicts.push(verdict);
    }
    Ok(verdicts)
}

/// What the load has seen, before, during and after the fault.
struct Seen {
    before: Rc<Tally>,
    during: Rc<Tally>,
    after: Rc<Tally>,
    cold: Rc<Tally>,
    began: Instant,
    over: Instant,
    /// Of the injector's: the first whole one of the fault, and of what comes behind it.
    seconds: [usize; 2],
}

async fn one(fault: Named, options: &Options) -> Result<Verdict, String> {
    let name = fault.to_possible_value().map(|it| it.get_name().to_owned()).unwrap_or_default();
    let mut stand = Stand::start(&settings()).await?;
    let lasting = Duration::from_secs(options.seconds);
    let cold = COLD_RATE * seconds(BEFORE + lasting + RECOVERY + AFTER) + COLD_RATE;
    let world = World::create(&mut stand, options.hot, cold).await?;
    let pool = load::pool(&stand.vaultlet.url())?;
    let warm = world.warm(&pool).await;
    let seen = play(&mut stand, &world, &pool, fault, options).await?;
    let mut verdict = Verdict::new(format!("outage {name}"));
    verdict.at_least("share of the warmed hot set that hits", 0.99, warm);
    judge(&mut verdict, &seen, options);
    let rate = stand.injector.switch.seconds();
    let [fault_began, fault_over] = seen.seconds.map(|second| second.min(rate.len()));
    let peak = rate[fault_over..].iter().max().copied().unwrap_or(0);
    let failing = rate[fault_began..fault_over].iter().max().copied().unwrap_or(0);
    verdict.figure("requests_upstream_in_one_second_of_the_fault", failing);
    let allowed = f64::from(options.bucket + COLD_RATE);
    verdict.at_most("requests upstream in one second of recovery", allowed, f64::from(peak));
    if fault != Named::Sealed {
        let fired = stand.injector.switch.all_fired().values().sum();
        verdict.some("times that the fault was felt", fired);
        verdict.figure("fired", json!(stand.injector.switch.all_fired()));
    }
    if let Some(how) = stand.vaultlet.ended() {
        verdict.none(&format!("vaultlet {how}"), 1);
    }
    Ok(verdict)
}

/// Entries and logins lapse several times within the fault, so that it is not outlived by chance.
fn settings() -> Value {
    json!({
        "policy": {"refresh": "10s"},
        "cache": {"kv": {"ttl": "10s", "stale_if_error": "1h", "stale_if_sealed": "1h"}},
    })
}

/// Secrets, and who may read them.
pub(crate) struct World {
    pub(crate) hot: Vec<Ask>,
    cold: RefCell<std::vec::IntoIter<Ask>>,
}

impl World {
    pub(crate) async fn create(stand: &mut Stand, hot: u32, cold: u32) -> Result<Self, String> {
        stand.policy("reader", "path \"secret/data/*\" { capabilities = [\"read\"] }").await?;
        let mut tokens: Vec<Token> = Vec::new();
        for n in 0..TOKENS {
            tokens.push(stand.token(&format!("reader-{n}"), &["reader"]).await?);
        }
        let mut asks = [Vec::new(), Vec::new()];
        for (asks, (kind, count)) in asks.iter_mut().zip([("hot", hot), ("cold", cold)]) {
            for n in 0..count {
                let path = format!("{kind}/{n}");
                stand.put(&path).await?;
                asks.push(Ask::secret(&path, &tokens[n as usize % TOKENS]));
            }
        }
        let [first, cold] = asks;
        // Everybody reads everything: one copy for all of one rights class.
        let others = (0..hot)
            .map(|n| Ask::secret(&format!("hot/{n}"), &tokens[(n as usize * 7 + 3) % TOKENS]));
        let hot = first.into_iter().chain(others).collect();
        Ok(Self { hot, cold: RefCell::new(cold.into_iter()) })
    }

    /// Reads the hot set, and again; the share that hits then.
    pub(crate) async fn warm(&self, pool: &Pool) -> f64 {
        for ask in &self.hot {
            load::send(pool, ask, Instant::now(), &Tally::new(false)).await;
        }
        let tally = Tally::new(false);
        for ask in &self.hot {
            load::send(pool, ask, Instant::now(), &tally).await;
        }
        number(tally.hits()) / number(tally.all())
    }
}

async fn play(
    stand: &mut Stand,
    world: &World,
    pool: &Rc<Pool>,
    fault: Named,
    options: &Options,
) -> Result<Seen, String> {
    let stop = Rc::new(Cell::new(false));
    let [before, during, after] = [(); 3].map(|()| Tally::new(false));
    let current = Rc::new(RefCell::new(before.clone()));
    let cold = Tally::new(true);
    let hot = {
        let (hot, stop, current) = (world.hot.clone(), stop.clone(), current.clone());
        let next = move || (!stop.get()).then(|| hot[fastrand::usize(..hot.len())].clone());
        let tally = move || current.borrow().clone();
        spawn_local(load::play(pool.clone(), options.rate, tally, next))
    };
    let first = {
        let (asks, stop) = (world.cold.take().collect::<Vec<_>>(), stop.clone());
        let mut asks = asks.into_iter();
        let next = move || asks.next().filter(|_| !stop.get());
        let cold = cold.clone();
        spawn_local(load::play(pool.clone(), COLD_RATE, move || cold.clone(), next))
    };
    sleep(BEFORE).await;

    let (began, began_at) = (Instant::now(), stand.injector.switch.second() + 1);
    current.replace(during.clone());
    match fault {
        Named::Sealed => stand.api.ask(&Told::write("sys/seal", json!({}))).await.map(drop)?,
        _ => stand.injector.switch.set(fault.toxics()),
    }
    sleep(Duration::from_secs(options.seconds)).await;
    match fault {
        Named::Sealed => stand.openbao.unseal().await?,
        _ => stand.injector.switch.clear(),
    }
    let over = Instant::now();
    current.replace(after.clone());
    // Behind the second in which it ended, all requests are those of the recovery.
    let seconds = [began_at, stand.injector.switch.second() + 1];
    sleep(RECOVERY + AFTER).await;
    stop.set(true);
    for task in [hot, first] {
        task.await.map_err(|e| e.to_string())??;
    }
    for tally in [&before, &during, &after, &cold] {
        tally.settled().await;
    }
    Ok(Seen { before, during, after, cold, began, over, seconds })
}

fn judge(verdict: &mut Verdict, seen: &Seen, options: &Options) {
    let Seen { before, during, after, cold, began, over, .. } = seen;
    let wanted = u64::from(options.rate) * options.seconds;
    verdict.at_least(
        "cached reads sent during the fault",
        number(wanted) * 0.99,
        number(during.all()),
    );
    let hot = [before, during, after];
    let wrong = |came| came == Came::Wrong;
    verdict.none("cached reads that failed", hot.iter().map(|tally| tally.failed()).sum());
    verdict.none(
        "wrong bodies",
        hot.iter().map(|tally| tally.count(wrong)).sum::<u64>() + cold.count(wrong),
    );
    verdict.at_most("p99 of cached reads, ms", 5.0, quantile(&during.latencies(), 0.99));

    let went = cold.went();
    let during_it = |went: &&Went| went.at >= *began && went.at < *over;
    let count = |of: &dyn Fn(&Went) -> bool| {
        went.iter().filter(during_it).filter(|went| of(went)).count() as u64
    };
    verdict.some("first reads during the fault", count(&|_| true));
    verdict.none(
        "first reads without an error in Vault's shape",
        count(&|went| matches!(went.came, Came::Nothing(_) | Came::Misshapen(_))),
    );
    verdict.none("first reads that took longer than 10 s", count(&|went| went.took > DEADLINE));
    let (most, opened) = (OPEN.0, *began + OPEN.1);
    let slow = |went: &Went| went.at >= opened && !went.came.good() && went.took > most;
    if over.saturating_duration_since(opened) > Duration::from_secs(1) {
        verdict.none("refused first reads over 100 ms, from 5 s on", count(&slow));
    }
    let longest = went.iter().filter(during_it).map(|went| went.took).max().unwrap_or_default();
    verdict.figure("first_reads_longest_ms", millis(longest));

    let after_it = went.iter().filter(|went| went.at >= *over && !went.came.good());
    let failed = after_it.map(|went| went.at + went.took).chain(after.last_failed()).max();
    let until = |moment: Option<Instant>| {
        moment.map_or(Duration::ZERO, |it| it.saturating_duration_since(*over)).as_secs_f64()
    };
    let some_good = went.iter().any(|went| went.at > *over + RECOVERY && went.came.good());
    verdict.some("first reads that succeed after the recovery", u64::from(some_good));
    verdict.at_most("seconds until full service", RECOVERY.as_secs_f64(), until(failed));
    let stale = after.last_stale().max(during.last_stale());
    verdict.figure("seconds_until_last_stale_answer", until(stale));
    let stale = during.count(|came| came == Came::Right(Source::Stale));
    verdict.figure("stale_during", stale);
    verdict.latencies("cached_before_ms", &before.latencies());
    verdict.latencies("cached_during_ms", &during.latencies());
    verdict.figure("cached_during", during.shown());
    verdict.figure("cached_after", after.shown());
    verdict.figure("first_reads", cold.shown());
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

fn seconds(duration: Duration) -> u32 {
    u32::try_from(duration.as_secs()).unwrap_or(u32::MAX)
}
