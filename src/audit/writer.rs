//! How lines get into the sink: one thread, all that is waiting in one write.
//!
//! What a failed write leaves is never guessed at. A line of which nothing got in never was, and
//! its number goes to the next one. One of which a part got in is finished first when the sink
//! takes bytes again. Where the sink itself was lost, the line is torn, and the mark that the new
//! one begins with says how long the stump is.

use std::fs::File;
use std::io::ErrorKind;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tracing::{error, info, warn};

use super::chain::{self, Circumstances, Head, Kind, Mark};
use super::sink::Sink;
use super::text;
use crate::clock::{Clock, Time};
use crate::config::AuditSink;

mod company;

/// Lines that one write takes at most.
const BATCH: usize = 512;

/// What the thread is asked to do.
#[derive(Debug)]
pub(super) enum Job {
    /// Write a line that lacks its place, and say whether it is in.
    Write(Vec<u8>, oneshot::Sender<bool>),
    /// Write a last line, and end.
    Stop(oneshot::Sender<()>),
    /// Write in turns with another process from now on, and give it the file; not while a line is
    /// half in.
    Share(oneshot::Sender<Option<File>>),
    /// See whether the file is still where it was.
    Wake,
}

/// What the thread and those who ask it tell each other outside the queue.
#[derive(Debug)]
pub(super) struct Shared {
    clock: Clock,
    /// Since when the thread has been at the sink; `None`: it waits for work.
    busy: Mutex<Option<Time>>,
    /// Whether the file is to be looked for again.
    pub(super) reopen: AtomicBool,
    /// Whether the sink took what it was last given.
    pub(super) working: AtomicBool,
    /// Whether another process writes to the file as well.
    pub(super) company: AtomicBool,
}

/// The thread's own.
#[derive(Debug)]
pub(super) struct Writer {
    place: AuditSink,
    shared: Arc<Shared>,
    /// Whether answers are withheld while this does not work.
    closed: bool,
    sink: Option<Sink>,
    /// The last line that is all there.
    head: Head,
    /// Whether that line, or what is after it, lacks its newline.
    open: bool,
    begun: Option<Begun>,
    due: Option<Due>,
    started: bool,
    /// How far into the file `head` is, while another process writes to it as well.
    company: Option<u64>,
}

/// A line of which a part is in the sink.
#[derive(Debug)]
struct Begun {
    sent: usize,
    rest: Vec<u8>,
    head: Head,
}

/// A line about the log that must come before any other.
#[derive(Clone, Copy, Debug)]
struct Due {
    kind: Kind,
    torn: u64,
}

/// Where a line lies among the bytes of one write, without its newline.
struct Span {
    begin: usize,
    end: usize,
    head: Head,
}

impl Shared {
    pub(super) fn new(clock: Clock) -> Self {
        let (reopen, working, company) = (false.into(), true.into(), false.into());
        Self { clock, busy: Mutex::new(None), reopen, working, company }
    }

    /// Whether the thread has been at the sink for longer than `patience`.
    pub(super) fn stuck(&self, patience: Duration) -> bool {
        let busy = *self.busy.lock().unwrap_or_else(PoisonError::into_inner);
        busy.is_some_and(|since| self.clock.now().since(since) > patience)
    }

    /// Says that the thread is at the sink, or no longer.
    pub(super) fn busy(&self, since: Option<Time>) {
        *self.busy.lock().unwrap_or_else(PoisonError::into_inner) = since;
    }
}

impl Writer {
    /// Opens the sink.
    ///
    /// # Errors
    /// It is a file that cannot be used. A socket may find its listener later.
    /// `joined`: what another process writes to as well.
    pub(super) fn new(
        place: AuditSink,
        closed: bool,
        shared: Arc<Shared>,
        joined: Option<File>,
    ) -> Result<Self, String> {
        let mut writer = Self {
            place,
            shared,
            closed,
            sink: None,
            head: Head::NONE,
            open: false,
            begun: None,
            due: Some(Due { kind: Kind::Start, torn: 0 }),
            started: false,
            company: None,
        };
        if let Some(file) = joined {
            writer.join(file)?;
        }
        match writer.ready() {
            Err(error) if !matches!(writer.place, AuditSink::Unix(_)) => Err(error),
            _ => Ok(writer),
        }
    }

