//! How is a number of connections kept busy?
//!
//! Every connection is a task of one thread. It sends, waits for the whole answer, and sends again,
//! until the time or the requests are used up.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use http_body_util::{BodyExt as _, Empty};
use hyper::body::Bytes;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{HOST, HeaderValue};
use hyper::{Request, Response, body::Incoming};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::LocalSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::options::Plan;
use super::report::Report;
use super::tally::{Cached, Tally};
use crate::cpu::Used;
use crate::signals::unless_stopped;

/// Between a failure and the next attempt on that connection: a server that is away should not be
/// measured by how fast it can be knocked at.
const AFTER_FAILURE: Duration = Duration::from_millis(10);

/// How long an answer may take past the end of the run, before it counts as broken.
const GRACE: Duration = Duration::from_secs(5);

/// Runs `plan`, until `stop` is cancelled. Every connection is open before the clock starts.
pub(crate) async fn drive(plan: &Plan, stop: &CancellationToken) -> Result<Report, String> {
    let request = request(plan)?;
    let mut open = Vec::new();
    for _ in 0..plan.connections {
        open.push(unless_stopped(stop, connect(&plan.authority)).await?);
    }

    let before = plan.pid.map(Used::by).transpose()?;
    let started = Instant::now();
    let run = Rc::new(Run {
        authority: plan.authority.clone(),
        request,
        end: started + plan.duration,
        left: Cell::new(plan.requests),
        tally: RefCell::new(Tally::new()),
    });
    let tasks = LocalSet::new();
    for connection in open {
        tasks.spawn_local(keep_busy(run.clone(), connection));
    }
    // Each task ends by itself; one that is still waiting then waits for a server that hangs.
    let tasks = tokio::time::timeout_at(run.end + GRACE, tasks);
    if let Some(Err(_)) = stop.run_until_cancelled(tasks).await {
        run.tally.borrow_mut().broke("no answer within 5 s of the end of the run".into());
    }
    let elapsed = started.elapsed();
    let after = plan.pid.map(Used::by).transpose()?;

    let tally = run.tally.replace(Tally::new());
    let server = after.zip(before).map(|(after, before)| after.since(before));
    Ok(Report { connections: plan.connections, elapsed, tally, server })
}

/// What the connections share.
struct Run {
    authority: String,
    request: Request<Empty<Bytes>>,
    end: Instant,
    left: Cell<u64>,
    tally: RefCell<Tally>,
}

impl Run {
    /// Takes one request from what is left, if the time is not up.
    fn next(&self) -> Option<Instant> {
        let now = Instant::now();
        let left = self.left.get().checked_sub(1)?;
        (now < self.end).then(|| {
            self.left.set(left);
            now
        })
    }
}

async fn keep_busy(run: Rc<Run>, connection: SendRequest<Empty<Bytes>>) {
    let mut connection = Some(connection);
    while let Some(sent) = run.next() {
        let outcome = match &mut connection {
            Some(open) => exchange(open, &run.request).await,
            None => match connect(&run.authority).await {
                Ok(mut open) => {
                    let outcome = exchange(&mut open, &run.request).await;
                    connection = Some(open);
                    outcome
                }
                Err(problem) => Err(problem),
            },
        };
        match outcome {
            Ok((answer, body)) => {
                let cached = Cached::of(answer.headers());
                run.tally.borrow_mut().answered(answer.status(), cached, body, sent.elapsed());
            }
            Err(problem) => {
                run.tally.borrow_mut().broke(problem);
                connection = None;
                tokio::time::sleep(AFTER_FAILURE).await;
            }
        }
    }
}

/// One request and its whole answer: the head, and how many bytes the body had.
async fn exchange(
    connection: &mut SendRequest<Empty<Bytes>>,
    request: &Request<Empty<Bytes>>,
) -> Result<(Response<()>, u64), String> {
    connection.ready().await.map_err(|e| e.to_string())?;
    let answer = connection.send_request(request.clone()).await.map_err(|e| e.to_string())?;
    let (head, mut body) = answer.into_parts();
    let bytes = length(&mut body).await.map_err(|e| e.to_string())?;
    Ok((Response::from_parts(head, ()), bytes))
}

async fn length(body: &mut Incoming) -> hyper::Result<u64> {
    let mut bytes = 0;
    while let Some(frame) = body.frame().await {
        bytes += frame?.data_ref().map_or(0, |data| data.len() as u64);
    }
    Ok(bytes)
}

async fn connect(authority: &str) -> Result<SendRequest<Empty<Bytes>>, String> {
    let said = |e: &dyn std::fmt::Display| format!("{authority}: {e}; does it listen there?");
    let stream = TcpStream::connect(authority).await.map_err(|e| said(&e))?;
    stream.set_nodelay(true).map_err(|e| said(&e))?;
    let (sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(|e| said(&e))?;
    // Its end is seen by whoever sends on it next.
    drop(tokio::spawn(connection));
    Ok(sender)
}

fn request(plan: &Plan) -> Result<Request<Empty<Bytes>>, String> {
    let host = HeaderValue::from_str(&plan.authority).map_err(|e| format!("--url: {e}"))?;
    let mut request = Request::new(Empty::new());
    request.uri_mut().clone_from(&plan.target);
    request.headers_mut().insert(HOST, host);
    if let Some(token) = &plan.token {
        request.headers_mut().insert("x-vault-token", token.clone());
    }
    Ok(request)
}
