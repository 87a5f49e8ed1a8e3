//! Access logs.

use std::fs;
use std::time::Duration;

use tempfile::TempDir;

use super::super::log_line::{self, Line};
use super::super::replay::survey;
use super::{Arrival, Arrivals, What, arrivals, asked, scenario};
use crate::scenario::Scenario;

const COMMON: &str = r#"10.0.0.7 - app [10/Oct/2026:13:55:36 +0200] "GET /v1/kv/data/app?version=2 HTTP/1.1" 200 512"#;

fn parse(line: &str) -> Option<Line> {
    log_line::parse(line.as_bytes())
}

fn at(second: u64, method: &str, client: &str) -> String {
    format!(
        "{client} - - [10/Oct/2026:13:55:{second:02} +0000] \"{method} /v1/kv/data/app HTTP/1.1\" \
         200 512 \"-\" \"Go-http-client/1.1\"\n"
    )
}

/// A scenario that replays a log of this text, and the log.
fn replaying(text: &[u8], speed: f64) -> (Scenario, TempDir) {
    let mut scenario = scenario("  - {name: p, duration: 60s}");
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("access.log");
    fs::write(&file, text).unwrap();
    scenario.phases[0].arrivals = Arrivals::Replay { file, speed, writes: false };
    (scenario, directory)
}

fn replayed(text: &[u8], speed: f64) -> Vec<(Duration, String, u32)> {
    let (scenario, _directory) = replaying(text, speed);
    let all = arrivals(&scenario, 0);
    let line = |arrival: &&Arrival| match &arrival.what {
        What::Replay { method, .. } => (arrival.at, method.clone(), arrival.pod),
        other => panic!("{other:?}"),
    };
    asked(&all).iter().map(line).collect()
}

