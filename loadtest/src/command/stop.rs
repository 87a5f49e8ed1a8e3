//! How is a run ended before its end? By Ctrl-C or SIGTERM, and by the same again at once.

use std::process;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Cancelled by the first signal; what was measured is written then. A second one ends the process.
///
/// # Errors
/// The system does not tell of signals.
pub(crate) fn on_signals() -> Result<CancellationToken, String> {
    let listen = |kind| signal(kind).map_err(|e| format!("no news of signals: {e}"));
    let (mut interrupt, mut terminate) =
        (listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?);
    let stop = CancellationToken::new();
    let stopped = stop.clone();
    drop(tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            if stopped.is_cancelled() {
                process::exit(1);
            }
            stopped.cancel();
        }
    }));
    Ok(stop)
}
