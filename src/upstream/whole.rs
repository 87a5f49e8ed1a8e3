//! An answer taken in whole: what is cached, and what vaultlet asks for itself.

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use http_body_util::{BodyExt as _, BodyStream, StreamBody};
use hyper::StatusCode;
use hyper::body::{Body as HttpBody, Frame, Incoming};
use hyper::header::HeaderMap;

use crate::body::{self, Guarded, Response};
use crate::error::Error;
use crate::secret;

/// The upstream's answer to an [`Ask`](super::Ask).
pub enum Whole {
    /// All of it.
    Answer {
        /// Its status.
        status: StatusCode,
        /// Its headers, as they came.
        headers: HeaderMap,
        /// Its body, wiped when dropped.
        body: Bytes,
    },
    /// More than may be held: passed on as it comes.
    Oversize(Response),
}

impl Whole {
    /// Reads `answer` up to `limit` bytes, holding `guard` until it has ended.
    ///
    /// # Errors
    /// [`Error::Garbage`] when the body ends before it should.
    pub(super) async fn take<G: Send + Unpin + 'static>(
        answer: hyper::Response<Incoming>,
        limit: usize,
        guard: G,
    ) -> Result<Self, Error> {
        let (head, mut rest) = answer.into_parts();
        let expected = usize::try_from(rest.size_hint().lower()).unwrap_or(limit);
        let mut body = Vec::with_capacity(expected.min(limit));
        while let Some(frame) = rest.frame().await {
            let frame = frame.map_err(Error::garbage)?;
            let Ok(data) = frame.into_data() else { continue };
            if body.len() + data.len() > limit {
                let parts = [secret::wiped(body), data].map(|part| Ok(Frame::data(part)));
                let rest = BodyStream::new(Guarded::new(rest, guard));
                let all = StreamBody::new(stream::iter(parts).chain(rest));
                return Ok(Self::Oversize(Response::from_parts(head, body::stream(all))));
            }
            body.extend_from_slice(&data);
        }
        drop(guard);
        Ok(Self::Answer { status: head.status, headers: head.headers, body: secret::wiped(body) })
    }
}
