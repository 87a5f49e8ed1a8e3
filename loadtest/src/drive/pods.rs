//! Which pods run, and what do they show for themselves?

use std::cell::RefCell;
use std::rc::Rc;

use hyper::HeaderMap;
use hyper::header::{HOST, HeaderValue};
use tokio::sync::Semaphore;
use tokio::task::{AbortHandle, spawn_local};

use super::calls::Calls;
use super::pod;
use crate::stage::Stage;

/// All pods of the cluster.
pub(crate) struct Pods<S> {
    calls: Rc<Calls<S>>,
    /// Otherwise they neither start nor stop.
    live: bool,
    each: RefCell<Vec<Pod>>,
    /// A permit for each pod that had all it wanted as it started.
    settled: Rc<Semaphore>,
}

#[derive(Debug, Default)]
struct Pod {
    shown: Rc<Shown>,
    task: Option<AbortHandle>,
}

/// The headers that a pod sends with each request; none before it has something to show.
///
/// Its tasks change them, and the schedule's requests are made with what is there.
#[derive(Debug, Default)]
pub(crate) struct Shown(RefCell<Option<HeaderMap>>);

impl<S: Stage + 'static> Pods<S> {
    pub(crate) fn new(calls: &Rc<Calls<S>>, live: bool) -> Self {
        let number = calls.cluster.pods.len();
        let mut each = Vec::new();
        each.resize_with(number, Pod::default);
        if !live {
            for (pod, one) in (0..).zip(&each) {
                one.shown.show(calls.stage.pass(pod));
            }
        }
        Self {
            calls: calls.clone(),
            live,
            each: RefCell::new(each),
            settled: Rc::new(Semaphore::new(0)),
        }
    }

    /// It runs from now on, as another one than before.
    pub(crate) fn start(&self, pod: u32) {
        if !self.live {
            return;
        }
        self.stop(pod);
        let shown = Rc::new(Shown::default());
        // Now, not when its task runs: another pod that starts at the same time may be quicker.
        let lacking = self.calls.waves.lacking();
        let task = pod::live(self.calls.clone(), pod, shown.clone(), lacking);
        let settled = self.settled.clone();
        let task = spawn_local(async move {
            let keep = task.await;
            settled.add_permits(1);
            keep.await;
        });
        self.each.borrow_mut()[pod as usize] = Pod { shown, task: Some(task.abort_handle()) };
    }

    /// It is no more.
    pub(crate) fn stop(&self, pod: u32) {
        if !self.live {
            return;
        }
        let was = std::mem::take(&mut self.each.borrow_mut()[pod as usize]);
        if let Some(task) = was.task {
            task.abort();
        }
    }

    /// What it sends with each request.
    pub(crate) fn shown(&self, pod: u32) -> Rc<Shown> {
        self.each.borrow()[pod as usize].shown.clone()
    }

    /// So many of them have started.
    pub(crate) async fn settled(&self, number: u32) {
        if let Ok(permits) = self.settled.acquire_many(number).await {
            permits.forget();
        }
    }
}

impl Shown {
    /// From now on it shows `credential`.
    pub(crate) fn show(&self, credential: &str) {
        let Ok(mut credential) = HeaderValue::from_str(credential) else { return };
        credential.set_sensitive(true);
        let mut headers = HeaderMap::with_capacity(3);
        headers.insert("x-vault-token", credential);
        // A connection puts its own there; the place is made once.
        headers.insert(HOST, HeaderValue::from_static("vault"));
        *self.0.borrow_mut() = Some(headers);
    }

    /// Does something with the headers, if there are any.
    pub(crate) fn with<T>(&self, make: impl FnOnce(&HeaderMap) -> T) -> Option<T> {
        self.0.borrow().as_ref().map(make)
    }
}
