//! What is a result in a few sentences?

use crate::amount;
use crate::result::{Objective, Plan, Result as Measured, Target};

/// What matters most comes first.
pub(crate) fn sentences(result: &Measured) -> Vec<String> {
    let mut sentences = Vec::new();
    sentences.extend(result.interrupted.as_ref().map(|why| format!("The run ended early: {why}.")));
    let conditions = |came_true| {
        result.conditions.iter().filter(|one| one.came_true == came_true).count() as u64
    };
    match conditions(Some(true)) {
        0 => {}
        failed => {
            sentences.push(format!("{} to fail came true.", amount::several(failed, "condition")));
        }
    }
    match conditions(None) {
        0 => {}
        open => {
            sentences.push(format!("{} could not be decided.", amount::several(open, "condition")));
        }
    }
    let named = |name: &str| result.targets.iter().find(|target| target.name == name);
    let one = named("vaultlet").or_else(|| result.targets.first());
    sentences.extend(one.and_then(|target| kept(target, &result.objectives)));
    sentences.extend(
        named("vaultlet").zip(named("direct")).and_then(|(with, without)| fewer(with, without)),
    );
    sentences.extend(result.plan.as_ref().and_then(needs));
    sentences
}

fn kept(target: &Target, objectives: &[Objective]) -> Option<String> {
    let judged = || objectives.iter().filter(|one| one.target == target.name && one.met.is_some());
    let missed: Vec<&str> =
        judged().filter(|one| one.met == Some(false)).map(|one| one.name.as_str()).collect();
    let count = judged().count();
    match (count, missed.len()) {
        (0, _) => None,
        (1, 0) => Some(format!("{} met the one objective that applies.", target.name)),
        (4, 0) => Some(format!("{} met all four objectives.", target.name)),
        (_, 0) => Some(format!("{} met all {count} objectives that apply.", target.name)),
        _ => Some(format!(
            "{} missed {} of {}: {}.",
            target.name,
            missed.len(),
            amount::several(count as u64, "objective"),
            missed.join(", ")
        )),
    }
}

fn fewer(with: &Target, without: &Target) -> Option<String> {
    let per_second = |target: &Target| {
        let known =
            target.phases.iter().filter(|phase| !phase.saturated && !phase.upstream.is_empty());
        let (mut requests, mut seconds) = (0.0, 0.0);
        for phase in known {
            requests += phase.upstream_rate()? * phase.seconds;
            seconds += phase.seconds;
        }
        (seconds > 0.0).then(|| requests / seconds)
    };
    let (with, without) = (per_second(with)?, per_second(without)?);
    (with > 0.0 && without > with).then(|| {
        format!(
            "The upstream was asked {} times a second instead of {}: {} times less often.",
            amount::number(with),
            amount::number(without),
            amount::number(without / with)
        )
    })
}

fn needs(plan: &Plan) -> Option<String> {
    let most = plan
        .rows
        .iter()
        .max_by(|a, b| a.nodes.cmp(&b.nodes).then(a.without.cores.total_cmp(&b.without.cores)))?;
    Some(format!(
        "In phase {}, {} ask for {} cores of upstream, and without vaultlet for {}.",
        most.phase,
        amount::several(u64::from(most.nodes), "node"),
        amount::number(most.with.cores),
        amount::number(most.without.cores)
    ))
}