    /// Works until it is told to stop, or nobody is left to tell it.
    pub(super) fn run(mut self, mut queue: mpsc::Receiver<Job>) {
        let mut jobs = vec![Job::Wake];
        loop {
            self.shared.busy(Some(self.shared.clock.now()));
            let stop = self.work(&mut jobs);
            self.shared.busy(None);
            if let Some(done) = stop {
                // Whoever asked may have lost patience.
                let _ = done.send(());
                return;
            }
            if queue.blocking_recv_many(&mut jobs, BATCH) == 0 {
                return;
            }
        }
    }

    fn work(&mut self, jobs: &mut Vec<Job>) -> Option<oneshot::Sender<()>> {
        self.part();
        // Two processes in two files would make two chains of one.
        if self.company.is_none() && self.shared.reopen.swap(false, Ordering::Relaxed) {
            self.reopen();
        }
        let (mut lines, mut shares, mut stop) = (Vec::new(), Vec::new(), None);
        for job in jobs.drain(..) {
            match job {
                // Whoever gave up waiting has withheld the answer.
                Job::Write(line, accepted) if !accepted.is_closed() => lines.push((line, accepted)),
                Job::Write(..) | Job::Wake => (),
                Job::Stop(done) => stop = Some(done),
                Job::Share(given) => shares.push(given),
            }
        }
        let unplaced: Vec<_> = lines.iter().map(|(line, _)| line.as_slice()).collect();
        let accepted = self.attempt(&unplaced);
        for (place, (_, answer)) in lines.into_iter().enumerate() {
            let _ = answer.send(place < accepted);
        }
        for given in shares {
            // Whoever asked may have lost patience.
            let _ = given.send(self.share());
        }
        if stop.is_some() && self.started {
            self.due.get_or_insert(Due { kind: Kind::Stop, torn: 0 });
            self.attempt(&[]);
        }
        stop
    }

    /// Writes what is due and these lines; how many of the lines are in.
    fn attempt(&mut self, unplaced: &[&[u8]]) -> usize {
        if unplaced.is_empty() && self.due.is_none() && self.begun.is_none() {
            return 0;
        }
        let (accepted, result) = match self.ready() {
            Ok(()) => self.write(unplaced),
            Err(error) => (0, Err(error)),
        };
        let worked = self.shared.working.swap(result.is_ok(), Ordering::Relaxed);
        match result {
            Ok(()) if !worked => info!("audit records are accepted again"),
            Err(error) if worked && self.closed => {
                error!(error, "audit records are not accepted, so secrets are withheld");
            }
            Err(error) if worked => {
                warn!(error, "audit records are not accepted; answers leave without them");
            }
            _ => (),
        }
        accepted
    }

    /// Opens the sink, if it is not.
    fn ready(&mut self) -> Result<(), String> {
        if self.sink.is_some() {
            return Ok(());
        }
        let (sink, tail) = Sink::open(&self.place)?;
        // A socket's reader may put what it gets from here right behind the stump it has.
        self.open = tail.open || self.due.is_some_and(|due| due.torn > 0);
        if !self.started {
            self.head = tail.head.unwrap_or(Head::NONE);
            self.due = Some(Due { kind: Kind::Start, torn: tail.torn });
        }
        self.sink = Some(sink);
        Ok(())
    }

    fn write(&mut self, unplaced: &[&[u8]]) -> (usize, Result<(), String>) {
        let _turn = match self.turn() {
            Ok(turn) => turn,
            Err(error) => return (0, Err(error.to_string())),
        };
        let (bytes, spans) = self.lay_out(unplaced);
        let sink = self.sink.as_mut().expect("what is not ready is not written to");
        let (sent, result) = sink.write(&bytes);
        let whole = self.settle(&bytes, &spans, sent);
        self.leave_to_the_other();
        let accepted = whole.saturating_sub(spans.len() - unplaced.len());
        let passing = |error: &std::io::Error| {
            matches!(
                error.kind(),
                ErrorKind::WouldBlock
                    | ErrorKind::StorageFull
                    | ErrorKind::QuotaExceeded
                    | ErrorKind::FileTooLarge
            )
        };
        if result.as_ref().is_err_and(|error| !passing(error)) {
            (self.sink, self.company) = (None, None);
            self.leave(Kind::Resume);
        }
        (accepted, result.map_err(|error| error.to_string()))
    }

