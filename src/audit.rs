//! Who was answered what, and why: the records that the upstream cannot keep of what is answered
//! here.
//!
//! A record is accepted by its sink before the answer it is about leaves; if it is not, the answer
//! is withheld, unless the operator has said otherwise. *Accepted* means written: to a file, that
//! the kernel has it and a crash of this process does not lose it, though one of the machine may.
//! Records are one JSON object a line, in the shape of Vault's own audit log, and chained, so that
//! what was taken out or changed shows. `docs/audit.md` has the format for people.
//!
//! ```text
//! Audit::record ─line─→ queue ─→ writer's thread ─one write for all that wait─→ sink
//!        ↑                             │
//!        └────────── accepted ─────────┘
//! ```

mod chain;
mod digest;
mod record;
mod sink;
mod text;
mod verify;
mod writer;

#[cfg(test)]
mod tests;

use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

pub use digest::Digester;
pub use record::{CredentialKind, Encoder, Login, Record, ServiceAccount};
pub use verify::{Report, Verifier};

use crate::clock::Clock;
use crate::config;
use crate::error::{BoxError, Error};
use crate::metrics::{Audited, Metrics};
use writer::{Job, Shared, Writer};

/// How long an answer waits for its record to be accepted.
const PATIENCE: Duration = Duration::from_secs(1);

/// Records that wait for the writer; one is a kilobyte or so. Past this, answers wait too.
const QUEUE: usize = 1024;

/// The audit log of this process.
#[derive(Debug)]
pub struct Audit {
    queue: mpsc::Sender<Job>,
    shared: Arc<Shared>,
    encoder: Encoder,
    fail_open: bool,
    metrics: Arc<Metrics>,
}

impl Audit {
    /// Opens the sink, finds the end of the chain that is there, and starts the writer's thread.
    ///
    /// # Errors
    /// The key or the file cannot be used; one paragraph for people. A socket that nobody listens
    /// on is tried again with each record.
    pub fn start(
        config: &config::Audit,
        clock: Clock,
        metrics: Arc<Metrics>,
    ) -> Result<Self, BoxError> {
        Self::join(config, clock, metrics, None)
    }

    /// The same, in turns with another process that has given its `file`.
    ///
    /// # Errors
    /// The same.
    pub fn join(
        config: &config::Audit,
        clock: Clock,
        metrics: Arc<Metrics>,
        file: Option<File>,
    ) -> Result<Self, BoxError> {
        let encoder = Encoder::new(config.paths, Digester::new(config.key_file.as_deref())?);
        let shared = Arc::new(Shared::new(clock));
        let (queue, jobs) = mpsc::channel(QUEUE);
        let (sink, closed) = (config.sink.clone(), !config.fail_open);
        let writer = Writer::new(sink, closed, Arc::clone(&shared), file)?;
        let thread = thread::Builder::new().name("audit".to_owned());
        // It ends when the queue does; what may hold it up, a sink that blocks, nobody waits for.
        drop(thread.spawn(move || writer.run(jobs))?);
        Ok(Self { queue, shared, encoder, fail_open: config.fail_open, metrics })
    }

    /// Has a record accepted, before its answer may leave.
    ///
    /// # Errors
    /// [`Error::Unaudited`]: it was not, within a second. With `fail_open` that is only counted.
    pub fn record<'a>(
        &'a self,
        record: &Record<'_>,
    ) -> impl Future<Output = Result<(), Error>> + Send + use<'a> {
        let line = self.encoder.line(record, Clock::wall());
        async move {
            let result = if self.shared.stuck(PATIENCE) {
                Audited::Dropped
            } else {
                match timeout(PATIENCE, self.write(line)).await {
                    Ok(true) => Audited::Written,
                    _ => Audited::Failed,
                }
            };
            self.metrics.audited(result);
            if result == Audited::Written || self.fail_open {
                Ok(())
            } else {
                Err(Error::Unaudited)
            }
        }
    }

    /// Whether the sink takes records: what it said to the last one.
    pub fn working(&self) -> bool {
        self.shared.working.load(Ordering::Relaxed) && !self.shared.stuck(PATIENCE)
    }

    /// Looks whether the file has been moved away, and if so goes on in a new one.
    pub fn reopen(&self) {
        self.shared.reopen.store(true, Ordering::Relaxed);
        // A queue that is full is work enough to be woken by.
        drop(self.queue.try_send(Job::Wake));
    }

    /// The file, for another process to write to in turns with this one; `None`: it is none, or
    /// does not take records just now.
    pub async fn share(&self) -> Option<File> {
        let (answer, given) = oneshot::channel();
        let share = async {
            self.queue.send(Job::Share(answer)).await.ok()?;
            given.await.ok()?
        };
        timeout(PATIENCE, share).await.ok().flatten()
    }

    /// The other process does not write any more.
    pub fn alone(&self) {
        self.shared.company.store(false, Ordering::SeqCst);
        drop(self.queue.try_send(Job::Wake));
    }

    /// Writes what is waiting and the line that says that this process has ended as it should.
    /// What is recorded later is not accepted.
    pub async fn stop(&self) {
        let (done, stopped) = oneshot::channel();
        let stop = async {
            if self.queue.send(Job::Stop(done)).await.is_ok() {
                // A thread that is gone has nothing more to write.
                drop(stopped.await);
            }
        };
        if timeout(PATIENCE, stop).await.is_err() {
            tracing::warn!("the audit log takes no records; it ends without a last one");
        }
    }

    /// Whether the line is accepted.
    async fn write(&self, line: Vec<u8>) -> bool {
        let (answer, accepted) = oneshot::channel();
        self.queue.send(Job::Write(line, answer)).await.is_ok() && accepted.await.unwrap_or(false)
    }
}
