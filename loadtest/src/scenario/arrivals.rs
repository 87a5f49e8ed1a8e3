//! When are requests sent?

use std::ops::RangeInclusive;
use std::time::Duration;

use vaultlet::config::document::{Field, Section};

use super::name::{Needed as _, last, one_of, only_one};
use super::{Arrivals, Phase};
use crate::schedule::replay;

const SOME: Duration = Duration::from_millis(1);
const LONGEST: Duration = Duration::from_hours(24);
/// A second; a loop that only counts makes hardly more.
const RATES: RangeInclusive<f64> = 0.001..=5_000_000.0;
const FACTORS: RangeInclusive<f64> = 0.0..=1_000_000.0;

/// The section `arrivals` of a phase; `before`: the phases before it.
pub(super) fn arrivals(field: &Field<'_>, before: &[Phase]) -> Arrivals {
    if !field.given() {
        return Arrivals::None;
    }
    field.section(|section| {
        let kinds = ["factor", "bursts", "rate", "share", "saturate", "replay"];
        let fields: Vec<Field<'_>> = kinds.into_iter().map(|kind| section.field(kind)).collect();
        let Some(kind) = only_one(section, &fields) else { return Arrivals::None };
        match last(kind) {
            "factor" => Arrivals::World { poisson: poisson(section), factor: factor(kind) },
            "bursts" => bursts(section, kind),
            "rate" => {
                let per_second = kind.decimal(RATES, "requests a second, as `rate: 500`");
                Arrivals::Rate { per_second: per_second.unwrap_or(1.0), poisson: poisson(section) }
            }
            "share" => Arrivals::Share {
                phase: saturated(section, before),
                share: kind.decimal(0.01..=10.0, "0.5 is a half").unwrap_or(1.0),
                poisson: poisson(section),
            },
            "saturate" => Arrivals::Saturate { connections: kind.number(1..=100_000).unwrap_or(1) },
            _ => Arrivals::Replay {
                file: kind.readable_file().unwrap_or_default(),
                speed: section
                    .field("speed")
                    .decimal(0.001..=1_000.0, "2 is twice as fast")
                    .unwrap_or(1.0),
                writes: section.field("writes").flag().unwrap_or(false),
            },
        }
    })
}

/// How long the phase takes: as long as it says, or as the log that it replays.
pub(super) fn duration(phase: &Section<'_>, arrivals: &Arrivals) -> Duration {
    let field = phase.field("duration");
    if let Arrivals::Replay { file, speed, .. } = arrivals
        && !file.as_os_str().is_empty()
    {
        match replay::survey(file) {
            Ok(survey) if !field.given() => return survey.span.div_f64(*speed).max(SOME),
            Ok(_) => {}
            Err(problem) => {
                phase.field("arrivals").complain(problem, "name an access log that has some lines");
                return LONGEST;
            }
        }
    }
    let field = phase.needed("duration", "add `duration: 30s`, for example");
    field.duration_in(SOME..=LONGEST).unwrap_or(LONGEST)
}

fn poisson(section: &Section<'_>) -> bool {
    section.field("spacing").choice(&[("poisson", true), ("even", false)]).unwrap_or(true)
}

/// One, or that of the phase's begin and of its end.
fn factor(field: &Field<'_>) -> (f64, f64) {
    let hint = "1 is as often as the deployments say; [1, 3] grows to three times that";
    let list = field.plain_list();
    let read: Vec<f64> = list.iter().filter_map(|it| it.decimal(FACTORS, hint)).collect();
    if read.len() != list.len() {
        return (1.0, 1.0);
    }
    let (from, to) = match read[..] {
        [one] => (one, one),
        [from, to] => (from, to),
        _ => {
            field.complain("expected one number or two", hint);
            (1.0, 1.0)
        }
    };
    if from == 0.0 && to == 0.0 {
        field.complain("0 sends nothing", "remove `arrivals` for a phase without");
    }
    (from, to)
}

fn bursts(section: &Section<'_>, kind: &Field<'_>) -> Arrivals {
    let every = section.needed("every", "add `every: 5s`: how long from burst to burst");
    let within = section.needed("within", "add `within: 200ms`: how long a burst takes");
    let read = (every.duration_in(SOME..=LONGEST), within.duration_in(SOME..=LONGEST));
    let (every, length) = (read.0.unwrap_or(SOME), read.1.unwrap_or(SOME));
    if read.0.is_some() && length > every {
        within.complain("longer than `every`", "a burst ends before the next one begins");
    }
    let factor = kind.decimal(0.001..=1_000_000.0, "1 is as often as the deployments say");
    Arrivals::Bursts { every, within: length, factor: factor.unwrap_or(1.0) }
}

/// The phase that a share is of.
fn saturated(section: &Section<'_>, before: &[Phase]) -> String {
    let of = section.needed("of", "add `of: PHASE`, a saturated phase before this one");
    let names: Vec<String> = before.iter().map(|phase| phase.name.clone()).collect();
    if !of.given() {
        return String::new();
    }
    let index = one_of(&of, &names, "phase before this one");
    let Some(phase) = before.get(index) else { return String::new() };
    if of.text() == Some(&phase.name) && !matches!(phase.arrivals, Arrivals::Saturate { .. }) {
        let hint = "name one whose arrivals are `saturate`: a share is of what that reached";
        of.complain("this phase is not saturated", hint);
    }
    phase.name.clone()
}
