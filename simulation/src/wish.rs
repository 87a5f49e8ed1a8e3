//! One request of a caller, and what becomes of it.

use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt as _, Full};
use hyper::Request;
use hyper::body::Bytes;
use tokio::time::timeout;
use vaultlet::app::Embedded;

use crate::properties::Answered;
use crate::situations::Situation;
use crate::world::{CREDENTIALS, World};

/// Nobody waits for an answer for longer: a request that takes more never ends.
/// The process may have stood still meanwhile.
pub(crate) const PATIENCE: Duration = Duration::from_mins(10);

/// A request to be made.
pub(crate) struct Wish {
    pub(crate) method: &'static str,
    pub(crate) path: String,
    pub(crate) token: usize,
    /// A secret, or the credentials; `None`: of no interest.
    pub(crate) what: Option<usize>,
    pub(crate) body: Bytes,
    pub(crate) fresh: bool,
    /// After which time the caller hangs up.
    pub(crate) patience: Duration,
    /// The number of a write, and the lease that is revoked.
    pub(crate) write: Option<u64>,
    pub(crate) revokes: Option<usize>,
}

impl Wish {
    /// A read of `what`, by who waits for its answer.
    pub(crate) fn get(path: String, token: usize, what: usize) -> Self {
        Self {
            method: "GET",
            path,
            token,
            what: Some(what),
            body: Bytes::new(),
            fresh: false,
            patience: PATIENCE,
            write: None,
            revokes: None,
        }
    }

    /// Makes it, and holds what comes of it against what was so.
    pub(crate) async fn made(self, world: World, proxy: Arc<Embedded>) {
        let Self { method, path, token, .. } = &self;
        let begun = world.now();
        let asked = world.note(format_args!("token {token}: {method} {path}"));
        let secret = self.what.filter(|what| *what < CREDENTIALS);
        let wait = |come: bool| {
            let mut state = world.state();
            if let Some(waiting) = secret.and_then(|secret| state.waiting.get_mut(secret)) {
                *waiting = if come { *waiting + 1 } else { *waiting - 1 };
            }
        };
        wait(true);
        let answer = timeout(self.patience, self.answered(&proxy)).await;
        wait(false);
        let now = world.now();
        let mut state = world.state();
        let Ok((status, label, body)) = answer else {
            let at = state.trace.note(now, format_args!("token {token} ({asked}) hangs up"));
            if self.patience == PATIENCE {
                state.violated(now, &format!("no answer, {at} steps in: {path} for token {token}"));
            }
            state.met(Situation::HungUp);
            if state.reads.iter().any(|(_, read, _)| Some(*read) == self.what) {
                state.met(Situation::LeaderLeft);
            }
            return;
        };
        let at =
            state.trace.note(now, format_args!("token {token} ({asked}) is told {status} {label}"));
        let good = (200..300).contains(&status);
        if let Some(what) = self.what {
            let (asked, at) = ((begun, asked), (now, at));
            state.judge(&Answered { token: *token, what, status, label, body, asked, at });
        } else if good && let Some(id) = self.write {
            let made = state.writes.iter().find(|(its, ..)| *its == id).copied();
            if let Some((_, secret, content)) = made {
                state.seen.floors.entry(secret).or_default().push((at, content));
                state.met(Situation::WrittenHere);
            }
        } else if good && let Some(lease) = self.revokes {
            state.leases[lease].revoked.get_or_insert(at);
            state.met(Situation::LeaseRevokedHere);
        } else if good {
            state.met(Situation::TokenRevokedHere);
        }
    }

    /// Status, `Cache-Status` and body.
    async fn answered(&self, proxy: &Embedded) -> (u16, String, Vec<u8>) {
        let request = Request::builder()
            .method(self.method)
            .uri(format!("/v1/{}", self.path))
            .header("host", "vaultlet")
            .header("x-vault-token", format!("hvs.{}", self.token));
        let request =
            if self.fresh { request.header("cache-control", "no-cache") } else { request };
        let request = request.body(Full::new(self.body.clone()));
        let Ok(request) = request else { return (0, String::new(), Vec::new()) };
        let (head, body) = proxy.answer(request).await.into_parts();
        let label = head.headers.get("cache-status").and_then(|label| label.to_str().ok());
        let label = label.unwrap_or_default().to_owned();
        match body.collect().await {
            Ok(body) => (head.status.as_u16(), label, body.to_bytes().to_vec()),
            // It broke off, as the upstream's did: no answer at all.
            Err(_) => (599, label, Vec::new()),
        }
    }
}
