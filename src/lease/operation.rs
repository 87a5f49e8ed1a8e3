//! What callers do with leases themselves: renewals, look-ups, revocations.
//!
//! All of them go upstream, with the caller's own rights, and what comes of them is taken in before
//! the caller has its answer. But for one: a pod that revokes what other pods of its service account
//! have as well. The upstream would end it for all of them, so it is done as configured.

use std::sync::Arc;
use std::time::Duration;

use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Method, StatusCode};
use serde::Deserialize;
use serde_json::json;

use super::Leases;
use super::held::Lease;
use super::key::Owner;
use super::seen::Seen;
use crate::body::{self, Body, Response};
use crate::cache::effect::reads;
use crate::config::{LeaseScope, OnRevoke};
use crate::error::Error;
use crate::exchange::Slot;
use crate::metrics::{Cause, Revocation};
use crate::request::Call;
use crate::secret::Fingerprint;

/// What a caller does with leases.
#[derive(Debug, Eq, PartialEq)]
enum Operation {
    /// Renews one, or looks it up: the answer says how long it lives.
    Learn,
    /// Revokes the one of this id.
    Revoke(Box<str>),
    /// Revokes all below this path in this namespace.
    RevokeBelow(Box<str>, Box<str>),
    /// Revokes what cannot be told.
    RevokeSome,
    /// None of this.
    Other,
}

/// What becomes of a request about leases.
pub enum Operated<'l> {
    /// It is answered here.
    Answer(Response),
    /// It is passed on; what comes of it is to be told to [`Pending::over`].
    Pass(Body, Pending<'l>),
}

/// What a request may do to leases, from before it leaves until its answer is known. Dropped before
/// that it counts as done: it may have been.
pub struct Pending<'l> {
    leases: &'l Leases,
    operation: Operation,
    /// What stands for the caller; `None`: it brings nothing, and can do nothing.
    borrower: Option<Fingerprint>,
    seen: Seen,
    over: bool,
}

/// Requests and answers about one lease are a few words.
const LARGEST: usize = 64 * 1024;

