//! Does anybody ever get another's answer?
//!
//! Many identities read many secrets over connections that they share with nobody, some hang up at
//! any byte, and the upstream resets connections. Each value says whose it is, and where it lies.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use crate::caller::{Caller, HangUp, request};
use crate::fault::{Effect, Toxic};
use crate::stand::{Stand, Token, nonce};
use crate::verdict::{Verdict, number};

/// Secrets of each identity; each may read its own, and nobody else's.
const SECRETS: usize = 10;

/// Longest that anybody waits.
const LONGEST: Duration = Duration::from_secs(15);

/// Many identities on many connections, some of which hang up at any byte
#[derive(Clone, Debug, Args)]
#[command(
    after_help = "Example:\n  vaultlet-chaos crosstalk --requests 1000000 --connections 200 --cancel 0.1"
)]
pub(crate) struct Options {
    /// In all
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) requests: u64,
    #[arg(long, default_value_t = 200)]
    pub(crate) connections: usize,
    /// Who read
    #[arg(long, default_value_t = 40)]
    pub(crate) identities: usize,
    /// Share of the requests whose caller hangs up
    #[arg(long, default_value_t = 0.1, value_parser = share)]
    pub(crate) cancel: f64,
    /// Share of the requests upstream whose connection is reset
    #[arg(long, default_value_t = 0.05, value_parser = share)]
    pub(crate) reset: f64,
    /// Of the draws; another one each time without it
    #[arg(long)]
    pub(crate) seed: Option<u64>,
}

fn share(text: &str) -> Result<f64, String> {
    let share = text.parse().ok().filter(|share| (0.0..=1.0).contains(share));
    share.ok_or_else(|| "a share is between 0 and 1".to_owned())
}

/// What all callers share.
struct Play {
    port: u16,
    tokens: Vec<Token>,
    left: Cell<u64>,
    cancel: f64,
    seen: RefCell<BTreeMap<String, u64>>,
}

/// What somebody asks, and what they may be told.
struct Question {
    request: Vec<u8>,
    /// `None`: nothing at all.
    nonce: Option<String>,
}

pub(crate) async fn run(options: &Options) -> Result<Vec<Verdict>, String> {
    let seed = options.seed.unwrap_or_else(|| fastrand::u64(..));
    fastrand::seed(seed);
    let mut stand = Stand::start(&settings()).await?;
    let mut tokens = Vec::new();
    for n in 0..options.identities {
        let name = format!("tenant-{n}");
        let rules = format!("path \"secret/data/{name}/*\" {{ capabilities = [\"read\"] }}");
        stand.policy(&name, &rules).await?;
        tokens.push(stand.token(&name, &[&name]).await?);
        for secret in 0..SECRETS {
            stand.put(&format!("{name}/{secret}")).await?;
        }
    }
    let reset = Effect::ResetPeer { after: Duration::ZERO, within: 900 };
    let toxic = Toxic { share: options.reset, spares_health: true, ..Toxic::new(reset) };
    stand.injector.switch.set(vec![toxic]);
    let play = Rc::new(Play {
        port: stand.vaultlet.port(),
        tokens,
        left: Cell::new(options.requests),
        cancel: options.cancel,
        seen: RefCell::default(),
    });
    let began = Instant::now();
    let mut callers = JoinSet::new();
    for _ in 0..options.connections {
        callers.spawn_local(play.clone().call());
    }
    while callers.join_next().await.is_some() {}
    let mut verdict = Verdict::new("crosstalk");
    judge(&mut verdict, &play, options, &stand);
    verdict.figure("seed", seed);
    verdict.figure("seconds", began.elapsed().as_secs_f64());
    if let Some(how) = stand.vaultlet.ended() {
        verdict.none(&format!("vaultlet {how}"), 1);
    }
    verdict.print();
    Ok(vec![verdict])
}

/// Short lives, so that hits, misses and renewals are mixed; and no bound in the way.
fn settings() -> Value {
    json!({
        "policy": {"refresh": "2s"},
        "cache": {"kv": {"ttl": "1s"}},
        "auth": {"limits": {"misses_per_second": 100_000, "in_flight": 1000}},
    })
}

fn judge(verdict: &mut Verdict, play: &Play, options: &Options, stand: &Stand) {
    let seen = play.seen.borrow();
    let count = |name: &str| seen.get(name).copied().unwrap_or(0);
    let requests: u64 = seen.values().sum();
    verdict.at_least("requests", number(options.requests), number(requests));
    verdict.none("answers with another's nonce", count("mixed"));
    verdict.none("secrets that were told to somebody who may not read them", count("leaked"));
    verdict.none("answers without the nonce that was asked for", count("blank"));
    verdict.at_least("right answers", 0.5 * number(options.requests), number(count("right")));
    if options.cancel > 0.0 {
        let least = number(options.requests) * options.cancel * 0.9;
        verdict.at_least("requests that were hung up on", least, number(count("hung up")));
    }
    if options.reset > 0.0 {
        verdict.some("resets of the upstream", stand.injector.switch.fired("reset_peer"));
    }
    verdict.figure("came", json!(&*seen));
    verdict.figure("upstream_requests", stand.injector.switch.requests());
    verdict.figure("upstream_resets", stand.injector.switch.fired("reset_peer"));
}

