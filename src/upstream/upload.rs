//! How far has a request's body got, and is its answer late?

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use http_body_util::BodyExt as _;
use tokio::time::timeout;

use crate::body::{self, Body, Guarded};

/// Slower than this, an upload is not worth the place it holds. Bytes a second.
const SLOWEST: u64 = 1024;

/// A request's body on its way into the connection.
#[derive(Clone, Debug, Default)]
pub(super) struct Upload(Arc<Progress>);

#[derive(Debug, Default)]
struct Progress {
    bytes: AtomicU64,
    over: AtomicBool,
}

/// Notes that an upload is over, when dropped: rides on the body.
struct Ending(Upload);

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.0.over.store(true, Ordering::Release);
    }
}

impl Upload {
    /// There is nothing to send.
    pub(super) fn none() -> Self {
        let none = Self::default();
        drop(Ending(none.clone()));
        none
    }

    /// `body`, and how far it has got.
    pub(super) fn of(body: Body) -> (Body, Self) {
        let upload = Self::default();
        let (counter, ending) = (upload.clone(), Ending(upload.clone()));
        let watched = body.map_frame(move |frame| {
            let bytes = frame.data_ref().map_or(0, bytes::Bytes::len) as u64;
            counter.0.bytes.fetch_add(bytes, Ordering::Relaxed);
            frame
        });
        (body::stream(Guarded::new(watched, ending)), upload)
    }

    /// Whether the connection has taken all of it, or will take no more.
    pub(super) fn over(&self) -> bool {
        self.0.over.load(Ordering::Acquire)
    }

    /// Waits for `answer` for as long as the upload goes on, and `patience` more. `None`: in vain.
    pub(super) async fn wait<T>(
        &self,
        answer: impl Future<Output = T>,
        patience: Duration,
    ) -> Option<T> {
        let mut answer = pin!(answer);
        let least = SLOWEST * patience.as_secs().max(1);
        loop {
            let before = self.0.bytes.load(Ordering::Relaxed);
            if let Ok(answer) = timeout(patience, answer.as_mut()).await {
                return Some(answer);
            }
            if self.0.bytes.load(Ordering::Relaxed) - before < least {
                return None;
            }
        }
    }
}
