//! Sinks that are full, slow, late or gone.

use super::*;

#[tokio::test]
async fn a_full_disk_withholds_answers_unless_it_may_not() {
    let fixture = Fixture::new();
    let full = || file(PathBuf::from("/dev/full"));

    let closed = fixture.start(full(), false).unwrap();
    assert!(!hit(&closed, "a").await);
    assert!(!closed.working());
    assert!(fixture.counted("failed", 1));

    let open = fixture.start(full(), true).unwrap();
    assert!(hit(&open, "a").await);
    assert!(!open.working());
    assert!(fixture.counted("failed", 2) && fixture.counted("written", 0));
}

#[tokio::test]
async fn a_socket_that_nobody_reads_withholds_answers_until_somebody_does() {
    let fixture = Fixture::new();
    let listener = UnixListener::bind(fixture.path("sock")).unwrap();
    let audit = fixture.start(AuditSink::Unix(fixture.path("sock")), false).unwrap();
    let (mut peer, _) = listener.accept().unwrap();

    let mut accepted = 0;
    while hit(&audit, "before").await {
        accepted += 1;
        assert!(accepted < 10_000, "more than any socket holds");
    }
    assert!(!audit.working());
    // It was waited for once, and is not waited for again.
    let began = SystemTime::now();
    for _ in 0..100 {
        assert!(!hit(&audit, "meanwhile").await);
    }
    assert!(began.elapsed().unwrap() < Duration::from_secs(1));
    let reader = thread::spawn(move || {
        let mut log = Vec::new();
        peer.read_to_end(&mut log).unwrap();
        log
    });
    hit_at_last(&audit, "after").await;
    assert!(audit.working());
    audit.stop().await;

    let log = reader.join().unwrap();
    let report = verify(&log);
    assert!(report.whole(), "{}", report.problems);
    let told = told(&log);
    assert!(told.iter().filter(|path| *path == "before").count() >= accepted);
    assert_eq!(told[told.len() - 2..], ["after", "stop"]);
}

#[tokio::test]
async fn a_listener_may_come_late_and_come_again() {
    let fixture = Fixture::new();
    let audit = fixture.start(AuditSink::Unix(fixture.path("sock")), false).unwrap();
    assert!(!hit(&audit, "a").await);

    let listener = UnixListener::bind(fixture.path("sock")).unwrap();
    assert!(hit(&audit, "b").await);
    let (mut first, _) = listener.accept().unwrap();
    let mut log = vec![0; 64 * 1024];
    let length = first.read(&mut log).unwrap();
    log.truncate(length);
    drop(first);
    // What this one is given nobody will read, and it notices.
    assert!(!hit(&audit, "c").await);
    assert!(hit(&audit, "d").await);
    audit.stop().await;
    let (mut second, _) = listener.accept().unwrap();
    second.read_to_end(&mut log).unwrap();

    assert_eq!(told(&log), ["start", "b", "resume", "d", "stop"]);
    let report = verify(&log);
    assert!(report.whole(), "{}", report.problems);
}

#[tokio::test]
async fn a_pipe_that_nobody_reads_withholds_answers_until_somebody_does() {
    let fixture = Fixture::new();
    let path = fixture.path("pipe");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &path,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RWXU,
        0,
    )
    .unwrap();
    let audit = Arc::new(fixture.start(file(path.clone()), false).unwrap());
    let reader = File::open(&path).unwrap();

    // Many at once, so that one write is cut in the middle of a line.
    for round in 0.. {
        assert!(round < 100, "more than any pipe holds");
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..100 {
            let audit = Arc::clone(&audit);
            tasks.spawn(async move { hit(&audit, "a").await });
        }
        if tasks.join_all().await.contains(&false) {
            break;
        }
    }
    let reader = thread::spawn(move || {
        let mut log = Vec::new();
        let mut some = [0; 4096];
        while !log.ends_with(b"}}\n") || told(&log).last().unwrap() != "stop" {
            let length = (&reader).read(&mut some).unwrap();
            log.extend_from_slice(&some[..length]);
        }
        log
    });
    hit_at_last(&audit, "b").await;
    audit.stop().await;

    let report = verify(&reader.join().unwrap());
    assert!(report.whole(), "{}", report.problems);
}

#[tokio::test(start_paused = true)]
async fn a_sink_that_hangs_holds_no_answer_for_long_and_later_ones_not_at_all() {
    let fixture = Fixture::new();
    let clock = Clock::manual();
    let (queue, _never_read) = mpsc::channel(1);
    let shared = Arc::new(Shared::new(clock.clone()));
    let audit = Audit { queue, shared, ..fixture.log() };
    audit.shared.busy(Some(clock.now()));

    let began = tokio::time::Instant::now();
    assert!(!hit(&audit, "the thread has it").await);
    assert!(!hit(&audit, "the queue is full").await);
    assert_eq!(began.elapsed().as_secs(), 2);
    assert!(fixture.counted("failed", 2));
    clock.advance(PATIENCE * 2);
    assert!(!hit(&audit, "known to hang").await);
    assert_eq!(began.elapsed().as_secs(), 2);
    assert!(fixture.counted("dropped", 1) && !audit.working());
    let audit = Audit { fail_open: true, ..audit };
    assert!(hit(&audit, "let go").await);
}
