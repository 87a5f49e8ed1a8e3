//! A right is taken away where vaultlet does not see it: for how long is it still believed?
//!
//! Ten ways, each with a caller of its own for each trial. Half of the callers ask all the time, so
//! that what is known of them is renewed in the background at some point of the window; the others
//! are quiet until some moment of its last seventh, when nothing of them has been renewed. By default two
//! trials each at W = 1 s. `VAULTLET_REVOCATION_TRIALS=24` takes as many at W = 5 s, and prints the
//! histogram that docs/security.md shows.

mod ways;

use std::time::Duration;

use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use super::outages::reviewed;
use super::{Node, received};
use crate::client::Client;
use ways::{WAYS, Way};

/// How many trials run at once: so few that the machine is not what is measured.
const AT_ONCE: usize = 20;

/// One trial: somebody who may read, and how that ends.
pub struct Trial {
    pub caller: Client,
    pub path: String,
    pub value: String,
    /// Somebody with the same rights who keeps them, where there may be: what the one proves again
    /// and again must do the other no good.
    pub other: Option<Client>,
}

struct Plan {
    window: Duration,
    trials: usize,
}

impl Plan {
    fn new() -> Self {
        match std::env::var("VAULTLET_REVOCATION_TRIALS") {
            Ok(trials) => Self { window: Duration::from_secs(5), trials: trials.parse().unwrap() },
            Err(_) => Self { window: Duration::from_secs(1), trials: 2 },
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_taken_away_is_gone_within_the_window() {
    let Plan { window, trials } = Plan::new();
    let settings = json!({
        "policy": {"refresh": format!("{}ms", window.as_millis())},
        "cache": {"kv": {"ttl": "1h", "stale_if_error": "0s"}},
    });
    let (node, _home) = reviewed_with_mounts(settings, trials).await;
    let node = std::sync::Arc::new(node);
    ways::prepare(&node, trials).await;

    let mut waiting: Vec<(usize, usize)> =
        (0..trials).flat_map(|trial| (0..WAYS.len()).map(move |way| (way, trial))).collect();
    let (mut running, mut measured) = (JoinSet::new(), vec![Vec::new(); WAYS.len()]);
    while !waiting.is_empty() || !running.is_empty() {
        while running.len() < AT_ONCE && !waiting.is_empty() {
            let (way, trial) = waiting.remove(0);
            let node = std::sync::Arc::clone(&node);
            running.spawn(async move { (way, measure(&node, way, trial, window).await) });
        }
        let (way, took) = running.join_next().await.unwrap().unwrap();
        measured[way].push(took);
    }

    print(window, trials, &mut measured);
    let promise = window + Duration::from_secs(1);
    for (way, took) in WAYS.iter().zip(&measured) {
        let longest = took.iter().max().unwrap();
        assert!(*longest <= promise, "{}: {longest:?}, where {promise:?} is promised", way.name);
    }
}

/// With a mount for each trial that takes its mount away.
async fn reviewed_with_mounts(
    settings: serde_json::Value,
    trials: usize,
) -> (Node, tempfile::TempDir) {
    let rules: Vec<_> = (0..trials)
        .map(|trial| {
            json!({"namespace": format!("mount-{trial}"), "mount": format!("mount-{trial}")})
        })
        .collect();
    let mut settings = settings;
    settings["auth"] = json!({"kubernetes": {"login": {"rules": rules}}});
    reviewed(settings).await
}

/// How long after the right was taken away the last answer with the secret came.
async fn measure(node: &Node, way: usize, number: usize, window: Duration) -> Duration {
    let Way { name, begin, end } = &WAYS[way];
    let trial = begin(node, number).await;
    let call = || trial.caller.get(&trial.path);
    let began = Instant::now();
    loop {
        let answer = call().await;
        assert_eq!(answer.value().as_deref(), Some(&*trial.value), "{name}: {answer:?}");
        if answer.cache() == "HIT" {
            break;
        }
        assert!(began.elapsed() < Duration::from_secs(10), "{name}: never from the cache");
        sleep(Duration::from_millis(20)).await;
    }
    let mut others = JoinSet::new();
    if let Some(other) = trial.other.clone() {
        let path = trial.path.clone();
        others.spawn(async move {
            while other.get(&path).await.status == 200 {
                sleep(Duration::from_millis(40)).await;
            }
        });
    }
    let quiet = number % 2 == 1;
    if !quiet {
        // At whatever point of the window.
        let until = Instant::now() + window.mul_f64(fastrand::f64());
        while Instant::now() < until {
            assert_eq!(call().await.status, 200, "{name}");
            sleep(Duration::from_millis(50)).await;
        }
    }
    end(node, number).await;
    // The server's answer is here: from now on the promise counts.
    let gone = Instant::now();
    if quiet {
        // Whoever asks here first gets what was proven last, and has it asked about again.
        sleep_until(gone + window - window.mul_f64(0.15 * fastrand::f64())).await;
    }
    let mut last = Duration::ZERO;
    loop {
        let asked = gone.elapsed();
        let answer = call().await;
        if answer.status == 200 {
            last = asked;
            assert!(last < window * 3, "{name}: it is still answered");
        } else {
            answer.clone().expect_any(&[403]);
            assert!(!received(&answer).contains(&trial.value), "{name}");
            // It does not come back.
            for _ in 0..3 {
                sleep(Duration::from_millis(30)).await;
                assert_eq!(call().await.status, 403, "{name}");
            }
            assert!(others.try_join_next().is_none(), "{name}: the other was refused too");
            return last;
        }
        sleep(Duration::from_millis(25)).await;
    }
}

/// One line each: how many trials ended in which second.
fn print(window: Duration, trials: usize, measured: &mut [Vec<Duration>]) {
    println!("W = {window:?}, {trials} trials each; seconds until the last answer");
    let buckets = usize::try_from(window.as_secs()).unwrap() + 1;
    let head: Vec<_> = (1..=buckets).map(|second| format!("{second:>4}")).collect();
    println!("{:<28}{}  median  longest", "", head.join(""));
    for (way, took) in WAYS.iter().zip(measured) {
        took.sort_unstable();
        let mut counts = vec![0; buckets];
        for took in took.iter() {
            let second = usize::try_from(took.as_secs()).unwrap();
            counts[second.min(buckets - 1)] += 1;
        }
        let counts: Vec<_> = counts.iter().map(|count| format!("{count:>4}")).collect();
        let (median, longest) = (took[took.len() / 2], took.last().unwrap());
        println!(
            "{:<28}{}  {:>5.2}s  {:>6.2}s",
            way.name,
            counts.join(""),
            median.as_secs_f64(),
            longest.as_secs_f64()
        );
    }
}