impl Leases {
    /// Takes a caller's request about leases in hand. `slot`: where its login is a shared one;
    /// `borrower`: what stands for it.
    ///
    /// # Errors
    /// It would revoke what others have, and that is not allowed here.
    pub async fn operate(
        &self,
        call: &Call<'_>,
        slot: Option<&Arc<Slot>>,
        borrower: Option<Fingerprint>,
        body: Body,
    ) -> Result<Operated<'_>, Error> {
        let tasted = body::taste(body, LARGEST).await;
        let (body, whole) =
            tasted.map_err(|_| Error::Malformed("the body ended before it should"))?;
        let operation = Operation::of(call, call.namespace(&self.namespace), whole.as_deref());
        if let (Some(slot), Some(borrower)) = (slot, borrower)
            && let Some(response) = self.give_back(call, &operation, slot, borrower)?
        {
            return Ok(Operated::Answer(response));
        }
        let seen = self.seen_now();
        let pending = Pending { leases: self, operation, borrower, seen, over: false };
        if let Operation::Revoke(_) = &pending.operation {
            // From now on it may be over.
            pending.doubt();
        }
        Ok(Operated::Pass(body, pending))
    }

    /// A pod revokes what its service account shares; `None`: the upstream is to do so.
    fn give_back(
        &self,
        call: &Call<'_>,
        operation: &Operation,
        slot: &Slot,
        borrower: Fingerprint,
    ) -> Result<Option<Response>, Error> {
        let shared = self.config.scope == LeaseScope::Identity;
        if !shared || self.config.on_revoke == OnRevoke::Pass {
            return Ok(None);
        }
        let id = match operation {
            Operation::Revoke(id) if call.headers.plain => id,
            Operation::Revoke(_) | Operation::RevokeSome => {
                return Err(Error::Denied(
                    "pods of this service account share leases, and it cannot be told which one \
                     this revokes: name it as `lease_id` in a JSON body, and leave out wrapping and \
                     the like",
                ));
            }
            Operation::RevokeBelow(..) | Operation::Learn | Operation::Other => return Ok(None),
        };
        let lease = self.table.find(id);
        let shared = |lease: &Arc<Lease>| match &lease.key.owner {
            Owner::Account(place) => *place == slot.place,
            Owner::Borrower(..) | Owner::Credential(_) => false,
        };
        let Some(lease) = lease.filter(shared) else { return Ok(None) };
        let others = lease.others(borrower, self.clock.now());
        match self.config.on_revoke {
            OnRevoke::Refuse if others => {
                self.metrics.lease_revoked(lease.engine, Revocation::Refused);
                Err(Error::Denied(
                    "other pods of this service account use this lease, and it may not be revoked \
                     here: it ends when none of them asks for it any more",
                ))
            }
            OnRevoke::Detach if others => {
                lease.give_back(borrower);
                self.changed();
                self.metrics.lease_revoked(lease.engine, Revocation::Detached);
                Ok(Some(detached()))
            }
            OnRevoke::Detach | OnRevoke::Refuse | OnRevoke::Pass => Ok(None),
        }
    }

    /// The lease of this id has ended.
    fn revoked(&self, id: &str) {
        if let Some(lease) = self.table.find(id)
            && self.let_go(&lease, Cause::Invalidated)
        {
            self.metrics.lease_revoked(lease.engine, Revocation::Seen);
            self.changed();
        }
    }

    /// All below this path, as the server means it: the lease of that very id, and what is below it
    /// as in a directory.
    fn below(&self, namespace: &str, prefix: &str) -> Vec<Arc<Lease>> {
        let prefix = prefix.trim_end_matches('/');
        self.table.select(|lease| lease.below(namespace, prefix))
    }

    /// So have all below this path.
    fn revoked_below(&self, namespace: &str, prefix: &str) {
        for lease in self.below(namespace, prefix) {
            if self.let_go(&lease, Cause::Invalidated) {
                self.metrics.lease_revoked(lease.engine, Revocation::Seen);
            }
        }
        self.changed();
    }
}

impl Operation {
    /// What a request does, as far as that is beyond doubt (OpenBao
    /// `internal/vault/logical_system_paths.go`, `leasePaths`). The older paths without `leases/`
    /// are Vault's.
    fn of(call: &Call<'_>, namespace: Option<&str>, body: Option<&[u8]>) -> Self {
        #[derive(Deserialize)]
        struct Named {
            lease_id: Option<Box<str>>,
        }
        if reads(call.method()) {
            return Self::Other;
        }
        let path = call.target.decoded().and_then(|path| String::from_utf8(path).ok());
        let write = call.method() == Method::POST || call.method() == Method::PUT;
        let exact = namespace.filter(|_| write);
        let Some((namespace, path)) = exact.zip(path.as_deref()) else { return Self::RevokeSome };
        // With a namespace before it, it is not certain where it begins.
        let Some(path) = path.strip_prefix("sys/") else { return Self::RevokeSome };
        let path = path.strip_prefix("leases/").unwrap_or(path);
        let (verb, rest) = path.split_once('/').unwrap_or((path, ""));
        match verb {
            "lookup" | "renew" => Self::Learn,
            "revoke-force" | "revoke-prefix" => Self::RevokeBelow(namespace.into(), rest.into()),
            "revoke" => {
                // Where both name one, the body's is taken.
                let named = match body {
                    Some(b"") => Some(Named { lease_id: None }),
                    body => body.and_then(|body| serde_json::from_slice(body).ok()),
                };
                match (named, rest) {
                    (Some(Named { lease_id: Some(id) }), "") => Self::Revoke(id),
                    (Some(Named { lease_id: None }), rest) if !rest.is_empty() => {
                        Self::Revoke(rest.into())
                    }
                    _ => Self::RevokeSome,
                }
            }
            "count" | "tidy" => Self::Other,
            _ => Self::RevokeSome,
        }
    }
}

