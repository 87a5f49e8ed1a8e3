//! How do two processes write one chain?
//!
//! In turns, for as long as one takes over from the other. Whoever has the turn first reads what the
//! other has written since, and goes on from there. A line that could not be finished is left as it
//! is, and the next one says so, whoever writes it.

use std::fs::File;
use std::io;
use std::sync::atomic::Ordering;

use tracing::warn;

use super::{Due, Kind, Writer};
use crate::audit::sink::{Sink, Tail, Turn};

impl Writer {
    /// Goes on in a file that another process writes to, and says that it does.
    pub(super) fn join(&mut self, file: File) -> Result<(), String> {
        let (sink, tail, length) = Sink::join(file, &self.place)?;
        if let Some(head) = tail.head {
            self.head = head;
        }
        (self.open, self.sink, self.company) = (tail.open, Some(sink), Some(length));
        self.due = Some(Due { kind: Kind::Takeover, torn: tail.torn });
        self.shared.company.store(true, Ordering::SeqCst);
        Ok(())
    }

    /// The file, for another process to write to as well from now on. `None`: it is none, or a line
    /// is half in.
    pub(super) fn share(&mut self) -> Option<File> {
        let sink = self.sink.as_ref().filter(|_| self.begun.is_none() && self.started)?;
        // Some file systems have no locks: then there are no turns either.
        drop(sink.turn().ok()?);
        let (file, length) = (sink.handle()?, sink.length().ok()?);
        self.company = Some(length);
        self.shared.company.store(true, Ordering::SeqCst);
        Some(file)
    }

    /// The other process has ended: what it wrote last is read, and turns are over.
    pub(super) fn part(&mut self) {
        if self.company.is_none() || self.shared.company.load(Ordering::SeqCst) {
            return;
        }
        if let Err(error) = self.turn() {
            warn!(%error, "what another process wrote last to the audit log cannot be read");
        }
        self.company = None;
    }

    /// Waits for the turn, where there is another process, and takes in what it has written.
    pub(super) fn turn(&mut self) -> io::Result<Option<Turn>> {
        let (Some(length), Some(sink)) = (self.company, &self.sink) else { return Ok(None) };
        let turn = sink.turn()?;
        let now = sink.length()?;
        if now != length {
            let Tail { head, torn, open } = sink.since(length)?;
            self.head = head.unwrap_or(self.head);
            self.open = open;
            if torn > 0 {
                let due = self.due.unwrap_or(Due { kind: Kind::Resume, torn: 0 });
                self.due = Some(Due { torn, ..due });
            }
            self.company = Some(now);
        }
        Ok(Some(turn))
    }

    /// Before the turn is over: what is half in is no line of this process's any more.
    pub(super) fn leave_to_the_other(&mut self) {
        let (Some(_), Some(sink)) = (self.company, &self.sink) else { return };
        let stump = self.begun.take().map_or(0, |begun| begun.sent as u64);
        // Read again as what it is by whoever is next.
        self.company = sink.length().ok().map(|length| length.saturating_sub(stump));
    }
}
