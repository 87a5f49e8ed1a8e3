//! How much is answered when there is always another request waiting?
//!
//! A closed loop, for ceilings: each connection sends its next request when the last is answered, so
//! its latencies are those of callers that wait for each other, counted from when they were sent.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use tokio::task::spawn_local;
use tokio::time::{Instant, sleep, sleep_until};

use super::Arrivals;
use super::calls::Calls;
use super::open::{Asked, asked};
use super::pods::Pods;
use crate::stage::Stage;

/// Between a failure and the next attempt on that connection: a server that is away should not be
/// measured by how fast it can be knocked at.
const AFTER_FAILURE: Duration = Duration::from_millis(10);

/// Keeps so many connections busy until `end`; what is on its way then comes in afterwards.
pub(crate) async fn keep_busy<S: Stage + 'static>(
    calls: &Rc<Calls<S>>,
    pods: &Rc<Pods<S>>,
    arrivals: Arrivals,
    connections: u32,
    end: Instant,
) {
    let arrivals = Rc::new(RefCell::new(arrivals));
    for _ in 0..connections {
        spawn_local(one(calls.clone(), pods.clone(), arrivals.clone(), end));
    }
    sleep_until(end).await;
}

async fn one<S: Stage + 'static>(
    calls: Rc<Calls<S>>,
    pods: Rc<Pods<S>>,
    arrivals: Rc<RefCell<Arrivals>>,
    end: Instant,
) {
    while Instant::now() < end {
        let Some(arrival) = arrivals.borrow_mut().next() else { return };
        let node = calls.cluster.pods[arrival.pod as usize].node;
        let Some(Asked { kind, request }) = asked(&calls, &pods, arrival) else { continue };
        let sent = match request {
            Some(request) => calls.now(kind, node, request).await.is_ok(),
            None => false,
        };
        if !sent {
            sleep(AFTER_FAILURE).await;
        }
    }
}
