//! A stage for tests: it answers as told, after as long as told, and remembers who asked for what.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use hyper::body::Bytes;
use hyper::{HeaderMap, Request, StatusCode};
use serde_json::Value;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use crate::cluster::Cluster;
use crate::drive::{Options, Time, play};
use crate::progress::Progress;
use crate::record::Recorder;
use crate::result::Target;
use crate::scenario::{self, Happening, Phase, Scenario};
use crate::stage::{Answer, Failure, Gauges, Stage};

/// What it does with a request.
pub(super) type Act = dyn Fn(&Asked) -> (Duration, Result<(u16, Value), Failure>);

/// A request as it arrived.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Asked {
    /// Since the stage was made.
    pub(super) at: Duration,
    pub(super) method: String,
    pub(super) path: String,
    pub(super) token: Option<String>,
    pub(super) body: Value,
}

pub(super) struct Theatre {
    act: Box<Act>,
    made: Instant,
    pass: Zeroizing<String>,
    out: RefCell<bool>,
    pub(super) asked: RefCell<Vec<Asked>>,
}

impl Theatre {
    pub(super) fn new(
        act: impl Fn(&Asked) -> (Duration, Result<(u16, Value), Failure>) + 'static,
    ) -> Rc<Self> {
        Rc::new(Self {
            act: Box::new(act),
            made: Instant::now(),
            pass: Zeroizing::new("pass".to_owned()),
            out: RefCell::new(false),
            asked: RefCell::default(),
        })
    }

    /// Requests whose path has `part`: when each came, seconds.
    pub(super) fn times(&self, part: &str) -> Vec<f64> {
        let asked = self.asked.borrow();
        asked
            .iter()
            .filter(|it| it.path.contains(part))
            .map(|it| (it.at.as_secs_f64() * 1e3).round() / 1e3)
            .collect()
    }
}

/// Plays `scenario` on it in paused time.
pub(super) async fn played(scenario: &str, stage: &Rc<Theatre>) -> Target {
    played_until(scenario, stage, Duration::MAX).await
}

/// The same, interrupted after so long.
pub(super) async fn played_until(
    scenario: &str,
    stage: &Rc<Theatre>,
    interrupted: Duration,
) -> Target {
    let scenario = Rc::new(scenario_of(scenario));
    let cluster = Rc::new(Cluster::new(&scenario));
    let recorder = Rc::new(Recorder::new("theatre", &scenario, Time::Paused));
    let options = Options { time: Time::Paused, pods: true };
    let stop = CancellationToken::new();
    let progress = Progress::silent();
    let playing = play(&scenario, &cluster, stage, options, &recorder, &progress, &stop);
    tokio::pin!(playing);
    if interrupted < Duration::MAX && tokio::time::timeout(interrupted, &mut playing).await.is_err()
    {
        stop.cancel();
    }
    playing.await.unwrap();
    recorder.target()
}

pub(super) fn scenario_of(yaml: &str) -> Scenario {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), yaml).unwrap();
    scenario::read(file.path()).unwrap()
}

impl Stage for Theatre {
    fn name(&self) -> &'static str {
        "theatre"
    }

    fn pass(&self, _pod: u32) -> &Zeroizing<String> {
        &self.pass
    }

    fn takes_service_accounts(&self) -> bool {
        false
    }

    fn login_path(&self) -> &'static str {
        "auth/kubernetes/login"
    }

    async fn send(&self, _node: u32, request: Request<Bytes>) -> Result<Answer, Failure> {
        let token = request.headers().get("x-vault-token");
        let asked = Asked {
            at: self.made.elapsed(),
            method: request.method().to_string(),
            path: request.uri().path().to_owned(),
            token: token.map(|token| token.to_str().unwrap().to_owned()),
            body: serde_json::from_slice(request.body()).unwrap_or_default(),
        };
        let (after, outcome) = (self.act)(&asked);
        self.asked.borrow_mut().push(asked);
        sleep(after).await;
        if *self.out.borrow() {
            return Err(Failure::Connect);
        }
        outcome.map(|(status, body)| Answer {
            status: StatusCode::from_u16(status).unwrap(),
            headers: HeaderMap::new(),
            body: body.to_string().into(),
        })
    }

    async fn begin(&self, phase: &Phase) -> Result<(), String> {
        *self.out.borrow_mut() = phase.happening == Happening::Outage;
        Ok(())
    }

    async fn end(&self, _phase: &Phase) -> Result<(), String> {
        *self.out.borrow_mut() = false;
        Ok(())
    }

    async fn gauges(&self) -> Gauges {
        Gauges::default()
    }
}
