//! The task that takes snapshots, and says so when it cannot.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{sleep, timeout};
use tracing::{info, warn};

use super::content::Content;
use super::own::Own;
use super::reader::{Failure, Reader};
use super::{Policies, Snapshot, Summary};

/// Readings of which two in a row must agree.
const READINGS: usize = 4;

/// Between two snapshots, however they are called for.
const PAUSE: Duration = Duration::from_secs(1);

impl Policies {
    /// Takes snapshots until the future is dropped: three in a window, or sooner when one is asked
    /// for.
    pub async fn look_after(self: Arc<Self>) {
        self.upstream.answers().await;
        let mut own = Own::new(self.identity.token_file.clone());
        let mut said = Said::default();
        loop {
            let (taken, mut problems) = self.refresh(&mut own).await;
            self.metrics.policies_refreshed(taken.is_ok());
            let current = self.current.load();
            let content = current.as_ref().map(|snapshot| &snapshot.content);
            let opaque = content.map(|content| content.opaque()).unwrap_or_default();
            let read = content.map_or(0, |content| content.len() - opaque.len());
            self.metrics.policies_known(read, opaque.len());
            problems.extend(taken.err().map(|failure| failure.to_string()));
            problems.extend(opaque.iter().map(|opaque| {
                format!(
                    "policy {opaque}. vaultlet does not understand it: reads by whoever holds it \
                     are decided by the upstream, as with policy.source: upstream. Rewrite that \
                     line if they are to be decided here"
                )
            }));
            said.say(problems, content.is_some());
            own.renew(&self.upstream, &self.clock).await;
            sleep(PAUSE).await;
            let rest = (self.window / 3).saturating_sub(PAUSE);
            // Whether the bell rang or the time is over, the next thing is to read.
            timeout(rest, self.wake.notified()).await.ok();
        }
    }

    /// Reads once and says what came of it, a line each for people.
    pub async fn attempt(&self) -> Vec<Result<String, String>> {
        let mut own = Own::new(self.identity.token_file.clone());
        let (taken, refused) = self.refresh(&mut own).await;
        let mut tried: Vec<_> =
            refused.into_iter().map(|it| Err(format!("policies: {it}"))).collect();
        let Summary { read, opaque, .. } = self.summary();
        tried.push(match taken {
            Ok(()) => Ok(format!("policies: {read} read, {} not understood", opaque.len())),
            Err(failure) => Err(format!("policies: {failure}")),
        });
        let opaque = opaque.iter().map(|it| {
            format!("policy {it}; whoever holds it is decided by the upstream for each secret")
        });
        tried.extend(opaque.map(Ok));
        tried
    }

    /// Takes a snapshot, and says what is not as it should be besides.
    async fn refresh(&self, own: &mut Own) -> (Result<(), Failure>, Vec<String>) {
        let header = match own.header(self.clock.now()) {
            Ok(header) => header,
            Err(failure) => return (Err(failure), Vec::new()),
        };
        let mut reader = Reader { upstream: &self.upstream, token: header, refused: Vec::new() };
        let taken = self.take(&mut reader).await;
        let refused: BTreeSet<_> = reader.refused.iter().map(ToString::to_string).collect();
        (taken, refused.into_iter().collect())
    }

    /// Reads until two readings in a row agree, the last of the snapshot before included: then it
    /// was so at the instant between them, whatever was being written meanwhile.
    async fn take(&self, reader: &mut Reader<'_>) -> Result<(), Failure> {
        let before = self.current.load_full().map(|snapshot| Arc::clone(&snapshot.content));
        let mut last = None;
        for _ in 0..READINGS {
            let (asked, fence) = (self.clock.now(), self.fence());
            let reading = reader.read(&self.wanted).await?;
            let content = match (&before, last.take()) {
                (Some(before), None) if before.reading == reading => Arc::clone(before),
                (_, Some(last)) if last == reading => {
                    Arc::new(Content::new(reading, before.as_deref(), asked))
                }
                _ => {
                    last = Some(reading);
                    continue;
                }
            };
            self.current.store(Some(Arc::new(Snapshot { asked, fence, content })));
            return Ok(());
        }
        Err(Failure::Restless)
    }
}

/// What has been said, so that it is said once.
#[derive(Default)]
struct Said(BTreeSet<String>);

impl Said {
    fn say(&mut self, problems: Vec<String>, read: bool) {
        let problems: BTreeSet<String> = problems.into_iter().collect();
        for problem in problems.difference(&self.0) {
            warn!(%problem, "the upstream's policies");
        }
        if problems.is_empty() && !self.0.is_empty() && read {
            info!("the upstream's policies are read and understood again");
        }
        self.0 = problems;
    }
}
