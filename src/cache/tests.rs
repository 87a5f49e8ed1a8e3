use bytes::Bytes;
use hyper::StatusCode;
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderValue};

use super::entry::Life;
use super::*;
use crate::error::Trouble;
use crate::identity::Class;
use crate::kv::answer::Answer;

const SECOND: Duration = Duration::from_secs(1);

struct World {
    store: Store,
    clock: Clock,
}

impl World {
    fn new() -> Self {
        let (clock, metrics) = (Clock::manual(), Arc::new(Metrics::new().unwrap()));
        Self { store: Store::new(1 << 20, clock.clone(), metrics), clock }
    }

    fn entry(&self, path: &str, body: &str) -> Arc<Entry> {
        let now = self.clock.now();
        let life = Life {
            refresh: now.plus(48 * SECOND),
            fresh: now.plus(60 * SECOND),
            stale_if_error: now.plus(3660 * SECOND),
            stale_if_sealed: now.plus(60 * SECOND),
            end: Time::NEVER,
        };
        let (status, headers) = (StatusCode::OK, self.store.share(HeaderMap::new()));
        let answer = Answer { status, headers, body: Bytes::copy_from_slice(body.as_bytes()) };
        Arc::new(Entry::new(answer, (now, now), life, self.store.stamp(path), None))
    }

    fn key(path: &str, version: Option<u32>) -> KeyRef<'_> {
        KeyRef { path, namespace: 0, version, scope: Scope::All }
    }
}

fn class(name: &str) -> Class {
    Class::for_tests(name)
}

#[test]
fn everything_that_can_change_the_answer_is_in_the_key() {
    let world = World::new();
    world.store.put(World::key("kv/data/a", None).to_key(), &world.entry("kv/data/a", "1"));

    assert!(world.store.get(World::key("kv/data/a", None)).is_some());
    assert!(world.store.get(World::key("kv/data/a", Some(1))).is_none());
    assert!(world.store.get(World::key("kv/data/b", None)).is_none());
    let in_namespace = KeyRef { namespace: 3, ..World::key("kv/data/a", None) };
    assert!(world.store.get(in_namespace).is_none());
    let of_class = KeyRef { scope: Scope::Class(class("reader")), ..World::key("kv/data/a", None) };
    assert!(world.store.get(of_class).is_none());
}

#[test]
fn forgetting_a_path_forgets_all_its_versions_and_no_other() {
    let world = World::new();
    for (path, version) in [("kv/data/a", None), ("kv/data/a", Some(1)), ("kv/data/b", None)] {
        world.store.put(World::key(path, version).to_key(), &world.entry(path, "1"));
    }

    world.store.forget("kv/data/a");

    assert!(world.store.get(World::key("kv/data/a", None)).is_none());
    assert!(world.store.get(World::key("kv/data/a", Some(1))).is_none());
    assert!(world.store.get(World::key("kv/data/b", None)).is_some());
    world.store.forget_all();
    assert!(world.store.get(World::key("kv/data/b", None)).is_none());
}

/// The fence: however late it is stored, what was read before a write is never served after it.
#[test]
fn a_fill_that_began_before_a_write_is_not_served() {
    let world = World::new();
    let read_before = world.entry("kv/data/a", "old");

    world.store.forget("kv/data/a");
    assert!(!world.store.current(read_before.stamp));
    world.store.put(World::key("kv/data/a", None).to_key(), &read_before);

    assert!(world.store.get(World::key("kv/data/a", None)).is_none());
}

#[test]
fn proofs_are_of_a_class_and_outlive_the_answer_they_came_with() {
    let world = World::new();
    let key = World::key("kv/data/a", None);
    let (first, began) = (world.entry("kv/data/a", "1"), world.clock.now());
    first.prove(class("reader"), began);
    first.prove(class("writer"), began);
    world.store.put(key.to_key(), &first);

    world.clock.advance(10 * SECOND);
    let second = world.entry("kv/data/a", "2");
    second.prove(class("reader"), world.clock.now());
    world.store.put(key.to_key(), &second);

    let entry = world.store.get(key).unwrap();
    assert_eq!(entry.proven(class("reader")), Some(world.clock.now()));
    assert_eq!(entry.proven(class("writer")), Some(began));
    assert_eq!(entry.proven(class("nobody")), None);
    entry.disprove(class("writer"));
    assert_eq!(entry.proven(class("writer")), None);
}

#[test]
fn proofs_do_not_outlive_a_write() {
    let world = World::new();
    let key = World::key("kv/data/a", None);
    let first = world.entry("kv/data/a", "1");
    first.prove(class("writer"), world.clock.now());
    world.store.put(key.to_key(), &first);

    world.store.forget("kv/data/a");
    world.store.put(key.to_key(), &world.entry("kv/data/a", "2"));

    assert_eq!(world.store.get(key).unwrap().proven(class("writer")), None);
}