#[test]
fn lines_say_when_who_and_what() {
    let line = parse(COMMON).unwrap();
    // `date -u -d 2026-10-10T11:55:36Z +%s`
    assert_eq!(line.time, Duration::from_secs(1_791_633_336));
    assert_eq!((line.method.as_str(), line.target.as_str()), ("GET", "/v1/kv/data/app?version=2"));
    assert_eq!(line.client.as_deref(), Some("10.0.0.7"));

    for (time, milliseconds) in [
        (r#""2026-10-10T11:55:36Z""#, 1_791_633_336_000),
        (r#""2026-10-10T13:55:36.25+02:00""#, 1_791_633_336_250),
        (r#""2026-10-10 05:25:36-06:30""#, 1_791_633_336_000),
        (r#""2024-02-29T00:00:00Z""#, 1_709_164_800_000),
        (r#""2024-03-01T00:00:00Z""#, 1_709_251_200_000),
        (r#""1970-01-01T00:00:00Z""#, 0),
        ("1791633336.5", 1_791_633_336_500),
    ] {
        let text = format!(r#"{{"time": {time}, "method": "LIST", "path": "/v1/kv/metadata"}}"#);
        let line = parse(&text).expect(time);
        assert_eq!(line.time, Duration::from_millis(milliseconds), "{time}");
        assert_eq!((line.method.as_str(), line.client), ("LIST", None));
    }
    let absolute = COMMON.replace("/v1/", "http://vault:8200/v1/");
    assert_eq!(parse(&absolute).unwrap().target, "/v1/kv/data/app?version=2");
}

#[test]
fn what_is_no_line_is_none() {
    for (from, to) in [
        ("10/Oct", "32/Oct"),
        ("Oct", "Okt"),
        ("13:55", "25:55"),
        ("+0200", "0200"),
        ("+0200", "+02"),
        ("GET ", ""),
        ("GET", "get"),
        ("/v1/kv", "v1/kv"),
        (" HTTP/1.1", ""),
        ("/app?", "/ä?"),
        ("[", ""),
    ] {
        assert!(parse(&COMMON.replace(from, to)).is_none(), "{to}");
    }
    let json = r#"{"time": "2026-10-10T11:55:36Z", "method": "GET", "path": "/v1/a"}"#;
    assert!(parse(json).is_some());
    for (from, to) in [
        ("time", "when"),
        ("2026-", "26-"),
        ("36Z", "36"),
        ("36Z", "36.Z5Z"),
        ("36Z", "éZ"),
        (r#""2026-10-10T11:55:36Z""#, "-1"),
        (r#""2026-10-10T11:55:36Z""#, "null"),
        ("GET", ""),
        ("/v1/a", "v1"),
        ("}", ""),
    ] {
        assert!(parse(&json.replace(from, to)).is_none(), "{to}");
    }
    for text in ["", "-", "\"", "[", "a [", "a [] \"", "{}", "a b [] \"\""] {
        assert!(parse(text).is_none(), "{text}");
    }
}

#[test]
fn lines_of_one_second_are_spread_over_it() {
    let text = [at(10, "GET", "a"), at(10, "PUT", "a"), at(12, "GET", "b"), at(11, "LIST", "a")];
    let found = replayed(text.concat().as_bytes(), 1.0);

    let times: Vec<u128> = found.iter().map(|(at, ..)| at.as_millis()).collect();
    assert_eq!(times, [0, 500, 2000, 2500], "the last was written too late");
    let methods: Vec<&str> = found.iter().map(|(_, method, _)| method.as_str()).collect();
    assert_eq!(methods, ["GET", "PUT", "GET", "LIST"]);
    assert!(found[0].2 == found[1].2 && found[0].2 == found[3].2, "one client's come from one pod");
    let fast = replayed(text.concat().as_bytes(), 4.0);
    let times: Vec<u128> = fast.iter().map(|(at, ..)| at.as_millis()).collect();
    assert_eq!(times, [0, 125, 500, 625]);
}

#[test]
fn fractions_of_a_second_are_kept() {
    let line =
        |time: &str| format!("{{\"time\": {time}, \"method\": \"GET\", \"path\": \"/v1/a\"}}\n");
    let text = [line("5.25"), line("5.25"), line("5.5"), line("7.125")].concat();
    let found = replayed(text.as_bytes(), 1.0);
    let times: Vec<u128> = found.iter().map(|(at, ..)| at.as_millis()).collect();
    assert_eq!(times, [0, 0, 250, 1875]);
}

#[test]
fn what_cannot_be_read_is_counted_and_named() {
    let mut text = vec![b'x'; 200_000];
    text.extend(b"\n");
    text.extend(at(10, "GET", "a").as_bytes());
    text.extend(b"\n\xff\xfe\n");
    text.extend(at(12, "GET", "a").as_bytes());
    text.extend(b"not a line");
    let (scenario, _directory) = replaying(&text, 1.0);
    let Arrivals::Replay { file, .. } = &scenario.phases[0].arrivals else { panic!() };

    let found = survey(file).unwrap();

    assert_eq!((found.readable, found.unreadable, found.span.as_secs()), (2, 3, 3));
    let remark = found.remark(file).unwrap();
    assert!(
        remark.contains(": 3 of 5 lines cannot be read and are left out: 1, 4, 6;"),
        "{remark}"
    );
    assert_eq!(replayed(&text, 1.0).len(), 2);

    let (scenario, _directory) = replaying(b"a\n".repeat(9).as_slice(), 1.0);
    let Arrivals::Replay { file, .. } = &scenario.phases[0].arrivals else { panic!() };
    let problem = survey(file).unwrap_err();
    assert!(
        problem.contains("9 of 9 lines") && problem.contains(": 1, 2, 3, 4, 5, …;"),
        "{problem}"
    );
    fs::write(file, "").unwrap();
    assert!(survey(file).unwrap_err().contains("no line of"));
    fs::remove_file(file).unwrap();
    assert!(survey(file).unwrap_err().contains("cannot be read: No such file"));
}

#[test]
fn a_log_longer_than_its_phase_is_cut() {
    let text: String = (0..59).map(|second| at(second, "GET", "a")).collect();
    let (mut scenario, _directory) = replaying(text.as_bytes(), 1.0);
    scenario.phases[0].duration = Duration::from_secs(5);
    assert_eq!(asked(&arrivals(&scenario, 0)).len(), 5);
}
