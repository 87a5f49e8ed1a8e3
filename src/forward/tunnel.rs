//! Connections that become something else: the websocket of Vault's event stream.

use hyper::Method;
use hyper::header::{CONNECTION, HeaderMap, HeaderValue, UPGRADE};
use hyper::http::request::Parts;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio_util::task::TaskTracker;

use crate::body::Response;

/// A caller's wish to speak another protocol, which is the upstream's to grant.
pub(super) struct Tunnel {
    caller: OnUpgrade,
    protocol: HeaderValue,
}

impl Tunnel {
    /// The wish of a request, if it has one: only websockets are known to be spoken here, and only
    /// a `GET` begins them.
    pub(super) fn asked(head: &mut Parts) -> Option<Self> {
        let protocol = head.headers.get(UPGRADE)?.clone();
        let websocket = protocol.as_bytes().eq_ignore_ascii_case(b"websocket");
        if head.method != Method::GET || !websocket {
            return None;
        }
        Some(Self { caller: head.extensions.remove::<OnUpgrade>()?, protocol })
    }

    /// Puts the wish into the request to the upstream, which is a hop of its own.
    pub(super) fn ask(&self, headers: &mut HeaderMap) {
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(UPGRADE, self.protocol.clone());
    }

    /// Whether the upstream, which switches, switches to what was asked for.
    pub(super) fn opened(&self, answer: &Response) -> bool {
        answer.headers().get(UPGRADE).is_some_and(|granted| {
            granted.as_bytes().eq_ignore_ascii_case(self.protocol.as_bytes())
        })
    }

    /// Copies bytes both ways until one end has had enough.
    pub(super) fn run(self, answer: &mut Response, tunnels: &TaskTracker) {
        let upstream = hyper::upgrade::on(answer);
        tunnels.spawn(async move {
            let (caller, upstream) = match tokio::try_join!(self.caller, upstream) {
                Ok(ends) => ends,
                Err(error) => {
                    tracing::debug!(%error, "an upgrade came to nothing");
                    return;
                }
            };
            let (mut caller, mut upstream) = (TokioIo::new(caller), TokioIo::new(upstream));
            let copied = tokio::io::copy_bidirectional(&mut caller, &mut upstream).await;
            if let Err(error) = copied {
                tracing::debug!(%error, "an upgraded connection ended");
            }
        });
    }
}
