//! How long answers for a path are good.

use std::time::Duration;

use crate::cache::entry::Life;
use crate::clock::Time;
use crate::config;
use crate::error::Trouble;

/// The configured lifetimes.
#[derive(Debug)]
pub struct Rules {
    kv: config::Kv,
    rules: Vec<config::Rule>,
}

impl Rules {
    /// Of a configuration.
    pub fn new(config: &config::Cache) -> Self {
        Self { kv: config.kv.clone(), rules: config.rules.clone() }
    }

    /// Whether answers for `path` may be kept at all.
    pub fn cached(&self, path: &str) -> bool {
        self.of(path).is_none_or(|rule| rule.cache)
    }

    /// Whether answers for `path` without a lease are kept to the end they name themselves.
    pub fn own_end(&self, path: &str) -> bool {
        self.of(path).is_some_and(|rule| rule.own_end)
    }

    /// How long an answer for `path` is good without being asked for again.
    pub fn ttl(&self, path: &str) -> Duration {
        self.of(path).and_then(|rule| rule.ttl).unwrap_or(self.kv.ttl)
    }

    /// How long past its window what is known for `path` is believed under `trouble`.
    pub fn grace(&self, path: &str, trouble: Trouble) -> Duration {
        let rule = self.of(path);
        let (own, default) = match trouble {
            Trouble::Failing => (rule.and_then(|it| it.stale_if_error), self.kv.stale_if_error),
            Trouble::Sealed => (rule.and_then(|it| it.stale_if_sealed), self.kv.stale_if_sealed),
        };
        own.unwrap_or(default)
    }

    /// The life of an answer for `path`, `asked` for then and read `now`: a secret, or (not
    /// `found`) that there is none. `end`: how long from now the answer itself says it is good.
    pub fn life(
        &self,
        path: &str,
        found: bool,
        asked: Time,
        now: Time,
        end: Option<Duration>,
    ) -> Life {
        let rule = self.of(path);
        let pick = |of_rule: fn(&config::Rule) -> Option<Duration>, default: Duration| {
            rule.and_then(of_rule).unwrap_or(default)
        };
        let ttl = if found {
            pick(|rule| rule.ttl, self.kv.ttl)
        } else {
            pick(|rule| rule.negative_ttl, self.kv.negative_ttl)
        };
        let fresh = asked.plus(ttl);
        // Entries stored in one burst are not to be refreshed in one.
        let jitter = 0.95 + 0.05 * fastrand::f64();
        let refresh = match self.kv.refresh_ahead {
            share if share < 1.0 && found => asked.plus(ttl.mul_f64(share * jitter)),
            _ => Time::NEVER,
        };
        Life {
            refresh,
            fresh,
            stale_if_error: fresh.plus(pick(|rule| rule.stale_if_error, self.kv.stale_if_error)),
            stale_if_sealed: fresh.plus(pick(|rule| rule.stale_if_sealed, self.kv.stale_if_sealed)),
            end: end.map_or(Time::NEVER, |end| now.plus(end)),
        }
    }

    /// The configured exception for `path`, by its place among them, and what then holds: how long
    /// an answer is fresh, a "not found" is, and how long past that either is served while the
    /// upstream fails. `None`: never kept.
    pub fn describe(&self, path: &str) -> (Option<usize>, Option<[Duration; 3]>) {
        let index = self.rules.iter().position(|rule| matches(&rule.path, path));
        let rule = self.of(path);
        let pick = |own: Option<Duration>, default| own.unwrap_or(default);
        let lifetimes = self.cached(path).then(|| {
            [
                pick(rule.and_then(|rule| rule.ttl), self.kv.ttl),
                pick(rule.and_then(|rule| rule.negative_ttl), self.kv.negative_ttl),
                pick(rule.and_then(|rule| rule.stale_if_error), self.kv.stale_if_error),
            ]
        });
        (index, lifetimes)
    }

    fn of(&self, path: &str) -> Option<&config::Rule> {
        self.rules.iter().find(|rule| matches(&rule.path, path))
    }
}

/// Vault's path globs: `+` is one segment, `*` at the end any rest.
fn matches(glob: &str, path: &str) -> bool {
    let (glob, open) = match glob.strip_suffix('*') {
        Some(stem) => (stem, true),
        None => (glob, false),
    };
    let mut segments = path.split('/');
    let mut parts = glob.split('/').peekable();
    while let Some(part) = parts.next() {
        let Some(segment) = segments.next() else { return false };
        let last = parts.peek().is_none();
        let fits = match part {
            "+" => true,
            stem if last && open => return segment.starts_with(stem),
            exact => segment == exact,
        };
        if !fits {
            return false;
        }
    }
    segments.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;

    #[test]
    fn globs_match_as_vaults_do() {
        for (glob, path, fits) in [
            ("secret/data/app", "secret/data/app", true),
            ("secret/data/app", "secret/data/app/db", false),
            ("secret/data/*", "secret/data/app/db", true),
            ("secret/data/*", "secret/data", false),
            ("secret/data/ap*", "secret/data/app", true),
            ("secret/data/ap*", "secret/data/b", false),
            ("secret/+/db", "secret/app/db", true),
            ("secret/+/db", "secret/app/eu/db", false),
            ("+/data/*", "kv/data/x", true),
            ("*", "anything/at/all", true),
        ] {
            assert_eq!(matches(glob, path), fits, "{glob} on {path}");
        }
    }

    #[test]
    fn the_first_rule_that_matches_decides() {
        let rule = |path: &str, ttl| config::Rule {
            path: path.into(),
            cache: true,
            ttl: Some(Duration::from_secs(ttl)),
            stale_if_error: None,
            stale_if_sealed: None,
            negative_ttl: None,
            own_end: false,
        };
        let second = Duration::from_secs(1);
        let rules = Rules {
            kv: config::Kv {
                ttl: 60 * second,
                refresh_ahead: 0.8,
                stale_if_error: 3600 * second,
                stale_if_sealed: Duration::ZERO,
                negative_ttl: 2 * second,
            },
            rules: vec![rule("kv/data/a*", 5), rule("kv/data/ab", 7)],
        };
        let now = Clock::manual().now();
        let fresh = |path, found| rules.life(path, found, now, now, None).fresh.since(now);

        assert_eq!(fresh("kv/data/ab", true), 5 * second);
        assert_eq!(fresh("kv/data/b", true), 60 * second);
        assert_eq!(fresh("kv/data/ab", false), 2 * second);
        let life = rules.life("kv/data/b", true, now, now, Some(3 * second));
        assert_eq!(life.end.since(now), 3 * second);
        assert!(life.refresh > now.plus(45 * second) && life.refresh < life.fresh);
    }
}
