//! How long until all is well after something happened?

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use tokio::time::Instant;

use crate::record::Recorder;

/// How long no read may fail before an outage counts as over.
const WELL: Duration = Duration::from_secs(1);

/// Something that happened, and whoever has not got over it yet.
///
/// It is over when nobody lacks anything any more. After an outage, reads have to succeed too: it
/// was over at the last one that failed, which is known once a second has passed without another.
#[derive(Debug)]
pub(crate) struct Wave {
    recorder: Rc<Recorder>,
    phase: usize,
    outage: bool,
    /// When recovery began: of an outage, its end.
    since: Cell<Option<Instant>>,
    lacking: Cell<u64>,
    /// When the last of them had all it wanted, or the last read failed.
    last: Cell<Option<Instant>>,
}

/// Somebody who lacks something. Dropped without [`Lacking::done`], it is somebody who gave up or
/// ended, and does not count any more.
#[derive(Debug)]
pub(crate) struct Lacking(Option<Rc<Wave>>);

/// What happened last.
#[derive(Debug, Default)]
pub(crate) struct Waves(RefCell<Option<Rc<Wave>>>);

impl Waves {
    /// Something happens that pods have to get over.
    pub(crate) fn happen(&self, recorder: &Rc<Recorder>, phase: usize, outage: bool) {
        *self.0.borrow_mut() = Some(Rc::new(Wave {
            recorder: recorder.clone(),
            phase,
            outage,
            since: Cell::new((!outage).then(Instant::now)),
            lacking: Cell::new(0),
            last: Cell::new(None),
        }));
    }

    /// The outage is over, if it was one.
    pub(crate) fn end(&self) {
        if let Some(wave) = self.0.borrow().as_ref().filter(|wave| wave.outage) {
            wave.since.set(Some(Instant::now()));
        }
    }

    /// Somebody who lacks something because of it.
    pub(crate) fn lacking(&self) -> Lacking {
        let wave = self.0.borrow().clone();
        if let Some(wave) = &wave {
            wave.lacking.set(wave.lacking.get() + 1);
            wave.judge(Instant::now());
        }
        Lacking(wave)
    }

    /// The same for what it had and lost later: that only an outage brings about.
    pub(crate) fn losing(&self) -> Lacking {
        let outage = self.0.borrow().as_ref().is_some_and(|wave| wave.outage);
        if outage { self.lacking() } else { Lacking(None) }
    }

    /// A read succeeded or failed.
    pub(crate) fn read(&self, failed: bool) {
        let waves = self.0.borrow();
        let Some(wave) = waves.as_ref().filter(|wave| wave.outage) else { return };
        let now = Instant::now();
        if failed {
            wave.last.set(Some(now));
        }
        wave.judge(now);
    }

    /// Another look, for when nobody reads.
    pub(crate) fn judge(&self) {
        if let Some(wave) = self.0.borrow().as_ref() {
            wave.judge(Instant::now());
        }
    }
}

impl Wave {
    fn judge(&self, now: Instant) {
        let Some(since) = self.since.get() else { return };
        let last = self.last.get().map_or(since, |last| last.max(since));
        let well = self.lacking.get() == 0;
        if self.outage {
            if well && now.saturating_duration_since(last) >= WELL {
                self.recorder.recovered(self.phase, Some(last - since));
                // What fails from now on has other reasons.
                self.since.set(None);
            }
        } else {
            let after = self.last.get().map(|last| last.saturating_duration_since(since));
            self.recorder.recovered(self.phase, after.filter(|_| well));
        }
    }
}

impl Lacking {
    /// It has all it wanted, from now on.
    pub(crate) fn done(mut self) {
        if let Some(wave) = self.0.take() {
            wave.last.set(Some(Instant::now()));
            wave.lacking.set(wave.lacking.get() - 1);
            wave.judge(Instant::now());
        }
    }
}

impl Drop for Lacking {
    fn drop(&mut self) {
        if let Some(wave) = self.0.take() {
            wave.lacking.set(wave.lacking.get() - 1);
            wave.judge(Instant::now());
        }
    }
}
