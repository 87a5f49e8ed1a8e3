//! What does a request cost an OpenBao on this machine?
//!
//! A server that is there, a thousand requests of each kind, one after the other, and its CPU time
//! before and after them. What its database takes is not its own. What a vaultlet weighs, `weigh`
//! finds out.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use hyper::body::Bytes;
use hyper::{Method, Request};
use serde_json::{Value, json};

use super::book::Book;
use super::{count, weigh};
use crate::cluster::Cluster;
use crate::drive::{self, Time};
use crate::live::{Ground, Kind as Server, Live, Places};
use crate::model::Kind;
use crate::result::Result as Measured;
use crate::scenario::Scenario;
use crate::signals::{Signals, unless_stopped};
use crate::stage::Stage as _;

const SCENARIO: &str = include_str!("calibrate.yaml");

/// Requests of each kind. The system counts CPU time in hundredths of a second.
const REQUESTS: u32 = 1000;

/// The same prices, as of this machine.
///
/// # Errors
/// A server does not start, or refuses something.
pub(crate) fn calibrated(book: &Book, signals: &Signals) -> Result<Book, String> {
    let scenario = read(SCENARIO)?;
    let places = Places::find(&[Server::Direct], &scenario)?.unpinned();
    let runtime = drive::runtime(Time::Real)?;
    let ask = async {
        let cluster = Rc::new(Cluster::new(&scenario));
        let ground = Rc::new(Ground::lay(&scenario, &cluster, places).await?);
        let live = Live::start(Server::Direct, &ground).await?;
        let mut asking = Asking { live, token: String::new(), leases: Vec::new() };
        asking.all(&cluster).await
    };
    // Half of a calibration is none.
    let costs = runtime.block_on(signals.hold(unless_stopped(&signals.stop, ask)))?;
    let machine = Measured::begin(&scenario, &Cluster::new(&scenario)).machine;
    let from = format!(
        "`vaultlet-loadtest plan --calibrate FILE`: CPU time of an OpenBao for {REQUESTS} requests \
         of each kind, memory of a vaultlet ({machine})"
    );
    // A tenth of a microsecond is more than can be told.
    let costs = costs.into_iter().map(|(kind, cost)| (kind, (cost * 10.0).round() / 10.0));
    Book::new(from, costs.collect(), weigh::weigh(book, signals)?)
}

/// A scenario that this program brings along.
pub(super) fn read(text: &str) -> Result<Scenario, String> {
    let file = tempfile::NamedTempFile::new().map_err(|e| e.to_string())?;
    std::fs::write(file.path(), text).map_err(|e| e.to_string())?;
    crate::scenario::read(file.path())
}

/// A server that is asked.
struct Asking {
    live: Live,
    token: String,
    leases: Vec<String>,
}

impl Asking {
    /// Microseconds by kind.
    async fn all(&mut self, cluster: &Cluster) -> Result<BTreeMap<String, f64>, String> {
        self.token = self.log_in().await?;
        let mut costs = BTreeMap::new();
        for kind in Kind::ALL {
            // What needs something to act upon makes it first, at its own price.
            let mut tokens = Vec::new();
            if kind == Kind::Revoke {
                for _ in 0..REQUESTS {
                    tokens.push(self.log_in().await?);
                }
            }
            let before = self.cpu().await?;
            for number in 0..REQUESTS {
                match tokens.pop() {
                    Some(token) => {
                        let revoke = "auth/token/revoke-self";
                        self.ask(&token, Method::POST, revoke, Some(json!({}))).await?;
                    }
                    None => self.one(kind, number, cluster).await?,
                }
            }
            let used = self.cpu().await?.saturating_sub(before);
            costs.insert(kind.name().to_owned(), used.as_secs_f64() * 1e6 / count(REQUESTS.into()));
        }
        Ok(costs)
    }

    async fn cpu(&self) -> Result<Duration, String> {
        self.live.gauges().await.cpu.ok_or_else(|| {
            "this system does not say how much CPU time a process has used: give --costs a file \
             that was measured elsewhere"
                .to_owned()
        })
    }

    async fn one(&mut self, kind: Kind, number: u32, cluster: &Cluster) -> Result<(), String> {
        let secret = cluster.secrets().nth((number % 100) as usize);
        let secret = secret.ok_or("the scenario has no secrets")?;
        let path = cluster.secret_path(secret);
        let token = self.token.clone();
        let lease = || {
            let lease = &self.leases[number as usize % self.leases.len().max(1)];
            json!({ "lease_id": lease, "increment": 3600 })
        };
        let (method, path, body) = match kind {
            Kind::KvRead => (Method::GET, path, None),
            Kind::KvWrite => {
                let value = cluster.value(secret, u64::from(number) + 2);
                (Method::POST, path, Some(json!({ "data": value })))
            }
            Kind::Login => return self.log_in().await.map(|_| ()),
            Kind::Lookup => (Method::GET, "auth/token/lookup-self".to_owned(), None),
            Kind::Capabilities => {
                let paths = json!({ "paths": [cluster.role_path(0)] });
                (Method::POST, "sys/capabilities-self".to_owned(), Some(paths))
            }
            Kind::Mount => (Method::GET, format!("sys/internal/ui/mounts/{path}"), None),
            Kind::Lease => (Method::GET, cluster.role_path(0), None),
            Kind::Renew => (Method::POST, "sys/leases/renew".to_owned(), Some(lease())),
            Kind::Revoke | Kind::Other => (Method::GET, "sys/seal-status".to_owned(), None),
            Kind::Health => (Method::GET, "sys/health".to_owned(), None),
        };
        let answer = self.ask(&token, method, &path, body).await?;
        if kind == Kind::Lease
            && let Some(lease) = answer["lease_id"].as_str()
        {
            self.leases.push(lease.to_owned());
        }
        Ok(())
    }

    async fn log_in(&self) -> Result<String, String> {
        let body = json!({ "role": "api-0", "jwt": self.live.pass(0).as_str() });
        let path = self.live.login_path().to_owned();
        let answer = self.ask("", Method::POST, &path, Some(body)).await?;
        let token = answer["auth"]["client_token"].as_str();
        token.map(str::to_owned).ok_or_else(|| "a login without a token".to_owned())
    }

    async fn ask(
        &self,
        token: &str,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> Result<Value, String> {
        let mut request = Request::builder().method(method).uri(format!("/v1/{path}"));
        if !token.is_empty() {
            request = request.header("x-vault-token", token);
        }
        let body = body.map_or_else(Bytes::new, |body| body.to_string().into());
        let request = request.body(body).map_err(|e| e.to_string())?;
        let answer = self.live.send(0, request).await;
        let answer = answer.map_err(|failure| format!("OpenBao did not answer: {failure:?}"))?;
        if !answer.status.is_success() {
            return Err(format!("OpenBao answered {} while it was measured", answer.status));
        }
        Ok(serde_json::from_slice(&answer.body).unwrap_or(Value::Null))
    }
}