impl Pending<'_> {
    /// Takes in what came of it, before the caller has it.
    ///
    /// # Errors
    /// What came, if that is one; or its body ended before it should.
    pub async fn over(mut self, answer: Result<Response, Error>) -> Result<Response, Error> {
        self.over = true;
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) => {
                if error.arrived() {
                    self.doubt();
                    self.leases.twin.heard().await;
                }
                return Err(error);
            }
        };
        let status = answer.status();
        if self.operation == Operation::Learn && status == StatusCode::OK {
            return self.learn(answer).await;
        }
        if status.is_success() {
            self.apply();
        } else if status.is_server_error() {
            self.doubt();
        }
        self.leases.twin.heard().await;
        Ok(answer)
    }

    /// Reads how long a lease lives, and gives the answer back unchanged.
    async fn learn(&self, answer: Response) -> Result<Response, Error> {
        #[derive(Deserialize)]
        struct Answer {
            #[serde(default)]
            lease_id: Box<str>,
            #[serde(default)]
            lease_duration: u64,
            data: Option<Data>,
        }
        #[derive(Deserialize)]
        struct Data {
            id: Option<Box<str>>,
            ttl: Option<i64>,
        }
        let (head, body) = answer.into_parts();
        let (body, whole) = body::taste(body, LARGEST).await.map_err(Error::garbage)?;
        let said = whole.and_then(|whole| serde_json::from_slice(&whole).ok());
        let said = said.and_then(|Answer { lease_id, lease_duration, data }| match data {
            None => Some((lease_id, lease_duration)),
            Some(Data { id, ttl }) => Some((id?, u64::try_from(ttl?).ok()?)),
        });
        if let Some((id, left)) = said
            && let Some(lease) = self.leases.table.find(&id)
        {
            let left = Duration::from_secs(left);
            lease.renewed(self.seen, left, None);
            // Whoever renews it has it, and for that long.
            if let Some(borrower) = self.borrower {
                lease.lend(borrower, self.seen.at);
            }
            self.leases.see_to(&lease, self.seen.at);
        }
        Ok(Response::from_parts(head, body))
    }

    fn apply(&self) {
        match &self.operation {
            Operation::Learn | Operation::Other => (),
            Operation::Revoke(id) => {
                self.leases.revoked(id);
                self.leases.tell_revocation();
            }
            Operation::RevokeBelow(namespace, prefix) => {
                self.leases.revoked_below(namespace, prefix);
                // One that is being issued now is not known yet.
                self.leases.doubt_all();
            }
            Operation::RevokeSome => self.leases.doubt_all(),
        }
    }

    /// It may have been done, or not: each that it may concern is asked about before it is handed
    /// out again. Whoever brings no credential has done nothing.
    fn doubt(&self) {
        if self.borrower.is_none() {
            return;
        }
        match &self.operation {
            Operation::Learn | Operation::Other => (),
            Operation::Revoke(id) => {
                if let Some(lease) = self.leases.table.find(id) {
                    lease.doubt();
                }
                self.leases.tell_revocation();
            }
            Operation::RevokeBelow(namespace, prefix) => {
                for lease in self.leases.below(namespace, prefix) {
                    lease.doubt();
                }
                self.leases.tell_revocation();
            }
            Operation::RevokeSome => self.leases.doubt_all(),
        }
    }
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        if !self.over {
            self.doubt();
        }
    }
}

/// The answer to a revocation that ends nothing yet. The upstream's own has no content; this has, for
/// the warning.
fn detached() -> Response {
    let answer = json!({
        "request_id": "",
        "lease_id": "",
        "renewable": false,
        "lease_duration": 0,
        "data": null,
        "wrap_info": null,
        "warnings": [
            "vaultlet: other pods of this service account use this lease: it is yours no more, and \
             is revoked when the last of them has given it back"
        ],
        "auth": null,
    });
    let mut response = Response::new(body::full(answer.to_string()));
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, json);
    response
}
