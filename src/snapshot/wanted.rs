//! Whose policies and whose identity data are worth reading: those that reads have come to.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::clock::Time;

/// More than these, one node does not read about every few seconds; the upstream is asked instead.
const MOST_SPACES: usize = 64;
const MOST_PEOPLE: usize = 512;

/// The namespaces and entities in use.
#[derive(Debug)]
pub(super) struct Wanted {
    home: Box<str>,
    used: Mutex<Used>,
}

#[derive(Debug, Default)]
struct Used {
    spaces: HashMap<Box<str>, Time>,
    /// By id, with the namespace.
    people: HashMap<Box<str>, (Box<str>, Time)>,
}

impl Wanted {
    /// Only the namespace `home`, which is always wanted.
    pub(super) fn new(home: &str) -> Self {
        Self { home: home.into(), used: Mutex::default() }
    }

    /// Notes that a login of this namespace has asked; says whether that is news.
    pub(super) fn space(&self, namespace: &str, now: Time) -> bool {
        let mut used = self.used();
        let full = used.spaces.len() >= MOST_SPACES;
        match used.spaces.get_mut(namespace) {
            Some(last) => *last = now,
            None if *namespace == *self.home || full => (),
            None => return used.spaces.insert(namespace.into(), now).is_none(),
        }
        false
    }

    /// Notes that it takes the data of this entity to decide; says whether that is news.
    pub(super) fn person(&self, entity: &str, namespace: &str, now: Time) -> bool {
        let mut used = self.used();
        let full = used.people.len() >= MOST_PEOPLE;
        match used.people.get_mut(entity) {
            Some((_, last)) => *last = now,
            None if full => (),
            None => return used.people.insert(entity.into(), (namespace.into(), now)).is_none(),
        }
        false
    }

    /// Forgets what has not been used for `idle`.
    pub(super) fn tidy(&self, now: Time, idle: Duration) {
        let mut used = self.used();
        used.spaces.retain(|_, last| now.since(*last) <= idle);
        used.people.retain(|_, (_, last)| now.since(*last) <= idle);
    }

    /// The namespaces.
    pub(super) fn spaces(&self) -> BTreeSet<Box<str>> {
        self.used().spaces.keys().cloned().chain([self.home.clone()]).collect()
    }

    /// The entities, by id, with their namespaces.
    pub(super) fn people(&self) -> BTreeMap<Box<str>, Box<str>> {
        let used = self.used();
        used.people.iter().map(|(id, (space, _))| (id.clone(), space.clone())).collect()
    }

    fn used(&self) -> MutexGuard<'_, Used> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;

    #[test]
    fn what_is_used_is_wanted_and_home_always_is() {
        let clock = Clock::manual();
        let wanted = Wanted::new("team/");
        let idle = Duration::from_secs(9);
        wanted.space("", clock.now());
        wanted.person("e1", "", clock.now());

        clock.advance(Duration::from_secs(5));
        wanted.space("ns1/", clock.now());
        clock.advance(Duration::from_secs(5));
        wanted.tidy(clock.now(), idle);

        let spaces: Vec<String> = wanted.spaces().iter().map(ToString::to_string).collect();
        assert_eq!(spaces, ["ns1/", "team/"]);
        assert!(wanted.people().is_empty());
    }

    #[test]
    fn their_number_is_bounded() {
        let wanted = Wanted::new("");
        let now = Clock::manual().now();
        for number in 0..2000 {
            wanted.space(&format!("n{number}/"), now);
            wanted.person(&format!("e{number}"), "", now);
        }

        assert_eq!((wanted.spaces().len(), wanted.people().len()), (MOST_SPACES + 1, MOST_PEOPLE));
    }
}
