//! Was it the server that was measured, or the generator?

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use super::phase::{Phase, Times};
use crate::drive::Time;
use crate::result::Generator;

/// From here on the generator's core leaves no room for a request to be sent in time.
const BUSY: f64 = 0.95;

/// Lateness below this, microseconds, is nobody's bottleneck.
const LATE: f64 = 1_000.0;

/// CPU time that this thread has used.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cpu(Duration);

impl Cpu {
    /// In paused time the generator and what it measures are one thread.
    pub(crate) fn now(time: Time) -> Option<Self> {
        let read = || {
            let used = clock_gettime(ClockId::ThreadCPUTime);
            let seconds = Duration::from_secs(used.tv_sec.unsigned_abs());
            Self(seconds + Duration::from_nanos(used.tv_nsec.unsigned_abs()))
        };
        (time == Time::Real).then(read)
    }

    pub(crate) fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

/// What there is to say about the generator.
pub(crate) fn judge(phases: &[Phase], exhausted: Option<&str>, time: Time) -> Generator {
    let mut late = Times::default();
    for phase in phases {
        late.add(&phase.late);
    }
    let elapsed: Duration = phases.iter().map(|phase| phase.elapsed).sum();
    let own = phases.iter().filter_map(|phase| phase.own).sum::<Duration>();
    let mut said: Vec<String> = exhausted.map(str::to_owned).into_iter().collect();
    if time == Time::Real {
        said.extend(phases.iter().filter_map(bottleneck));
    }
    Generator {
        late: late.latency(),
        busy: (time == Time::Real && !elapsed.is_zero())
            .then(|| own.as_secs_f64() / elapsed.as_secs_f64()),
        bottleneck: (!said.is_empty()).then(|| said.join("; ")),
    }
}

fn bottleneck(phase: &Phase) -> Option<String> {
    let busy = phase.own?.as_secs_f64() / phase.elapsed.as_secs_f64();
    if busy > BUSY {
        let percent = busy * 100.0;
        return Some(format!(
            "in {} the generator's core was {percent:.0} % busy: what is measured there is the \
             generator",
            phase.name
        ));
    }
    let (late, answers) = (phase.late.latency(), phase.latency());
    (late.count > 0 && late.p99 > LATE.max(answers.p50 / 10.0)).then(|| {
        format!(
            "in {} one of a hundred requests left {:.1} ms late or later (half of the answers \
             took {:.1} ms): give the generator a core of its own, or lower the rate",
            phase.name,
            late.p99 / 1_000.0,
            answers.p50 / 1_000.0,
        )
    })
}
