//! What is kept: entries by key, bounded in bytes.
//!
//! moka is the store and nothing else: it counts bytes and evicts. How long an entry is good, for
//! whom, and who fetches it are decided in `entry`, `kv` and `flight` (docs/decisions/0002).

use std::cmp::Ordering;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use equivalent::Equivalent;
use foldhash::quality::RandomState;
use hyper::HeaderMap;
use moka::notification::RemovalCause;

use crate::clock::{Clock, Time};
use crate::identity::Class;
use crate::metrics::{Cause, Metrics};
use crate::sealed::{Changes, Writer};
use crate::secret::Fingerprint;
use crate::twin::{Link, News, Twin};

pub mod effect;
pub mod entry;
pub mod generations;
mod stored;

use entry::Entry;
use generations::{Generations, Stamp};

/// What an entry is found by: everything about a cacheable request that can change the answer.
#[derive(Clone, Debug)]
pub struct Key {
    path: Box<str>,
    namespace: usize,
    /// `None`, as nearly always: no version, [`Scope::All`]. They take twice as much as the rest.
    narrower: Option<Box<(Option<u32>, Scope)>>,
}

/// For whom an answer is the answer.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Scope {
    /// Everyone who may have it.
    All,
    /// This caller, whose rights class is not known yet.
    Caller(Fingerprint),
    /// A rights class.
    Class(Class),
}

/// A [`Key`] that owns nothing, for looking up. The owned one hashes and compares as this one.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct KeyRef<'a> {
    /// Namespace and path, as policies see them.
    pub path: &'a str,
    /// How many bytes of it came as a namespace: the server refuses one that does not exist, also
    /// where namespace and path together spell the path of a secret.
    pub namespace: usize,
    /// The version asked for.
    pub version: Option<u32>,
    /// For whom.
    pub scope: Scope,
}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.to_ref().hash(state);
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.to_ref() == other.to_ref()
    }
}

impl Eq for Key {}

impl Equivalent<Key> for KeyRef<'_> {
    fn equivalent(&self, key: &Key) -> bool {
        *self == key.to_ref()
    }
}

impl KeyRef<'_> {
    /// The same, owned.
    pub fn to_key(self) -> Key {
        let Self { path, namespace, version, scope } = self;
        let widest = version.is_none() && scope == Scope::All;
        let narrower = (!widest).then(|| Box::new((version, scope)));
        Key { path: path.into(), namespace, narrower }
    }
}

impl Key {
    /// Namespace and path.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The same, borrowed.
    pub fn to_ref(&self) -> KeyRef<'_> {
        let Self { path, namespace, narrower } = self;
        let (version, scope) = narrower.as_deref().copied().unwrap_or((None, Scope::All));
        KeyRef { path, namespace: *namespace, version, scope }
    }
}

/// The entries.
#[derive(Debug)]
pub struct Store {
    entries: moka::sync::Cache<Key, Arc<Entry>, RandomState>,
    /// Headers that entries share.
    headers: Mutex<Vec<Weak<HeaderMap>>>,
    generations: Generations,
    changes: Changes,
    twin: Twin,
    metrics: Arc<Metrics>,
}

/// Kinds of headers that are shared. An upstream whose every answer has others shares none.
const MOST_HEADERS: usize = 32;

/// What an entry takes beside its body and its path, as `make bench-memory` measures it for bodies
/// of 1 KiB: itself, moka's nodes, and that allocations are rounded up.
const OVERHEAD: usize = 768;

impl Store {
    /// Holds at most `max_bytes`, keys and bookkeeping included.
    pub fn new(max_bytes: u64, clock: Clock, metrics: Arc<Metrics>) -> Self {
        let counted = Arc::clone(&metrics);
        let entries = moka::sync::Cache::builder()
            .max_capacity(max_bytes)
            .weigher(|key: &Key, entry: &Arc<Entry>| {
                let bytes = OVERHEAD + key.path.len() + entry.answer.bytes();
                u32::try_from(bytes).unwrap_or(u32::MAX)
            })
            .expire_after(Usefulness(clock))
            .eviction_listener(move |_, _, cause| match cause {
                RemovalCause::Expired => counted.evicted(Cause::Expired),
                RemovalCause::Explicit => counted.evicted(Cause::Invalidated),
                RemovalCause::Size => counted.evicted(Cause::Size),
                RemovalCause::Replaced => (),
            })
            // As the other tables have: keyed anew in each process, and a third of SipHash's cost.
            .build_with_hasher(RandomState::default());
        let (headers, generations, changes, twin) = Default::default();
        Self { entries, headers, generations, changes, twin, metrics }
    }

    /// These headers, as other entries have them where any do: a map of its own would take half as
    /// much again as a small secret.
    pub fn share(&self, headers: HeaderMap) -> Arc<HeaderMap> {
        let mut known = self.headers.lock().unwrap_or_else(PoisonError::into_inner);
        let same = known.iter().filter_map(Weak::upgrade).find(|other| **other == headers);
        same.unwrap_or_else(|| {
            let shared = Arc::new(headers);
            known.retain(|other| other.strong_count() > 0);
            if known.len() < MOST_HEADERS {
                known.push(Arc::downgrade(&shared));
            }
            shared
        })
    }

    /// Has `writer` make them outlive the process, from now on.
    pub fn kept_by(&self, writer: &Arc<Writer>) {
        self.changes.kept_by(writer);
    }

