//! When is what has changed on disk?
//!
//! One task writes the store whole, again and again, as often as it is needed and no more: what
//! many wait for is one write. A disk that fails costs what a restart would have found, not an
//! answer: it is told once, and tried again.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::task::AbortHandle;
use tracing::{info, warn};

use super::Sealed;
use super::content::Content;

/// Before a write that nobody waits for, so that one is made for all of that time.
const LAZY: Duration = Duration::from_secs(1);

/// Writes that nobody waits for take one part in this many of a processor.
const SHARE: u32 = 20;

/// Before a write that has failed is tried again, unless somebody waits for it.
const PAUSE: Duration = Duration::from_secs(5);

/// Writes what is kept. Ends when it is dropped; what has not been written by then is not.
pub struct Writer {
    wishes: Arc<Wishes>,
    done: watch::Receiver<Done>,
    task: AbortHandle,
}

/// The way to the writer of those who have something to keep: there is none at first, and where
/// nothing outlives the process there never is.
#[derive(Debug, Default)]
pub struct Changes(OnceLock<Arc<Writer>>);

impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer").finish_non_exhaustive()
    }
}

/// What others want of the task.
#[derive(Default)]
struct Wishes {
    /// Numbers those who wait.
    tickets: AtomicU64,
    /// Ticket of the last write; 0: not yet.
    last: AtomicU64,
    /// Whether there is something that nobody waits for.
    dirty: AtomicBool,
    wake: Notify,
}

/// Up to which ticket writes have been made.
#[derive(Clone, Copy, Default)]
struct Done {
    tried: u64,
    written: u64,
}

impl Writer {
    /// Starts it. `collect` makes what is to be written, on a thread that may block; `wrote` is told
    /// after each write how many bytes the file has, or that there was none.
    pub fn start(
        sealed: Arc<Sealed>,
        collect: impl Fn() -> Content + Send + Sync + 'static,
        wrote: impl Fn(Option<u64>) + Send + Sync + 'static,
    ) -> Self {
        let wishes = Arc::<Wishes>::default();
        let (told, done) = watch::channel(Done::default());
        let once = Arc::new(move || {
            let written = collect().to_json().and_then(|json| sealed.replace(&json));
            wrote(written.as_ref().ok().copied());
            written.map(drop).map_err(|error| {
                let dir = sealed.directory().path().display();
                format!("{dir}: {error}")
            })
        });
        let task = tokio::spawn(run(Arc::clone(&wishes), told, once));
        Self { wishes, done, task: task.abort_handle() }
    }

    /// Returns once everything that had changed before this was called is on disk; `false`: it is
    /// not, because the disk failed or the writer has stopped.
    pub async fn commit(&self) -> bool {
        self.written(self.wishes.ticket()).await
    }

    /// Something has changed that may wait: it is written within a second.
    pub fn soon(&self) {
        self.wishes.dirty.store(true, Ordering::SeqCst);
        self.wishes.wake.notify_one();
    }

    /// Writes for the last time; says whether that came to be.
    pub async fn stop(&self) -> bool {
        let ticket = self.wishes.tickets.fetch_add(1, Ordering::SeqCst) + 1;
        self.wishes.last.fetch_max(ticket, Ordering::SeqCst);
        self.wishes.wake.notify_one();
        self.written(ticket).await
    }

    async fn written(&self, ticket: u64) -> bool {
        let mut done = self.done.clone();
        match done.wait_for(|done| done.tried >= ticket).await {
            Ok(done) => done.written >= ticket,
            // The task has ended.
            Err(_) => false,
        }
    }
}

impl Changes {
    /// Has `writer` told of them from now on.
    pub fn kept_by(&self, writer: &Arc<Writer>) {
        self.0.get_or_init(|| Arc::clone(writer));
    }

    /// Something has changed: to be on disk soon.
    pub fn noted(&self) {
        if let Some(writer) = self.0.get() {
            writer.soon();
        }
    }

    /// The writer.
    pub fn writer(&self) -> Option<&Arc<Writer>> {
        self.0.get()
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Wishes {
    fn ticket(&self) -> u64 {
        let ticket = self.tickets.fetch_add(1, Ordering::SeqCst) + 1;
        self.wake.notify_one();
        ticket
    }

    /// Returns when it is time to write. `tried`: the ticket of the last write.
    async fn due(&self, tried: u64, lazy: Duration) {
        let waited_for = || self.tickets.load(Ordering::SeqCst) > tried;
        while !waited_for() && !self.dirty.load(Ordering::SeqCst) {
            self.wake.notified().await;
        }
        let somebody_waits = async {
            while !waited_for() {
                self.wake.notified().await;
            }
        };
        // Either is a reason to write.
        let _ = tokio::time::timeout(lazy, somebody_waits).await;
    }
}

async fn run<F>(wishes: Arc<Wishes>, told: watch::Sender<Done>, once: Arc<F>)
where
    F: Fn() -> Result<(), String> + Send + Sync + 'static,
{
    let (mut done, mut lazy, mut failing) = (Done::default(), LAZY, false);
    loop {
        wishes.due(done.tried, lazy).await;
        // Before the write begins: what changed for this ticket is in it.
        let ticket = wishes.tickets.load(Ordering::SeqCst);
        wishes.dirty.store(false, Ordering::SeqCst);
        let once = Arc::clone(&once);
        let began = tokio::time::Instant::now();
        let written = tokio::task::spawn_blocking(move || once()).await;
        let written = written.unwrap_or_else(|error| Err(error.to_string()));
        done.tried = ticket;
        lazy = match written {
            Ok(()) => {
                done.written = ticket;
                if failing {
                    info!("the store is written again");
                }
                failing = false;
                LAZY.max(began.elapsed() * SHARE)
            }
            Err(error) => {
                wishes.dirty.store(true, Ordering::SeqCst);
                if !failing {
                    warn!(
                        %error,
                        "the store could not be written, and will be tried again: requests are \
                         answered as before, but a restart now finds what was written last"
                    );
                }
                failing = true;
                PAUSE
            }
        };
        told.send_replace(done);
        if (1..=ticket).contains(&wishes.last.load(Ordering::SeqCst)) {
            return;
        }
    }
}

#[cfg(test)]
mod tests;