    /// The bytes to write: what was begun, what is due, and these lines.
    fn lay_out(&self, unplaced: &[&[u8]]) -> (Vec<u8>, Vec<Span>) {
        let (mut bytes, mut spans, mut head) = (Vec::new(), Vec::new(), self.head);
        if self.open {
            bytes.push(b'\n');
        }
        if let Some(begun) = &self.begun {
            bytes.extend_from_slice(&begun.rest);
            head = begun.head;
            spans.push(Span { begin: 0, end: bytes.len(), head });
            bytes.push(b'\n');
        }
        let due = self.due.map(|due| self.mark(due));
        for line in due.as_deref().into_iter().chain(unplaced.iter().copied()) {
            let begin = bytes.len();
            head = head.link(line, &mut bytes);
            spans.push(Span { begin, end: bytes.len(), head });
            bytes.push(b'\n');
        }
        (bytes, spans)
    }

    /// Takes note of what is in the sink after `sent` of the bytes; how many of the lines are.
    fn settle(&mut self, bytes: &[u8], spans: &[Span], sent: usize) -> usize {
        let continued = self.begun.take();
        let before_due = usize::from(continued.is_some());
        let whole = spans.iter().take_while(|span| span.end <= sent).count();
        if let Some(last) = whole.checked_sub(1).map(|last| &spans[last]) {
            (self.head, self.open, self.started) = (last.head, sent == last.end, true);
        } else if sent > 0 {
            self.open = false;
        }
        if let Some(span) = spans.get(whole) {
            let before = continued.filter(|_| whole == 0).map_or(0, |begun| begun.sent);
            let sent_of_it = before + sent.saturating_sub(span.begin);
            if sent_of_it > 0 {
                let rest = bytes[sent.max(span.begin)..span.end].to_vec();
                self.begun = Some(Begun { sent: sent_of_it, rest, head: span.head });
            }
        }
        if whole + usize::from(self.begun.is_some()) > before_due {
            self.due = None;
        }
        whole
    }

    /// Goes on in the file that is at the place now.
    fn reopen(&mut self) {
        if !self.sink.as_ref().is_some_and(|sink| sink.moved(&self.place)) {
            return;
        }
        if self.begun.is_some() {
            self.attempt(&[]);
        }
        // The attempt may have lost it, and what is due says so.
        let Some(before) = self.sink.take() else { return };
        match self.ready() {
            Ok(()) => self.leave(Kind::Rotate),
            Err(error) => {
                warn!(error, "the audit file cannot be opened again; the one before is used on");
                self.sink = Some(before);
            }
        }
    }

    /// What was written to is no longer: what was begun there stays as it is, and the first line
    /// elsewhere says so. Where no process start is on record yet, that is the line due.
    fn leave(&mut self, kind: Kind) {
        let torn = self.begun.take().map_or(0, |begun| begun.sent as u64 + 1);
        if self.started {
            let due = self.due.unwrap_or(Due { kind, torn: 0 });
            self.due = Some(Due { torn: due.torn + torn, ..due });
        }
    }

    fn mark(&self, Due { kind, torn }: Due) -> Vec<u8> {
        let sink = match self.place {
            AuditSink::File { .. } => "file",
            AuditSink::Stdout => "stdout",
            AuditSink::Unix(_) => "unix",
        };
        let vaultlet = Circumstances { version: env!("CARGO_PKG_VERSION"), sink, torn };
        chain::unplaced(text::json(&Mark { time: Clock::wall(), kind, vaultlet }))
    }
}

#[cfg(test)]
mod tests;
