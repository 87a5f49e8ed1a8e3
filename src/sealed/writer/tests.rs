use std::fs;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::AtomicUsize;

use tempfile::TempDir;

use super::*;
use crate::clock::Clock;
use crate::sealed::{Directory, Hidden, Key, Written};

/// A writer whose content names a number, and what has become of it.
struct Bench {
    place: TempDir,
    sealed: Arc<Sealed>,
    state: Arc<State>,
    writer: Writer,
}

#[derive(Default)]
struct State {
    number: AtomicUsize,
    collected: AtomicUsize,
    wrote: Mutex<Vec<bool>>,
    /// Taken while it is collected: a test that holds it holds up the write.
    hold: Mutex<()>,
}

impl Bench {
    fn new() -> Self {
        let place = tempfile::tempdir().unwrap();
        let directory = Directory::open(place.path()).unwrap();
        let key = Key::from_transit(&[7; 32], "vault:v1:abc").unwrap();
        let sealed = Arc::new(Sealed::new(directory, key));
        let state = Arc::<State>::default();
        let (collected, told) = (Arc::clone(&state), Arc::clone(&state));
        let collect = move || {
            collected.collected.fetch_add(1, Ordering::SeqCst);
            let number = collected.number.load(Ordering::SeqCst);
            drop(collected.hold.lock().unwrap());
            content(number)
        };
        let wrote = move |wrote: Option<u64>| {
            told.wrote.lock().unwrap().push(wrote.is_some_and(|bytes| bytes > 100));
        };
        let writer = Writer::start(Arc::clone(&sealed), collect, wrote);
        Self { place, sealed, state, writer }
    }

    fn set(&self, number: usize) {
        self.state.number.store(number, Ordering::SeqCst);
    }

    fn collected(&self) -> usize {
        self.state.collected.load(Ordering::SeqCst)
    }

    fn on_disk(&self) -> usize {
        let content = Content::of_json(&self.sealed.load().unwrap()).unwrap();
        content.cluster.unwrap().parse().unwrap()
    }

    /// In the place of the next file, what keeps it from being written.
    fn obstacle(&self) -> impl AsRef<Path> {
        self.place.path().join("store.sealed.next")
    }
}

fn content(number: usize) -> Content {
    let written = Written::at(&Clock::manual().moment());
    Content {
        addresses: vec!["http://127.0.0.1:8200".into()],
        written,
        cluster: Some(number.to_string()),
        fingerprint_key: Hidden::copy(b"key"),
        leases: Vec::new(),
        logins: Vec::new(),
        badges: Vec::new(),
        identities: Vec::new(),
        mounts: Vec::new(),
        entries: Vec::new(),
        intents: Vec::new(),
    }
}

async fn until(done: impl Fn() -> bool) {
    let done = async {
        while !done() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), done).await.unwrap();
}

#[tokio::test]
async fn what_was_committed_is_on_disk() {
    let bench = Bench::new();

    for number in 1..=20 {
        bench.set(number);
        assert!(bench.writer.commit().await);
        assert_eq!(bench.on_disk(), number);
    }
    assert_eq!(bench.collected(), 20);
}

#[tokio::test]
#[expect(clippy::await_holding_lock, reason = "it is what holds up the write")]
async fn many_who_wait_share_a_write_that_began_after_they_came() {
    let bench = Bench::new();
    let held = bench.state.hold.lock().unwrap();
    bench.set(1);
    let first = bench.writer.commit();
    let (mut first, mut others) = (Box::pin(first), Vec::new());
    assert!(futures_util::poll!(&mut first).is_pending());
    until(|| bench.collected() == 1).await;

    // The first write has collected: what changes now is not in it.
    bench.set(2);
    for _ in 0..100 {
        let mut other = Box::pin(bench.writer.commit());
        assert!(futures_util::poll!(&mut other).is_pending());
        others.push(other);
    }
    drop(held);

    assert!(first.await);
    for other in others {
        assert!(other.await);
        assert_eq!(bench.on_disk(), 2);
    }
    assert_eq!(bench.collected(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_returns_before_the_own_change_is_on_disk() {
    let bench = Arc::new(Bench::new());
    let callers: Vec<_> = (0..8)
        .map(|_| {
            let bench = Arc::clone(&bench);
            tokio::spawn(async move {
                for _ in 0..25 {
                    let own = bench.state.number.fetch_add(1, Ordering::SeqCst) + 1;
                    assert!(bench.writer.commit().await);
                    assert!(bench.on_disk() >= own);
                }
            })
        })
        .collect();

    for caller in callers {
        caller.await.unwrap();
    }
    assert!(bench.collected() < 200, "{} writes for 200 commits", bench.collected());
}

#[tokio::test(start_paused = true)]
async fn what_may_wait_is_written_once_within_a_second() {
    let bench = Bench::new();
    let began = tokio::time::Instant::now();

    for number in 1..=50 {
        bench.set(number);
        bench.writer.soon();
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(bench.collected(), 0);
    until(|| !bench.state.wrote.lock().unwrap().is_empty()).await;

    assert_eq!((bench.on_disk(), bench.collected()), (50, 1));
    assert!(began.elapsed() < Duration::from_millis(1100), "{:?}", began.elapsed());
    tokio::time::sleep(Duration::from_mins(1)).await;
    assert_eq!(bench.collected(), 1);
}

#[tokio::test]
async fn the_last_write_has_what_was_to_wait() {
    let bench = Bench::new();
    bench.set(1);
    bench.writer.soon();

    assert!(bench.writer.stop().await);

    assert_eq!((bench.on_disk(), bench.collected()), (1, 1));
    assert!(!bench.writer.commit().await);
    assert!(!bench.writer.stop().await);
}

#[tokio::test(start_paused = true)]
async fn a_disk_that_fails_is_tried_again() {
    let bench = Bench::new();
    fs::create_dir(bench.obstacle()).unwrap();
    bench.set(1);

    assert!(!bench.writer.commit().await);
    assert!(!bench.writer.commit().await);
    fs::remove_dir(bench.obstacle()).unwrap();
    // Without being asked to.
    until(|| bench.state.wrote.lock().unwrap().last() == Some(&true)).await;

    assert_eq!(bench.on_disk(), 1);
    assert_eq!(*bench.state.wrote.lock().unwrap(), [false, false, true]);
    bench.set(2);
    assert!(bench.writer.commit().await);
}

#[tokio::test]
async fn a_panic_while_collecting_is_a_write_that_failed() {
    let place = tempfile::tempdir().unwrap();
    let directory = Directory::open(place.path()).unwrap();
    let key = Key::from_transit(&[7; 32], "vault:v1:abc").unwrap();
    let sealed = Arc::new(Sealed::new(directory, key));
    let first = AtomicBool::new(true);
    let collect = move || {
        assert!(!first.swap(false, Ordering::SeqCst), "once");
        content(2)
    };
    let writer = Writer::start(Arc::clone(&sealed), collect, |_| ());

    assert!(!writer.commit().await);
    assert!(writer.commit().await);
}
