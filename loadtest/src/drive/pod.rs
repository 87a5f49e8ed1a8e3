//! What does a pod do besides what the schedule wants of it?
//!
//! As it starts: logs in where that is needed, reads what it needs, one after the other, and gets
//! its leases; each step again, a second later, until it succeeds. From then on it keeps its login
//! and its leases alive.

use std::future::Future;
use std::rc::Rc;
use std::time::Duration;

use hyper::HeaderMap;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};
use zeroize::Zeroizing;

use super::calls::{Calls, get, post};
use super::life::{Life, Step};
use super::pods::Shown;
use super::wave::Lacking;
use crate::record::Kind;
use crate::scenario::Credential;
use crate::stage::{Answer, Stage};

/// Between a step that failed and the same again.
const AGAIN: Duration = Duration::from_secs(1);

/// Starts it; when it has all it wanted, the rest of its life is what is given back.
pub(crate) async fn live<S: Stage + 'static>(
    calls: Rc<Calls<S>>,
    number: u32,
    shown: Rc<Shown>,
    lacking: Lacking,
) -> impl Future<Output = ()> {
    let node = calls.cluster.pods[number as usize].node;
    let pod = Rc::new(Pod { calls, number, node, shown });
    let mut tasks = JoinSet::new();
    if let Some(login) = pod.show_itself().await {
        tasks.spawn_local(pod.clone().keep(Held::Login, login));
    }
    pod.read_what_it_needs().await;
    for &role in pod.calls.cluster.leases(number) {
        let (lease, life) = pod.lease(role).await;
        tasks.spawn_local(pod.clone().keep(Held::Lease { role, id: lease }, life));
    }
    lacking.done();
    async move { while tasks.join_next().await.is_some() {} }
}

struct Pod<S> {
    calls: Rc<Calls<S>>,
    number: u32,
    node: u32,
    shown: Rc<Shown>,
}

/// What it has to keep alive.
#[derive(Debug)]
enum Held {
    Login,
    Lease { role: usize, id: String },
}

/// Of an answer that says no.
enum Refusal {
    /// Not now: it was not understood, or there is nobody who could.
    Again,
    /// What it was about is gone.
    Gone,
}

