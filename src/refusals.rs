//! Why was a request refused? The last refusals, kept for their operators to look up.
//!
//! Each has an id, which is in the log line that says so; `GET /explain/ID` of the admin listener
//! and `vaultlet explain --id ID` give the rest. Nothing here is a secret, and a path is shown only
//! where `admin.show_paths` allows it.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;
use tracing::info;

use crate::caller::Caller;
use crate::clock::{Clock, Time};
use crate::identity::Logins;
use crate::metrics::Outcome;
use crate::policy::Operation;
use crate::proxy::Answered;
use crate::request::Asked;

/// Refusals kept. Each is some hundred bytes.
const MOST: usize = 1024;

/// Longest path that is kept of a request, in bytes.
const LONGEST_PATH: usize = 1024;

/// The last refusals.
#[derive(Debug)]
pub struct Refusals {
    kept: Mutex<Kept>,
    show_paths: bool,
    /// That of requests that name none.
    namespace: String,
}

#[derive(Debug, Default)]
struct Kept {
    refusals: VecDeque<Refusal>,
    /// When the current second of log lines began, and how many it has.
    second: Option<(Time, usize)>,
}

/// Log lines of refusals in a second: whoever is refused often enough would otherwise fill the log
/// of the node.
const MOST_LINES: usize = 50;

impl Kept {
    /// Whether there is room for one more line in the log.
    fn said(&mut self, now: Time) -> bool {
        match &mut self.second {
            Some((began, lines)) if now.since(*began) < Duration::from_secs(1) => {
                *lines += 1;
                *lines <= MOST_LINES
            }
            second => {
                *second = Some((now, 1));
                true
            }
        }
    }
}

/// One of them.
#[derive(Clone, Debug, Serialize)]
pub struct Refusal {
    /// Names it in the log.
    pub id: String,
    /// When, in RFC 3339.
    pub time: String,
    /// What the server calls what was asked for.
    pub operation: &'static str,
    /// The Vault namespace it was for; empty: the root.
    pub namespace: String,
    /// What was asked for, where paths may be shown.
    pub path: Option<String>,
    /// Of the answer.
    pub status: u16,
    /// Who refused: `upstream` or `vaultlet`.
    pub refused_by: &'static str,
    /// Why, as far as vaultlet knows.
    pub why: String,
    /// The caller's service account, as `namespace/name`.
    pub service_account: Option<String>,
    /// Its pod, where its token names one.
    pub pod: Option<String>,
    /// The role of the login it shares, and where that was made.
    pub role: Option<String>,
    /// The policies of the login that the request was made with.
    pub policies: Vec<String>,
    /// Its entity.
    pub entity: Option<String>,
}

impl Refusals {
    /// None yet. `namespace`: that of requests that name none.
    pub fn new(show_paths: bool, namespace: String) -> Self {
        Self { kept: Mutex::default(), show_paths, namespace }
    }

    /// Keeps a refusal and says so in the log; nothing, if the answer is none.
    pub fn note(&self, asked: &Asked, answered: &Answered, logins: &Logins) {
        if answered.outcome != Outcome::Denied {
            return;
        }
        let refusal = self.of(asked, answered, logins);
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.said(logins.now()) {
            let Refusal { id, status, refused_by, why, service_account, .. } = &refusal;
            info!(id, status, refused_by, why, service_account, "request refused");
        }
        if kept.refusals.len() >= MOST {
            kept.refusals.pop_front();
        }
        kept.refusals.push_back(refusal);
    }

    /// The refusal with this id, if it is one of the last.
    pub fn get(&self, id: &str) -> Option<Refusal> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.refusals.iter().find(|refusal| refusal.id == id).cloned()
    }

    fn of(&self, asked: &Asked, answered: &Answered, logins: &Logins) -> Refusal {
        let login = answered.caller.token().and_then(|own| logins.get(own));
        let rights = login.as_ref().and_then(|login| login.rights.as_deref());
        let pod = match &answered.caller {
            Caller::Pod(pod) => Some(pod),
            Caller::Nobody | Caller::Token(_) => None,
        };
        let (status, refused_by, why) = match &answered.response {
            Ok(response) => (
                response.status(),
                "upstream",
                "its policies do not allow it, or it does not know the token".to_owned(),
            ),
            Err(error) => {
                let cause = std::error::Error::source(error).map(|cause| format!(": {cause}"));
                (error.status(), "vaultlet", format!("{error}{}", cause.unwrap_or_default()))
            }
        };
        Refusal {
            id: format!("{:012x}", fastrand::u64(..1 << 48)),
            time: Timestamp::try_from(Clock::wall())
                .map_or_else(|_| String::new(), |time| time.to_string()),
            operation: Operation::of(asked.method.as_str(), asked.query().as_bytes()).name(),
            namespace: asked.namespace(&self.namespace).to_owned(),
            path: self.show_paths.then(|| shown(&asked.path())),
            status: status.as_u16(),
            refused_by,
            why,
            service_account: pod.map(|pod| {
                let account = &pod.holder.account;
                format!("{}/{}", account.namespace, account.name)
            }),
            pod: pod.and_then(|pod| pod.holder.pod.as_ref()).map(|pod| pod.name.to_string()),
            role: pod.map(|pod| format!("{} on {}", pod.slot.place.role, pod.slot.login_path())),
            policies: rights.map_or_else(Vec::new, |rights| {
                rights.policies.iter().map(ToString::to_string).collect()
            }),
            entity: rights.map(|it| it.entity.to_string()).filter(|it| !it.is_empty()),
        }
    }
}

/// A path for people, cut where it is longer than any that is meant.
fn shown(path: &[u8]) -> String {
    String::from_utf8_lossy(&path[..path.len().min(LONGEST_PATH)]).into_owned()
}
