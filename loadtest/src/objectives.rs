//! Did what was measured meet the service level objectives?
//!
//! - retrieval: 99 % of the secrets read were there within 50 ms.
//! - generation: 99 % of the leases that the upstream made were there within 200 ms. One that came
//!   from memory was not made.
//! - availability: 99.99 % of requests got a good answer (`result::is_good`).
//! - rotation: above 99 % of renewals, and of leases read anew, succeeded (2xx).
//!
//! The first two are about answers, the others about requests: one without an answer is neither
//! quick nor slow. A saturated phase says nothing about either of the first two, since how long its
//! requests wait is up to whoever measures.

use crate::amount;
use crate::result::{Kind, Objective, Phase, Target, share};

const QUICK: f64 = 0.99;
const AVAILABLE: f64 = 0.9999;
const ROTATED: f64 = 0.99;

/// The verdicts, target by target.
pub(crate) fn of(targets: &[Target]) -> Vec<Objective> {
    targets.iter().flat_map(of_one).collect()
}

fn of_one(target: &Target) -> [Objective; 4] {
    let phases = &target.phases;
    let paced = || phases.iter().filter(|phase| !phase.saturated);
    let good = |phase: &Phase| phase.good(Some("read"));
    let quick = Sum::of(paced(), &["read"], |_| 0, |kind| kind.within_50ms).good;
    let reads = Sum { good: quick, all: paced().map(good).sum() };
    let made = Sum::of(paced(), &["lease"], |kind| kind.fetched, |kind| kind.fetched_within_200ms);
    let good = phases.iter().map(|phase| phase.good(None)).sum();
    let all = Sum { good, ..Sum::of(phases, &[], Kind::ended, |_| 0) };
    let successes = |kind: &Kind| kind.counted(|status| (200..300).contains(&status));
    let rotations = Sum::of(phases, &["lease", "renew"], Kind::ended, successes);
    [
        reads.verdict(target, "retrieval", "99 % of reads within 50 ms", |share| share >= QUICK),
        made.verdict(target, "generation", "99 % of leases made within 200 ms", |share| {
            share >= QUICK
        }),
        all.verdict(target, "availability", "99.99 % of requests answered well", |share| {
            share >= AVAILABLE
        }),
        rotations.verdict(
            target,
            "rotation",
            "above 99 % of leases renewed or read anew",
            |share| share > ROTATED,
        ),
    ]
}

/// So many of so many.
struct Sum {
    good: u64,
    all: u64,
}

impl Sum {
    /// Of requests of `kinds`; of none: of all kinds.
    fn of<'a>(
        phases: impl IntoIterator<Item = &'a Phase>,
        kinds: &[&str],
        all: impl Fn(&Kind) -> u64,
        good: impl Fn(&Kind) -> u64,
    ) -> Self {
        let mut sum = Self { good: 0, all: 0 };
        for (name, kind) in phases.into_iter().flat_map(|phase| &phase.kinds) {
            if kinds.is_empty() || kinds.contains(&name.as_str()) {
                sum.all += all(kind);
                sum.good += good(kind);
            }
        }
        sum
    }

    fn verdict(
        &self,
        target: &Target,
        name: &str,
        wanted: &str,
        met: impl Fn(f64) -> bool,
    ) -> Objective {
        #[expect(clippy::cast_precision_loss, reason = "exact to 2^53, far past any run")]
        let share = share(self.good, self.all as f64);
        let measured = share.map_or("none was asked for".to_owned(), |share| {
            format!("{} of {}", amount::percent(share), amount::count(self.all))
        });
        Objective {
            target: target.name.clone(),
            name: name.to_owned(),
            wanted: wanted.to_owned(),
            met: share.map(met),
            measured,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn kind(statuses: &[(u16, u64)], broken: u64, quick: u64, fetched: (u64, u64)) -> Kind {
        Kind {
            answered: statuses.iter().map(|(_, count)| count).sum(),
            statuses: statuses.iter().copied().collect(),
            broken: BTreeMap::from([("broken".to_owned(), broken)]),
            within_50ms: quick,
            fetched: fetched.0,
            fetched_within_200ms: fetched.1,
            ..Kind::default()
        }
    }

    fn judged(saturated: bool, kinds: &[(&str, Kind)]) -> Vec<(Option<bool>, String)> {
        let kinds = kinds.iter().map(|(name, kind)| ((*name).to_owned(), kind.clone())).collect();
        let phase = Phase { saturated, kinds, ..Phase::default() };
        let target = Target { phases: vec![phase], ..Target::default() };
        of(&[target]).into_iter().map(|objective| (objective.met, objective.measured)).collect()
    }

    #[test]
    fn each_is_about_its_own_requests() {
        let good = [
            ("read", kind(&[(200, 10_000)], 0, 9_900, (0, 0))),
            ("lease", kind(&[(200, 100)], 0, 0, (10, 10))),
            ("renew", kind(&[(200, 99), (403, 1)], 0, 0, (100, 0))),
        ];
        let met = judged(false, &good);
        let measured: Vec<_> = met.iter().map(|(_, measured)| measured.as_str()).collect();
        assert_eq!(measured, ["99 % of 10,000", "100 % of 10", "100 % of 10,200", "99.5 % of 200"]);
        assert!(met.iter().all(|(met, _)| *met == Some(true)));
    }

    #[test]
    fn one_too_many_is_too_many() {
        let bad = [
            ("read", kind(&[(200, 9_998), (503, 1)], 1, 9_897, (0, 0))),
            ("lease", kind(&[(200, 99)], 1, 0, (100, 98))),
        ];
        let met: Vec<_> = judged(false, &bad).into_iter().map(|(met, _)| met).collect();
        assert_eq!(met, [Some(false); 4]);
    }

    #[test]
    fn what_is_refused_is_not_good_unless_it_had_to_be_expected() {
        for (name, status, expected) in [
            ("read", 204, true),
            ("read", 403, false),
            ("read", 404, false),
            ("read", 429, false),
            ("write", 400, false),
            ("login", 400, false),
            ("lease", 403, false),
            ("renew", 400, true),
            ("renew", 403, true),
            ("renew", 404, true),
            ("renew", 429, false),
            ("renew", 503, false),
            ("other", 404, true),
            ("other", 403, false),
        ] {
            let judged = judged(false, &[(name, kind(&[(200, 98), (status, 2)], 0, 98, (0, 0)))]);

            assert_eq!(judged[2].0, Some(expected), "{name} {status}");
        }
        // They are neither quick nor slow.
        let refused = [("read", kind(&[(200, 98), (403, 2)], 0, 98, (0, 0)))];
        assert_eq!(judged(false, &refused)[0].1, "100 % of 98");
    }

    #[test]
    fn what_nobody_asked_for_has_no_verdict() {
        assert_eq!(judged(false, &[])[0], (None, "none was asked for".to_owned()));
        let saturated = judged(true, &[("read", kind(&[(200, 9)], 0, 0, (0, 0)))]);
        let met: Vec<_> = saturated.into_iter().map(|(met, _)| met).collect();
        assert_eq!(met, [None, None, Some(true), None]);
    }
}
