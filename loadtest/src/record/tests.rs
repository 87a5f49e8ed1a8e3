use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use hdrhistogram::Histogram;
use hdrhistogram::serialization::Deserializer;
use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};
use hyper::{HeaderMap, Method, StatusCode};
use tokio::time::{advance, sleep};

use super::*;
use crate::scenario::{Arrivals, Credential, Deployment, Happening, Phase, Transport, World};

const MS: Duration = Duration::from_millis(1);

#[tokio::test(start_paused = true)]
async fn answers_are_counted_by_kind_status_source_and_time() {
    let recorder = recorder(&["steady"]);
    recorder.begin(0, &Gauges::default());

    for (kind, after, outcome) in [
        (Kind::Read, 10, answer(200, "HIT")),
        (Kind::Read, 20, answer(200, "HIT")),
        (Kind::Read, 60, answer(200, "MISS")),
        (Kind::Read, 300, answer(404, "MISS")),
        (Kind::Read, 1, answer(503, "MISS")),
        (Kind::Read, 5, Err(Failed::NotStarted)),
        (Kind::Read, 5, Err(Failure::TimedOut.into())),
        (Kind::Login, 100, answer(200, "")),
    ] {
        ended(&recorder, kind, MS * after, &outcome).await;
    }
    assert_eq!(recorder.standing().failed, 4);
    recorder.end(Instant::now(), &Gauges::default());

    let target = recorder.target();
    let read = &target.phases[0].kinds["read"];
    assert_eq!((read.intended, read.answered), (7, 5));
    assert_eq!(read.statuses, [(200, 3), (404, 1), (503, 1)].into());
    assert_eq!(read.broken, [("not started".into(), 1), ("timed out".into(), 1)].into());
    assert_eq!(read.cached, [("hit".into(), 2), ("miss".into(), 3)].into());
    assert_eq!((read.within_50ms, read.fetched, read.fetched_within_200ms), (2, 1, 1));
    assert_eq!((read.hit_latency.count, read.other_latency.count), (2, 3));
    near(read.hit_latency.max, 20_000.0);
    near(read.latency.max, 300_000.0);
    near(read.latency.p50, 20_000.0);
    assert_eq!(target.phases[0].hit_ratio, Some(0.4));
    assert_eq!(target.phases[0].kinds["login"].answered, 1);
    assert_eq!(target.seconds.len(), 0, "no second is over");
}

#[tokio::test(start_paused = true)]
async fn rounds_are_put_together_and_can_be_told_apart() {
    let recorder = recorder(&["one", "two"]);
    for (round, cpu) in [(1, 10), (2, 30), (3, 20)] {
        recorder.round();
        for phase in [0, 1] {
            let gauges = |times: u64| Gauges {
                upstream: [("kv-read", 100 * round + 10 * times)].into(),
                cpu: Some(MS * 1_000 + MS * cpu * u32::try_from(times).unwrap()),
                leases: Some(round),
                ..Gauges::default()
            };
            recorder.begin(phase, &gauges(0));
            for _ in 0..10 {
                ended(&recorder, Kind::Read, MS * 100, &answer(200, "HIT")).await;
            }
            recorder.end(Instant::now(), &gauges(1));
        }
    }

    let target = recorder.target();
    let one = &target.phases[0];
    assert_eq!(one.kinds["read"].answered, 30);
    near(one.seconds, 3.0);
    assert_eq!(one.upstream["kv-read"], 30);
    near(one.cpu_per_answer.unwrap(), 2_000.0);
    assert_eq!(one.leases, Some(3));
    let each: Vec<f64> = one.rounds.iter().filter_map(|it| it.cpu_per_answer).collect();
    assert_eq!(each.len(), 3);
    near(each[1], 3_000.0);
    near(one.rounds[1].per_second, 10.0);
    near(one.rounds[1].busy.unwrap(), 0.03);
    near(recorder.per_second("two").unwrap(), 10.0);
    assert_eq!(target.seconds.len(), 2, "those of the last round");
    assert_eq!((target.seconds[0].phase, target.seconds[1].phase), (0, 1));
    // The tenth came as the next one began.
    assert_eq!((target.seconds[0].answered, target.seconds[0].hits), (9, 9));
}

