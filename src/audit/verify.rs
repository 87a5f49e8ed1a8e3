//! Is an audit log whole: is every line there, as it was written, in its order?
//!
//! What is found are differences from what a vaultlet that nobody disturbed would have left. What
//! a chain cannot show is in `docs/audit.md`: above all, a log that was rewritten from some line to
//! its end by somebody who knows how.

use std::cmp::Ordering;
use std::fmt;
use std::io::{self, BufRead, Read as _};

use super::chain::{Entry, Head, Kind, LONGEST, Place};

/// Findings that are kept; past them only their number is.
const MOST: usize = 100;

/// Reads the files of a log, oldest first.
#[derive(Debug, Default)]
pub struct Verifier {
    file: String,
    line: u64,
    /// The last record, and where it is.
    head: Option<(Head, Position)>,
    loose: Loose,
    stopped: bool,
    report: Report,
}

/// What a log was found to be.
#[derive(Debug, Default)]
pub struct Report {
    /// Records of answers.
    pub answers: u64,
    /// Processes that began to write.
    pub starts: u64,
    /// What is well and good to know, with its file and line.
    pub notes: Findings,
    /// What is wrong, with its file and line.
    pub problems: Findings,
    first: u64,
    end: Option<Head>,
}

/// The first hundred of what was found, and how many more there are.
#[derive(Debug, Default)]
pub struct Findings {
    /// One line each, for people.
    pub found: Vec<String>,
    /// How many more.
    pub more: usize,
}

/// A line of a file.
#[derive(Clone, Debug, Default)]
struct Position(String);

/// Lines in a row that are no records.
#[derive(Debug, Default)]
struct Loose {
    bytes: u64,
    lines: u64,
    first: Position,
    /// Whether the last of them lacks its newline.
    cut: bool,
}

impl Verifier {
    /// Reads one more file, which is called `name` in what is said of it.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn read(&mut self, name: &str, mut file: impl BufRead) -> io::Result<()> {
        name.clone_into(&mut self.file);
        self.line = 0;
        let mut line = Vec::new();
        loop {
            line.clear();
            let mut length =
                file.by_ref().take(LONGEST as u64).read_until(b'\n', &mut line)? as u64;
            if length == 0 {
                return Ok(());
            }
            if length == LONGEST as u64 && line.last() != Some(&b'\n') {
                length += skip(&mut file)?;
                line.clear();
            }
            let whole = line.last() == Some(&b'\n') || line.is_empty();
            if whole {
                line.pop();
            }
            self.line += 1;
            match Entry::parse(&line) {
                Some(entry) => self.record(&entry, &line),
                None => self.stray(length + u64::from(!whole), !whole),
            }
        }
    }

    /// Says what was found.
    pub fn finish(mut self) -> Report {
        self.stray_to_the_end();
        if self.head.is_none() {
            let all = Position(std::mem::take(&mut self.file));
            self.report.problems.add(&all, "there is no audit record");
        }
        self.report.end = self.head.map(|(head, _)| head);
        self.report
    }

    /// A line that is no record.
    fn stray(&mut self, bytes: u64, cut: bool) {
        if self.loose.lines == 0 {
            self.loose.first = self.position();
        }
        self.loose.bytes += bytes;
        self.loose.lines += 1;
        self.loose.cut = cut;
    }

    fn record(&mut self, entry: &Entry, line: &[u8]) {
        let at = self.position();
        let loose = std::mem::take(&mut self.loose);
        if loose.lines > 0 && loose.bytes <= entry.place.torn {
            let what = format!("{loose} of a record that was never finished, as {at} says");
            self.report.notes.add(&loose.first, &what);
        } else if loose.lines > 0 {
            self.report.problems.add(&loose.first, &format!("{loose} that are no audit record"));
        }
        let place = &entry.place;
        match self.head.take() {
            None => {
                self.report.first = place.seq;
                self.beginning(entry, &at);
            }
            Some((head, before)) => {
                if let Some(problem) = discord(entry, head, &before) {
                    self.report.problems.add(&at, &problem);
                } else if entry.first() {
                    self.report.notes.add(
                        &at,
                        "a chain of its own begins: nothing shows whether \
                        the one before is all there",
                    );
                } else if entry.kind == Kind::Start && !self.stopped {
                    self.report.notes.add(
                        &at,
                        "the process before this did not stop as it should: \
                        it was killed, or its last records were taken away",
                    );
                }
            }
        }
        self.head = Some((Head::of(place.seq, line), at));
        self.stopped = entry.kind == Kind::Stop;
        self.report.answers += u64::from(entry.kind == Kind::Response);
        self.report.starts += u64::from(entry.kind == Kind::Start);
    }

    /// The first record of all.
    fn beginning(&mut self, entry: &Entry, at: &Position) {
        let before = entry.place.seq - 1;
        match entry.kind {
            _ if entry.first() => (),
            Kind::Rotate | Kind::Resume if before > 0 => {
                let what = format!(
                    "continues another file, whose last record has seq {before} and the SHA-256 {}",
                    entry.place.prev
                );
                self.report.notes.add(at, &what);
            }
            _ => {
                let what = format!(
                    "the beginning is missing: this record has seq {} and is none that a file \
                     begins with",
                    entry.place.seq
                );
                self.report.problems.add(at, &what);
            }
        }
    }

    fn stray_to_the_end(&mut self) {
        let loose = std::mem::take(&mut self.loose);
        if loose.lines == 1 && loose.cut {
            self.report.problems.add(
                &loose.first,
                "the last record is cut short: the process was killed while it wrote or writes \
                 just now, or the end was taken away",
            );
        } else if loose.lines > 0 {
            self.report.problems.add(&loose.first, &format!("{loose} that are no audit record"));
        }
    }

    fn position(&self) -> Position {
        Position(format!("{}:{}", self.file, self.line))
    }
}

