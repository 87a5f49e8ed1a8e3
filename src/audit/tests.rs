use std::io::Read as _;
use std::net::SocketAddr;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use hyper::{Method, StatusCode};
use serde_json::Value;

use super::*;
use crate::config::{AuditPaths, AuditSink};
use crate::metrics::{Outcome, Route};

mod sinks;
mod turns;

/// A hit on `path`, of a caller of whom little is known.
pub(super) fn sample(path: &[u8]) -> Record<'_> {
    Record {
        operation: "read",
        method: &Method::GET,
        namespace: "",
        path,
        query: b"",
        remote: Some(SocketAddr::from(([192, 0, 2, 7], 35990))),
        credential: CredentialKind::VaultToken,
        login: Login::default(),
        service_account: None,
        allowed: true,
        policy: None,
        route: Route::KvRead,
        outcome: Outcome::Hit,
        age: None,
        status: StatusCode::OK,
        error: None,
        request_id: None,
    }
}

/// Shows paths as they are.
pub(super) fn plain() -> Encoder {
    Encoder::new(AuditPaths::Plain, Digester::new(None).unwrap())
}

/// The line of a hit on `path`, without its place.
pub(super) fn unplaced(path: &str) -> Vec<u8> {
    plain().line(&sample(path.as_bytes()), SystemTime::UNIX_EPOCH)
}

/// What a log is found to be.
pub(super) fn verify(log: &[u8]) -> Report {
    let mut verifier = Verifier::default();
    verifier.read("log", log).unwrap();
    verifier.finish()
}

struct Fixture {
    directory: tempfile::TempDir,
    metrics: Arc<Metrics>,
}

impl Fixture {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        Self { directory, metrics: Arc::new(Metrics::new().unwrap()) }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn start(&self, sink: AuditSink, fail_open: bool) -> Result<Audit, BoxError> {
        let config = config::Audit { sink, paths: AuditPaths::Plain, key_file: None, fail_open };
        Audit::start(&config, Clock::default(), Arc::clone(&self.metrics))
    }

    /// To the file `log`.
    fn log(&self) -> Audit {
        self.start(file(self.path("log")), false).unwrap()
    }

    fn counted(&self, result: &str, count: u64) -> bool {
        let series = format!("vaultlet_audit_events_total{{result=\"{result}\"}} {count}\n");
        self.metrics.render().unwrap().contains(&series)
    }
}

fn file(path: PathBuf) -> AuditSink {
    AuditSink::File { path, mode: 0o600 }
}

async fn hit(audit: &Audit, path: &str) -> bool {
    match audit.record(&sample(path.as_bytes())).await {
        Ok(()) => true,
        Err(Error::Unaudited) => false,
        Err(other) => panic!("{other}"),
    }
}

