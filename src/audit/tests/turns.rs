//! Two processes in one log. Here both are one, so that turns are theirs by not asking at once.

use super::*;

impl Fixture {
    /// Another process that goes on with the log of this one, to the file `log`.
    async fn join(&self, audit: &Audit) -> Audit {
        let config = config::Audit {
            sink: file(self.path("log")),
            paths: AuditPaths::Plain,
            key_file: None,
            fail_open: false,
        };
        let shared = audit.share().await;
        Audit::join(&config, Clock::default(), Arc::clone(&self.metrics), shared).unwrap()
    }

    fn whole(&self) -> Report {
        let report = verify(&std::fs::read(self.path("log")).unwrap());
        assert!(report.whole(), "{}", report.problems);
        report
    }
}

#[tokio::test]
async fn two_processes_write_one_chain() {
    let fixture = Fixture::new();
    let before = fixture.log();
    assert!(hit(&before, "a").await);

    let after = fixture.join(&before).await;
    for turn in 0..20 {
        assert!(hit(&after, "b").await);
        assert!(turn % 3 > 0 || hit(&before, "a").await && hit(&before, "a").await);
    }
    before.stop().await;
    after.alone();
    assert!(hit(&after, "b").await);
    after.stop().await;

    let report = fixture.whole();
    assert_eq!((report.answers, report.starts, report.notes.found.len()), (36, 1, 0));
}

#[tokio::test]
async fn what_the_other_left_unfinished_is_accounted_for() {
    let fixture = Fixture::new();
    let before = fixture.log();
    let after = fixture.join(&before).await;
    assert!(hit(&after, "b").await);

    // It was killed in the middle of a write.
    let mut log = std::fs::OpenOptions::new().append(true).open(fixture.path("log")).unwrap();
    std::io::Write::write_all(&mut log, b"{\"time\":\"2026").unwrap();
    assert!(hit(&after, "b").await && hit(&before, "a").await);
    after.stop().await;

    assert_eq!(fixture.whole().notes.found.len(), 1);
}

/// Each in a file of its own, they would make two chains of one.
#[tokio::test]
async fn the_log_is_not_rotated_while_two_write_to_it() {
    let fixture = Fixture::new();
    let before = fixture.log();
    let after = fixture.join(&before).await;
    assert!(hit(&after, "b").await);
    std::fs::rename(fixture.path("log"), fixture.path("old")).unwrap();
    before.reopen();
    after.reopen();
    assert!(hit(&before, "a").await && hit(&after, "b").await);
    assert!(!fixture.path("log").exists());

    before.stop().await;
    drop(before);
    after.alone();
    assert!(hit(&after, "b").await);
    after.stop().await;
    let logs = ["old", "log"].map(|name| std::fs::read(fixture.path(name)).unwrap());
    let mut verifier = Verifier::default();
    for log in &logs {
        verifier.read("log", log.as_slice()).unwrap();
    }
    let report = verifier.finish();
    assert!(report.whole(), "{}", report.problems);
    assert_eq!(report.answers, 4);
}

#[tokio::test]
async fn what_is_no_file_is_not_shared() {
    let fixture = Fixture::new();
    let full = fixture.start(file(PathBuf::from("/dev/full")), true).unwrap();

    assert!(full.share().await.is_none());
}
