//! How are requests sent when they should be, whatever became of those before?

use std::rc::Rc;

use hyper::body::Bytes;
use hyper::{HeaderMap, Method, Request, Uri};
use tokio::task::{spawn_local, yield_now};
use tokio::time::Instant;

use super::Arrivals;
use super::calls::{Calls, get, request};
use super::pace::Pace;
use super::pods::Pods;
use crate::record::{Failed, Kind};
use crate::schedule::{Arrival, What};
use crate::stage::Stage;

/// So many may be sent without a look at what comes in, when they are late.
const AT_ONCE: usize = 16;

/// Sends what arrives between `begun` and `end`, and waits for the end.
pub(crate) async fn send<S: Stage + 'static>(
    calls: &Rc<Calls<S>>,
    pods: &Pods<S>,
    arrivals: Arrivals,
    begun: Instant,
    end: Instant,
    pace: &mut Pace,
) -> Result<(), String> {
    let mut at_once = 0;
    for arrival in arrivals {
        let intended = begun + arrival.at;
        if intended >= end {
            break;
        }
        if pace.until(intended).await? {
            at_once = 0;
        } else {
            at_once += 1;
            if at_once == AT_ONCE {
                at_once = 0;
                yield_now().await;
            }
        }
        arrive(calls, pods, arrival, intended);
    }
    pace.until(end).await.map(|_| ())
}

/// Does what `arrival` says; a request goes its own way.
fn arrive<S: Stage + 'static>(
    calls: &Rc<Calls<S>>,
    pods: &Pods<S>,
    arrival: Arrival,
    intended: Instant,
) {
    let node = calls.cluster.pods[arrival.pod as usize].node;
    let Some(Asked { kind, request }) = asked(calls, pods, arrival) else { return };
    let ticket = calls.recorder.intend(kind, intended);
    let Some(request) = request else {
        return calls.over(&ticket, &Err(Failed::NotStarted));
    };
    let calls = calls.clone();
    spawn_local(async move {
        calls.recorder.sent(&ticket);
        calls.send(ticket, node, request).await
    });
}

/// What an arrival wants sent; without a request where its pod has nothing to show.
pub(crate) struct Asked {
    pub(crate) kind: Kind,
    pub(crate) request: Option<Request<Bytes>>,
}

/// What `arrival` wants sent. Starts or ends the pod, if it is that.
pub(crate) fn asked<S: Stage + 'static>(
    calls: &Calls<S>,
    pods: &Pods<S>,
    arrival: Arrival,
) -> Option<Asked> {
    let shown = pods.shown(arrival.pod);
    let (kind, request) = match arrival.what {
        What::Start => {
            pods.start(arrival.pod);
            return None;
        }
        What::Stop => {
            pods.stop(arrival.pod);
            return None;
        }
        What::Read(secret) => (Kind::Read, shown.with(|headers| calls.read(secret, headers))),
        What::Write(secret) => (Kind::Write, shown.with(|headers| calls.write(secret, headers))),
        What::Lease(role) => {
            let path = calls.cluster.role_path(role);
            (Kind::Lease, shown.with(|headers| get(&path, headers)))
        }
        What::Replay { method, target } => {
            let method = Method::from_bytes(method.as_bytes()).unwrap_or(Method::GET);
            let kind = Kind::of(&method, &target);
            let target = Uri::try_from(target).ok()?;
            let make = |headers: &HeaderMap| request(method, target, headers, Bytes::new());
            (kind, shown.with(make))
        }
    };
    Some(Asked { kind, request })
}
