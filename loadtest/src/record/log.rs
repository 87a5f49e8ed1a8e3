//! How are the latencies kept for other tools? As an `HdrHistogram` log, V2, of intervals.
//!
//! A line for each second, phase and kind that had answers: tag, begin, length, largest value,
//! and the histogram itself, compressed, in base64; both in nanoseconds.

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::time::{Duration, SystemTime};

use hdrhistogram::serialization::V2DeflateSerializer;
use hdrhistogram::serialization::interval_log::{IntervalLogWriterBuilder, Tag};

use super::second::Kinds;

/// One file, for all targets.
pub(crate) struct Log(RefCell<Open>);

struct Open {
    file: Box<dyn Write>,
    /// What went wrong; nothing is written any more then.
    problem: Option<String>,
    serializer: V2DeflateSerializer,
}

impl Log {
    /// Begins one in a new file, which `--hdr` named.
    pub(crate) fn create(path: &Path) -> Result<Self, String> {
        let log = File::create(path).and_then(|file| Self::new(Box::new(BufWriter::new(file))));
        log.map_err(|e| {
            let place = path.display();
            format!("--hdr {place}: {e}; name a file in a directory that may be written to")
        })
    }

    /// Begins it with what readers expect at its head.
    pub(crate) fn new(mut file: Box<dyn Write>) -> io::Result<Self> {
        writeln!(file, "#[Histogram log format version 1.3]")?;
        let mut serializer = V2DeflateSerializer::new();
        IntervalLogWriterBuilder::new()
            .with_start_time(SystemTime::now())
            .begin_log_with(&mut file, &mut serializer)?;
        writeln!(
            file,
            "\"StartTimestamp\",\"Interval_Length\",\"Interval_Max\",\"Interval_Compressed_Histogram\""
        )?;
        Ok(Self(RefCell::new(Open { file, problem: None, serializer })))
    }

    /// Writes what a second had, or so much of one. `tag`: of a phase, by its number.
    pub(crate) fn second(&self, kinds: &Kinds, length: Duration, tag: impl Fn(usize) -> String) {
        let mut open = self.0.borrow_mut();
        if open.problem.is_none() {
            open.problem = open.write(kinds, length, tag).err();
        }
    }

    /// Everything is in the file, or this says why not.
    pub(crate) fn finish(&self) -> Result<(), String> {
        let mut open = self.0.borrow_mut();
        match open.problem.take() {
            Some(problem) => Err(problem),
            None => open.file.flush().map_err(|e| e.to_string()),
        }
    }
}

impl Open {
    fn write(
        &mut self,
        kinds: &Kinds,
        length: Duration,
        tag: impl Fn(usize) -> String,
    ) -> Result<(), String> {
        let start = Duration::from_secs(kinds.number);
        for ((phase, kind), times) in &kinds.times {
            let Some(histogram) = times.histogram() else { continue };
            let tag = format!("{}/{}", tag(*phase), kind.name());
            let tag = tag.replace([',', ' ', '\r', '\n'], "_");
            IntervalLogWriterBuilder::new()
                .begin_log_with(&mut self.file, &mut self.serializer)
                .map_err(|e| e.to_string())?
                .write_histogram(histogram, start, length, Tag::new(&tag))
                .map_err(|e| e.to_string())?;
        }
        Ok(())
    }
}

impl std::fmt::Debug for Log {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Log").finish_non_exhaustive()
    }
}