impl<S: Stage + 'static> Pod<S> {
    /// Gets something to show; a login is to be kept alive.
    async fn show_itself(&self) -> Option<Life> {
        let stage = &self.calls.stage;
        match self.calls.scenario.world.credential {
            Credential::ServiceAccount if !stage.takes_service_accounts() => {}
            Credential::Login => {}
            Credential::Token | Credential::ServiceAccount => {
                self.shown.show(stage.pass(self.number));
                return None;
            }
        }
        Some(self.log_in().await)
    }

    async fn read_what_it_needs(&self) {
        for secret in self.calls.cluster.needs(self.number) {
            let make = |headers: &HeaderMap| self.calls.read(secret, headers);
            while self.ask(Kind::Read, make).await.is_err() {
                sleep(AGAIN).await;
            }
        }
    }

    /// Changes its service-account token into a login, and shows that.
    async fn log_in(&self) -> Life {
        loop {
            let account = self.calls.cluster.pods[self.number as usize].account;
            let body = Zeroizing::new(
                json!({
                    "role": self.calls.cluster.account_name(account),
                    "jwt": self.calls.stage.pass(self.number).as_str(),
                })
                .to_string(),
            );
            let path = self.calls.stage.login_path();
            let request = post(path, &HeaderMap::new(), &body);
            let answer = self.calls.now(Kind::Login, self.node, request).await;
            if let Ok(Login { auth }) = understood(answer.ok()) {
                self.shown.show(&auth.client_token);
                return Life::new(auth.lease_duration, auth.renewable);
            }
            sleep(AGAIN).await;
        }
    }

    /// Gets a credential.
    async fn lease(&self, role: usize) -> (String, Life) {
        let path = self.calls.cluster.role_path(role);
        loop {
            let answer = self.ask(Kind::Lease, |headers| get(&path, headers)).await;
            if let Ok(Lease { id, seconds, renewable }) = answer.and_then(read) {
                return (id, Life::new(seconds, renewable));
            }
            sleep(AGAIN).await;
        }
    }

    /// Renews it and gets another in time, for ever.
    async fn keep(self: Rc<Self>, mut held: Held, mut life: Life) {
        while let Some((wait, step)) = life.next() {
            sleep(wait).await;
            let over = Instant::now() + life.spare();
            let renewed = match step {
                Step::Renew => self.renew(&held, over).await,
                Step::Replace => None,
            };
            match renewed {
                Some(seconds) => life.renewed(seconds),
                None => life = self.replace(&mut held).await,
            }
        }
    }

    /// How many seconds a renewal gave; `None` if it failed until it was too late.
    async fn renew(&self, held: &Held, over: Instant) -> Option<u64> {
        let mut lacking = None;
        while Instant::now() < over {
            let answer = match held {
                Held::Login => {
                    let make = |headers: &HeaderMap| post("auth/token/renew-self", headers, "{}");
                    let answer = self.ask(Kind::Renew, make).await;
                    answer.and_then(read).map(|Renewal { auth }| auth.lease_duration)
                }
                Held::Lease { id, .. } => {
                    let body = json!({ "lease_id": id }).to_string();
                    let make = |headers: &HeaderMap| post("sys/leases/renew", headers, &body);
                    let answer = self.ask(Kind::Renew, make).await;
                    answer.and_then(read).map(|Lease { seconds, .. }| seconds)
                }
            };
            match answer {
                Ok(seconds) => {
                    if let Some(lacking) = lacking {
                        Lacking::done(lacking);
                    }
                    return Some(seconds);
                }
                Err(Refusal::Gone) => return None,
                Err(Refusal::Again) => {}
            }
            lacking.get_or_insert_with(|| self.calls.waves.losing());
            sleep_until(over.min(Instant::now() + AGAIN)).await;
        }
        None
    }

    async fn replace(&self, held: &mut Held) -> Life {
        let lacking = self.calls.waves.losing();
        let life = match held {
            Held::Login => self.log_in().await,
            Held::Lease { role, id } => {
                let (lease, life) = self.lease(*role).await;
                *id = lease;
                life
            }
        };
        lacking.done();
        life
    }

    /// Sends a request with what it shows; an answer with 2xx.
    async fn ask(
        &self,
        kind: Kind,
        make: impl FnOnce(&HeaderMap) -> hyper::Request<hyper::body::Bytes>,
    ) -> Result<Answer, Refusal> {
        let Some(request) = self.shown.with(make) else { return Err(Refusal::Again) };
        successful(self.calls.now(kind, self.node, request).await.ok())
    }
}

fn successful(answer: Option<Answer>) -> Result<Answer, Refusal> {
    match answer {
        Some(answer) if answer.status.is_success() => Ok(answer),
        Some(answer) if matches!(answer.status.as_u16(), 400 | 403 | 404) => Err(Refusal::Gone),
        _ => Err(Refusal::Again),
    }
}

fn understood<T: DeserializeOwned>(answer: Option<Answer>) -> Result<T, Refusal> {
    successful(answer).and_then(read)
}

/// What the body says.
fn read<T: DeserializeOwned>(Answer { body, .. }: Answer) -> Result<T, Refusal> {
    serde_json::from_slice(&body).map_err(|_| Refusal::Again)
}

#[derive(Deserialize)]
struct Login {
    auth: Auth,
}

#[derive(Deserialize)]
struct Auth {
    client_token: String,
    lease_duration: u64,
    renewable: bool,
}

#[derive(Deserialize)]
struct Renewal {
    auth: Renewed,
}

#[derive(Deserialize)]
struct Renewed {
    lease_duration: u64,
}

#[derive(Deserialize)]
struct Lease {
    #[serde(rename = "lease_id")]
    id: String,
    #[serde(rename = "lease_duration")]
    seconds: u64,
    renewable: bool,
}
