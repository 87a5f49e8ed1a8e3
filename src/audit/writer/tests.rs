use super::*;
use crate::audit::sink::Tail;
use crate::audit::tests::{unplaced, verify};

/// A writer whose sink is a test that takes as much as it likes.
fn writer() -> Writer {
    Writer {
        place: AuditSink::Stdout,
        shared: Arc::new(Shared::new(Clock::manual())),
        closed: true,
        sink: None,
        head: Head::NONE,
        open: false,
        begun: None,
        due: Some(Due { kind: Kind::Start, torn: 0 }),
        started: false,
        company: None,
    }
}

/// Writes as far as `most` bytes go; how many of the lines are in.
fn push(writer: &mut Writer, log: &mut Vec<u8>, lines: &[&str], most: usize) -> usize {
    let lines: Vec<_> = lines.iter().map(|line| unplaced(line)).collect();
    let lines: Vec<_> = lines.iter().map(Vec::as_slice).collect();
    let (bytes, spans) = writer.lay_out(&lines);
    let sent = bytes.len().min(most);
    log.extend_from_slice(&bytes[..sent]);
    writer.settle(&bytes, &spans, sent).saturating_sub(spans.len() - lines.len())
}

/// Paths of the answers on record.
fn paths(log: &[u8]) -> Vec<String> {
    let lines = log.split(|byte| *byte == b'\n');
    let lines = lines.filter_map(|line| serde_json::from_slice::<serde_json::Value>(line).ok());
    lines.filter_map(|line| Some(line["request"]["path"].as_str()?.to_owned())).collect()
}

#[test]
fn wherever_writes_end_the_chain_is_whole_and_the_accepted_are_on_record() {
    let length = {
        let mut log = Vec::new();
        push(&mut writer(), &mut log, &["a", "b"], usize::MAX);
        log.len()
    };
    // The time on the start is now longer, now shorter.
    for first in 0..=length + 8 {
        // The second write ends at once, within what is left, or after it.
        for second in [0, 1, 100, 400, 1000] {
            let (mut writer, mut log) = (writer(), Vec::new());

            let accepted = [
                push(&mut writer, &mut log, &["a", "b"], first),
                push(&mut writer, &mut log, &["c", "d"], second),
                push(&mut writer, &mut log, &["e"], usize::MAX),
            ];

            let report = verify(&log);
            assert!(report.whole(), "{first}, {second}: {}", report.problems);
            assert_eq!(report.notes.found.len(), 0, "{first}, {second}: {}", report.notes);
            let on_record = paths(&log);
            let taken = [["a", "b"].as_slice(), &["c", "d"], &["e"]];
            for (accepted, paths) in accepted.into_iter().zip(taken) {
                for path in &paths[..accepted] {
                    let times = on_record.iter().filter(|one| one == path).count();
                    assert_eq!(times, 1, "{first}, {second}: {path} in {on_record:?}");
                }
            }
            // A record of an answer that was withheld is there at most where its line was begun.
            let accepted: usize = accepted.iter().sum();
            assert!(on_record.len() <= accepted + 2, "{first}, {second}: {on_record:?}");
        }
    }
}

#[test]
fn wherever_a_sink_is_lost_the_next_line_says_what_is_left_of_the_one_before() {
    let mut torn = 0;
    // As far as the start and the record of `a` go at the longest.
    for end in 0..800 {
        let (mut writer, mut log) = (writer(), Vec::new());
        push(&mut writer, &mut log, &["a"], end);
        let last = log.split(|byte| *byte == b'\n').next_back().unwrap();
        let stump = !last.is_empty() && serde_json::from_slice::<serde_json::Value>(last).is_err();

        writer.leave(Kind::Resume);
        let tail = Tail::in_bytes(&log);
        writer.open = tail.open;
        if !writer.started {
            writer.due = Some(Due { kind: Kind::Start, torn: tail.torn });
        }
        assert_eq!(push(&mut writer, &mut log, &["b"], usize::MAX), 1);

        let report = verify(&log);
        assert!(report.whole(), "{end}: {}", report.problems);
        assert_eq!(report.notes.found.len(), usize::from(stump), "{end}: {}", report.notes);
        torn += usize::from(stump);
    }
    assert!((400..790).contains(&torn), "{torn}");
}

#[test]
fn what_nobody_waits_for_any_more_is_not_written() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let place = AuditSink::File { path: file.path().to_owned(), mode: 0o600 };
    let mut writer =
        Writer::new(place, true, Arc::new(Shared::new(Clock::manual())), None).unwrap();
    let (gone, _) = oneshot::channel();
    let (waits, mut accepted) = oneshot::channel();

    writer
        .work(&mut vec![Job::Write(unplaced("gone"), gone), Job::Write(unplaced("waits"), waits)]);

    assert_eq!(accepted.try_recv(), Ok(true));
    assert_eq!(paths(&std::fs::read(file.path()).unwrap()), ["waits"]);
}
