use std::time::Duration;

use serde_json::{Value, json};

use crate::stage::Failure;
use theatre::{Asked, Theatre, played, played_until};

mod omission;
mod theatre;

const MS: Duration = Duration::from_millis(1);

/// What a Vault would say, quickly.
fn vault(asked: &Asked) -> (Duration, Result<(u16, Value), Failure>) {
    let body = match asked.path.as_str() {
        "/v1/auth/kubernetes/login" => {
            json!({"auth": {"client_token": "login", "lease_duration": 60, "renewable": true}})
        }
        "/v1/auth/token/renew-self" => {
            // Of a longest life of 100 s.
            let left = 100 - asked.at.as_secs() % 100;
            json!({"auth": {"client_token": "login", "lease_duration": left.min(60)}})
        }
        "/v1/database/creds/app" | "/v1/sys/leases/renew" => {
            json!({"lease_id": "database/creds/app/1", "lease_duration": 30, "renewable": true})
        }
        _ => json!({"data": {}}),
    };
    (MS, Ok((200, body)))
}

/// Pods that log in, read two secrets and hold a lease.
fn scenario(phases: &str) -> String {
    format!(
        "
name: test
world:
  nodes: 1
  credential: login
  token_ttl: 60s
  secrets: [{{name: app, engine: kv2, count: 10, bytes: 100B}}]
  roles: [{{name: app, ttl: 30s, max_ttl: 1h}}]
  deployments:
    - {{name: api, pods: 2, reads: [{{secrets: app, at_start: 2, every: 100ms}}], leases: [app]}}
phases: [{phases}]
"
    )
}

#[tokio::test(start_paused = true)]
async fn a_pod_logs_in_reads_and_leases_before_the_first_phase_unless_it_is_a_cold_start() {
    let stage = Theatre::new(vault);

    let steady = "{name: steady, duration: 10s, arrivals: {factor: 1, spacing: even}}";
    let target = played(&scenario(steady), &stage).await;

    let asked = stage.asked.borrow();
    let of_one: Vec<_> = asked.iter().step_by(2).take(4).map(|it| it.path.as_str()).collect();
    let expected = [
        "/v1/auth/kubernetes/login",
        "/v1/kv2/data/app/000000",
        "/v1/kv2/data/app/000001",
        "/v1/database/creds/app",
    ];
    assert_eq!(of_one, expected);
    assert_eq!(asked[0].body["jwt"], "pass");
    assert_eq!(asked[0].body["role"], "api-0");
    assert_eq!(asked[0].token, None);
    assert!(asked[2..].iter().all(|it| it.token.as_deref() == Some("login")));
    let kinds = &target.phases[0].kinds;
    assert_eq!(kinds.keys().collect::<Vec<_>>(), ["read"], "starting is no part of the phase");
    assert_eq!(kinds["read"].statuses[&200], kinds["read"].intended);
    assert!((195..=200).contains(&kinds["read"].intended), "{}", kinds["read"].intended);
    assert_eq!(target.phases[0].recovery_seconds, None);
}

#[tokio::test(start_paused = true)]
async fn logins_and_leases_are_renewed_at_two_thirds_and_replaced_when_that_gives_little() {
    let stage = Theatre::new(vault);

    let none = "{name: idle, duration: 105s}";
    played(&scenario(none), &stage).await;

    let of_first = |part: &str| -> Vec<f64> {
        stage.times(part).into_iter().step_by(2).map(f64::round).collect()
    };
    // Login at 0 for 60 s, renewed at 40 s for 60 s, at 80 s for 20 s: too little.
    assert_eq!(of_first("renew-self"), [40.0, 80.0]);
    assert_eq!(of_first("login"), [0.0, 93.0]);
    assert_eq!(of_first("leases/renew"), [20.0, 40.0, 60.0, 80.0, 100.0]);
    assert_eq!(of_first("creds"), [0.0]);
}

