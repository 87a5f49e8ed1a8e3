//! What does whoever started it see meanwhile?
//!
//! On a terminal, a line that changes: phase, time, requests per second, hits, failures. In a pipe,
//! a line at the end of each phase, so that a log of a build stays one.

use std::cell::RefCell;
use std::fmt;
use std::io::{self, IsTerminal as _, Write as _};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::time::Instant;

use crate::record::{Recorder, Standing};
use crate::scenario::Phase;

/// To standard error.
#[derive(Debug)]
pub(crate) struct Progress {
    shown: Shown,
    phase: RefCell<Option<Playing>>,
}

#[derive(Debug)]
enum Shown {
    Nothing,
    Lines,
    Line(ProgressBar),
}

/// The phase that is being played.
#[derive(Debug)]
struct Playing {
    name: String,
    begun: Instant,
    looked: Instant,
    standing: Standing,
}

/// `12 s, 6000 answers (500/s), 98.2 % hits, 0 failed`.
struct Said {
    over: Duration,
    standing: Standing,
}

impl Progress {
    /// As fits what standard error is.
    pub(crate) fn new() -> Self {
        let shown = if io::stderr().is_terminal() { Shown::Line(line()) } else { Shown::Lines };
        Self { shown, phase: RefCell::default() }
    }

    /// Says nothing.
    pub(crate) fn silent() -> Self {
        Self { shown: Shown::Nothing, phase: RefCell::default() }
    }

    /// A phase begins on a target.
    pub(crate) fn begin(&self, target: &str, phase: &Phase) {
        let (name, now) = (format!("{target}: {}", phase.name), Instant::now());
        if let Shown::Line(line) = &self.shown {
            line.set_length(phase.duration.as_secs().max(1));
            line.set_position(0);
            line.set_prefix(name.clone());
            line.set_message("");
            line.enable_steady_tick(Duration::from_millis(100));
        }
        let playing = Playing { name, begun: now, looked: now, standing: Standing::default() };
        *self.phase.borrow_mut() = Some(playing);
    }

    /// It goes on.
    pub(crate) fn tick(&self, recorder: &Recorder) {
        let (Shown::Line(line), Some(playing)) = (&self.shown, &mut *self.phase.borrow_mut())
        else {
            return;
        };
        let (now, standing) = (Instant::now(), recorder.standing());
        let said = Said { over: now - playing.looked, standing: standing.since(playing.standing) };
        (playing.looked, playing.standing) = (now, standing);
        line.set_position((now - playing.begun).as_secs());
        line.set_message(said.to_string());
    }

    /// It is over.
    pub(crate) fn end(&self, recorder: &Recorder) {
        let Some(playing) = self.phase.borrow_mut().take() else { return };
        let said = Said { over: playing.begun.elapsed(), standing: recorder.standing() };
        match &self.shown {
            Shown::Nothing => {}
            Shown::Line(line) => {
                line.disable_steady_tick();
                line.println(format!("{}: {said}", playing.name));
                line.reset();
            }
            Shown::Lines => {
                let seconds = said.over.as_secs_f64();
                // Whoever closed the pipe does not want to know.
                let _ = writeln!(io::stderr(), "{}: {seconds:.1} s, {said}", playing.name);
            }
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Shown::Line(line) = &self.shown {
            line.finish_and_clear();
        }
    }
}

fn line() -> ProgressBar {
    let template = "{spinner} {prefix} [{bar:20}] {pos}/{len} s  {msg}";
    let style = ProgressStyle::with_template(template)
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("=> ");
    ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr()).with_style(style)
}

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Standing { answered, failed, hits, reads } = self.standing;
        let per_second = share(answered, self.over.as_secs_f64());
        write!(f, "{answered} answers ({per_second:.0}/s), ")?;
        if reads > 0 && hits > 0 {
            write!(f, "{:.1} % hits, ", 100.0 * share(hits, share(reads, 1.0)))?;
        }
        write!(f, "{failed} failed")
    }
}

fn share(part: u64, of: f64) -> f64 {
    crate::result::share(part, of).unwrap_or_default()
}