impl Play {
    /// One connection after another, until all requests are used up.
    async fn call(self: Rc<Self>) {
        let mut connection = None;
        while let Some(left) = self.left.get().checked_sub(1) {
            self.left.set(left);
            let opened = match connection.take() {
                Some(caller) => Ok(caller),
                None => Caller::connect(self.port).await,
            };
            let Ok(mut caller) = opened else {
                self.saw("no connection");
                sleep(Duration::from_millis(10)).await;
                continue;
            };
            let question = self.ask();
            if fastrand::f64() < self.cancel {
                let at = if fastrand::bool() {
                    HangUp::Asking(fastrand::usize(..question.request.len()))
                } else {
                    HangUp::Reading(fastrand::usize(1..900))
                };
                // Waiting for more bytes than there are is hanging up, too.
                let _ =
                    timeout(Duration::from_millis(20), caller.hang_up(&question.request, at)).await;
                self.saw("hung up");
                continue;
            }
            match timeout(LONGEST, caller.send(&question.request)).await {
                Ok(Ok(answer)) => {
                    self.saw(&question.judge(answer.head.status(), &answer.body));
                    connection = Some(caller).filter(|_| !answer.head.closes());
                }
                Ok(Err(_)) => self.saw("broken off"),
                Err(_) => self.saw("no answer in time"),
            }
        }
    }

    fn ask(&self) -> Question {
        let token = &self.tokens[fastrand::usize(..self.tokens.len())];
        let secret = |of: &Token| format!("{}/{}", of.name, fastrand::usize(..SECRETS));
        let get = |target: &str| request("GET", target, Some(&token.token), b"");
        match fastrand::u32(..100) {
            // Not cached: who am I?
            0..5 => Question {
                request: get("/v1/auth/token/lookup-self"),
                nonce: Some(nonce(&token.name)),
            },
            // Not theirs to read.
            5..15 => {
                let other = &self.tokens[fastrand::usize(..self.tokens.len())];
                let path = secret(other);
                let own = other.name == token.name;
                Question {
                    request: get(&format!("/v1/secret/data/{path}")),
                    nonce: own.then(|| nonce(&path)),
                }
            }
            lot => {
                let path = secret(token);
                let mut request = get(&format!("/v1/secret/data/{path}"));
                if lot < 20 {
                    // Answered by the upstream whatever is held.
                    request.truncate(request.len() - 2);
                    request.extend_from_slice(b"Cache-Control: no-cache\r\n\r\n");
                }
                Question { request, nonce: Some(nonce(&path)) }
            }
        }
    }

    fn saw(&self, what: &str) {
        let mut seen = self.seen.borrow_mut();
        match seen.get_mut(what) {
            Some(count) => *count += 1,
            None => drop(seen.insert(what.to_owned(), 1)),
        }
    }
}

impl Question {
    fn judge(&self, status: u16, body: &[u8]) -> String {
        let text = String::from_utf8_lossy(body);
        let told: Vec<&str> = text
            .split("\"nonce\":\"")
            .skip(1)
            .map(|rest| rest.split('"').next().unwrap_or_default())
            .collect();
        let verdict = match (&self.nonce, &told[..]) {
            (None, []) if status < 300 => "blank",
            (None, []) => return format!("refused {status}"),
            (None, _) => "leaked",
            (Some(nonce), told) if told.iter().any(|it| it != nonce) => "mixed",
            (Some(_), []) if status < 300 => "blank",
            (Some(_), []) => return format!("failed {status}"),
            (Some(_), _) => "right",
        };
        verdict.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_anothers_is_seen() {
        let question =
            |nonce: Option<&str>| Question { request: vec![], nonce: nonce.map(str::to_owned) };
        let body = |nonce: &str| format!("{{\"data\":{{\"nonce\":\"{nonce}\"}}}}").into_bytes();
        for (wanted, status, body, verdict) in [
            (Some("[a]"), 200, body("[a]"), "right"),
            (Some("[a]"), 200, body("[b]"), "mixed"),
            (Some("[a]"), 200, [body("[a]"), body("[b]")].concat(), "mixed"),
            (Some("[a]"), 503, body("[b]"), "mixed"),
            (Some("[a]"), 200, b"{}".to_vec(), "blank"),
            (Some("[a]"), 503, b"{}".to_vec(), "failed 503"),
            (None, 200, body("[b]"), "leaked"),
            (None, 403, body("[b]"), "leaked"),
            (None, 403, b"{}".to_vec(), "refused 403"),
        ] {
            assert_eq!(question(wanted).judge(status, &body), verdict);
        }
    }
}