#[tokio::test(start_paused = true)]
async fn a_late_answer_belongs_to_the_phase_in_which_it_was_wanted() {
    let recorder = recorder(&["one", "two"]);
    let before = recorder.intend(Kind::Read, Instant::now());
    recorder.begin(0, &Gauges::default());
    let ticket = recorder.intend(Kind::Read, Instant::now());
    recorder.end(Instant::now(), &Gauges::default());
    recorder.begin(1, &Gauges::default());
    advance(MS * 2_500).await;

    recorder.ended(&ticket, &answer(200, "MISS"));
    recorder.ended(&before, &answer(200, "MISS"));
    recorder.gauged(&Gauges { upstream: [("other", 7)].into(), ..Gauges::default() });
    advance(MS * 1_000).await;
    recorder.gauged(&Gauges { upstream: [("other", 9)].into(), ..Gauges::default() });

    let target = recorder.target();
    assert_eq!(target.phases[0].kinds["read"].answered, 1);
    assert!(target.phases[1].kinds.is_empty());
    let seconds: Vec<_> = target.seconds.iter().map(|it| (it.answered, it.upstream)).collect();
    assert_eq!(seconds, [(0, None), (0, None), (1, Some(2))]);
}

#[tokio::test(start_paused = true)]
async fn what_reached_the_upstream_in_the_last_second_of_a_phase_counts() {
    let recorder = recorder(&["one", "two"]);
    let gauges = |other| Gauges { upstream: [("other", other)].into(), ..Gauges::default() };
    recorder.begin(0, &gauges(0));
    advance(MS * 1_000).await;
    recorder.gauged(&gauges(3));
    advance(MS * 1_000).await;
    recorder.end(Instant::now(), &gauges(8));
    // What comes between phases is nobody's.
    recorder.begin(1, &gauges(9));
    advance(MS * 500).await;
    recorder.end(Instant::now(), &gauges(13));
    recorder.begin(1, &gauges(13));
    advance(MS * 500).await;
    recorder.end(Instant::now(), &gauges(20));

    let target = recorder.target();
    let upstream: Vec<_> = target.seconds.iter().map(|it| it.upstream).collect();
    assert_eq!(upstream, [Some(3), Some(5), Some(11)]);
}

