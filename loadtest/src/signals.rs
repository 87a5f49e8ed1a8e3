//! How is a run ended before its end? By Ctrl-C, SIGTERM or SIGHUP, and by another of them at once.

use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use tokio::runtime;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Why a run has ended that was told to.
pub(crate) const INTERRUPTED: &str = "it was interrupted";

/// What signals ask for.
#[derive(Debug)]
pub(crate) struct Signals {
    /// Cancelled by the first: what was measured is written then.
    pub(crate) stop: CancellationToken,
    /// Cancelled by the second.
    now: CancellationToken,
    /// How many have something that must not be left behind.
    held: Arc<AtomicUsize>,
}

/// As long as it lives, no signal ends the process.
#[derive(Debug)]
pub(crate) struct Hold(Arc<AtomicUsize>);

impl Signals {
    /// Listens, on a thread of its own: the program's waits for others, and for whoever reads what
    /// it prints.
    ///
    /// # Errors
    /// The system does not tell of signals.
    pub(crate) fn listen() -> Result<Self, String> {
        let problem = |e: std::io::Error| format!("no news of signals: {e}");
        let runtime =
            runtime::Builder::new_current_thread().enable_io().build().map_err(problem)?;
        let (mut interrupt, mut terminate, mut hang_up) = {
            let _entered = runtime.enter();
            let listen = |kind| signal(kind).map_err(problem);
            let hang_up = (!hang_up_is_ignored()).then(|| listen(SignalKind::hangup()));
            (
                listen(SignalKind::interrupt())?,
                listen(SignalKind::terminate())?,
                hang_up.transpose()?,
            )
        };
        let signals = Self {
            stop: CancellationToken::new(),
            now: CancellationToken::new(),
            held: Arc::default(),
        };
        let (stop, now) = (signals.stop.clone(), signals.now.clone());
        let held = Arc::clone(&signals.held);
        let listen = async move {
            loop {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                    Some(()) = async { hang_up.as_mut()?.recv().await } => {}
                }
                if !stop.is_cancelled() {
                    stop.cancel();
                    continue;
                }
                now.cancel();
                if held.load(Ordering::SeqCst) == 0 {
                    process::exit(1);
                }
            }
        };
        drop(thread::spawn(move || runtime.block_on(listen)));
        Ok(signals)
    }

    /// For work that heeds the first signal itself, and has files to remove then.
    pub(crate) fn held(&self) -> Hold {
        self.held.fetch_add(1, Ordering::SeqCst);
        Hold(Arc::clone(&self.held))
    }

    /// Does `work`, which starts servers and owns them. The second signal drops it where it waits,
    /// and them with it.
    ///
    /// # Errors
    /// Its own, or it was dropped.
    pub(crate) async fn hold<T>(
        &self,
        work: impl Future<Output = Result<T, String>>,
    ) -> Result<T, String> {
        let _held = self.held();
        unless_stopped(&self.now, work).await
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Does `work`, or drops it when `stop` is cancelled.
///
/// # Errors
/// Its own, or it was dropped.
pub(crate) async fn unless_stopped<T>(
    stop: &CancellationToken,
    work: impl Future<Output = Result<T, String>>,
) -> Result<T, String> {
    let done = stop.run_until_cancelled(work).await;
    done.unwrap_or_else(|| Err(INTERRUPTED.to_owned()))
}

/// Whether whoever started this program wants it to outlive the terminal, as `nohup` does.
fn hang_up_is_ignored() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    // SIGHUP is signal 1, and so the lowest bit.
    ignored.and_then(|set| u64::from_str_radix(set.trim(), 16).ok()).is_some_and(|set| set & 1 == 1)
}
