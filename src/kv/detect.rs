//! In which mount does a path lie, and of which kind is that?
//!
//! The upstream says, to whoever may use the path; asked with the caller's own credential, once for
//! all who wait with the same.

use hyper::StatusCode;
use hyper::http::uri::PathAndQuery;

use super::answer::Kind;
use super::fill::{LARGEST, Order};
use super::mounts::Engine;
use super::{Kv, Question};
use crate::cache::{KeyRef, Scope};
use crate::error::Error;
use crate::flight::Seat;
use crate::metrics::Operation;
use crate::request::ReadKind;
use crate::upstream::{Whole, trouble};

impl Kv {
    /// Whether the path is that of a secret in a KV mount, or about a mount; asks if nobody knows.
    ///
    /// # Errors
    /// Nobody knows, and the upstream cannot be asked: neither about that nor for the secret.
    pub(super) async fn is_secret(&self, question: &Question<'_>) -> Result<bool, Error> {
        let mount = question.read.kind == ReadKind::Mount;
        Ok(mount || self.engine(question).await?.is_some() && self.kind(question.read).is_some())
    }

    /// Whether answers for the path may be leased, as far as its mount is known.
    pub fn may_lease(&self, path: &str) -> bool {
        let known = self.mounts.find(path, false).map(|(_, engine)| engine);
        !matches!(known, Some(Engine::Fresh | Engine::KvV1 | Engine::KvV2))
    }

    /// What is mounted at the path; asks if nobody knows.
    ///
    /// # Errors
    /// Nobody knows, and the upstream cannot be asked.
    pub async fn engine(&self, question: &Question<'_>) -> Result<Option<Engine>, Error> {
        let path = &question.read.path;
        if self.mounts.find(path, true).is_none() {
            let detected = self.detect(question).await;
            // While the upstream cannot be asked, what was known of the mount is as good as what
            // is known of its secrets.
            let known = self.mounts.find(path, false).map(|(_, engine)| engine);
            match detected {
                Err(error) if error.trouble().is_some() => {
                    return match known {
                        // To be left alone is about what vaultlet asks: the caller's own may pass.
                        None if !error.answered() && !matches!(error, Error::Resting(..)) => {
                            Err(error)
                        }
                        known => Ok(known),
                    };
                }
                _ if self.mounts.find(path, true).is_none() => return Ok(None),
                _ => (),
            }
        }
        Ok(self.mounts.find(path, false).map(|(_, engine)| engine))
    }

    pub(super) fn learn_mount(&self, order: &Order, status: StatusCode, body: &[u8]) {
        let path = order.key.path();
        let (namespace, path) = path.split_at(order.namespace);
        if order.kind == Kind::Mount
            && let Some(path) = path.strip_prefix("sys/internal/ui/mounts/")
        {
            // The caller has had it by now, whatever it was.
            self.mount_answered(namespace.trim_end_matches('/'), path, status, body).ok();
        }
    }

    /// Asks which mount a path lies in; once for all who wait with the same credential.
    pub(super) async fn detect(&self, question: &Question<'_>) -> Result<(), Error> {
        let scope = Scope::Caller(question.fingerprint);
        let key = KeyRef { scope, ..question.key(scope) }.to_key();
        loop {
            match self.detections.board(&key, (), |()| true) {
                Seat::Pilot(pilot) => {
                    let answer = self.ask_mount(question).await;
                    pilot.land(answer.clone());
                    return answer;
                }
                Seat::Passenger(passenger) => {
                    if let Some(answer) = passenger.wait().await {
                        return answer;
                    }
                    // Whoever asked has hung up: it is somebody else's turn to ask.
                }
            }
        }
    }

    async fn ask_mount(&self, question: &Question<'_>) -> Result<(), Error> {
        let (namespace, path) = question.read.path.split_at(question.read.namespace);
        let target = format!("/v1/sys/internal/ui/mounts/{path}");
        // The path is in the safe subset, which is a subset of what a target may hold.
        let target = PathAndQuery::try_from(target).map_err(Error::garbage)?;
        let ask = self.ask_as(question, target);
        let _errand = question.visit.errand()?;
        // What those who wait go by is what is learnt: nothing, if something changed meanwhile.
        let stamp = self.store.stamp(&question.read.path);
        match self.upstream.ask(Operation::Mount, &ask, LARGEST).await? {
            Whole::Answer { status, body, .. } => {
                if self.store.current(stamp) {
                    self.mount_answered(namespace.trim_end_matches('/'), path, status, &body)?;
                }
                match trouble(status, &body) {
                    Some(trouble) => Err(Error::Failing(status, trouble)),
                    None => Ok(()),
                }
            }
            Whole::Oversize(_) => Err(Error::nonsense("a mount larger than 2 MiB")),
        }
    }

    fn mount_answered(
        &self,
        namespace: &str,
        path: &str,
        status: StatusCode,
        body: &[u8],
    ) -> Result<(), Error> {
        if self.mounts.learn(namespace, path, status, body)? {
            tracing::warn!("a mount was replaced upstream: forgetting what was read before");
            self.store.forget_all();
        }
        Ok(())
    }
}