/// Why a record does not follow another.
fn discord(entry: &Entry, head: Head, before: &Position) -> Option<String> {
    let Place { seq, prev, sink, .. } = &entry.place;
    if entry.first() {
        // To a file, a process that starts continues what is there.
        return (sink.as_deref() == Some("file")).then(|| {
            format!(
                "a chain of its own begins, which does not continue {before}: records were \
                     taken away, or the files are not of one log"
            )
        });
    }
    let next = head.seq.saturating_add(1);
    let linked = *prev == head.hash;
    match seq.cmp(&next) {
        Ordering::Equal if linked => None,
        Ordering::Equal => Some(format!(
            "this record and {before} do not belong together: one of them was changed"
        )),
        _ if linked => Some(format!("seq is {seq} and must be {next}: this record was changed")),
        Ordering::Greater if next + 1 == *seq => {
            Some(format!("seq {next} is missing between {before} and this record"))
        }
        Ordering::Greater => {
            let last = seq - 1;
            Some(format!("seq {next} to {last} are missing between {before} and this record"))
        }
        Ordering::Less => Some(format!(
            "seq {seq} comes after seq {} of {before}: a record was repeated or moved",
            head.seq
        )),
    }
}

/// Skips what is left of a line; how many bytes.
fn skip(file: &mut impl BufRead) -> io::Result<u64> {
    let mut skipped = 0;
    loop {
        let some = file.fill_buf()?;
        let end = some.iter().position(|byte| *byte == b'\n');
        let taken = end.map_or(some.len(), |end| end + 1);
        file.consume(taken);
        skipped += taken as u64;
        if end.is_some() || taken == 0 {
            return Ok(skipped);
        }
    }
}

impl Report {
    /// Whether nothing is wrong.
    pub fn whole(&self) -> bool {
        self.problems.found.is_empty()
    }
}

impl Findings {
    fn add(&mut self, at: &Position, what: &str) {
        if self.found.len() < MOST {
            self.found.push(format!("{at}: {what}"));
        } else {
            self.more += 1;
        }
    }
}

impl fmt::Display for Report {
    /// One line: how much there is, and the end, which a copy elsewhere can be compared with.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { answers, starts, first, .. } = self;
        write!(f, "records of answers: {answers}, starts: {starts}")?;
        match self.end {
            Some(Head { seq, hash }) => write!(f, ", seq: {first} to {seq}, end: {hash}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.found.join("\n"))?;
        if self.more > 0 { write!(f, "\nand {} more", self.more) } else { Ok(()) }
    }
}

impl fmt::Display for Loose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.bytes)
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests;
