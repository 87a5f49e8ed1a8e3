//! HTTP on one connection.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;

use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper::{Request, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
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

/// Serves `io` until its peer or `stop` ends it: a request in hand is answered first.
pub(super) async fn serve<S: Service>(
    io: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    remote: Option<SocketAddr>,
    http2: bool,
    listener: Arc<Listener>,
    service: S,
    stop: CancellationToken,
) {
    let phase = Arc::new(Phase::default());
    let limits = &listener.limits;
    let line = Line::new(io, Arc::clone(&phase), http2, limits.header_timeout);
    let answer = service_fn(|request| {
        let (service, listener, phase) =
            (service.clone(), Arc::clone(&listener), Arc::clone(&phase));
        async move {
            phase.head_is_read();
            let arrival = Arrival { remote, altered: phase.altered() };
            let response = service.answer(request, &listener, arrival).await;
            // What an upgraded connection carries is no request head.
            if response.status() != StatusCode::SWITCHING_PROTOCOLS {
                phase.answered();
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
            ended = connection.as_mut() => ended,
            () = stop.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        }
    } else {
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            // Begins when the last answer has gone: the wait for the next request.
            .header_read_timeout(limits.idle_timeout)
            .max_header_size(limits.max_header_bytes)
            .max_buf_size(limits.max_header_bytes.max(64 * 1024))
            .half_close(false)
            .serve_connection(io, answer)
            .with_upgrades();
        let mut connection = pin!(connection);
        tokio::select! {
            ended = connection.as_mut() => ended,
            () = stop.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        }
    };
    if let Err(error) = ended {
        // A caller that goes away is its own affair, and there are many.
        debug!(%error, "connection ended");
    }
}
