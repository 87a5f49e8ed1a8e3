//! Does anything grow, however long it goes on?
//!
//! Load with churn: most reads are of a hot set whose values change, some are of what was never
//! asked for, tokens come and go, connections too, and every half a minute something fails.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use clap::Args;
use fastrand::Rng;
use serde_json::{Value, json};
use tokio::task::spawn_local;
use tokio::time::{Instant, sleep};
use vaultlet_loadtest::{Api, Ask as Told};

use crate::fault::Named;
use crate::load::{self, Ask, Came, Tally};
use crate::outage::World;
use crate::stand::{Stand, Token, nonce};
use crate::verdict::{Verdict, number};

const HOT: u32 = 300;

/// Of ten requests, so many are of the hot set.
const OF_TEN: u8 = 9;

/// Between two faults.
const QUIET: Duration = Duration::from_secs(25);

const FAULT: Duration = Duration::from_secs(5);

/// In less than this, one fault is a large part of what is looked at: nothing is demanded then.
const ENOUGH: Duration = Duration::from_mins(10);

/// Between two looks at the process.
const LOOK: Duration = Duration::from_secs(2);

/// Load for a long time, with churn and faults: memory, descriptors and threads stay what they are
#[derive(Clone, Debug, Args)]
#[command(after_help = "Example:\n  vaultlet-chaos soak --minutes 30 --rate 1000")]
pub(crate) struct Options {
    #[arg(long, default_value_t = 30.0, value_parser = minutes)]
    pub(crate) minutes: f64,
    /// Requests a second
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) rate: u32,
    /// Of the draws; another one each time without it
    #[arg(long)]
    pub(crate) seed: Option<u64>,
}

fn minutes(text: &str) -> Result<f64, String> {
    let minutes = text.parse().ok().filter(|minutes| (0.5..=1440.0).contains(minutes));
    minutes.ok_or_else(|| "from half a minute to a day".to_owned())
}

/// What was seen of the process, at a moment.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Look {
    /// Since the first.
    at: f64,
    resident_mib: f64,
    descriptors: f64,
    threads: f64,
}

pub(crate) async fn run(options: &Options) -> Result<Vec<Verdict>, String> {
    let seed = options.seed.unwrap_or_else(|| fastrand::u64(..));
    fastrand::seed(seed);
    let mut stand = Stand::start(&settings()).await?;
    let world = World::create(&mut stand, HOT, 0).await?;
    let pool = load::pool(&stand.vaultlet.url())?;
    world.warm(&pool).await;
    let stop = Rc::new(Cell::new(false));
    let newcomer = Rc::new(RefCell::new(stand.token("newcomer", &["reader"]).await?));
    let [hot, cold, new] = [(); 3].map(|()| Tally::new(false));

    let steady = |rate: u32, tally: &Rc<Tally>, mut ask: Box<dyn FnMut() -> Ask>| {
        let (stop, tally) = (stop.clone(), tally.clone());
        let next = move || (!stop.get()).then(&mut ask);
        spawn_local(load::play(pool.clone(), rate, move || tally.clone(), next))
    };
    let of_hot = options.rate * u32::from(OF_TEN) / 10;
    let asks = world.hot.clone();
    let tasks = [
        steady(of_hot, &hot, Box::new(move || asks[fastrand::usize(..asks.len())].clone())),
        steady(
            (options.rate - of_hot).max(1),
            &cold,
            Box::new({
                let (newcomer, mut number) = (newcomer.clone(), 0_u64);
                move || {
                    number += 1;
                    Ask::secret(&format!("churn/{number}"), &newcomer.borrow())
                }
            }),
        ),
    ];
    let tokens = spawn_local(churn(stand.openbao.api(), newcomer, stop.clone()));
    let strangers =
        spawn_local(strangers(stand.vaultlet.url(), world.hot.clone(), new.clone(), stop.clone()));

    let lasting = Duration::from_secs_f64(options.minutes * 60.0);
    let looks = observe(&mut stand, lasting, seed).await?;
    stop.set(true);
    for task in tasks {
        task.await.map_err(|e| e.to_string())??;
    }
    strangers.await.map_err(|e| e.to_string())??;
    let changes = tokens.await.map_err(|e| e.to_string())??;
    for tally in [&hot, &cold, &new] {
        tally.settled().await;
    }

    let mut verdict = Verdict::new("soak");
    verdict.figure("seed", seed);
    verdict.figure("minutes", options.minutes);
    verdict.none("hot reads that failed", hot.failed() + new.failed());
    let wrong = |came| came == Came::Wrong;
    verdict.none("wrong bodies", hot.count(wrong) + cold.count(wrong) + new.count(wrong));
    let misshapen = |came| matches!(came, Came::Misshapen(_) | Came::Nothing(_));
    verdict.none("first reads without an error in Vault's shape", cold.count(misshapen));
    let least = number(u64::from(options.rate)) * lasting.as_secs_f64() * 0.98;
    verdict.at_least("requests", least, number(hot.all() + cold.all()));
    verdict.some("faults", stand.injector.switch.all_fired().values().sum());
    verdict.figure("fired", json!(stand.injector.switch.all_fired()));
    verdict.figure("changes", changes);
    verdict.figure("hot", hot.shown());
    verdict.figure("cold", cold.shown());
    verdict.figure("on_new_connections", new.shown());
    flat(&mut verdict, &looks, lasting >= ENOUGH);
    verdict.print();
    Ok(vec![verdict])
}

fn settings() -> Value {
    json!({
        "policy": {"refresh": "10s"},
        "cache": {"kv": {"ttl": "10s", "stale_if_error": "1h"}},
    })
}