#[tokio::test(start_paused = true)]
async fn a_step_that_fails_is_tried_again_and_reads_meanwhile_are_not_started() {
    let stage = Theatre::new(|asked| match asked.path.as_str() {
        "/v1/auth/kubernetes/login" if asked.at < MS * 2_500 => (MS, Err(Failure::Broken)),
        "/v1/database/creds/app" if asked.at < MS * 5_000 => (MS, Ok((503, Value::Null))),
        _ => vault(asked),
    });

    let cold = "{name: start, duration: 10s, happens: {what: cold-start, over: 0s}, \
                arrivals: {factor: 1, spacing: even}}";
    let target = played(&scenario(cold), &stage).await;

    let start = &target.phases[0];
    let login = &start.kinds["login"];
    assert_eq!((login.intended, login.broken["broken"], login.statuses[&200]), (8, 6, 2));
    assert!(start.kinds["lease"].statuses[&503] >= 4);
    let lost = start.kinds["read"].broken["not started"];
    assert!((55..=62).contains(&lost), "reads of three seconds: {lost}");
    assert_eq!(start.recovery_seconds.map(|it| (it * 10.0).round() / 10.0), Some(5.0));
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_starts_anew_is_another_one() {
    let stage = Theatre::new(vault);

    let roll = "{name: steady, duration: 50s}, {name: roll, duration: 35s, \
                happens: {what: roll-out, deployment: api, over: 10s}}";
    let target = played(&scenario(roll), &stage).await;

    assert_eq!(stage.times("login").len(), 4);
    assert_eq!(stage.times("creds").len(), 4);
    // The old ones' logins would be renewed at 80 s.
    assert_eq!(stage.times("renew-self").len(), 2);
    let recovery = target.phases[1].recovery_seconds.unwrap();
    assert!(recovery > 0.0 && recovery <= 10.1, "{recovery}");
}

#[tokio::test(start_paused = true)]
async fn what_a_pod_waited_for_as_it_ended_counts_for_nothing() {
    let stage = Theatre::new(|asked| {
        let slow = asked.path.ends_with("login") && (1..9).contains(&asked.at.as_secs());
        (if slow { MS * 60_000 } else { MS }, vault(asked).1)
    });

    let roll = |name| {
        format!("{{name: {name}, duration: 5s, happens: {{what: roll-out, deployment: api}}}}")
    };
    let phases = [roll("first"), roll("second"), roll("third")].join(", ");
    let began = tokio::time::Instant::now();
    let target = played(&scenario(&phases), &stage).await;

    assert_eq!(target.phases[1].kinds["login"].intended, 0);
    assert_eq!(target.phases[1].recovery_seconds, None);
    assert_eq!(target.phases[2].kinds["login"].answered, 2);
    assert!(began.elapsed() <= MS * 16_000, "{:?}: nothing is on its way", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn an_outage_is_over_when_reads_succeed_and_pods_have_what_they_lost() {
    // For three seconds after it the server still fails every now and then.
    let stage = Theatre::new(|asked| {
        let (millis, read) = (asked.at.as_millis(), asked.path.contains("kv2"));
        let fails = read && (75_000..78_000).contains(&millis) && millis % 500 < 150;
        (MS, if fails { Ok((503, Value::Null)) } else { vault(asked).1 })
    });

    let outage = "{name: before, duration: 5s, arrivals: {factor: 1}}, \
                  {name: outage, duration: 70s, happens: {what: outage}, arrivals: {factor: 1}}, \
                  {name: after, duration: 10s, arrivals: {factor: 1}}";
    let target = played(&scenario(outage), &stage).await;

    let [before, outage, after] = &target.phases[..] else { panic!("three phases") };
    assert!(before.kinds["read"].broken.is_empty());
    assert_eq!(outage.kinds["read"].broken["connect"], outage.kinds["read"].intended);
    assert!(after.kinds["read"].broken.len() <= 1);
    assert!(after.kinds["lease"].statuses[&200] == 2, "the leases were over");
    let recovery = outage.recovery_seconds.unwrap();
    assert!((2.0..=2.8).contains(&recovery), "{recovery}");
}

#[tokio::test(start_paused = true)]
async fn what_was_measured_before_an_interruption_is_kept() {
    let stage = Theatre::new(vault);

    let steady = "{name: steady, duration: 10s, arrivals: {factor: 1}}, \
                  {name: more, duration: 10s, arrivals: {factor: 1}}";
    let target = played_until(&scenario(steady), &stage, MS * 4_500).await;

    assert!((4.4..4.6).contains(&target.phases[0].seconds), "{}", target.phases[0].seconds);
    assert!(target.phases[0].kinds["read"].answered > 60);
    assert!(target.phases[1].kinds.is_empty());
    assert_eq!(target.seconds.len(), 4);
}

#[tokio::test(start_paused = true)]
async fn an_hour_takes_little_time_and_is_the_same_each_time() {
    let began = std::time::SystemTime::now();
    let slower = |asked: &Asked| {
        let (_, answer) = vault(asked);
        let nanos = asked.path.bytes().fold(asked.at.subsec_nanos(), |sum, byte| {
            sum.wrapping_mul(31).wrapping_add(byte.into())
        });
        (Duration::from_micros((nanos % 20_000).into()), answer)
    };
    let hour = "{name: start, duration: 60s, happens: {what: cold-start, over: 30s}, \
                arrivals: {factor: [0, 1]}}, {name: hour, duration: 1h, arrivals: {factor: 1}}";

    let once = played(&scenario(hour), &Theatre::new(slower)).await;
    let again = played(&scenario(hour), &Theatre::new(slower)).await;

    assert!(once.phases[1].kinds["read"].answered > 70_000);
    assert!(once.phases[1].kinds["renew"].answered > 300);
    assert_eq!(once, again);
    assert!(began.elapsed().unwrap() < Duration::from_mins(1), "{began:?}");
}

#[tokio::test(start_paused = true)]
async fn a_slow_answer_delays_no_other_request() {
    let stage = Theatre::new(|asked| {
        // From every second's begin nothing is answered for 200 ms.
        let into = Duration::from_nanos(asked.at.subsec_nanos().into());
        ((MS * 200).saturating_sub(into).max(MS), vault(asked).1)
    });

    let rate = "{name: rate, duration: 10s, arrivals: {rate: 500, spacing: even}}";
    let target = played(&scenario(rate), &stage).await;

    let read = target.phases[0].kinds["read"].latency;
    assert!((175_000.0..=201_000.0).contains(&read.p99), "{read:?}");
    assert!((80_000.0..=120_000.0).contains(&read.p90), "{read:?}");
    assert!(read.p50 < 2_000.0, "{read:?}");
}

#[tokio::test(start_paused = true)]
async fn a_closed_loop_sends_when_it_is_answered() {
    let stage = Theatre::new(|asked| (MS * 7, vault(asked).1));

    let max = "{name: max, duration: 10s, arrivals: {saturate: 8}}, \
               {name: half, duration: 10s, arrivals: {share: 0.5, of: max}}";
    let yaml = scenario(max);
    let target = played(&yaml, &stage).await;

    let [max, half] = &target.phases[..] else { panic!("two phases") };
    let read = &max.kinds["read"];
    assert!((9_900..=11_500).contains(&read.answered), "{}", read.answered);
    assert_eq!(read.intended, read.answered, "what was cut off was never meant");
    let until_its_end = max.rounds[0].per_second * max.seconds;
    assert_eq!(format!("{until_its_end:.0}"), read.answered.to_string());
    let answered = half.kinds["read"].answered;
    assert!((4_700..=6_000).contains(&answered), "{answered}");
    // Paused time goes by milliseconds.
    assert!(target.generator.late.max <= 1_001.0, "{:?}", target.generator);
}