    /// The entry under `key`, if nothing has changed there since it was read.
    pub fn get(&self, key: KeyRef<'_>) -> Option<Arc<Entry>> {
        let entry = self.entries.get(&key)?;
        self.generations.current(entry.stamp).then_some(entry)
    }

    /// To be taken before a request leaves whose answer may be stored.
    pub fn stamp(&self, path: &str) -> Stamp {
        self.generations.stamp(path)
    }

    /// Whether an answer read under `stamp` is still worth storing.
    pub fn current(&self, stamp: Stamp) -> bool {
        self.generations.current(stamp)
    }

    /// Stores an entry, with the proofs of the one it replaces; if that is the newer one, it stays,
    /// with the proofs of this one. Two of which nobody can say which is newer both go: somebody may
    /// have been shown the newer one, and is not to be shown the older one after it.
    pub fn put(&self, key: Key, entry: &Arc<Entry>) {
        if let Some(other) = self.get(key.to_ref()) {
            match entry.order(&other) {
                Some(Ordering::Equal | Ordering::Greater) => entry.inherit(&other),
                Some(Ordering::Less) => return other.inherit(entry),
                None => {
                    self.entries.invalidate(&key.to_ref());
                    return self.changes.noted();
                }
            }
        }
        self.entries.insert(key, Arc::clone(entry));
        self.changes.noted();
    }

    /// Has the other process at `link` told of what is forgotten here, or nobody any more.
    pub fn told_to(&self, link: Option<&Arc<Link>>) {
        link.map_or_else(|| self.twin.part(), |link| self.twin.join(link));
    }

    /// Returns once the other process, if there is one, has forgotten it too.
    pub async fn forgotten_everywhere(&self) {
        self.twin.heard().await;
    }

    /// Forgets what is known at `path`, in all its versions, however its namespace was written.
    pub fn forget(&self, path: &str) {
        self.heed_path(path);
        self.twin.tell(|| News::Path(path.to_owned()));
    }

    /// Something was written below a mount that is not known here, so that nothing is held of it.
    /// The other process may know it, and hold some.
    pub fn tell_unplaced(&self) {
        self.twin.tell(|| News::Secrets);
    }

    /// Forgets everything.
    pub fn forget_all(&self) {
        self.heed_all();
        self.twin.tell(|| News::Secrets);
    }

    /// Withdraws the proofs of some rights classes, everywhere.
    pub fn disprove(&self, classes: &[Class]) {
        self.heed_classes(classes);
        self.twin.tell(|| News::Classes(classes.iter().map(|class| class.to_bytes()).collect()));
    }

    /// The upstream has refused a read to a caller of `class`: nothing is proven of it any more,
    /// there either.
    pub(crate) fn tell_refusal(&self, class: Class) {
        self.twin.tell(|| News::Classes(vec![class.to_bytes()]));
    }

    /// Takes in what the other process has found out.
    pub fn heed(&self, news: &News) {
        match news {
            News::Path(path) => self.heed_path(path),
            News::Secrets => self.heed_all(),
            News::Classes(classes) => {
                let classes: Vec<_> = classes.iter().copied().map(Class::of_bytes).collect();
                self.heed_classes(&classes);
            }
            _ => (),
        }
    }

    fn heed_path(&self, path: &str) {
        self.generations.raise(path);
        self.changes.noted();
        // The likeliest entry's bytes go now; the others' when they expire. None is served again.
        let likeliest = KeyRef { path, namespace: 0, version: None, scope: Scope::All };
        self.entries.invalidate(&likeliest);
    }

    fn heed_all(&self) {
        self.generations.raise_all();
        self.changes.noted();
        self.entries.invalidate_all();
    }

    fn heed_classes(&self, classes: &[Class]) {
        for (_, entry) in &self.entries {
            for class in classes {
                entry.disprove(*class);
            }
        }
        self.changes.noted();
    }

    /// Drops what has expired and refreshes the gauges. moka does neither by itself, and what it
    /// holds on to are secrets: to be called every second.
    pub fn tidy(&self) {
        self.entries.run_pending_tasks();
        self.metrics.cache_size(self.entries.entry_count(), self.entries.weighted_size());
    }

    /// Entries and bytes held, as of the last [`tidy`](Self::tidy).
    pub fn size(&self) -> (u64, u64) {
        (self.entries.entry_count(), self.entries.weighted_size())
    }
}

/// Tells moka when an entry is of no more use to anyone, so that its memory goes.
struct Usefulness(Clock);

impl Usefulness {
    fn left(&self, entry: &Entry) -> Option<Duration> {
        let last = entry.life.stale_if_error.max(entry.life.stale_if_sealed).min(entry.life.end);
        (last < Time::NEVER).then(|| last.since(self.0.now()))
    }
}

impl moka::Expiry<Key, Arc<Entry>> for Usefulness {
    #[expect(clippy::disallowed_types, reason = "moka's own clock, for moka's own housekeeping")]
    fn expire_after_create(
        &self,
        _: &Key,
        entry: &Arc<Entry>,
        _: std::time::Instant,
    ) -> Option<Duration> {
        self.left(entry)
    }

    #[expect(clippy::disallowed_types, reason = "moka's own clock, for moka's own housekeeping")]
    fn expire_after_update(
        &self,
        _: &Key,
        entry: &Arc<Entry>,
        _: std::time::Instant,
        _: Option<Duration>,
    ) -> Option<Duration> {
        self.left(entry)
    }
}

#[cfg(test)]
mod tests;
