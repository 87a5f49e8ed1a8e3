//! Entries as they outlive the process, with what the upstream has shown about who may have them.

use std::sync::Arc;

use hyper::StatusCode;

use super::entry::{Entry, Life};
use super::{Key, KeyRef, Scope, Store};
use crate::clock::{Moment, Time};
use crate::identity::Class;
use crate::kv::answer::Answer;
use crate::sealed::content::{StoredAnswer, StoredEntry, StoredProof, StoredScope};
use crate::sealed::{At, Times};
use crate::tenant::Charge;

/// All that is kept is written at once, and before a credential is handed out: what would take long
/// stays behind.
const MOST_BYTES: usize = 16 * 1024 * 1024;

impl Store {
    /// Those that are good for something still, as far as there is room for them on a disk.
    pub fn stored(&self, now: &Moment) -> Vec<StoredEntry> {
        self.stored_within(MOST_BYTES, now)
    }

    /// All of them, for a process that hears of whatever becomes untrue from now on.
    pub fn live(&self, now: &Moment) -> Vec<StoredEntry> {
        self.stored_within(usize::MAX, now)
    }

    fn stored_within(&self, mut room: usize, now: &Moment) -> Vec<StoredEntry> {
        let current =
            self.entries.iter().filter(|(_, entry)| self.generations.current(entry.stamp));
        let fitting = current.take_while(|(_, entry)| {
            let left = room.checked_sub(entry.answer.bytes_alone());
            room = left.unwrap_or_default();
            left.is_some()
        });
        fitting.map(|(key, entry)| entry.stored(&key, now)).collect()
    }

    /// Takes one in again, on the account that `charge` is on; `None`: it is of no more use.
    pub fn restore(&self, stored: StoredEntry, charge: Charge, times: &Times) -> Option<()> {
        // It may have been written to since it was put down: it is read again before it is served,
        // if the upstream can be asked; and if not, no longer than it would have been.
        self.take_in(stored, charge, times, |asked, life| {
            let ttl = life.fresh.since(asked);
            Life {
                refresh: Time::NEVER,
                fresh: asked,
                stale_if_error: life.stale_if_error.minus(ttl),
                stale_if_sealed: life.stale_if_sealed.minus(ttl),
                end: life.end,
            }
        })
    }

    /// Takes one over from a process that tells of whatever becomes untrue: good for as long as it
    /// was there.
    pub fn adopt(&self, stored: StoredEntry, charge: Charge, times: &Times) -> Option<()> {
        self.take_in(stored, charge, times, |_, life| life)
    }

    fn take_in(
        &self,
        stored: StoredEntry,
        charge: Charge,
        times: &Times,
        cut: impl FnOnce(Time, Life) -> Life,
    ) -> Option<()> {
        let end = |at| times.end(at);
        let answer = Answer {
            status: StatusCode::from_u16(stored.answer.status).ok()?,
            headers: self.share(stored.answer.headers()?),
            body: stored.answer.body.into_body(),
        };
        let life = Life {
            refresh: end(stored.refresh),
            fresh: end(stored.fresh),
            stale_if_error: end(stored.stale_if_error),
            stale_if_sealed: end(stored.stale_if_sealed),
            end: end(stored.end),
        };
        let scope = match stored.scope {
            StoredScope::All => Scope::All,
            StoredScope::Caller(own) => Scope::Caller(own),
            StoredScope::Class(class) => Scope::Class(Class::of_bytes(class)),
        };
        let key = KeyRef {
            path: &stored.path,
            namespace: stored.namespace,
            version: stored.version,
            scope,
        };
        let asked = times.past(stored.asked).unwrap_or(Time::LONG_AGO);
        let span = (asked, times.past(stored.answered).unwrap_or(asked));
        let life = cut(asked, life);
        let entry = Entry::new(answer, span, life, self.stamp(&stored.path), Some(charge));
        for StoredProof { class, at } in stored.proofs {
            if let Some(at) = times.past(at) {
                entry.prove(Class::of_bytes(class), at);
            }
        }
        self.put(key.to_key(), &Arc::new(entry));
        Some(())
    }
}

impl Entry {
    fn stored(&self, key: &Key, now: &Moment) -> StoredEntry {
        let at = |time| At::of(time, now);
        let KeyRef { path, namespace, version, scope } = key.to_ref();
        StoredEntry {
            path: path.to_string(),
            namespace,
            version,
            scope: match scope {
                Scope::All => StoredScope::All,
                Scope::Caller(own) => StoredScope::Caller(own),
                Scope::Class(class) => StoredScope::Class(class.to_bytes()),
            },
            answer: StoredAnswer::of(self.answer.status, &self.answer.headers, &self.answer.body),
            asked: at(self.asked),
            answered: at(self.answered),
            refresh: at(self.life.refresh),
            fresh: at(self.life.fresh),
            stale_if_error: at(self.life.stale_if_error),
            stale_if_sealed: at(self.life.stale_if_sealed),
            end: at(self.life.end),
            proofs: (self.proofs().into_iter())
                .map(|(class, time)| StoredProof { class: class.to_bytes(), at: at(time) })
                .collect(),
        }
    }
}