#[tokio::test(start_paused = true)]
async fn what_is_not_known_of_one_round_is_not_known() {
    let recorder = recorder(&["one"]);
    let cpu = |cpu| Gauges { cpu: Some(MS * cpu), upstream_cpu: Some(MS), ..Gauges::default() };
    let arrived = |so_far| Gauges { upstream: [("other", so_far)].into(), ..Gauges::default() };
    for (before, after) in [(cpu(0), cpu(10)), (Gauges::default(), arrived(70))] {
        recorder.round();
        recorder.begin(0, &before);
        ended(&recorder, Kind::Read, MS, &answer(200, "")).await;
        recorder.end(Instant::now(), &after);
    }

    let phase = &recorder.target().phases[0];
    assert_eq!((phase.cpu_per_answer, phase.upstream_cpu_seconds), (None, None));
    // All that it had counted since it started is not the phase's.
    assert_eq!(phase.upstream, [].into());
    assert!(phase.rounds[0].cpu_per_answer.is_some() && phase.rounds[1].cpu_per_answer.is_none());
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_does_not_say_is_no_miss() {
    for (answers, ratio) in [
        (&["", ""][..], None),
        (&["HIT", ""], Some(0.5)),
        (&["MISS", "MISS"], Some(0.0)),
        (&[], None),
    ] {
        let recorder = recorder(&["one"]);
        recorder.begin(0, &Gauges::default());
        for from in answers {
            ended(&recorder, Kind::Read, MS, &answer(200, from)).await;
        }
        recorder.end(Instant::now(), &Gauges::default());

        assert_eq!(recorder.target().phases[0].hit_ratio, ratio, "{answers:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_log_can_be_read_by_its_own_reader() {
    let file = Kept::default();
    let recorder = recorder(&["steady state", "end"]);
    recorder.log_to(Rc::new(Log::new(Box::new(file.clone())).unwrap()));
    recorder.begin(0, &Gauges::default());
    for (kind, millis) in [(Kind::Read, 400), (Kind::Write, 300), (Kind::Read, 500)] {
        ended(&recorder, kind, MS * millis, &answer(200, "")).await;
    }
    let late = recorder.intend(Kind::Write, Instant::now());
    recorder.end(Instant::now(), &Gauges::default());
    recorder.begin(1, &Gauges::default());
    ended(&recorder, Kind::Read, MS * 50, &answer(200, "")).await;
    recorder.ended(&late, &answer(200, ""));
    sleep(MS * 250).await;
    recorder.end(Instant::now(), &Gauges::default());
    recorder.close();

    let bytes = file.0.lock().unwrap().clone();
    let text = String::from_utf8(bytes.clone()).unwrap();
    assert!(text.starts_with("#[Histogram log format version 1.3]\n#[StartTime: "), "{text}");
    let mut found = Vec::new();
    for entry in IntervalLogIterator::new(&bytes) {
        let LogEntry::Interval(interval) = entry.unwrap() else { continue };
        let encoded = base64(interval.encoded_histogram());
        let histogram: Histogram<u64> =
            Deserializer::new().deserialize(&mut encoded.as_slice()).unwrap();
        let tag = interval.tag().unwrap().as_str().to_owned();
        let part = interval.start_timestamp().as_secs() == 1;
        assert_eq!(interval.duration(), MS * if part { 500 } else { 1_000 });
        let (start, max) = (interval.start_timestamp().as_secs(), histogram.max());
        assert_eq!(format!("{:.0}", interval.max()), max.to_string());
        found.push((tag, start, histogram.len(), max / 1_000_000));
    }
    let expected = [
        ("test/steady_state/read".to_owned(), 0, 1, 400),
        ("test/steady_state/write".to_owned(), 0, 1, 300),
        ("test/steady_state/read".to_owned(), 1, 1, 500),
        ("test/steady_state/write".to_owned(), 1, 1, 50),
        ("test/end/read".to_owned(), 1, 1, 50),
    ];
    assert_eq!(found, expected);
}

#[tokio::test(start_paused = true)]
async fn a_disk_that_is_full_is_told_once_and_does_not_stop_the_run() {
    let recorder = recorder(&["steady"]);
    let log = Rc::new(Log::new(Box::new(Full(200))).unwrap());
    recorder.log_to(log.clone());
    recorder.begin(0, &Gauges::default());
    for _ in 0..4 {
        ended(&recorder, Kind::Read, MS * 700, &answer(200, "")).await;
    }
    recorder.end(Instant::now(), &Gauges::default());

    assert!(log.finish().unwrap_err().contains("no space left"));
    assert_eq!(recorder.target().phases[0].kinds["read"].answered, 4);
}

#[test]
fn a_line_of_a_log_is_of_a_kind() {
    for (method, target, kind) in [
        ("GET", "/v1/secret/data/app?version=2", Kind::Read),
        ("POST", "/v1/secret/data/app", Kind::Write),
        ("DELETE", "/v1/secret/data/app", Kind::Write),
        ("LIST", "/v1/secret/metadata/app", Kind::Other),
        ("GET", "/v1/database/creds/app", Kind::Lease),
        ("PUT", "/v1/sys/leases/renew", Kind::Renew),
        ("POST", "/v1/auth/token/renew-self", Kind::Renew),
        ("POST", "/v1/auth/kubernetes/login", Kind::Login),
        ("GET", "/v1/auth/token/lookup-self", Kind::Other),
        ("GET", "/v1/sys/health", Kind::Other),
    ] {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        assert_eq!(Kind::of(&method, target), kind, "{method} {target}");
    }
}

#[test]
fn headers_say_where_an_answer_came_from() {
    for (cache, status, cached) in [
        ("HIT", "vaultlet; hit; ttl=41", Cached::Hit),
        ("HIT", "vaultlet; hit; detail=stale-if-error", Cached::Stale),
        ("STALE", "", Cached::Stale),
        ("MISS", "vaultlet; fwd=stale", Cached::Miss),
        ("BYPASS", "", Cached::Other),
        ("", "", Cached::None),
    ] {
        let mut headers = HeaderMap::new();
        for (name, value) in [("x-cache", cache), ("cache-status", status)] {
            if !value.is_empty() {
                headers.insert(name, value.parse().unwrap());
            }
        }
        assert_eq!(Cached::of(&headers), cached, "{cache} {status}");
    }
}

async fn ended(recorder: &Recorder, kind: Kind, after: Duration, outcome: &Result<Answer, Failed>) {
    let ticket = recorder.intend(kind, Instant::now());
    recorder.sent(&ticket);
    sleep(after).await;
    recorder.ended(&ticket, outcome);
}

#[expect(clippy::unnecessary_wraps, reason = "one of two outcomes")]
fn answer(status: u16, cache: &'static str) -> Result<Answer, Failed> {
    let mut headers = HeaderMap::new();
    if !cache.is_empty() {
        headers.insert("x-cache", cache.parse().unwrap());
    }
    let status = StatusCode::from_u16(status).unwrap();
    Ok(Answer { status, headers, body: hyper::body::Bytes::new() })
}

fn recorder(phases: &[&str]) -> Recorder {
    let phase = |name: &&str| Phase {
        name: (*name).to_owned(),
        duration: MS * 1_000,
        arrivals: Arrivals::None,
        happening: Happening::Nothing,
    };
    let scenario = Scenario {
        name: "test".to_owned(),
        about: String::new(),
        seed: 1,
        transport: Transport::Tcp,
        settings: Vec::new(),
        world: World {
            nodes: 1,
            credential: Credential::Token,
            token_ttl: Duration::from_hours(1),
            deployments: Vec::<Deployment>::new(),
            secrets: Vec::new(),
            roles: Vec::new(),
        },
        phases: phases.iter().map(phase).collect(),
        fail_if: Vec::new(),
    };
    Recorder::new("test", &scenario, Time::Paused)
}

/// Within what three digits can tell.
fn near(found: f64, expected: f64) {
    assert!((found / expected - 1.0).abs() < 0.02, "{found} is not {expected}");
}

/// The four letters for three bytes, back.
fn base64(text: &str) -> Vec<u8> {
    const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let value =
        |letter: &u8| (0_u32..).zip(LETTERS).find(|(_, it)| *it == letter).map_or(0, |it| it.0);
    let padding = text.bytes().filter(|it| *it == b'=').count();
    let mut bytes: Vec<u8> = text
        .as_bytes()
        .chunks(4)
        .map(|four| four.iter().fold(0, |sum, letter| (sum << 6) | value(letter)))
        .flat_map(|sum| sum.to_be_bytes().into_iter().skip(1))
        .collect();
    bytes.truncate(bytes.len() - padding);
    bytes
}

/// A file that can still be looked at.
#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Vec<u8>>>);

impl Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A disk with room for so many bytes.
struct Full(usize);

impl Write for Full {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.0.checked_sub(bytes.len()) {
            Some(left) => {
                self.0 = left;
                Ok(bytes.len())
            }
            None => Err(io::Error::other("no space left on device")),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