/// Looks at the process, and lets something fail now and then.
async fn observe(stand: &mut Stand, lasting: Duration, seed: u64) -> Result<Vec<Look>, String> {
    let (began, mut looks) = (Instant::now(), Vec::new());
    let (mut next, mut failing, mut lots) = (QUIET, false, Rng::with_seed(seed));
    while began.elapsed() < lasting {
        sleep(LOOK).await;
        if let Some(how) = stand.vaultlet.ended() {
            return Err(format!("vaultlet {how}"));
        }
        let at = began.elapsed();
        if at > next {
            failing = !failing;
            next = at + if failing { FAULT } else { QUIET };
            let toxics = if failing { Named::draw(&mut lots).toxics() } else { vec![] };
            stand.injector.switch.set(toxics);
        }
        looks.push(Look {
            at: at.as_secs_f64(),
            resident_mib: number(stand.vaultlet.resident()) / 1024.0 / 1024.0,
            descriptors: number(stand.vaultlet.open("fd")),
            threads: number(stand.vaultlet.open("task")),
        });
    }
    stand.injector.switch.clear();
    Ok(looks)
}

/// A new token each second, the end of the one before, and new values for the hot set.
async fn churn(
    mut api: Api,
    newcomer: Rc<RefCell<Token>>,
    stop: Rc<Cell<bool>>,
) -> Result<u64, String> {
    let mut changes = 0;
    while !stop.get() {
        let path = format!("hot/{}", fastrand::u32(..HOT));
        let data = json!({"nonce": nonce(&path), "number": changes});
        api.ask(&Told::write(format!("secret/data/{path}"), json!({"data": data}))).await?;
        let body = json!({"policies": ["reader"], "no_parent": true});
        let made = api.ask(&Told::write("auth/token/create", body)).await?;
        let token = made["auth"]["client_token"].as_str().unwrap_or_default().to_owned();
        let old = newcomer.replace(Token { name: String::new(), token });
        sleep(Duration::from_millis(500)).await;
        let body = json!({"token": old.token});
        api.ask(&Told::write("auth/token/revoke-orphan", body)).await?;
        changes += 1;
        sleep(Duration::from_millis(500)).await;
    }
    Ok(changes)
}

/// Connects anew for each request.
async fn strangers(
    url: String,
    hot: Vec<Ask>,
    tally: Rc<Tally>,
    stop: Rc<Cell<bool>>,
) -> Result<(), String> {
    while !stop.get() {
        let ask = &hot[fastrand::usize(..hot.len())];
        load::send(&*load::pool(&url)?, ask, Instant::now(), &tally).await;
        sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

/// One of the figures of a look.
type Figure = fn(&Look) -> f64;

/// Growth between the second quarter of the time and the last, and the slope behind the first.
fn flat(verdict: &mut Verdict, looks: &[Look], demanded: bool) {
    let quarter = looks.len() / 4;
    if quarter == 0 {
        return verdict.none("looks that are too few", 1);
    }
    let behind = &looks[quarter..];
    let hours = (behind[behind.len() - 1].at - behind[0].at) / 3600.0;
    let of: [(&str, Figure, f64); 3] = [
        // The allocator gives pages back in steps; what is allowed on top of that is 1 MiB an hour.
        ("resident memory, MiB", |look| look.resident_mib, 2.0 + hours),
        ("descriptors", |look| look.descriptors, 16.0),
        ("threads", |look| look.threads, 0.0),
    ];
    for (name, value, allowed) in of {
        let grown =
            median(&looks[looks.len() - quarter..], value) - median(&behind[..quarter], value);
        if demanded {
            verdict.at_most(&format!("growth of {name}"), allowed, grown);
        }
        verdict.figure(&format!("{name}, slope an hour"), slope(behind, value) * 3600.0);
        verdict
            .figure(&format!("{name}, at the end"), median(&looks[looks.len() - quarter..], value));
    }
}

fn median(looks: &[Look], value: Figure) -> f64 {
    let mut values: Vec<f64> = looks.iter().map(value).collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

/// Of the line that fits best.
fn slope(looks: &[Look], value: Figure) -> f64 {
    let count = number(looks.len() as u64);
    let mean = |of: &dyn Fn(&Look) -> f64| looks.iter().map(of).sum::<f64>() / count;
    let (mean_at, mean_value) = (mean(&|look| look.at), mean(&|look| value(look)));
    let spread: f64 = looks.iter().map(|look| (look.at - mean_at).powi(2)).sum();
    let rise = looks.iter().map(|look| (look.at - mean_at) * (value(look) - mean_value));
    if spread > 0.0 { rise.sum::<f64>() / spread } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn looks(grows: f64) -> Vec<Look> {
        let look = |n: u32| {
            let at = f64::from(n) * 2.0;
            let wobble = f64::from(n % 3);
            Look {
                at,
                resident_mib: 50.0 + wobble + grows * at,
                descriptors: 20.0 + wobble,
                threads: 4.0,
            }
        };
        (0..900).map(look).collect()
    }

    #[test]
    fn what_grows_is_seen_and_what_wobbles_is_not() {
        let resident: Figure = |look| look.resident_mib;
        assert!(slope(&looks(0.0), resident).abs() < 1e-4);
        assert!((slope(&looks(0.01), resident) - 0.01).abs() < 1e-4);
        for (grows, met) in [(0.0, true), (0.01, false)] {
            let mut verdict = Verdict::new("test");

            flat(&mut verdict, &looks(grows), true);

            assert_eq!(verdict.met(), met);
        }
    }
}
