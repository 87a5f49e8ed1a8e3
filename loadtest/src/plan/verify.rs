//! Does a real server see what was predicted?

use super::{arrived, count};
use crate::model::Kind;
use crate::result::{Check, Phase, Target};

/// By how much a prediction may be off.
const BOUND: f64 = 0.05;

/// Below so many requests in a phase, what comes about by chance alone is more than that: vaultlet
/// spreads its looks and renewals by lot, on both sides. Twice the spread of such a count is allowed
/// there, and the figure's bound says so. The whole scenario has to keep the bound.
const FEW: u64 = 400;

/// Holds what was measured against what was predicted, for one target: each phase, and all of them.
pub(crate) fn checks(predicted: &Target, measured: &Target) -> Vec<Check> {
    let mut checks = Vec::new();
    for (predicted, found) in predicted.phases.iter().zip(&measured.phases) {
        let requests = requests(found).max(requests(predicted));
        let within =
            if requests < FEW { (2.0 / count(requests.max(1)).sqrt()).max(BOUND) } else { BOUND };
        let check = |figure: &str, one: f64, other: Option<f64>, within: f64| {
            check(&found.name, &format!("{}: {figure}", measured.name), one, other, within)
        };
        let arrived = (!found.upstream.is_empty()).then(|| rate(found));
        checks.push(check("upstream per second", rate(predicted), arrived, within));
        // Of what is neither predicted nor found there is nothing to say.
        let some = |one: f64, other: Option<f64>| one > 0.0 || other.is_some_and(|it| it > 0.0);
        let hits = (predicted.hit_ratio.unwrap_or_default(), found.hit_ratio);
        if some(hits.0, hits.1) {
            checks.push(check("hit ratio", hits.0, hits.1, BOUND));
        }
        let leases = (count(predicted.leases.unwrap_or_default()), found.leases.map(count));
        if some(leases.0, leases.1) {
            checks.push(check("leases", leases.0, leases.1, BOUND));
        }
    }
    let name = format!("{}: upstream requests", measured.name);
    let all = |target: &Target| count(target.phases.iter().map(requests).sum());
    checks.push(check("all of it", &name, all(predicted), Some(all(measured)), BOUND));
    checks
}

/// Requests that a server's own telemetry counts: it leaves health checks out.
fn requests(phase: &Phase) -> u64 {
    arrived(phase) - phase.upstream.get(Kind::Health.name()).copied().unwrap_or_default()
}

fn rate(phase: &Phase) -> f64 {
    if phase.seconds > 0.0 { count(requests(phase)) / phase.seconds } else { 0.0 }
}

/// A figure that was predicted and not found does not hold. One that may be off by all of itself
/// cannot be judged.
fn check(phase: &str, figure: &str, predicted: f64, measured: Option<f64>, within: f64) -> Check {
    let (phase, figure) = (phase.to_owned(), figure.to_owned());
    let holds = |found: f64| (predicted - found).abs() <= within * found.abs();
    let holds = (measured.is_none() || within < 1.0).then(|| measured.is_some_and(holds));
    Check { phase, figure, predicted, measured, within, holds }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn target(requests: u64, hit_ratio: f64, leases: u64) -> Target {
        let upstream =
            BTreeMap::from([("kv-read".to_owned(), requests), ("health".to_owned(), 99)]);
        let phase = Phase {
            name: "steady".to_owned(),
            seconds: 10.0,
            upstream,
            hit_ratio: Some(hit_ratio),
            leases: Some(leases),
            ..Phase::default()
        };
        Target { name: "vaultlet".to_owned(), phases: vec![phase], ..Target::default() }
    }

    #[test]
    fn five_hundredths_are_allowed_and_no_more() {
        for (measured, expected) in [
            (target(1000, 0.9, 20), [true, true, true, true]),
            (target(1052, 0.9, 20), [true, true, true, true]),
            (target(1053, 0.9, 20), [false, true, true, false]),
            (target(952, 0.9, 20), [false, true, true, false]),
            (target(1000, 0.85, 20), [true, false, true, true]),
            (target(1000, 0.9, 22), [true, true, false, true]),
            (target(1000, 0.9, 0), [true, true, false, true]),
        ] {
            let holds: Vec<_> =
                checks(&target(1000, 0.9, 20), &measured).iter().map(|it| it.holds).collect();
            assert_eq!(holds, expected.map(Some), "{measured:?}");
        }
    }

    #[test]
    fn few_requests_may_differ_by_chance_but_not_all_of_them_together() {
        let checks = checks(&target(100, 0.9, 0), &target(115, 0.9, 0));

        assert!(checks[0].holds == Some(true) && checks[0].within > 0.15, "{checks:?}");
        assert!(checks[2].holds == Some(false) && checks[2].within == BOUND, "{checks:?}");
    }

    #[test]
    fn nothing_is_nothing() {
        let holds: Vec<_> = checks(&target(0, 0.0, 0), &target(0, 0.0, 0))
            .iter()
            .map(|it| (it.figure.clone(), it.holds))
            .collect();
        let expected = [("upstream per second", None), ("upstream requests", Some(true))];
        assert_eq!(holds, expected.map(|(it, holds)| (format!("vaultlet: {it}"), holds)));
    }

    #[test]
    fn too_few_to_tell_is_not_right() {
        for (measured, expected) in [(4, None), (5, Some(true)), (10, Some(true))] {
            let checks = checks(&target(measured, 0.9, 20), &target(measured, 0.9, 20));

            assert_eq!(checks[0].holds, expected, "{measured}");
        }
    }

    #[test]
    fn what_was_predicted_and_not_found_does_not_hold() {
        let mut found = target(1000, 0.9, 20);
        (found.phases[0].leases, found.phases[0].hit_ratio) = (None, None);

        let checks = checks(&target(1000, 0.9, 20), &found);

        let holds: Vec<_> = checks.iter().map(|it| (it.measured, it.holds)).collect();
        let missing = (None, Some(false));
        assert_eq!(
            holds,
            [(Some(100.0), Some(true)), missing, missing, (Some(1000.0), Some(true))]
        );
    }
}
