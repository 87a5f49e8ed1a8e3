//! What did an access log record, and when?
//!
//! The file is read as it is played. Lines of the same second, where the log counts in seconds, are
//! spread over it; a line that is earlier than the one before it counts as if of the same time.

use std::collections::VecDeque;
use std::fs::File;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::{self, BufRead, BufReader, Read as _};
use std::path::Path;
use std::time::Duration;

use fastrand::Rng;

use super::happenings::Seats;
use super::log_line::{self, Line};
use super::{Arrival, What};

/// No line of an access log says anything new behind that.
const LONGEST: u64 = 64 << 10;
const SECOND: Duration = Duration::from_secs(1);

/// What is in a log.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Survey {
    pub(crate) readable: u64,
    pub(crate) unreadable: u64,
    /// Of those that can be read, requests that may change what a server has.
    pub(crate) writes: u64,
    /// Numbers of the first few lines that cannot be read.
    pub(crate) which: Vec<u64>,
    /// From the first line to the last, which has its second too.
    pub(crate) span: Duration,
}

impl Survey {
    /// What to tell of lines that cannot be read.
    pub(crate) fn remark(&self, file: &Path) -> Option<String> {
        let which: Vec<String> = self.which.iter().map(u64::to_string).collect();
        let more = if self.unreadable > which.len() as u64 { ", …" } else { "" };
        (self.unreadable > 0).then(|| {
            format!(
                "{}: {} of {} lines cannot be read and are left out: {}{more}; a line is in the \
                 common or combined log format, or JSON with `time`, `method` and `path`",
                file.display(),
                self.unreadable,
                self.unreadable + self.readable,
                which.join(", ")
            )
        })
    }
}

/// Reads a log once. `Err`: it cannot be read, or no line of it can.
pub(crate) fn survey(file: &Path) -> Result<Survey, String> {
    const NAMED: usize = 5;
    let mut log = Log::open(file)?;
    let mut survey = Survey::default();
    let mut times: Option<(Duration, Duration)> = None;
    while let Some(line) = log.next_line().map_err(|error| unreadable(file, &error))? {
        let Some(line) = log_line::parse(&line) else {
            survey.unreadable += 1;
            if survey.which.len() < NAMED {
                survey.which.push(log.number);
            }
            continue;
        };
        survey.readable += 1;
        let harmless = ["GET", "HEAD", "LIST", "OPTIONS", "SCAN"];
        survey.writes += u64::from(!harmless.contains(&line.method.as_str()));
        let (first, last) = times.unwrap_or((line.time, line.time));
        times = Some((first, last.max(line.time)));
    }
    let Some((first, last)) = times else {
        let text = format!("no line of {} can be read", file.display());
        return Err(survey.remark(file).map_or(text, |remark| format!("none is left: {remark}")));
    };
    survey.span = last.saturating_sub(first) + SECOND;
    Ok(survey)
}

/// The requests of a log, `speed` times as fast. Those of one client come from one pod.
pub(super) fn arrivals(
    file: &Path,
    speed: f64,
    seats: Seats,
    rng: Rng,
) -> Result<impl Iterator<Item = Arrival> + use<>, String> {
    let mut replay =
        Replay { log: Log::open(file)?, first: None, ahead: None, second: VecDeque::new() };
    let mut rng = rng;
    Ok(std::iter::from_fn(move || {
        loop {
            let (at, line) = replay.next()?;
            let at = at.div_f64(speed);
            let seat = match line.client {
                Some(client) => {
                    let mut hasher = DefaultHasher::new();
                    client.hash(&mut hasher);
                    u32::try_from(hasher.finish() % u64::from(seats.count())).unwrap_or(0)
                }
                None => rng.u32(..seats.count()),
            };
            if let Some(pod) = seats.pod(seat, at) {
                let what = What::Replay { method: line.method, target: line.target };
                return Some(Arrival { at, pod, what });
            }
        }
    }))
}

/// A log that is being played.
#[derive(Debug)]
struct Replay {
    log: Log,
    /// Time of its first line.
    first: Option<Duration>,
    /// The line after those of the current time.
    ahead: Option<Line>,
    /// Those of the current time, from the log's begin.
    second: VecDeque<(Duration, Line)>,
}

impl Replay {
    fn next(&mut self) -> Option<(Duration, Line)> {
        if self.second.is_empty() {
            self.fill();
        }
        self.second.pop_front()
    }

    /// Takes all lines of one time.
    fn fill(&mut self) {
        let Some(head) = self.ahead.take().or_else(|| self.log.next_readable()) else { return };
        let time = head.time;
        let begin = time.saturating_sub(*self.first.get_or_insert(time));
        let mut lines = vec![head];
        self.ahead = loop {
            match self.log.next_readable() {
                Some(line) if line.time <= time => lines.push(line),
                other => break other,
            }
        };
        let count = u32::try_from(lines.len()).unwrap_or(u32::MAX);
        let apart = if time.subsec_nanos() == 0 { SECOND / count } else { Duration::ZERO };
        let at = (0..).map(|place| begin + apart * place);
        self.second.extend(at.zip(lines));
    }
}

/// Lines of a file.
#[derive(Debug)]
struct Log {
    file: BufReader<File>,
    /// Of the line that was read last; the first is 1.
    number: u64,
}

impl Log {
    fn open(file: &Path) -> Result<Self, String> {
        let open = File::open(file).map_err(|error| unreadable(file, &error))?;
        Ok(Self { file: BufReader::new(open), number: 0 })
    }

    /// The next line that can be read; a file that ends in an error ends.
    fn next_readable(&mut self) -> Option<Line> {
        loop {
            let line = log_line::parse(&self.next_line().ok()??);
            if line.is_some() {
                return line;
            }
        }
    }

    /// The next line that is not empty, as far as it is not too long.
    fn next_line(&mut self) -> io::Result<Option<Vec<u8>>> {
        loop {
            let mut line = Vec::new();
            if (&mut self.file).take(LONGEST).read_until(b'\n', &mut line)? == 0 {
                return Ok(None);
            }
            self.number += 1;
            if line.len() as u64 == LONGEST && line.last() != Some(&b'\n') {
                self.file.skip_until(b'\n')?;
            }
            if !line.trim_ascii().is_empty() {
                return Ok(Some(line));
            }
        }
    }
}

fn unreadable(file: &Path, error: &io::Error) -> String {
    format!("{} cannot be read: {error}", file.display())
}
