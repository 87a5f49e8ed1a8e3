//! HTTP on one connection.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::header::{CONNECTION, HeaderValue};
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper::{Request, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::line::{Line, Phase};
use crate::body::Response;
use crate::config::Listener;

/// What answers the requests of a listener.
pub trait Service: Clone + Send + Sync + 'static {
    /// Answers one.
    fn answer(
        &self,
        request: Request<Incoming>,
        listener: &Listener,
        arrival: Arrival,
    ) -> impl Future<Output = Response> + Send;
}

/// How a request came.
#[derive(Clone, Copy, Debug)]
pub struct Arrival {
    /// From where; `None`: over a unix socket.
    pub remote: Option<SocketAddr>,
    /// Whether the HTTP library shows it otherwise than it came, and than the server would take
    /// it: it cuts a target off at a `#`, and skips empty lines before a request.
    pub altered: bool,
}

/// What ends connections.
#[derive(Clone, Debug, Default)]
pub(super) struct End {
    /// Answers what is in hand, and no more.
    pub(super) stop: CancellationToken,
    /// Not even that; never without `stop`, and after it.
    pub(super) cut: CancellationToken,
}

/// What a connection's requests have in common.
struct Common<S> {
    service: S,
    listener: Arc<Listener>,
    remote: Option<SocketAddr>,
    phase: Arc<Phase>,
    http2: bool,
    stop: CancellationToken,
}

/// How long a connection that waits for its next request goes on doing so once there is to be no
/// more: closed at once, it would be closed on a request that is on its way.
const FAREWELL: Duration = Duration::from_secs(1);

/// Serves `io` until its peer or `end` ends it.
pub(super) async fn serve<S: Service>(
    io: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    remote: Option<SocketAddr>,
    http2: bool,
    listener: Arc<Listener>,
    service: S,
    end: End,
) {
    let phase = Arc::new(Phase::default());
    let limits = listener.limits.clone();
    let line = Line::new(io, Arc::clone(&phase), http2, &limits);
    let stop = end.stop.clone();
    let common = Arc::new(Common { service, listener, remote, phase, http2, stop });
    let answer = service_fn(|request| {
        let common = Arc::clone(&common);
        async move {
            let Common { service, listener, remote, phase, http2, stop } = &*common;
            phase.head_is_read();
            let arrival = Arrival { remote: *remote, altered: phase.altered() };
            let mut response = service.answer(request, listener, arrival).await;
            // What an upgraded connection carries is no request head.
            if response.status() != StatusCode::SWITCHING_PROTOCOLS {
                phase.answered();
                // A peer that is told so sends no request into a connection that is being closed.
                if !http2 && stop.is_cancelled() {
                    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
                }
            }
            Ok::<_, Infallible>(response)
        }
    });
    let io = TokioIo::new(line);
    let ended = if http2 {
        let connection = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .max_concurrent_streams(100)
            .max_header_list_size(u32::try_from(limits.max_header_bytes).unwrap_or(u32::MAX))
            .max_pending_accept_reset_streams(20)
            .keep_alive_interval(limits.idle_timeout)
            .keep_alive_timeout(limits.header_timeout)
            .serve_connection(io, answer);
        let mut connection = pin!(connection);
        tokio::select! {
            biased;
            ended = connection.as_mut() => Some(ended),
            () = end.stop.cancelled() => {
                connection.as_mut().graceful_shutdown();
                end.cut.run_until_cancelled(connection).await
            }
        }
    } else {
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            // Begins when the last answer has gone: the wait for the next request. hyper looks for
            // that only where it has this limit.
            .header_read_timeout(limits.idle_timeout)
            .max_header_size(limits.max_header_bytes)
            .max_buf_size(limits.max_header_bytes.max(64 * 1024))
            .half_close(false)
            .serve_connection(io, answer)
            .with_upgrades();
        let mut connection = pin!(connection);
        tokio::select! {
            biased;
            ended = connection.as_mut() => Some(ended),
            () = async { end.stop.cancelled().await; end.cut.run_until_cancelled(sleep(FAREWELL)).await; } => {
                connection.as_mut().graceful_shutdown();
                end.cut.run_until_cancelled(connection).await
            }
        }
    };
    if let Some(Err(error)) = ended {
        // A caller that goes away is its own affair, and there are many.
        debug!(%error, "connection ended");
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use futures_util::stream;
    use http_body_util::StreamBody;
    use hyper::body::Frame;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};
    use tokio::time::{Instant, timeout};

    use super::*;
    use crate::body;
    use crate::config::{Bind, Limits};
    use crate::error::BoxError;

    const SECOND: Duration = Duration::from_secs(1);

    /// Answers after half a minute, and rests for two in the middle of the body.
    #[derive(Clone)]
    struct Slow;

    impl Service for Slow {
        async fn answer(&self, _: Request<Incoming>, _: &Listener, _: Arrival) -> Response {
            sleep(30 * SECOND).await;
            let halves = stream::unfold(0, async |half| {
                if half == 2 {
                    return None;
                }
                sleep(120 * SECOND * half).await;
                let data = Frame::data(Bytes::from_static(b"half"));
                Some((Ok::<_, BoxError>(data), half + 1))
            });
            Response::new(body::stream(StreamBody::new(Box::pin(halves))))
        }
    }

    /// What hyper does not look at, nothing that waits in it can end: this failed once because it
    /// did not look for the next request, and once because it looked while the answer went out.
    #[tokio::test(start_paused = true)]
    async fn a_slow_answer_is_whole_and_the_wait_after_it_has_an_end() {
        let limits = Limits {
            max_connections: 1,
            idle_timeout: 60 * SECOND,
            header_timeout: 10 * SECOND,
            max_header_bytes: 16 * 1024,
            max_body_bytes: 1024,
            stall_timeout: 30 * SECOND,
        };
        let listener = Listener {
            bind: Bind::Tcp(([127, 0, 0, 1], 0).into()),
            tls: None,
            require_request_header: false,
            http2: false,
            reuse_port: false,
            limits,
        };
        let (mut peer, io) = duplex(4096);
        tokio::spawn(serve(io, None, false, Arc::new(listener), Slow, End::default()));

        let began = Instant::now();
        peer.write_all(b"GET /v1/sys/monitor HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        let closed = timeout(1000 * SECOND, peer.read_to_string(&mut answer)).await;

        closed.expect("an idle connection stays open").unwrap();
        assert_eq!(answer.matches("half").count(), 2, "{answer}");
        assert!(answer.ends_with("0\r\n\r\n"), "cut off: {answer}");
        let idle = began.elapsed().saturating_sub((30 + 120) * SECOND);
        assert!(idle >= 59 * SECOND && idle <= 62 * SECOND, "{idle:?}");
    }
}
