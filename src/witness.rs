//! What does the audit log say of an answer?
//!
//! One record of each answer that involved a secret or a refusal: of every request that came with a
//! credential, logged in, or was turned away. What the record holds is put together here, from the
//! request as it came and from what became of it; how it is written down is `audit`'s affair.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::header::AGE;

use crate::audit::{Audit, CredentialKind, Login, Record, ServiceAccount};
use crate::caller::{Caller, Pod};
use crate::error::Error;
use crate::identity::Logins;
use crate::metrics::{Outcome, Route};
use crate::policy::Operation;
use crate::proxy::Answered;
use crate::request::Asked;

/// Records answers.
#[derive(Debug)]
pub struct Witness {
    audit: Arc<Audit>,
    logins: Arc<Logins>,
    /// Of the clusters, in the order of the configuration.
    issuers: Vec<String>,
    /// That of requests that name none.
    namespace: String,
}

impl Witness {
    /// Recording to `audit`. `issuers`: those of the clusters, in the order of the configuration;
    /// `namespace`: that of requests that name none.
    pub fn new(
        audit: Arc<Audit>,
        logins: Arc<Logins>,
        issuers: Vec<String>,
        namespace: String,
    ) -> Self {
        Self { audit, logins, issuers, namespace }
    }

    /// Has an answer recorded, if it is one to be.
    ///
    /// # Errors
    /// [`Error::Unaudited`]: the answer may not leave.
    pub fn record<'w>(
        &'w self,
        asked: &Asked,
        remote: Option<SocketAddr>,
        answered: &Answered,
    ) -> impl Future<Output = Result<(), Error>> + Send + use<'w> {
        let recorded = worth(answered).then(|| self.put_down(asked, remote, answered));
        async {
            match recorded {
                Some(recorded) => recorded.await,
                None => Ok(()),
            }
        }
    }

    fn put_down<'w>(
        &'w self,
        asked: &Asked,
        remote: Option<SocketAddr>,
        answered: &Answered,
    ) -> impl Future<Output = Result<(), Error>> + Send + use<'w> {
        let (path, query) = (asked.path(), asked.query());
        let login = answered.caller.token().and_then(|own| self.logins.get(own));
        let rights = login.as_ref().and_then(|login| login.rights.as_deref());
        let response = answered.response.as_ref();
        let record = Record {
            operation: Operation::of(asked.method.as_str(), query.as_bytes()).name(),
            method: &asked.method,
            namespace: asked.namespace(&self.namespace),
            path: &path,
            query: query.as_bytes(),
            remote,
            credential: credential(&answered.caller),
            login: Login {
                accessor: login.as_ref().map(|login| &*login.accessor).filter(|it| !it.is_empty()),
                display_name: rights.map(|it| &*it.display_name).filter(|it| !it.is_empty()),
                policies: rights
                    .map(|it| it.policies.iter().map(|it| &**it).collect())
                    .unwrap_or_default(),
                entity_id: rights.map(|it| &*it.entity).filter(|it| !it.is_empty()),
                token_type: None,
            },
            service_account: self.service_account(&answered.caller),
            allowed: answered.outcome != Outcome::Denied,
            policy: None,
            route: answered.route,
            outcome: answered.outcome,
            age: response.ok().and_then(|response| {
                let age = response.headers().get(AGE)?.to_str().ok()?;
                Some(Duration::from_secs(age.parse().ok()?))
            }),
            status: response.map_or_else(Error::status, hyper::Response::status),
            error: response.err(),
            request_id: None,
        };
        self.audit.record(&record)
    }

    fn service_account<'a>(&'a self, caller: &'a Caller) -> Option<ServiceAccount<'a>> {
        let Caller::Pod(Pod { holder, .. }) = caller else { return None };
        let account = &holder.account;
        Some(ServiceAccount {
            issuer: self.issuers.get(account.cluster).map_or("", String::as_str),
            namespace: &account.namespace,
            name: &account.name,
            uid: &account.uid,
            pod: holder.pod.as_ref().map(|pod| (&*pod.name, &*pod.uid)),
            node: None,
        })
    }
}

/// Whether an answer is one to be recorded.
fn worth(answered: &Answered) -> bool {
    let refused = matches!(answered.outcome, Outcome::Denied);
    refused || answered.route == Route::Login || !matches!(answered.caller, Caller::Nobody)
}

fn credential(caller: &Caller) -> CredentialKind {
    match caller {
        Caller::Nobody => CredentialKind::None,
        Caller::Token(_) => CredentialKind::VaultToken,
        Caller::Pod(Pod { badge: None, .. }) => CredentialKind::ServiceAccount,
        Caller::Pod(Pod { badge: Some(_), .. }) => CredentialKind::VaultletToken,
    }
}
