//! The program inside another one: everything that answers requests and all that runs beside them,
//! without listeners, files to watch and signals. A simulation asks it what a node would.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use bytes::Bytes;
use hyper::Request;
use hyper::body::Body as HttpBody;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::parts::{Parts, Surroundings};
use super::{admin_listener, tasks};
use crate::admin::Readiness;
use crate::body::Response;
use crate::config::{Config, Listener};
use crate::error::BoxError;
use crate::server::Arrival;
use crate::watch::Watch;

/// A running proxy that nobody can connect to. Its tasks end with it.
#[derive(Debug)]
pub struct Embedded {
    parts: Parts,
    /// As which requests come in: the first of those that are configured.
    listener: Listener,
    stop: DropGuard,
}

impl Embedded {
    /// Begins. What is configured of listeners beyond the first one's limits, of the operators'
    /// side and of a sealed store is left aside.
    ///
    /// # Errors
    /// A file that the configuration names cannot be used.
    pub fn start(config: &Config, surroundings: Surroundings) -> Result<Self, BoxError> {
        let parts = Parts::new(config, None, surroundings)?;
        let nowhere = || admin_listener(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)));
        let listener = config.listeners.first().cloned().unwrap_or_else(nowhere);
        let watch = Arc::new(Watch::new(Vec::new(), Arc::clone(&parts.metrics)));
        let stop = CancellationToken::new();
        tasks::start(&parts, watch, Arc::new(Readiness::default()), &stop);
        tasks::keep(&parts, &stop);
        Ok(Self { parts, listener, stop: stop.drop_guard() })
    }

    /// Returns once the upstream has answered: when a process would call itself ready.
    pub async fn ready(&self) {
        self.parts.upstream.answers().await;
    }

    /// Answers a request as the process would, and counts it.
    pub async fn answer<B>(&self, request: Request<B>) -> Response
    where
        B: HttpBody<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<BoxError>,
    {
        let arrival = Arrival { remote: None, altered: false };
        self.parts.edge.answer(request, &self.listener, arrival).await
    }

    /// What a scrape would show.
    ///
    /// # Errors
    /// A collector gave something that cannot be encoded.
    pub fn metrics(&self) -> prometheus::Result<String> {
        self.parts.metrics.render()
    }

    /// Ends as the process would, once nobody is asking it any more.
    pub async fn stop(self) {
        self.parts.leases.shut_down().await;
        self.parts.leases.written().await;
        drop(self.stop);
        if let Some(audit) = &self.parts.audit {
            audit.stop().await;
        }
    }
}
