use super::*;
use crate::audit::chain::{self, Circumstances, Mark};
use crate::audit::tests::{unplaced, verify};
use crate::audit::text;
use crate::clock::Clock;

/// A start, the answers `secret/a` to `secret/e`, and a stop; newlines included.
fn untouched() -> Vec<Vec<u8>> {
    let mark = |kind, sink| {
        let vaultlet = Circumstances { version: "0.0.0", sink, torn: 0 };
        chain::unplaced(text::json(&Mark { time: Clock::wall(), kind, vaultlet }))
    };
    let answers = ["a", "b", "c", "d", "e"].map(|name| unplaced(&format!("secret/{name}")));
    let unplaced =
        [vec![mark(Kind::Start, "file")], answers.into(), vec![mark(Kind::Stop, "file")]];
    let mut head = Head::NONE;
    let lines = unplaced.concat().into_iter().map(|unplaced| {
        let mut line = Vec::new();
        head = head.link(&unplaced, &mut line);
        line.push(b'\n');
        line
    });
    lines.collect()
}

fn found(lines: &[Vec<u8>]) -> (Vec<String>, Vec<String>) {
    let Report { problems, notes, .. } = verify(&lines.concat());
    (problems.found, notes.found)
}

#[test]
fn an_untouched_log_is_whole() {
    let report = verify(&untouched().concat());

    assert!(report.whole() && report.notes.found.is_empty(), "{report:?}");
    let last = untouched().pop().unwrap();
    let end = Head::of(7, &last[..last.len() - 1]).hash;
    let shown = report.to_string();
    let shown_end = shown.rsplit_once(' ').unwrap().1;
    assert_eq!(shown_end.len(), end.to_string().len());
    assert!(shown.starts_with("records of answers: 5, starts: 1, seq: 1 to 7, end: "), "{shown}");
}

#[test]
fn every_bit_that_is_flipped_before_the_last_line_is_found() {
    let lines = untouched();
    let (log, last) = (lines.concat(), lines.last().unwrap().len());
    for at in 0..log.len() - last {
        for bit in [1, 32] {
            let mut log = log.clone();
            log[at] ^= bit;

            let report = verify(&log);

            assert!(!report.whole(), "{}", log[at.saturating_sub(40)..=at].escape_ascii());
        }
    }
}

#[test]
fn each_kind_of_tampering_is_named_with_its_line() {
    type Tamper = Box<dyn Fn(&mut Vec<Vec<u8>>)>;
    let alter = |from: &'static str, to: &'static str| {
        move |lines: &mut Vec<Vec<u8>>| {
            let line = String::from_utf8(lines[2].clone()).unwrap();
            assert!(line.contains(from), "{line}");
            lines[2] = line.replace(from, to).into_bytes();
        }
    };
    let cases: [(Tamper, &[&str]); 14] = [
        (Box::new(alter("secret/b", "secret/x")), &["log:4: this record and log:3 do not belong"]),
        (Box::new(alter("\"status\":200", "\"status\":403")), &["log:4: this record and log:3"]),
        (Box::new(alter("1970-01-01", "1971-01-01")), &["log:4: this record and log:3"]),
        (
            Box::new(alter("\"seq\":3", "\"seq\":4")),
            &["log:3: seq is 4 and must be 3: this record was changed", "log:4: seq 4 comes after"],
        ),
        (
            Box::new(alter("\"type\":\"response\"", "\"type\":\"answer\"")),
            &["log:3: 397 bytes that are no audit record", "log:4: seq 3 is missing"],
        ),
        (
            Box::new(|lines| drop(lines.drain(2..4))),
            &["log:3: seq 3 to 4 are missing between log:2 and this record"],
        ),
        (
            Box::new(|lines| lines.swap(2, 3)),
            &["log:3: seq 3 is missing", "log:4: seq 3 comes after seq 4 of log:3", "log:5: "],
        ),
        (
            Box::new(|lines| lines.insert(3, lines[2].clone())),
            &["log:4: seq 3 comes after seq 3 of log:3: a record was repeated or moved"],
        ),
        (
            Box::new(|lines| drop(lines.drain(..2))),
            &["log:1: the beginning is missing: this record has seq 3 and is none"],
        ),
        (
            Box::new(|lines| lines[6].truncate(9)),
            &["log:7: the last record is cut short: the process was killed while it wrote or"],
        ),
        (Box::new(|lines| lines.push(b"garbage\n".into())), &["log:8: 8 bytes that are no audit"]),
        (
            Box::new(|lines| lines.insert(4, b"gar\n\nbage\n".into())),
            &["log:5: 10 bytes that are no audit record"],
        ),
        (
            Box::new(|lines| lines.extend(untouched())),
            &["log:8: a chain of its own begins, which does not continue log:7"],
        ),
        (Box::new(Vec::clear), &["log: there is no audit record"]),
    ];
    for (tamper, expected) in cases {
        let mut lines = untouched();
        tamper(&mut lines);

        let (problems, _) = found(&lines);

        assert_eq!(problems.len(), expected.len(), "{expected:?}: {problems:?}");
        for (problem, expected) in problems.iter().zip(expected) {
            assert!(problem.starts_with(expected), "{expected}: {problem}");
        }
    }
}

#[test]
fn a_log_of_a_sink_that_cannot_be_read_back_may_hold_several_chains() {
    let stdout = |line: &Vec<u8>| {
        let line = String::from_utf8(line.clone()).unwrap();
        line.replace("\"sink\":\"file\"", "\"sink\":\"stdout\"").into_bytes()
    };
    let start = stdout(&untouched()[0]);

    let (problems, notes) = found(&[start.clone(), start]);

    assert!(problems.is_empty(), "{problems:?}");
    assert!(notes[0].starts_with("log:2: a chain of its own begins: nothing shows"), "{notes:?}");
}

#[test]
fn neither_long_lines_nor_many_problems_are_held() {
    let lines = untouched();
    let mut log = lines[..3].concat();
    log.extend(std::iter::repeat_n(b'x', 3 * LONGEST));
    log.push(b'\n');
    log.extend(lines[3..].concat());
    let report = verify(&log);
    let expected = format!("log:4: {} bytes that are no audit record", 3 * LONGEST + 1);
    assert_eq!(report.problems.found, [expected]);

    let again = lines[2].repeat(151);
    let report = verify(&[lines[..2].concat(), again].concat());
    assert_eq!((report.problems.found.len(), report.problems.more), (100, 50));
    assert!(report.problems.to_string().ends_with("moved\nand 50 more"));
}