#[test]
fn an_older_proof_never_replaces_a_newer_one() {
    let world = World::new();
    let entry = world.entry("kv/data/a", "1");
    let early = world.clock.now();
    world.clock.advance(SECOND);

    entry.prove(class("reader"), world.clock.now());
    entry.prove(class("reader"), early);

    assert_eq!(entry.proven(class("reader")), Some(world.clock.now()));
}

#[test]
fn each_trouble_has_its_own_end_and_none_outlasts_the_secrets() {
    let world = World::new();
    let mut entry = Arc::into_inner(world.entry("kv/data/a", "1")).unwrap();
    let left = |entry: &Entry, trouble| entry.life.until(trouble).since(world.clock.now());

    assert_eq!(left(&entry, None), 60 * SECOND);
    assert_eq!(left(&entry, Some(Trouble::Failing)), 3660 * SECOND);
    assert_eq!(left(&entry, Some(Trouble::Sealed)), 60 * SECOND);
    assert_eq!(entry.life.grace(Trouble::Failing), 3600 * SECOND);
    assert_eq!(entry.life.grace(Trouble::Sealed), Duration::ZERO);
    entry.life.end = world.clock.now().plus(3 * SECOND);
    for trouble in [None, Some(Trouble::Failing), Some(Trouble::Sealed)] {
        assert_eq!(left(&entry, trouble), 3 * SECOND);
    }
}

#[test]
fn one_caller_refreshes_and_the_next_may_after_it_failed() {
    let entry = World::new().entry("kv/data/a", "1");

    assert!(entry.claim_refresh());
    assert!(!entry.claim_refresh());
    entry.release_refresh();
    assert!(entry.claim_refresh());
}

#[test]
fn the_store_keeps_within_its_bytes() {
    let world = World::new();
    for n in 0..5_000 {
        let path = format!("kv/data/{n}");
        world.store.put(World::key(&path, None).to_key(), &world.entry(&path, "1"));
    }

    world.store.tidy();

    let (entries, bytes) = world.store.size();
    assert!(bytes <= 1 << 20, "{bytes} bytes");
    assert!(entries > 500, "{entries} entries");
}

#[test]
fn an_answer_that_was_asked_for_earlier_replaces_none_asked_for_later() {
    let world = World::new();
    let key = || World::key("kv/data/a", None);
    let slow = world.entry("kv/data/a", "old");
    slow.prove(class("reader"), slow.asked);
    world.clock.advance(SECOND);
    let quick = world.entry("kv/data/a", "new");

    world.store.put(key().to_key(), &quick);
    world.store.put(key().to_key(), &slow);

    let kept = world.store.get(key()).unwrap();
    assert_eq!(kept.answer.body, "new");
    assert_eq!(kept.proven(class("reader")), Some(slow.asked), "what it proves, it proves");
}

/// Two requests that were on their way at once: which of them the upstream answered first, only
/// what they show can tell.
#[test]
fn of_two_answers_that_overlap_the_newer_one_stays_or_neither() {
    let version = |version: u32, value: &str| {
        format!(
            r#"{{"request_id":"{value}{version}","data":{{"data":{{"v":"{value}"}},"metadata":{{"version":{version}}}}}}}"#
        )
    };
    let plain = |value: &str| format!(r#"{{"request_id":"1","data":{{"v":"{value}"}}}}"#);
    for (first, last, kept) in [
        (version(2, "b"), version(1, "a"), Some(version(2, "b"))),
        (version(1, "a"), version(2, "b"), Some(version(2, "b"))),
        // Deleted, or brought back: nobody can say.
        (version(1, "a"), version(1, ""), None),
        (plain("a"), plain("b"), None),
        (plain("a"), plain("a"), Some(plain("a"))),
        (plain("a"), "{}".to_owned(), None),
    ] {
        let world = World::new();
        let key = || World::key("kv/data/a", None);
        let (early, late) = (world.clock.now(), world.clock.now().plus(SECOND));
        let entry = |body: &str| {
            let mut entry = world.entry("kv/data/a", body);
            let times = Arc::get_mut(&mut entry).unwrap();
            (times.asked, times.answered) = (early, late);
            entry
        };

        world.store.put(key().to_key(), &entry(&first));
        world.store.put(key().to_key(), &entry(&last));

        let body = world.store.get(key()).map(|entry| entry.answer.body.clone());
        assert_eq!(body.as_deref(), kept.as_deref().map(str::as_bytes), "{first} {last}");
    }
}

#[test]
fn entries_share_headers_that_are_the_same_for_as_long_as_one_has_them() {
    let world = World::new();
    let headers = |value: &'static str| {
        HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(value))])
    };

    let one = world.store.share(headers("application/json"));
    let same = world.store.share(headers("application/json"));
    let other = world.store.share(headers("text/plain"));

    assert!(Arc::ptr_eq(&one, &same) && !Arc::ptr_eq(&one, &other));
    let gone = Arc::downgrade(&other);
    drop(other);
    assert!(gone.upgrade().is_none(), "the store keeps no headers alive");
}