/// Tries until the sink takes it.
async fn hit_at_last(audit: &Audit, path: &str) {
    for _ in 0..5000 {
        if hit(audit, path).await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    panic!("{path} is never accepted");
}

/// What the lines say: kinds, and paths for answers.
fn told(log: &[u8]) -> Vec<String> {
    let lines = log.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    lines
        .map(|line| {
            let line: Value = serde_json::from_slice(line).unwrap();
            let path = line["request"]["path"].as_str();
            path.or(line["type"].as_str()).unwrap().to_owned()
        })
        .collect()
}

fn read(path: &Path) -> Vec<u8> {
    std::fs::read(path).unwrap()
}

#[tokio::test]
async fn a_record_is_in_the_file_when_it_is_accepted() {
    let fixture = Fixture::new();
    let audit = fixture.log();

    assert!(hit(&audit, "a").await);
    assert_eq!(told(&read(&fixture.path("log"))), ["start", "a"]);
    audit.stop().await;

    let log = read(&fixture.path("log"));
    assert_eq!(told(&log), ["start", "a", "stop"]);
    let report = verify(&log);
    assert!(report.whole() && report.notes.found.is_empty(), "{report:?}");
    assert!(fixture.counted("written", 1));
    assert!(!hit(&audit, "b").await, "what comes after the last line is not accepted");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_records_of_fifty_tasks_make_one_chain() {
    let fixture = Fixture::new();
    let audit = Arc::new(fixture.log());

    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..50 {
        let audit = Arc::clone(&audit);
        tasks.spawn(async move {
            for n in 0..200 {
                assert!(hit(&audit, &format!("{task}/{n}")).await);
            }
        });
    }
    tasks.join_all().await;
    audit.stop().await;

    let log = read(&fixture.path("log"));
    let report = verify(&log);
    assert!(report.whole(), "{}", report.problems);
    assert_eq!(report.answers, 10_000);
    let mut paths: Vec<_> = told(&log).into_iter().filter(|path| path.contains('/')).collect();
    paths.sort_unstable();
    paths.dedup();
    assert_eq!(paths.len(), 10_000);
}

#[tokio::test]
async fn a_restart_continues_the_chain() {
    let fixture = Fixture::new();
    for path in ["a", "b"] {
        let audit = fixture.log();
        assert!(hit(&audit, path).await);
        audit.stop().await;
        drop(audit);
        unlocked(&fixture.path("log"));
    }

    let log = read(&fixture.path("log"));

    assert_eq!(told(&log), ["start", "a", "stop", "start", "b", "stop"]);
    let report = verify(&log);
    assert!(report.whole() && report.notes.found.is_empty(), "{report:?}");
}

#[tokio::test]
async fn a_line_that_a_crash_cut_is_told_from_one_that_is_missing() {
    let fixture = Fixture::new();
    let audit = fixture.log();
    assert!(hit(&audit, "a").await && hit(&audit, "b").await);
    // A process that is killed stops without a word.
    drop(audit);
    unlocked(&fixture.path("log"));
    let whole = read(&fixture.path("log"));
    let second =
        whole.len() - whole.split_inclusive(|byte| *byte == b'\n').next_back().unwrap().len();

    for end in second + 1..whole.len() {
        std::fs::write(fixture.path("log"), &whole[..end]).unwrap();
        let cut = verify(&whole[..end]);
        let audit = fixture.log();
        assert!(hit(&audit, "c").await);
        drop(audit);
        unlocked(&fixture.path("log"));

        let report = verify(&read(&fixture.path("log")));

        assert!(report.whole(), "{end}: {}", report.problems);
        let notes = report.notes.to_string();
        assert!(notes.contains("did not stop as it should"), "{notes}");
        let torn = end < whole.len() - 1;
        assert_eq!(!cut.whole(), torn, "{cut:?}");
        assert_eq!(notes.contains("of a record that was never finished"), torn, "{end}: {notes}");
        assert_eq!(report.answers, 3 - u64::from(torn));
    }
}

/// Waits for the thread of an audit log that was dropped to let go of its file.
fn unlocked(path: &Path) {
    let file = File::open(path).unwrap();
    file.lock().unwrap();
}

#[tokio::test]
async fn after_a_rename_the_chain_goes_on_in_a_new_file() {
    let fixture = Fixture::new();
    let audit = fixture.log();
    assert!(hit(&audit, "a").await);

    // The file is where it was.
    audit.reopen();
    assert!(hit(&audit, "b").await);
    std::fs::rename(fixture.path("log"), fixture.path("log.1")).unwrap();
    assert!(hit(&audit, "c").await);
    audit.reopen();
    for _ in 0..5000 {
        if fixture.path("log").exists() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert!(hit(&audit, "d").await);
    audit.stop().await;

    let (old, new) = (read(&fixture.path("log.1")), read(&fixture.path("log")));
    assert_eq!(told(&old), ["start", "a", "b", "c"]);
    assert_eq!(told(&new), ["rotate", "d", "stop"]);
    assert!(verify(&old).whole());
    let report = verify(&new);
    assert!(report.whole(), "{}", report.problems);
    assert!(report.notes.to_string().contains("log:1: continues another file"), "{}", report.notes);
    let mut verifier = Verifier::default();
    verifier.read("log.1", &old[..]).unwrap();
    verifier.read("log", &new[..]).unwrap();
    let report = verifier.finish();
    assert!(report.whole() && report.notes.found.is_empty(), "{report:?}");
    assert_eq!((report.answers, report.starts), (4, 1));
}

#[tokio::test]
async fn a_new_file_that_cannot_be_made_leaves_the_old_one_in_use() {
    let fixture = Fixture::new();
    std::fs::create_dir(fixture.path("d")).unwrap();
    let audit = fixture.start(file(fixture.path("d/log")), false).unwrap();
    assert!(hit(&audit, "a").await);

    std::fs::rename(fixture.path("d"), fixture.path("e")).unwrap();
    audit.reopen();
    assert!(hit(&audit, "b").await);

    assert_eq!(told(&read(&fixture.path("e/log"))), ["start", "a", "b"]);
}
