//! The one body type of requests and answers, and what rides on it.

use std::future::Future as _;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, BodyStream, Full, StreamBody};
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use tokio::time::{Sleep, sleep};

use crate::error::BoxError;

/// Bytes at hand (a cached answer, an error), or a stream that is passed on as it comes.
#[derive(Debug)]
pub enum Body {
    /// Sent in one piece, with its length before it.
    Ready(Full<Bytes>),
    /// Sent frame by frame.
    Stream(UnsyncBoxBody<Bytes, Broken>),
}

/// A body ended before it should.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct Broken(BoxError);

impl HttpBody for Body {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        match self.get_mut() {
            // Bytes at hand cannot fail to come.
            Self::Ready(body) => Pin::new(body)
                .poll_frame(context)
                .map(|frame| frame.map(|frame| frame.map_err(|never| match never {}))),
            Self::Stream(body) => Pin::new(body).poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Ready(body) => body.is_end_stream(),
            Self::Stream(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Ready(body) => body.size_hint(),
            Self::Stream(body) => body.size_hint(),
        }
    }
}

/// An answer on its way to a caller.
pub type Response = hyper::Response<Body>;

/// A body of bytes at hand.
pub fn full(bytes: impl Into<Bytes>) -> Body {
    Body::Ready(Full::new(bytes.into()))
}

/// No body.
pub fn empty() -> Body {
    full(Bytes::new())
}

/// A body that is passed on frame by frame, trailers included.
pub fn stream<B>(body: B) -> Body
where
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    Body::Stream(body.map_err(|error| Broken(error.into())).boxed_unsync())
}

/// Reads up to `limit` bytes, and gives them back with a body that yields all of it again. `None`
/// where there was more, or something else than data.
///
/// # Errors
/// The body ended before it should.
pub async fn taste(mut body: Body, limit: usize) -> Result<(Body, Option<Bytes>), Broken> {
    let (mut bytes, mut frames) = (Vec::new(), Vec::new());
    while let Some(frame) = body.frame().await {
        let frame = frame?;
        let fits = frame.data_ref().is_some_and(|data| bytes.len() + data.len() <= limit);
        if let Some(data) = frame.data_ref().filter(|_| fits) {
            bytes.extend_from_slice(data);
        }
        frames.push(Ok::<_, Broken>(frame));
        if !fits {
            let rest = stream::iter(frames).chain(BodyStream::new(body));
            return Ok((stream(StreamBody::new(rest)), None));
        }
    }
    let bytes = crate::secret::wiped(bytes);
    Ok((full(bytes.clone()), Some(bytes)))
}

/// A body of at most `limit` bytes; more, and it fails, with `exceeded` set. It fails too when
/// nothing more comes for too long.
pub struct Limited<B> {
    body: B,
    left: u64,
    exceeded: Arc<AtomicBool>,
    stall: Duration,
    stalled: Option<Pin<Box<Sleep>>>,
}

impl<B> Limited<B> {
    /// Bounds `body`.
    pub fn new(body: B, limit: u64, stall: Duration, exceeded: Arc<AtomicBool>) -> Self {
        Self { body, left: limit, exceeded, stall, stalled: None }
    }
}

impl<B> HttpBody for Limited<B>
where
    B: HttpBody<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        let Poll::Ready(frame) = Pin::new(&mut this.body).poll_frame(context) else {
            let stall = this.stall;
            let stalled = this.stalled.get_or_insert_with(|| Box::pin(sleep(stall)));
            ready!(stalled.as_mut().poll(context));
            return Poll::Ready(Some(Err("nothing more of the request body came".into())));
        };
        this.stalled = None;
        if let Some(Ok(frame)) = &frame
            && let Some(data) = frame.data_ref()
        {
            let Some(left) = this.left.checked_sub(data.len() as u64) else {
                this.exceeded.store(true, Ordering::Release);
                return Poll::Ready(Some(Err("the request body is too large".into())));
            };
            this.left = left;
        }
        Poll::Ready(frame.map(|frame| frame.map_err(Into::into)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A body that keeps `guard` alive until the last frame has gone or the reader has: a place among
/// the requests in flight, or the signal that the other direction may stop.
pub struct Guarded<B, G> {
    body: B,
    guard: Option<G>,
}

impl<B, G> Guarded<B, G> {
    /// Ties `guard` to the life of `body`.
    pub fn new(body: B, guard: G) -> Self {
        Self { body, guard: Some(guard) }
    }
}

impl<B: HttpBody + Unpin, G: Unpin> HttpBody for Guarded<B, G> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let this = self.get_mut();
        let frame = Pin::new(&mut this.body).poll_frame(context);
        if let Poll::Ready(None | Some(Err(_))) = &frame {
            this.guard = None;
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_tasted_body_is_still_whole() {
        for (limit, seen) in [(8, true), (3, false)] {
            let body = full("12345678");
            let (body, taste) = taste(body, limit).await.unwrap();

            assert_eq!(taste.is_some(), seen);
            assert_eq!(body.collect().await.unwrap().to_bytes(), "12345678");
        }
    }

    #[tokio::test]
    async fn a_body_past_its_limit_fails_and_says_so() {
        for (limit, within) in [(8, true), (7, false)] {
            let exceeded = Arc::default();
            let body = Limited::new(full("12345678"), limit, Duration::MAX, Arc::clone(&exceeded));

            assert_eq!(body.collect().await.is_ok(), within);
            assert_eq!(exceeded.load(Ordering::Acquire), !within);
        }
    }

    #[tokio::test]
    async fn a_guard_lives_as_long_as_its_body_is_read() {
        let guard = Arc::new(());
        let mut body = Guarded::new(Full::new(Bytes::from_static(b"x")), Arc::clone(&guard));

        assert_eq!(Arc::strong_count(&guard), 2);
        assert!(body.frame().await.is_some());
        assert!(body.frame().await.is_none());
        assert_eq!(Arc::strong_count(&guard), 1);
    }
}
